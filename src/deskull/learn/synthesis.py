"""A new head every time: a label map, posed and deformed, painted with random intensities.

After SynthStrip (Hoopes et al. 2022) and SynthSeg (Billot et al. 2023): a network that has
seen every contrast relies on none. Poses and scanner faults are `augment.py`.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from deskull.learn.augment import (
    AugmentSettings,
    add_noise,
    chance,
    corrupt,
    draw_field,
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
    tissue = _split_tissues(_nearest(torch.from_numpy(head.tissue), index), generator)
    blocks = (index - (head.block - 1) / 2) / head.block
    target = sample(torch.from_numpy(head.fractions), blocks).clamp(0, 1)
    image = remove_face(paint(tissue, generator, contrast), points, settings, generator)
    strength = settings.corruption * uniform(0.2, 1.0, generator)
    if settings.corruption:
        image = corrupt(image, voxel_size, generator, strength)
    field = draw_field(shape, settings, generator)
    return Example(image * field, target * field, torch.ones(2))


def _nearest(values: Tensor, index: Tensor) -> Tensor:
    """Values at the nearest voxels, 0 outside."""
    rounded = index.round().long()
    size = torch.tensor(values.shape)
    inside = ((rounded >= 0) & (rounded < size)).all(-1)
    x, y, z = rounded.clamp(min=torch.zeros(3, dtype=torch.long), max=size - 1).unbind(-1)
    flat = (x * size[1] + y) * size[2] + z
    return torch.take(values, flat) * inside


def _split_tissues(tissue: Tensor, generator: Generator) -> Tensor:
    """Make parts that no label knows: fat and flesh under the skin, sinuses, marrow, air."""
    codes = tissue_codes()
    fields = smooth_field(tuple(tissue.shape), int(uniform(10, 40, generator)), generator, 3)
    out = tissue.clone()
    soft = tissue == codes["soft"]
    out[soft & (fields[0] > uniform(-0.3, 0.6, generator))] = codes["fat"]
    out[soft & (fields[0] < uniform(-0.9, -0.3, generator))] = codes["flesh"]
    out[soft & (fields[1] > uniform(0.8, 1.6, generator))] = codes["fluid"]
    if chance(0.3, generator):
        out[soft & (fields[2] > uniform(0.9, 1.6, generator))] = 0
    bone = tissue == codes["bone"]
    out[bone & (fields[1] > uniform(0.2, 1.2, generator))] = codes["marrow"]
    outer = (tissue == codes["csf"]) | (tissue == codes["dura"])
    out[outer & (fields[2] > uniform(0.6, 1.5, generator))] = codes["sinus"]
    if chance(0.3, generator):
        out[out == codes["dura"]] = codes["csf" if chance(0.5, generator) else "bone"]
    return out


def paint(tissue: Tensor, generator: Generator, contrast: str | None = None) -> Tensor:
    """Give every tissue an intensity: around those of a known contrast, or any at all.

    Parameters
    ----------
    tissue
        Codes, (X, Y, Z) uint8.
    generator
        The source of chance.
    contrast
        ``"T1w"``, ``"T2w"``, ``"FLAIR"`` or ``"PD"``; drawn if not given, often none at all.

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
    return "T1w" if kind < 0.7 else ("T2w", "FLAIR", "PD")[int(uniform(0, 3, generator))]
