"""The one training loop: from heads to weights, interrupted and resumed at will.

A run lives in a folder: `recipe.json`, `log.tsv`, `last.pt`-free checkpoints in safetensors.
Step n always sees the same examples, whatever came between, so that a resumed run gives the
weights of an uninterrupted one.
"""

import json
import logging
import math
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deskull.errors import InputError, WeightsError
from deskull.learn.dataset import Sources, make_example
from deskull.learn.losses import dice_and_cross_entropy, hard_dice
from deskull.learn.recipe import Recipe
from deskull.network.unet import UNet

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 120


@dataclass
class State:
    """What a checkpoint holds."""

    network: UNet
    mean: UNet
    optimiser: torch.optim.AdamW
    step: int = 0


def train(
    sources: Sources,
    recipe: Recipe,
    folder: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Path:
    """Train until the steps or the minutes are over; go on where the folder left off.

    Parameters
    ----------
    sources
        Heads to learn from.
    recipe
        Frozen settings; a folder once begun keeps its own.
    folder
        Where the run lives.
    steps
        Counted from the very first; the recipe's horizon if not given.
    minutes
        Of this call.
    seed
        Of everything drawn.
    device
        A torch device.

    Returns
    -------
    Path
        The last checkpoint, `last.safetensors`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _keep_recipe(recipe, folder)
    state = _make_state(recipe, seed, device)
    checkpoint = folder / "last.safetensors"
    if checkpoint.exists():
        _load_state(state, checkpoint)
        logger.info("resumed at step %d", state.step)
    last_step = steps or recipe.training.horizon
    stop_at = math.inf if minutes is None else time.monotonic() + 60 * minutes
    saved_at, began, log = time.monotonic(), time.monotonic(), _Log(folder / "log.tsv")
    batches = _Batches(sources, recipe, seed)
    try:
        while state.step < last_step and time.monotonic() < stop_at:
            loss, dice = _take_step(state, batches.take(state.step), recipe, device)
            log.add(state.step, loss, dice, time.monotonic() - began)
            began = time.monotonic()
            if began - saved_at > CHECKPOINT_SECONDS:
                _save_state(state, checkpoint)
                saved_at = began
    except KeyboardInterrupt:
        logger.info("interrupted at step %d", state.step)
    _save_state(state, checkpoint)
    return checkpoint


Batch = tuple[Tensor, Tensor, Tensor]


class _Batches:
    """The batch of each step, made beside the step before on another core."""

    def __init__(self, sources: Sources, recipe: Recipe, seed: int) -> None:
        self.make = partial(_make_batch, sources, recipe, seed)
        self.pool = ThreadPoolExecutor(1)
        self.coming: dict[int, Future[Batch]] = {}

    def take(self, step: int) -> Batch:
        """Wait for the batch of this step, and have the next one begun."""
        batch = self.coming.pop(step, None) or self.pool.submit(self.make, step)
        self.coming[step + 1] = self.pool.submit(self.make, step + 1)
        return batch.result()


def _take_step(state: State, batch: Batch, recipe: Recipe, device: str) -> tuple[float, float]:
    """Step once on a batch, and move the running mean; return loss and Dice."""
    settings = recipe.training
    image, target, known = batch
    image = image.to(device, memory_format=torch.channels_last_3d)
    target, known = target.to(device), known.to(device)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, recipe)
    state.network.train()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device != "cpu"):
        logits = state.network(image)
    loss = dice_and_cross_entropy(logits, target, known)
    if not torch.isfinite(loss):
        raise WeightsError(
            f"the loss became {loss.item()} at step {state.step}; the last checkpoint is kept. "
            "Lower learning_rate in the recipe."
        )
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
    state.optimiser.step()
    state.step += 1
    _move_mean(state, min(settings.ema, state.step / (state.step + 10)))
    return loss.item(), hard_dice(logits[:, :1].detach(), target[:, :1]).mean().item()


def _make_batch(sources: Sources, recipe: Recipe, seed: int, step: int) -> Batch:
    examples = []
    for member in range(recipe.training.batch):
        generator = torch.Generator().manual_seed((seed << 40) + (step << 8) + member)
        examples.append(make_example(sources, recipe, generator))
    image = torch.stack([e.image for e in examples])[:, None]
    return (
        image,
        torch.stack([e.target for e in examples]),
        torch.stack([e.known for e in examples]),
    )


def learning_rate(step: int, recipe: Recipe) -> float:
    """Warm-up, then a cosine down to a hundredth at the horizon."""
    settings = recipe.training
    warm = min(1.0, (step + 1) / settings.warmup)
    done = min(1.0, step / settings.horizon)
    return settings.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def _move_mean(state: State, decay: float) -> None:
    weights = state.network.state_dict()
    for name, value in state.mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(weights[name], 1 - decay)
        else:
            value.copy_(weights[name])


def _make_state(recipe: Recipe, seed: int, device: str) -> State:
    torch.manual_seed(seed)
    network = UNet(recipe.network).to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    mean = UNet(recipe.network).to(device)
    mean.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=recipe.training.weight_decay)
    return State(network, mean, optimiser)


def _save_state(state: State, path: Path) -> None:
    tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    tensors |= {f"mean.{k}": v for k, v in state.mean.state_dict().items()}
    for index, entry in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in entry.items()}
    temporary = path.with_suffix(".partial")
    save_file(
        {k: v.contiguous() for k, v in tensors.items()},
        temporary,
        metadata={"step": str(state.step)},
    )
    os.replace(temporary, path)


def _load_state(state: State, path: Path) -> None:
    tensors = load_file(path)
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "mean": {}, "optimiser": {}}
    for name, value in tensors.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = value
    state.network.load_state_dict(groups["network"])
    state.mean.load_state_dict(groups["mean"])
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["optimiser"].items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value
    param_groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": param_groups})
    state.step = int(entries[0]["step"]) if entries else 0


def _keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the recipe into a new run; refuse to go on with another one."""
    path = folder / "recipe.json"
    wanted = json.loads(json.dumps(recipe.to_dict()))
    if not path.exists():
        path.write_text(json.dumps(wanted, indent=1) + "\n", "utf-8")
    elif json.loads(path.read_text("utf-8")) != wanted:
        raise InputError(
            f"{folder}: begun with another recipe (see {path.name}). Choose another --out."
        )


class _Log:
    """Running means of loss, Dice and seconds per step, a row every 20 steps."""

    every = 20

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[tuple[float, float, float]] = []
        if not path.exists():
            path.write_text("step\tloss\tdice\tseconds_per_step\n", "utf-8")

    def add(self, step: int, loss: float, dice: float, seconds: float) -> None:
        """Note one step."""
        self.rows.append((loss, dice, seconds))
        if step % self.every == 0:
            means = [sum(column) / len(self.rows) for column in zip(*self.rows, strict=True)]
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{step}\t" + "\t".join(f"{m:.4f}" for m in means) + "\n")
            self.rows = []
