"""A new head every time: a label map, posed and deformed, painted with random intensities.

After SynthStrip (Hoopes et al. 2022) and SynthSeg (Billot et al. 2023): a network that has
seen every contrast relies on none. Poses and scanner faults are `augment.py`.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from deskull.learn.anatomy import vary_anatomy
from deskull.learn.augment import (
    AugmentSettings,
    add_noise,
    chance,
    corrupt,
    cut_field,
    make_points,
    remove_face,
    sample,
    smooth_field,
    uniform,
)
from deskull.learn.labels import LabelledHead, load_tissues, tissue_codes


@dataclass(frozen=True)
class Example:
    """One thing to learn from.

    Parameters
    ----------
    image
        (X, Y, Z) float32, in any units.
    target
        (outputs, X, Y, Z): share of each voxel that belongs, in [0, 1].
    known
        (outputs,) 1 where the target is known, else 0.
    """

    image: Tensor
    target: Tensor
    known: Tensor


def synthesise(
    head: LabelledHead,
    shape: tuple[int, int, int],
    voxel_size: float,
    settings: AugmentSettings,
    generator: Generator,
    contrast: str | None = None,
) -> Example:
    """Make one random head and its exact truth.

    Parameters
    ----------
    head
        Whose head.
    shape, voxel_size
        Of the window, voxels in mm.
    settings
        How far poses and fields may go.
    generator
        The source of chance; the same state gives the same head.
    contrast
        As for `paint`.
    """
    points = make_points(shape, voxel_size, settings, generator)
    index = points / head.voxel_size + torch.from_numpy(head.centre).float()
    labels = _nearest(torch.from_numpy(head.tissue), index)
    tissue = vary_anatomy(labels, points, voxel_size, settings, generator)
    blocks = (index - (head.block - 1) / 2) / head.block
    target = sample(torch.from_numpy(head.fractions), blocks).clamp(0, 1)
    image = remove_face(paint(tissue, generator, contrast), points, settings, generator)
    if chance(settings.stripped, generator):
        image = image * (target[0] > 0.5)
    strength = settings.corruption * uniform(0.2, 1.0, generator)
    if settings.corruption:
        image = corrupt(image, voxel_size, generator, strength)
    image, field = cut_field(image, settings, generator)
    return Example(image, target * field, torch.ones(2))


def make_phantom(
    shape: tuple[int, int, int],
    voxel_size: float,
    settings: AugmentSettings,
    generator: Generator,
) -> Example:
    """Make a thing that is no head, and holds no brain: a ball, a box or a can with inserts.

    Parameters
    ----------
    shape, voxel_size
        Of the window, voxels in mm.
    settings, generator
        As for `synthesise`.
    """
    points = make_points(shape, voxel_size, settings, generator)
    half = torch.tensor([uniform(40, 100, generator) for _ in range(3)])
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
    return Example(image, torch.zeros((2, *shape)), torch.ones(2))


def _nearest(values: Tensor, index: Tensor) -> Tensor:
    """Values at the nearest voxels, 0 outside."""
    rounded = index.round().long()
    size = torch.tensor(values.shape)
    inside = ((rounded >= 0) & (rounded < size)).all(-1)
    x, y, z = rounded.clamp(min=torch.zeros(3, dtype=torch.long), max=size - 1).unbind(-1)
    flat = (x * size[1] + y) * size[2] + z
    return torch.take(values, flat) * inside


def paint(tissue: Tensor, generator: Generator, contrast: str | None = None) -> Tensor:
    """Give every tissue an intensity: around those of a known contrast, or any at all.

    Parameters
    ----------
    tissue
        Codes, (X, Y, Z) uint8.
    generator
        The source of chance.
    contrast
        ``"T1w"``, ``"T1c"`` (with contrast agent), ``"T2w"``, ``"FLAIR"`` or ``"PD"``; drawn if
        not given, often none at all.

    Returns
    -------
    Tensor
        (X, Y, Z) float32, tissue about 1.
    """
    codes = tissue_codes()
    means = torch.zeros(max(codes.values()) + 1)
    contrast = contrast or _draw_contrast(generator)
    if contrast is None:
        means[1:] = torch.rand(len(means) - 1, generator=generator) * 1.1
    else:
        for tissue_name, (mean, spread) in load_tissues()["contrast"][contrast].items():
            means[codes[tissue_name]] = mean + spread * uniform(-1.5, 1.5, generator)
    means = means.clamp(min=0.01)
    means[0] = 0
    texture = 0.02 + 0.10 * torch.rand(len(means), generator=generator)
    texture[0] = 0
    noise = torch.randn(tissue.shape, generator=generator)
    noise += smooth_field(tuple(tissue.shape), int(uniform(6, 40, generator)), generator)[0]
    code = tissue.long()
    image = means[code] + texture[code] * noise * uniform(0.2, 1.0, generator)
    if chance(0.2, generator):
        image = add_noise(image, uniform(0.02, 0.08, generator), generator)
    return image.clamp(min=0)


def _draw_contrast(generator: Generator) -> str | None:
    kind = uniform(0, 1, generator)
    if kind < 0.35:
        return None
    if kind < 0.65:
        return "T1w"
    return ("T1c", "T2w", "FLAIR", "PD")[int(uniform(0, 4, generator))]
