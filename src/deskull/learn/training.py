"""The one training loop: from heads to weights, interrupted and resumed at will.

A run lives in a folder, see `runs.py`. Step n always sees the same examples and drops the same
features, whatever came between, so that a resumed run gives the weights of an uninterrupted
one. Started by torchrun, several processes share each batch and their gradients, see
`processes.py`.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from deskull.errors import InputError, OptionError, WeightsError
from deskull.learn.dataset import Sources, make_example, make_plain_examples
from deskull.learn.judging import overlaps
from deskull.learn.losses import dice, dice_and_cross_entropy, distance
from deskull.learn.processes import Group, Wish, join_processes, notice_interrupts, seeded
from deskull.learn.recipe import MOST_EXAMPLES, Recipe
from deskull.learn.runs import Run, State
from deskull.learn.synthesis import Example
from deskull.network.unet import UNet

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 120
LOSSES = {
    "dice": dice,
    "dice_and_cross_entropy": dice_and_cross_entropy,
    "distance": distance,
}
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

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("minutes", self.minutes)):
            if value is not None and not value >= 0:
                raise OptionError(f"{name} {value}; expected 0 or more.")


@dataclass(frozen=True)
class Start:
    """Weights to begin a new run with; they are judged before the first step.

    Parameters
    ----------
    network
        Of the recipe's kind.
    teaches
        Whether it is asked, unchanged, for what the examples leave unknown.
    """

    network: UNet
    teaches: bool = False


def train(
    sources: Sources,
    recipe: Recipe,
    folder: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    validation: Sources | None = None,
    start: Start | None = None,
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
        If the loss or its gradient is no number any more; the last good checkpoint stays.
    InputError
        If the folder was begun with another recipe, the processes cannot share a batch, or
        the memory does not hold one.
    KeyboardInterrupt
        After Ctrl-C or a kind kill; the step was ended and saved, the same call goes on.
    """
    with join_processes(device) as group, notice_interrupts() as wish:
        check_batch(recipe, group.count)
        loop = _Loop(group, Run(folder, recipe, writes=group.is_first), sources, start)
        plain = () if validation is None else make_plain_examples(validation, recipe)
        kept_apart = [example for _, example in plain]
        with _explain_memory(recipe):
            try:
                if start is not None:
                    loop.look_first(kept_apart)
                interrupted = loop.go(limits, kept_apart, wish, show)
            finally:
                loop.run.close()
        group.wait()
    if interrupted:
        raise KeyboardInterrupt
    return folder


class _Loop:
    """A run as one process sees it: its state, its batches, and what it is taught by."""

    def __init__(self, group: Group, run: Run, sources: Sources, start: Start | None) -> None:
        self.group, self.run, self.recipe = group, run, run.recipe
        self.state = run.begin(start.network if start else None, group.device)
        teacher = start.network if start and start.teaches else None
        self.teacher = None if teacher is None else teacher.to(group.device).eval()
        self.make = partial(_make_batch, sources, run.recipe, group)

    def look_first(self, kept_apart: list[Example]) -> None:
        """Look at the heads kept apart before any step."""
        if kept_apart and not self.run.has_validated:
            _validate(self.state, kept_apart, self.run, self.group.device)

    def go(self, limits: Limits, kept_apart: list[Example], wish: Wish, show: Show) -> bool:
        """Step until a limit is reached or someone asks to stop; say whether someone did."""
        state, run, group = self.state, self.run, self.group
        last_step = self.recipe.training.horizon if limits.steps is None else limits.steps
        stop_at = math.inf if limits.minutes is None else time.monotonic() + 60 * limits.minutes
        saved_at = began = time.monotonic()
        interrupted = late = False
        batches = _Batches(self.make, count_makers(group.device))
        try:
            while state.step < last_step:
                asked = group.add([wish.stop, time.monotonic() > stop_at])
                interrupted, late = asked[0] > 0, asked[1] > 0
                if interrupted or late:
                    break
                told = self.take_step(batches.take(state.step))
                seconds, began = time.monotonic() - began, time.monotonic()
                run.log_step(state.step, *told, seconds)
                show(_describe(state.step, last_step, told, seconds, stop_at - began))
                if kept_apart and state.step % self.recipe.training.validate_every == 0:
                    _validate(state, kept_apart, run, group.device)
                if began - saved_at > CHECKPOINT_SECONDS:
                    run.save(state)
                    saved_at = began
        finally:
            batches.close()
        run.save(state)
        if interrupted:
            logger.warning("interrupted at step %d; the same command goes on", state.step)
        return interrupted

    def take_step(self, batch: Batch) -> tuple[float, float, float]:
        """Step once on a batch, and move the running mean; return loss, Dice and IoU."""
        state, settings, device = self.state, self.recipe.training, self.group.device
        image, target, known = (part.to(device) for part in batch)
        image = image.contiguous(memory_format=torch.channels_last_3d)
        if self.teacher is not None:
            brain = self.recipe.network.outputs.index("brain")
            target, known = _ask(self.teacher, image, target, known, brain)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(state.step, self.recipe)
        state.network.train()
        precision = torch.autocast(
            device.split(":")[0], torch.bfloat16, enabled=_has_fast_bfloat16(device)
        )
        # Dropout's draws, apart from those of the examples, which count up from 0.
        seed = _make_seed(self.recipe, state.step, 2 * MOST_EXAMPLES - 1 - self.group.rank)
        with seeded(seed, device), precision:
            logits = state.network(image)
        loss = LOSSES[settings.loss](logits.float(), target, known)
        if not torch.isfinite(loss):
            raise _diverged(f"the loss became {loss.item()}", state.step)
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.group.average_gradients(state.network)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
        if not torch.isfinite(norm):
            raise _diverged(f"the gradient's norm became {norm.item()}", state.step)
        state.optimiser.step()
        self.group.average_statistics(state.network)
        state.step += 1
        _move_mean(state, min(settings.ema, state.step / (state.step + 10)))
        total = self.group.add([loss.item(), *overlaps(logits.detach(), target, self.recipe)])
        mean_loss, dice, iou = (number / self.group.count for number in total)
        return mean_loss, dice, iou


def _diverged(what: str, step: int) -> WeightsError:
    return WeightsError(
        f"{what} at step {step}; the last checkpoint is kept. Lower learning_rate in the "
        "recipe, and look for broken scans."
    )


@torch.no_grad()
def _ask(
    teacher: UNet, image: Tensor, target: Tensor, known: Tensor, brain: int
) -> tuple[Tensor, Tensor]:
    """Fill in what the examples leave unknown by a network's answer, within the brain."""
    if bool(known.all()):
        return target, known
    answer = torch.minimum(teacher(image).float().sigmoid(), target[:, brain : brain + 1])
    told = known[:, :, None, None, None] > 0
    return torch.where(told, target, answer), torch.ones_like(known)


@contextmanager
def _explain_memory(recipe: Recipe) -> Iterator[None]:
    """Say what to do where torch has not enough memory."""
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        told = "not enough memory" in words or "allocate memory" in words
        if not told and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise InputError(
            f"not enough memory for a step of batch {recipe.training.batch} with windows of "
            f"{recipe.window.shape} voxels. Lower training.batch, window.shape or "
            "network.filters in the recipe, and begin another --out."
        ) from error


class _Batches:
    """The batches of the next steps, made beside the step: at once so many, each on one core."""

    def __init__(self, make: Callable[[int], Batch], makers: int) -> None:
        self.make, self.makers = make, makers
        self.threads = torch.get_num_threads()  # asked here, this thread keeps them
        self.pool = ThreadPoolExecutor(makers, initializer=torch.set_num_threads, initargs=(1,))
        self.coming: dict[int, Future[Batch]] = {}

    def take(self, step: int) -> Batch:
        """Wait for the batch of this step, and have as many more begun as there are makers."""
        for number in range(step, step + self.makers + 1):
            if number not in self.coming:
                self.coming[number] = self.pool.submit(self.make, number)
        return self.coming.pop(step).result()

    def close(self) -> None:
        """Begin no more, and give later threads their cores back."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads)


def count_makers(device: str) -> int:
    """Count the batches to make at once: beside a GPU on all cores but one, else one."""
    return 1 if device == "cpu" else max(1, torch.get_num_threads() - 1)


def _make_batch(sources: Sources, recipe: Recipe, group: Group, step: int) -> Batch:
    """Make this process's share of a step's examples."""
    examples = []
    for member in range(group.rank, recipe.training.batch, group.count):
        generator = Generator().manual_seed(_make_seed(recipe, step, member))
        examples.append(make_example(sources, recipe, generator))
    return _stack(examples)


def _make_seed(recipe: Recipe, step: int, member: int) -> int:
    """One number for each draw of a run."""
    return (recipe.seed << 40) + (step << 8) + member


def _stack(examples: list[Example]) -> Batch:
    image = torch.stack([e.image for e in examples])[:, None]
    target = torch.stack([e.target for e in examples])
    return image, target, torch.stack([e.known for e in examples])


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
    brain = run.recipe.network.outputs.index("brain")
    rows = []
    pictures = []
    for example in examples:
        image, target, known = (part.to(device) for part in _stack([example]))
        logits = state.mean(image)
        loss = LOSSES[run.recipe.training.loss](logits, target, known).item()
        rows.append((loss, *overlaps(logits, target, run.recipe)))
        pictures.append(logits[0, brain].cpu())
    loss, overlap, iou = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    logger.info("step %d: validation Dice %.4f, IoU %.4f", state.step, overlap, iou)
    run.log_validation(state, loss, overlap, iou)
    worst = min(range(len(rows)), key=lambda k: rows[k][1])
    run.draw(state.step, examples[worst], pictures[worst], rows[worst][1])


def _describe(
    step: int, last: int, told: tuple[float, float, float], seconds: float, left: float
) -> str:
    minutes = min((last - step) * seconds, left) / 60
    loss, dice, iou = told
    return (
        f"step {step} of {last}, loss {loss:.3f}, Dice {dice:.3f}, IoU {iou:.3f}, "
        f"{seconds:.2f} s a step, {minutes:.0f} min left"
    )


def _has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32: on GPUs, on CPUs with AMX or AVX512-BF16."""
    if device != "cpu":
        return True
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def check_batch(recipe: Recipe, world: int) -> None:
    """Refuse processes that would have unequal shares of a batch."""
    if recipe.training.batch % world:
        raise InputError(
            f"{world} processes cannot share a batch of {recipe.training.batch} equally; set "
            "training.batch in the recipe to a multiple."
        )
