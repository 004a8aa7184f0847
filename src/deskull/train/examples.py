"""Examples and batches: what a training step sees, made from prepared heads.

Example m of step n is drawn by a seed of its own, so that it is the same whoever makes it and
whatever was made before.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Generator, Tensor

from deskull.prepare.conform import WindowSettings
from deskull.prepare.intensity import normalise
from deskull.train.augment import (
    chance,
    corrupt,
    cut_field,
    draw_pose,
    draw_voxel_size,
    make_points,
    remove_face,
    sample,
    uniform,
)
from deskull.train.data import Sources
from deskull.train.losses import to_distance
from deskull.train.pairs import RealHead
from deskull.train.recipe import CHANNELS, NO_AUGMENTATION, AugmentSettings, Recipe
from deskull.train.synthesis import Example, synthesise

MAX_REAL_CORRUPTION = 0.6
"""Strength of artefacts added to real scans, relative to synthetic ones: they have their own."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 1, X, Y, Z), targets (N, outputs, X, Y, Z), and which are known (N, outputs)."""

Drawn = TypeVar("Drawn")


def make_example(sources: Sources, recipe: Recipe, generator: Generator) -> Example:
    """Draw a participant and one of the heads, augment it, and normalise it for the network.

    Parameters
    ----------
    sources
        Heads to draw from, at least one.
    recipe
        Recipe with the shares of real and synthetic heads, and the limits of augmentation.
    generator
        Source of randomness; the same state gives the same example.
    """
    real_share = recipe.training.real_share if sources.labelled else 1.0
    if sources.real and uniform(0, 1, generator) < real_share:
        head = _draw(_draw(sources.real_by_participant, generator), generator)
        example = make_real_example(head, recipe, recipe.augment, generator)
    elif chance(recipe.augment.phantom, generator):
        example = make_phantom(recipe.window, recipe.augment, generator)
    else:
        maps = _draw(sources.labelled_by_participant, generator)
        example = synthesise(_draw(maps, generator), recipe.window, recipe.augment, generator)
    return _finish(example, recipe)


def _draw(things: Sequence[Drawn], generator: Generator) -> Drawn:
    return things[int(torch.randint(len(things), (), generator=generator))]


def make_real_example(
    head: RealHead, recipe: Recipe, augment: AugmentSettings, generator: Generator
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
    generator
        Source of randomness.

    Returns
    -------
    Example
        With a known target for the brain alone.
    """
    window, pose = recipe.window, draw_pose(augment, generator)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, augment, generator)
    points = make_points(window.shape, voxel_size, pose, augment, generator)
    index = points / head.voxel_size + (torch.tensor(head.channels.shape[1:]) - 1) / 2
    image, brain = sample(torch.from_numpy(head.channels).float(), index)
    image = remove_face(image, points, augment, generator)
    strength = augment.corruption * uniform(0, MAX_REAL_CORRUPTION, generator)
    if augment.corruption:
        image = corrupt(image, voxel_size, generator, strength)
    image, field = cut_field(image, augment, generator)
    target = torch.stack([brain.clamp(0, 1) * field, torch.zeros_like(brain)])
    return Example(image, target, torch.tensor([1.0, 0.0]), voxel_size)


def make_phantom(
    window: WindowSettings, settings: AugmentSettings, generator: Generator
) -> Example:
    """Make an object without a brain: a ball, a box or a cylinder with inserts.

    Parameters
    ----------
    window, settings, generator
        Window, limits of the augmentation and source of randomness, as for `synthesis.synthesise`.
    """
    pose = draw_pose(settings, generator)
    half = torch.tensor([uniform(40, 100, generator) for _ in range(3)])
    voxel_size = draw_voxel_size(window, 1.5 * half, pose, settings, generator)
    points = make_points(window.shape, voxel_size, pose, settings, generator)
    scaled = points.abs() / half
    kind = int(uniform(0, 3, generator))
    if kind == 0:
        inside = scaled.norm(dim=-1) < 1
    elif kind == 1:
        inside = scaled.amax(dim=-1) < 1
    else:
        inside = (scaled[..., :2].norm(dim=-1) < 1) & (scaled[..., 2] < 1)
    image = inside * uniform(0.3, 1.2, generator)
    for _ in range(int(uniform(0, 12, generator))):
        place = (2 * torch.rand(3, generator=generator) - 1) * half * 0.8
        insert = (points - place).norm(dim=-1) < uniform(4, 25, generator)
        image = torch.where(insert & inside, uniform(0, 1.2, generator), image)
    image = corrupt(image, voxel_size, generator, settings.corruption)
    return Example(image, torch.zeros((2, *window.shape)), torch.ones(2), voxel_size)


def make_plain_examples(sources: Sources, recipe: Recipe) -> Iterator[tuple[str, Example]]:
    """Make one example of each head, always the same: scans as they are, synthetic heads seeded.

    Yields
    ------
    tuple
        Name of the head, and the example.
    """
    for number, scan in enumerate(sources.real):
        draw = Generator().manual_seed(number)
        example = make_real_example(scan, recipe, NO_AUGMENTATION, draw)
        yield scan.name, _finish(example, recipe)
    for number, head in enumerate(sources.labelled):
        draw = Generator().manual_seed(number)
        example = synthesise(head, recipe.window, recipe.augment, draw)
        yield head.participant, _finish(example, recipe)


def _finish(example: Example, recipe: Recipe) -> Example:
    """Normalise the image, select the outputs, and convert shares to the target of the loss."""
    image = torch.from_numpy(normalise(example.image.numpy()))
    channels = [CHANNELS.index(name) for name in recipe.network.outputs]
    target = example.target[channels]
    if recipe.training.loss == "distance":
        target = to_distance(target, example.voxel_size).sigmoid()
    return replace(example, image=image, target=target, known=example.known[channels])


def make_batch(sources: Sources, recipe: Recipe, rank: int, count: int, step: int) -> Batch:
    """Make the examples of a step that belong to one process.

    Parameters
    ----------
    sources, recipe
        Heads to draw from, and recipe, as for `make_example`.
    rank, count
        Number of the process, from 0, and number of processes that share the batch.
    step
        Number of the step, from 0.
    """
    examples = []
    for member in range(rank, recipe.training.batch, count):
        generator = Generator().manual_seed(make_seed(recipe, step, member))
        examples.append(make_example(sources, recipe, generator))
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
    """

    def __init__(self, make: Callable[[int], Batch], makers: int) -> None:
        self.make, self.makers = make, makers
        self.threads = torch.get_num_threads()  # of this thread, which keeps them
        self.pool = ThreadPoolExecutor(makers, initializer=torch.set_num_threads, initargs=(1,))
        self.coming: dict[int, Future[Batch]] = {}

    def take(self, step: int) -> Batch:
        """Return the batch of a step, and have as many more made as there are threads."""
        for number in range(step, step + self.makers + 1):
            if number not in self.coming:
                self.coming[number] = self.pool.submit(self.make, number)
        return self.coming.pop(step).result()

    def close(self) -> None:
        """Make no more batches, and give later threads their cores back."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads)


def count_makers(device: str) -> int:
    """Choose how many threads make batches: one beside a CPU, all cores but one beside a GPU."""
    return 1 if device == "cpu" else max(1, torch.get_num_threads() - 1)
