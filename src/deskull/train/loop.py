"""The training loop: from heads to weights; interrupted and resumed at any step.

The folder of a run is `run_folder.py`. Step n always sees the same examples and drops the same
features, so that a resumed run gives the weights of an uninterrupted one. Processes started by
torchrun share each batch and their gradients, see `processes.py`. `evaluate` measures the overlap
with the references, in the network's window.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from deskull.errors import InputError, OptionError, WeightsError
from deskull.network.unet import UNet, compute_logits
from deskull.train.checkpoint import State
from deskull.train.examples import (
    Batch,
    Batches,
    choose_maker,
    make_batch,
    make_plain_examples,
    make_seed,
    stack,
)
from deskull.train.losses import (
    HeadOverlap,
    dice_and_cross_entropy_loss,
    dice_loss,
    distance_loss,
    overlap,
)
from deskull.train.processes import Group, StopRequest, join_processes, record_stop_signals
from deskull.train.recipe import MAX_BATCH, Recipe
from deskull.train.run_folder import Run, seeded
from deskull.train.sources import Sources
from deskull.train.synthesis import Example

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 120
"""Time between two checkpoints."""

LOSSES = {
    "dice": dice_loss,
    "dice_and_cross_entropy": dice_and_cross_entropy_loss,
    "distance": distance_loss,
}
Show = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """When a call of `train` stops.

    Parameters
    ----------
    steps
        Number of steps in all, counted from the first of the run; the recipe's horizon if not
        given.
    minutes
        Longest time of this call in minutes; no limit if not given.

    Raises
    ------
    OptionError
        If a limit is negative or not a number.

    Examples
    --------
    >>> Limits(steps=100, minutes=2.5).steps
    100
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("minutes", self.minutes)):
            if value is not None and not value >= 0:
                raise OptionError(f"{name} {value}; expected 0 or more.")

    def find_last_step(self, recipe: Recipe) -> int:
        """Return the number of steps at which a run is complete."""
        return recipe.training.horizon if self.steps is None else self.steps


@dataclass(frozen=True)
class Start:
    """Weights that a new run begins with; they are validated before the first step.

    Parameters
    ----------
    network
        Network with the recipe's architecture.
    teaches
        Whether the network, unchanged, is the teacher of outputs without a target.
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
    """Train until a limit is reached; go on with the run of the folder if there is one.

    Parameters
    ----------
    sources
        Heads to train on.
    recipe
        Settings of the run; a folder with a run keeps its own, which must be equal.
    folder
        Folder of the run.
    limits
        When this call stops.
    validation
        Heads that are held out, by which the best weights are chosen; None for none.
    start
        Weights that a new run begins with; random ones if not given.
    device
        Torch device.
    show
        Called with one line of progress per step.

    Returns
    -------
    Path
        Folder of the run.

    Raises
    ------
    WeightsError
        If the loss or its gradient is not finite; the last good checkpoint stays.
    InputError
        If the folder was begun with another recipe, the processes cannot share a batch, or
        there is not enough memory for one.
    KeyboardInterrupt
        After SIGINT, SIGTERM or SIGHUP; the step was completed and saved, and the same call
        goes on.
    """
    with join_processes(device) as group, record_stop_signals() as request:
        group.check_batch(recipe.training.batch)
        loop = _Loop(group, Run(folder, recipe, writes=group.is_first), sources, start)
        plain = () if validation is None else make_plain_examples(validation, recipe)
        held_out = [example for _, example in plain]
        with _explain_memory(recipe):
            try:
                if start is not None:
                    loop.validate_first(held_out)
                interrupted = loop.go(limits, held_out, request, show)
            finally:
                loop.run.close()
        group.wait()
    if interrupted:
        raise KeyboardInterrupt
    return folder


class _Loop:
    """A run in one process: its state, its batches, and its teacher."""

    def __init__(self, group: Group, run: Run, sources: Sources, start: Start | None) -> None:
        self.group, self.run, self.recipe = group, run, run.recipe
        self.state = run.begin(start.network if start else None, group.device)
        teacher = start.network if start and start.teaches else None
        self.teacher = None if teacher is None else teacher.to(group.device).eval()
        self.place, self.makers = choose_maker(group.device)
        shared = (sources, run.recipe, group.rank, group.count)
        self.make = partial(make_batch, *shared, device=self.place)

    def validate_first(self, held_out: list[Example]) -> None:
        """Validate before the first step of a run."""
        if held_out and not self.run.list_validated():
            _validate(self.state, held_out, self.run, self.group.device)

    def go(
        self, limits: Limits, held_out: list[Example], request: StopRequest, show: Show
    ) -> bool:
        """Take steps until a limit or a stop request; return whether it was a stop request."""
        state, run, group = self.state, self.run, self.group
        last_step = limits.find_last_step(self.recipe)
        if 0 < state.step >= last_step:
            logger.warning(
                "%s: the run is complete at step %d of %d; nothing is trained",
                *(run.folder, state.step, last_step),
            )
        stop_at = math.inf if limits.minutes is None else time.monotonic() + 60 * limits.minutes
        saved_at, began, interrupted = time.monotonic(), time.monotonic(), False
        batches = Batches(self.make, self.makers, self.place)
        try:
            while state.step < last_step:
                votes = group.add([request.stop, time.monotonic() > stop_at])
                interrupted = votes[0] > 0
                if any(votes):
                    break
                measured = self.take_step(batches.take(state.step))
                seconds, began = time.monotonic() - began, time.monotonic()
                run.log_step(state.step, *measured, seconds)
                show(_describe(state.step, last_step, measured, seconds, stop_at - began))
                if held_out and state.step % self.recipe.training.validate_every == 0:
                    _validate(state, held_out, run, group.device)
                if began - saved_at > CHECKPOINT_SECONDS:
                    run.save(state)
                    saved_at = began
        finally:
            batches.close()
        run.save(state)
        if interrupted:
            logger.warning("stopped at step %d; the same command goes on from there", state.step)
        elif held_out and self.ends_with_validation():
            _validate(state, held_out, run, group.device)
        run.draw_curves()
        return interrupted

    def ends_with_validation(self) -> bool:
        """Whether a call validates at its end: as an uninterrupted run, or as the first time."""
        step, steps = self.state.step, self.run.list_validated()
        return step not in steps and (step >= self.recipe.training.horizon or not any(steps))

    def take_step(self, batch: Batch) -> tuple[float, float, float]:
        """Take one step, update the running mean of the weights; return loss, Dice and IoU."""
        state, settings, device = self.state, self.recipe.training, self.group.device
        image, target, known = (part.to(device) for part in batch)
        brain = self.recipe.network.outputs.index("brain")
        if self.teacher is not None:
            target, known = _fill_unknown(self.teacher, image, target, known, brain)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(state.step, self.recipe)
        state.network.train()
        # Seeds of dropout count down from the end; those of the examples count up from 0.
        seed = make_seed(self.recipe, state.step, 2 * MAX_BATCH - 1 - self.group.rank)
        with seeded(seed, device):
            logits = compute_logits(state.network, image)
        loss = LOSSES[settings.loss](logits, target, known)
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
        total = self.group.add([loss.item(), *overlap(logits.detach(), target, brain)])
        mean_loss, dice, iou = (number / self.group.count for number in total)
        return mean_loss, dice, iou


def _diverged(what: str, step: int) -> WeightsError:
    return WeightsError(
        f"{what} at step {step}; the last checkpoint is kept. Lower learning_rate in the "
        "recipe, and look for broken scans."
    )


@torch.no_grad()
def _fill_unknown(
    teacher: UNet, image: Tensor, target: Tensor, known: Tensor, brain: int
) -> tuple[Tensor, Tensor]:
    """Replace unknown targets by the teacher's output, within the target of the brain."""
    if bool(known.all()):
        return target, known
    output = torch.minimum(teacher(image).sigmoid(), target[:, brain : brain + 1])
    is_known = known[:, :, None, None, None] > 0
    return torch.where(is_known, target, output), torch.ones_like(known)


@contextmanager
def _explain_memory(recipe: Recipe) -> Iterator[None]:
    """Raise an error that says what to do where torch runs out of memory."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).lower()
        lacks_memory = "not enough memory" in message or "allocate memory" in message
        if not lacks_memory and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise InputError(
            f"not enough memory for a step of batch {recipe.training.batch} with windows of "
            f"{recipe.window.shape} voxels. Lower training.batch, window.shape or "
            "network.filters in the recipe, and choose another --out."
        ) from error


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: warm-up, then constant or a cosine.

    Parameters
    ----------
    step
        Number of the step, from 0.
    recipe
        Recipe with the schedule; the cosine ends at a hundredth at the horizon.

    Examples
    --------
    >>> from deskull.train.recipe import load_recipe
    >>> recipe = load_recipe("segment")
    >>> learning_rate(0, recipe) < learning_rate(recipe.training.warmup, recipe)
    True
    """
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
    """Validate on the heads that are held out; keep the weights if they are the best so far."""
    if not run.writes:
        return
    state.mean.eval()
    brain = run.recipe.network.outputs.index("brain")
    rows, pictures = [], []
    for example in examples:
        image, target, known = (part.to(device) for part in stack([example]))
        logits = compute_logits(state.mean, image)
        loss = LOSSES[run.recipe.training.loss](logits, target, known).item()
        rows.append((loss, *overlap(logits, target, brain)))
        pictures.append(logits[0, brain].cpu())
    loss, mean_dice, mean_iou = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    logger.info("step %d: validation Dice %.4f, IoU %.4f", state.step, mean_dice, mean_iou)
    run.log_validation(state, loss, mean_dice, mean_iou)
    worst = min(range(len(rows)), key=lambda k: rows[k][1])
    run.draw(state.step, examples[worst], pictures[worst], rows[worst][1])


def _describe(
    step: int, last: int, measured: tuple[float, float, float], seconds: float, left: float
) -> str:
    minutes = min((last - step) * seconds, left) / 60
    loss, dice, iou = measured
    return (
        f"step {step} of {last}, loss {loss:.3f}, Dice {dice:.3f}, IoU {iou:.3f}, "
        f"{seconds:.2f} s a step, {minutes:.0f} min left"
    )


@torch.no_grad()
def evaluate(
    network: UNet, sources: Sources, recipe: Recipe, device: str = "cpu"
) -> list[HeadOverlap]:
    """Measure the overlap on every head as it is, in the network's window.

    Parameters
    ----------
    network
        Moved to the device, and put into evaluation mode.
    sources
        Heads to evaluate on, at least one.
    recipe
        Recipe that the network was trained by.
    device
        Torch device.
    """
    network.to(device).eval()
    brain = recipe.network.outputs.index("brain")
    overlaps = []
    for name, example in make_plain_examples(sources, recipe):
        logits = network(example.image[None, None].to(device))
        target = example.target[None].to(device)
        overlaps.append(HeadOverlap(name, *overlap(logits, target, brain)))
    return overlaps
