"""The one training loop: from heads to weights, interrupted and resumed at will.

A run lives in a folder, see `runs.py`. Step n always sees the same examples, whatever came
between, so that a resumed run gives the weights of an uninterrupted one. Started by torchrun,
several processes share each batch and their gradients.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor, distributed, nn

from deskull.errors import InputError, WeightsError
from deskull.learn.dataset import Sources, make_example, make_plain_examples
from deskull.learn.losses import dice, dice_and_cross_entropy, hard_dice, hard_iou
from deskull.learn.recipe import Recipe
from deskull.learn.runs import Run, State
from deskull.learn.synthesis import Example
from deskull.network.unet import UNet

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 120
LOSSES = {"dice": dice, "dice_and_cross_entropy": dice_and_cross_entropy}
Batch = tuple[Tensor, Tensor, Tensor]
Show = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """When a call of `train` stops.

    Parameters
    ----------
    steps
        Counted from the very first; the recipe's horizon if not given.
    minutes
        Of this call.
    """

    steps: int | None = None
    minutes: float | None = None


def train(
    sources: Sources,
    recipe: Recipe,
    folder: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    validation: Sources | None = None,
    start: UNet | None = None,
    device: str = "cpu",
    show: Show = lambda line: None,
) -> Path:
    """Train until the limits are reached; go on where the folder left off.

    Parameters
    ----------
    sources
        Heads to learn from.
    recipe
        Frozen settings; a folder once begun keeps its own.
    folder
        Where the run lives.
    limits
        When to stop.
    validation
        Heads kept apart, looked at now and then; the best weights are kept.
    start
        Weights to begin a new run with; random ones if not given.
    device
        A torch device.
    show
        Called with a line about each step.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    WeightsError
        If the loss is no number any more; the last good checkpoint stays.
    InputError
        If the folder was begun with another recipe.
    """
    rank, world = _join_processes(device)
    run = Run(folder, recipe, writes=rank == 0)
    state = run.begin(start, device)
    kept_apart = [] if validation is None else make_plain_examples(validation, recipe)
    last_step = limits.steps or recipe.training.horizon
    stop_at = math.inf if limits.minutes is None else time.monotonic() + 60 * limits.minutes
    batches = _Batches(partial(_make_batch, sources, recipe, rank, world))
    saved_at = began = time.monotonic()
    try:
        while state.step < last_step and not _agree(time.monotonic() > stop_at, world):
            loss, overlap = _take_step(state, batches.take(state.step), recipe, device, world)
            seconds, began = time.monotonic() - began, time.monotonic()
            run.log_step(state.step, loss, overlap, seconds)
            show(_describe(state.step, last_step, loss, overlap, seconds, stop_at - began))
            if kept_apart and state.step % recipe.training.validate_every == 0:
                _validate(state, kept_apart, run, device)
            if began - saved_at > CHECKPOINT_SECONDS:
                run.save(state)
                saved_at = began
    except KeyboardInterrupt:
        logger.warning("interrupted at step %d; the same command goes on", state.step)
    finally:
        batches.close()
    run.save(state)
    return folder


class _Batches:
    """The batch of each step, made beside the step before on another core."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make
        self.pool = ThreadPoolExecutor(1)
        self.coming: dict[int, Future[Batch]] = {}

    def take(self, step: int) -> Batch:
        """Wait for the batch of this step, and have the next one begun."""
        batch = self.coming.pop(step, None) or self.pool.submit(self.make, step)
        self.coming[step + 1] = self.pool.submit(self.make, step + 1)
        return batch.result()

    def close(self) -> None:
        """Begin no more."""
        self.pool.shutdown(wait=True, cancel_futures=True)


def _make_batch(sources: Sources, recipe: Recipe, rank: int, world: int, step: int) -> Batch:
    """Make this process's share of a step's examples."""
    examples = []
    for member in range(rank, recipe.training.batch, world):
        generator = Generator().manual_seed((recipe.seed << 40) + (step << 8) + member)
        examples.append(make_example(sources, recipe, generator))
    return _stack(examples)


def _stack(examples: list[Example]) -> Batch:
    image = torch.stack([e.image for e in examples])[:, None]
    target = torch.stack([e.target for e in examples])
    return image, target, torch.stack([e.known for e in examples])


def _take_step(
    state: State, batch: Batch, recipe: Recipe, device: str, world: int
) -> tuple[float, float]:
    """Step once on a batch, and move the running mean; return loss and Dice."""
    settings = recipe.training
    image, target, known = (part.to(device) for part in batch)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, recipe)
    state.network.train()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=_has_fast_bfloat16(device)):
        logits = state.network(image)
    loss = LOSSES[settings.loss](logits.float(), target, known)
    if not torch.isfinite(loss):
        raise WeightsError(
            f"the loss became {loss.item()} at step {state.step}; the last checkpoint is kept. "
            "Lower learning_rate in the recipe, and look for broken scans."
        )
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    _average_gradients(state.network, world)
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
    state.optimiser.step()
    state.step += 1
    _move_mean(state, min(settings.ema, state.step / (state.step + 10)))
    return loss.item(), hard_dice(logits[:, :1].detach(), target[:, :1]).mean().item()


def learning_rate(step: int, recipe: Recipe) -> float:
    """Warm-up, then constant or a cosine down to a hundredth at the horizon."""
    settings = recipe.training
    rate = settings.learning_rate * min(1.0, (step + 1) / settings.warmup)
    if settings.schedule == "constant":
        return rate
    done = min(1.0, step / settings.horizon)
    return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def _move_mean(state: State, decay: float) -> None:
    weights = state.network.state_dict()
    for name, value in state.mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(weights[name], 1 - decay)
        else:
            value.copy_(weights[name])


@torch.no_grad()
def _validate(state: State, examples: list[Example], run: Run, device: str) -> None:
    """Look at the heads kept apart; keep the weights if they are the best so far."""
    if not run.writes:
        return
    state.mean.eval()
    rows = []
    pictures = []
    for example in examples:
        image, target, known = (part.to(device) for part in _stack([example]))
        logits = state.mean(image)
        loss = LOSSES[run.recipe.training.loss](logits, target, known).item()
        overlaps = hard_dice(logits, target)[0, 0].item(), hard_iou(logits, target)[0, 0].item()
        rows.append((loss, *overlaps))
        pictures.append(logits[0, 0].cpu())
    loss, overlap, iou = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    logger.info("step %d: validation Dice %.4f, IoU %.4f", state.step, overlap, iou)
    run.log_validation(state, loss, overlap, iou)
    worst = min(range(len(rows)), key=lambda k: rows[k][1])
    run.draw(state.step, examples[worst], pictures[worst], rows[worst][1])


def _describe(
    step: int, last: int, loss: float, overlap: float, seconds: float, left: float
) -> str:
    minutes = min((last - step) * seconds, left) / 60
    return (
        f"step {step} of {last}, loss {loss:.3f}, Dice {overlap:.3f}, {seconds:.2f} s a step, "
        f"{minutes:.0f} min left"
    )


def _has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32: on GPUs, and on CPUs with AMX."""
    if device != "cpu":
        return True
    return bool(torch.cpu._is_amx_tile_supported())


def _join_processes(device: str) -> tuple[int, int]:
    """Join the processes that torchrun started; this one's number and how many there are."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    return distributed.get_rank(), world


def _average_gradients(network: UNet, world: int) -> None:
    if world == 1:
        return
    for parameter in network.parameters():
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= world


def _agree(stop: bool, world: int) -> bool:
    """Whether any of the processes wants to stop."""
    if world == 1:
        return stop
    wish = torch.tensor(float(stop))
    distributed.all_reduce(wish)
    return bool(wish > 0)


def check_batch(recipe: Recipe, world: int) -> None:
    """Refuse processes that would have unequal shares of a batch."""
    if recipe.training.batch % world:
        raise InputError(
            f"{world} processes cannot share a batch of {recipe.training.batch} equally; set "
            "training.batch in the recipe to a multiple."
        )
