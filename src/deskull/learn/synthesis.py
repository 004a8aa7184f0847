"""A new head every time: a label map, posed and deformed, painted with random intensities.

After SynthStrip (Hoopes et al. 2022) and SynthSeg (Billot et al. 2023): a network that has
seen every contrast relies on none. Poses and scanner faults are `augment.py`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from deskull.image.geometry import Shape
from deskull.learn.anatomy import tighten, vary_anatomy
from deskull.learn.augment import (
    AugmentSettings,
    add_noise,
    chance,
    corrupt,
    cut_field,
    draw_pose,
    draw_voxel_size,
    make_points,
    remove_face,
    sample,
    smooth_field,
    uniform,
)
from deskull.learn.labels import LabelledHead, load_tissues, tissue_codes
from deskull.prepare.conform import WindowSettings

PAINTED_MM = 1.0  # voxels of the scan that a synthetic head is, before it is conformed
MAX_FINER = 1.6  # finer than the window at most: a coarse one need not be painted at 1 mm
SWAPPED = 0.06  # share of heads with grey and white matter swapped, as in the first months


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
    voxel_size
        Of the window, mm.
    tissue
        Codes of `labels.tissue_codes` at the nearest painted voxels, (X, Y, Z) uint8, of a
        synthetic head before it was damaged; None of a scan.
    """

    image: Tensor
    target: Tensor
    known: Tensor
    voxel_size: float
    tissue: Tensor | None = None


def synthesise(
    head: LabelledHead,
    window: WindowSettings,
    settings: AugmentSettings,
    generator: Generator,
    contrast: str | None = None,
) -> Example:
    """Make one random head and its exact truth.

    Intensities are painted at `PAINTED_MM` and read off at the window's voxels, so that these
    hold parts of several tissues as those of a conformed scan do.

    Parameters
    ----------
    head
        Whose head.
    window
        The network's; a fitted one follows the head.
    settings
        How far poses and fields may go.
    generator
        The source of chance; the same state gives the same head.
    contrast
        As for `paint`.
    """
    pose = draw_pose(settings, generator)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, settings, generator)
    points = make_points(window.shape, voxel_size, pose, settings, generator)
    painted = max(PAINTED_MM, voxel_size / MAX_FINER)
    fine = _resize(points.permute(3, 0, 1, 2), _finer(window.shape, voxel_size / painted))
    fine = fine.permute(1, 2, 3, 0)
    labels = _nearest(torch.from_numpy(head.tissue), _to_index(fine, head))
    tight = tighten(labels, painted, settings, generator)
    tissue = vary_anatomy(tight, fine, painted, settings, generator)
    image = _resize(paint(tissue, generator, contrast)[None], window.shape)[0]
    target = _read_truth(head, points, voxel_size)
    target[0] *= 1 - _resize((tight != labels).float()[None], window.shape)[0]
    image = remove_face(image, points, settings, generator)
    if chance(settings.stripped, generator):
        image = image * (target[0] > 0.5)
    strength = settings.corruption * uniform(0.2, 1.0, generator)
    if settings.corruption:
        image = corrupt(image, voxel_size, generator, strength)
    image, field = cut_field(image, settings, generator)
    nearest = F.interpolate(tissue[None, None], size=window.shape, mode="nearest-exact")[0, 0]
    return Example(image, target * field, torch.ones(2), voxel_size, nearest)


def _finer(shape: Shape, factor: float) -> Shape:
    x, y, z = (round(n * max(1.0, factor)) for n in shape)
    return x, y, z


def _resize(values: Tensor, shape: Shape) -> Tensor:
    """Read (C, X, Y, Z) off at the voxels of a grid over the same field, linearly."""
    if tuple(values.shape[1:]) == tuple(shape):
        return values
    resized: Tensor = F.interpolate(values[None], size=shape, mode="trilinear")
    return resized[0]


def _to_index(points: Tensor, head: LabelledHead) -> Tensor:
    """Millimetres from the brain's middle to voxels of the label map."""
    return points / head.voxel_size + torch.from_numpy(head.centre).float()


def _read_truth(head: LabelledHead, points: Tensor, voxel_size: float) -> Tensor:
    """Shares of brain, and of brain without outer CSF, at the window's voxels."""
    block = max(1, int(voxel_size / head.voxel_size + 0.01))
    truth = torch.from_numpy(head.truth).float()
    if block > 1:
        truth = F.avg_pool3d(truth, block)
    index = (_to_index(points, head) - (block - 1) / 2) / block
    return sample(truth, index).clamp(0, 1)


def make_phantom(
    window: WindowSettings, settings: AugmentSettings, generator: Generator
) -> Example:
    """Make a thing that is no head, and holds no brain: a ball, a box or a can with inserts.

    Parameters
    ----------
    window
        The network's.
    settings, generator
        As for `synthesise`.
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
    if chance(SWAPPED, generator):
        grey, white = codes["cortex"], codes["white_matter"]
        means[[grey, white]] = means[[white, grey]]
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
