"""Examples and batches: what a training step sees, made from prepared heads.

Example m of step n is drawn by a seed of its own, so that it is the same whoever makes it and
whatever was made before.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from deskull.prepare.conform import WindowSettings
from deskull.prepare.intensity import normalise
from deskull.train.augment import (
    corrupt,
    cut_field,
    draw_pose,
    draw_voxel_size,
    make_points,
    remove_face,
    sample,
)
from deskull.train.draws import Draws
from deskull.train.losses import to_distance
from deskull.train.pairs import RealHead
from deskull.train.recipe import CHANNELS, NO_AUGMENTATION, AugmentSettings, Recipe
from deskull.train.sources import Sources
from deskull.train.synthesis import Example, synthesise

MAX_REAL_CORRUPTION = 0.6
"""Strength of artefacts added to real scans, relative to synthetic ones: they have their own."""

CUDA_MAKERS = 4
"""Threads that make examples on an NVIDIA GPU: each launches its work and mostly waits."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 1, X, Y, Z), targets (N, outputs, X, Y, Z), and which are known (N, outputs)."""

Drawn = TypeVar("Drawn")


def make_example(sources: Sources, recipe: Recipe, draws: Draws) -> Example:
    """Draw a participant and one of the heads, augment it, and normalise it for the network.

    Parameters
    ----------
    sources
        Heads to draw from, at least one.
    recipe
        Recipe with the shares of real and synthetic heads, and the limits of augmentation.
    draws
        Source of randomness; the same state gives the same example.
    """
    real_share = recipe.training.real_share if sources.labelled else 1.0
    if sources.real and draws.uniform(0, 1) < real_share:
        head = _draw(_draw(sources.real_by_participant, draws), draws)
        example = make_real_example(head, recipe, recipe.augment, draws)
    elif draws.chance(recipe.augment.phantom):
        example = make_phantom(recipe.window, recipe.augment, draws)
    else:
        maps = _draw(sources.labelled_by_participant, draws)
        example = synthesise(_draw(maps, draws), recipe.window, recipe.augment, draws)
    return _finish(example, recipe)


def _draw(things: Sequence[Drawn], draws: Draws) -> Drawn:
    return things[draws.below(len(things))]


def make_real_example(
    head: RealHead, recipe: Recipe, augment: AugmentSettings, draws: Draws
) -> Example:
    """Augment a real head: pose, cut field of view, artefacts.

    Parameters
    ----------
    head
        Prepared for the recipe.
    recipe
        Recipe with the window.
    augment
        Limits of augmentation.
    draws
        Source of randomness.

    Returns
    -------
    Example
        With a known target for the brain alone.
    """
    window, pose = recipe.window, draw_pose(augment, draws)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, augment, draws)
    points = make_points(window.shape, voxel_size, pose, augment, draws)
    channels = torch.from_numpy(head.channels).to(draws.device).float()
    middle = (torch.tensor(channels.shape[1:], device=draws.device) - 1) / 2
    image, brain = sample(channels, points / head.voxel_size + middle)
    image = remove_face(image, points, augment, draws)
    strength = augment.corruption * draws.uniform(0, MAX_REAL_CORRUPTION)
    if augment.corruption:
        image = corrupt(image, voxel_size, draws, strength)
    image, field = cut_field(image, augment, draws)
    target = torch.stack([brain.clamp(0, 1) * field, torch.zeros_like(brain)])
    return Example(image, target, torch.tensor([1.0, 0.0]), voxel_size)


def make_phantom(window: WindowSettings, settings: AugmentSettings, draws: Draws) -> Example:
    """Make an object without a brain: a ball, a box or a cylinder with inserts.

    Parameters
    ----------
    window, settings, draws
        Window, limits of the augmentation and source of randomness, as for `synthesis.synthesise`.
    """
    pose = draw_pose(settings, draws)
    half = torch.tensor([draws.uniform(40, 100) for _ in range(3)])
    voxel_size = draw_voxel_size(window, 1.5 * half, pose, settings, draws)
    half = half.to(draws.device)
    points = make_points(window.shape, voxel_size, pose, settings, draws)
    scaled = points.abs() / half
    kind = int(draws.uniform(0, 3))
    if kind == 0:
        inside = scaled.norm(dim=-1) < 1
    elif kind == 1:
        inside = scaled.amax(dim=-1) < 1
    else:
        inside = (scaled[..., :2].norm(dim=-1) < 1) & (scaled[..., 2] < 1)
    image = inside * draws.uniform(0.3, 1.2)
    for _ in range(int(draws.uniform(0, 12))):
        place = (2 * draws.uniforms(3).to(draws.device) - 1) * half * 0.8
        insert = (points - place).norm(dim=-1) < draws.uniform(4, 25)
        image = torch.where(insert & inside, draws.uniform(0, 1.2), image)
    image = corrupt(image, voxel_size, draws, settings.corruption)
    target = torch.zeros((2, *window.shape), device=draws.device)
    return Example(image, target, torch.ones(2), voxel_size)


def make_plain_examples(sources: Sources, recipe: Recipe) -> Iterator[tuple[str, Example]]:
    """Make one example of each head, always the same: scans as they are, synthetic heads seeded.

    Yields
    ------
    tuple
        Name of the head, and the example.
    """
    for number, scan in enumerate(sources.real):
        draws = Draws(number)
        example = make_real_example(scan, recipe, NO_AUGMENTATION, draws)
        yield scan.name, _finish(example, recipe)
    for number, head in enumerate(sources.labelled):
        draws = Draws(number)
        example = synthesise(head, recipe.window, recipe.augment, draws)
        yield head.participant, _finish(example, recipe)


def _finish(example: Example, recipe: Recipe) -> Example:
    """Normalise the image, select the outputs, and convert shares to the target of the loss."""
    image = torch.from_numpy(normalise(example.image.cpu().numpy())).to(example.image.device)
    channels = [CHANNELS.index(name) for name in recipe.network.outputs]
    target = example.target[channels]
    if recipe.training.loss == "distance":
        target = to_distance(target, example.voxel_size).sigmoid()
    return replace(example, image=image, target=target, known=example.known[channels])


def make_batch(
    sources: Sources, recipe: Recipe, rank: int, count: int, step: int, device: str = "cpu"
) -> Batch:
    """Make the examples of a step that belong to one process.

    Parameters
    ----------
    sources, recipe
        Heads to draw from, and recipe, as for `make_example`.
    rank, count
        Number of the process, from 0, and number of processes that share the batch.
    step
        Number of the step, from 0.
    device
        Torch device that makes the examples.
    """
    examples = []
    for member in range(rank, recipe.training.batch, count):
        draws = Draws(make_seed(recipe, step, member), device)
        examples.append(make_example(sources, recipe, draws))
    return stack(examples)


def make_seed(recipe: Recipe, step: int, member: int) -> int:
    """Give each draw of a run its own seed.

    Examples
    --------
    >>> from deskull.train.recipe import load_recipe
    >>> make_seed(load_recipe("segment"), step=2, member=3)
    515
    """
    return (recipe.seed << 40) + (step << 8) + member


def stack(examples: list[Example]) -> Batch:
    """Make a batch of examples."""
    image = torch.stack([e.image for e in examples])[:, None]
    target = torch.stack([e.target for e in examples])
    return image, target, torch.stack([e.known for e in examples])


class Batches:
    """The batches of the next steps, made ahead by threads that use one core each.

    Parameters
    ----------
    make
        Makes the batch of a step.
    makers
        Number of threads, and of batches held in memory.
    device
        Torch device on which `make` makes them; on a GPU each thread has a stream of its own,
        so that it does not wait for the training step.
    """

    def __init__(self, make: Callable[[int], Batch], makers: int, device: str = "cpu") -> None:
        self.make, self.makers, self.device = make, makers, torch.device(device)
        self.threads = torch.get_num_threads()  # of this thread, which keeps them
        self.pool = ThreadPoolExecutor(makers, initializer=self._begin_thread)
        self.coming: dict[int, Future[Batch]] = {}

    def _begin_thread(self) -> None:
        torch.set_num_threads(1)
        if self.device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream(self.device))  # type: ignore[no-untyped-call]

    def _make(self, step: int) -> Batch:
        batch = self.make(step)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return batch

    def take(self, step: int) -> Batch:
        """Return the batch of a step, and have as many more made as there are threads."""
        for number in range(step, step + self.makers + 1):
            if number not in self.coming:
                self.coming[number] = self.pool.submit(self._make, number)
        batch = self.coming.pop(step).result()
        for tensor in batch:
            if tensor.is_cuda:  # its memory belongs to the stream of the thread
                tensor.record_stream(torch.cuda.current_stream(self.device))
        return batch

    def close(self) -> None:
        """Make no more batches, and give later threads their cores back."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads)


def choose_maker(device: str) -> tuple[str, int]:
    """Choose where examples are made for training on a device, and by how many threads.

    Examples
    --------
    >>> choose_maker("cpu"), choose_maker("cuda:1")
    (('cpu', 1), ('cuda:1', 4))
    """
    if device.startswith("cuda"):
        return device, CUDA_MAKERS
    return "cpu", 1 if device == "cpu" else max(1, torch.get_num_threads() - 1)
