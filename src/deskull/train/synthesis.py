"""Synthetic heads: a label map, posed, deformed, varied, and given random intensities.

After SynthStrip (Hoopes et al. 2022) and SynthSeg (Billot et al. 2023): a network that has
seen every contrast relies on none. `vary_anatomy` adds what label maps do not show: parts of
tissues, thin and thick skulls, lesions, electrodes. Poses and artefacts are `augment.py`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from deskull.image.grid import Shape
from deskull.prepare.conform import WindowSettings
from deskull.train.augment import (
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
from deskull.train.labels import TISSUE, LabelledHead, load_tissues, tissue_codes
from deskull.train.recipe import AugmentSettings

SCAN_MM = 1.0
"""Voxel size at which intensities are drawn, before they are resampled to the window."""

MAX_FINER = 1.6
"""Largest ratio of the window's voxel size to that of the intensities."""

SWAPPED = 0.06
"""Share of heads with grey and white matter swapped, as in the first months of life."""

LATTICE_MM = 10.0
"""Distance between the contacts of a subdural grid."""

SINUS_MM = 4.0
"""Reach of the venous sinuses from the skull."""


@dataclass(frozen=True)
class Example:
    """One training example.

    Parameters
    ----------
    image
        Intensities in arbitrary units, (X, Y, Z) float32.
    target
        Share of each voxel that belongs to each output, (outputs, X, Y, Z) float32 in [0, 1].
    known
        Whether the target of each output is known, (outputs,) float32: 1 or 0.
    voxel_size
        Voxel size of the window in mm.
    tissue
        Tissue codes of a synthetic head before artefacts, at the window's voxels, (X, Y, Z)
        uint8; None for a scan.
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
    """Make one random synthetic head and its exact reference.

    Intensities are drawn at `SCAN_MM` and resampled to the window, so that its voxels have the
    partial volumes of a conformed scan.

    Parameters
    ----------
    head
        Label map to start from.
    window
        Settings of the network's window; a fitted window follows the head.
    settings
        Limits of poses, deformations, cut fields and artefacts.
    generator
        Source of randomness; the same state gives the same head.
    contrast
        Contrast as for `draw_intensities`.

    Returns
    -------
    Example
        With known targets for the brain and for the brain without outer CSF.
    """
    pose = draw_pose(settings, generator)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, settings, generator)
    points = make_points(window.shape, voxel_size, pose, settings, generator)
    fine_mm = max(SCAN_MM, voxel_size / MAX_FINER)
    fine = _resize(points.permute(3, 0, 1, 2), _finer(window.shape, voxel_size / fine_mm))
    fine = fine.permute(1, 2, 3, 0)
    labels = _nearest(torch.from_numpy(head.tissue), _to_index(fine, head))
    tight = tighten(labels, fine_mm, settings, generator)
    tissue = vary_anatomy(tight, fine, fine_mm, settings, generator)
    image = _resize(draw_intensities(tissue, generator, contrast)[None], window.shape)[0]
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
    """Resample (C, X, Y, Z) linearly to another number of voxels over the same field."""
    if tuple(values.shape[1:]) == tuple(shape):
        return values
    resized: Tensor = F.interpolate(values[None], size=shape, mode="trilinear")
    return resized[0]


def _to_index(points: Tensor, head: LabelledHead) -> Tensor:
    """Convert mm relative to the brain's centre to voxel indices of the label map."""
    return points / head.voxel_size + torch.from_numpy(head.centre).float()


def _read_truth(head: LabelledHead, points: Tensor, voxel_size: float) -> Tensor:
    """Return the shares of brain, and of brain without outer CSF, at the window's voxels."""
    block = max(1, int(voxel_size / head.voxel_size + 0.01))
    truth = torch.from_numpy(head.truth).float()
    if block > 1:
        truth = F.avg_pool3d(truth, block)
    index = (_to_index(points, head) - (block - 1) / 2) / block
    return sample(truth, index).clamp(0, 1)


def _nearest(values: Tensor, index: Tensor) -> Tensor:
    """Return the values at the nearest voxels; 0 outside."""
    rounded = index.round().long()
    size = torch.tensor(values.shape)
    inside = ((rounded >= 0) & (rounded < size)).all(-1)
    x, y, z = rounded.clamp(min=torch.zeros(3, dtype=torch.long), max=size - 1).unbind(-1)
    flat = (x * size[1] + y) * size[2] + z
    return torch.take(values, flat) * inside


def draw_intensities(tissue: Tensor, generator: Generator, contrast: str | None = None) -> Tensor:
    """Draw an intensity for every tissue: close to those of a known contrast, or any at all.

    Parameters
    ----------
    tissue
        Tissue codes, (X, Y, Z) uint8.
    generator
        Source of randomness.
    contrast
        ``"T1w"``, ``"T1c"`` (with contrast agent), ``"T2w"``, ``"FLAIR"`` or ``"PD"``; drawn at
        random if not given, often none at all.

    Returns
    -------
    Tensor
        (X, Y, Z) float32, tissue about 1.

    Examples
    --------
    >>> white = torch.full((4, 4, 4), tissue_codes()["white_matter"], dtype=torch.uint8)
    >>> bool(draw_intensities(white, torch.Generator(), "T1w").mean() > 0.5)
    True
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


def vary_anatomy(
    tissue: Tensor,
    points: Tensor,
    voxel_size: float,
    settings: AugmentSettings,
    generator: Generator,
) -> Tensor:
    """Vary the anatomy of a head beyond what its label map shows.

    Parameters
    ----------
    tissue
        Tissue codes as of `labels.tissue_codes`, (X, Y, Z) uint8.
    points
        Place of each voxel in mm relative to the brain's centre, (X, Y, Z, 3).
    voxel_size
        Voxel size of the tissue codes in mm.
    settings
        Give the shares of heads with lesions and electrodes.
    generator
        Source of randomness.

    Returns
    -------
    Tensor
        New tissue codes. A lesion or a cavity stays inside the brain's surface.
    """
    tissue = _vary_skull(tissue, generator)
    if chance(settings.lesion, generator):
        tissue = _add_lesion(tissue, points, generator)
    tissue = _split_tissues(tissue, voxel_size, generator)
    if chance(settings.electrodes, generator):
        tissue = _add_electrodes(tissue, points, voxel_size, generator)
    return tissue


def _vary_skull(tissue: Tensor, generator: Generator) -> Tensor:
    """Make the skull one voxel thicker or thinner on its outside."""
    if not chance(0.4, generator):
        return tissue
    codes = tissue_codes()
    grower, giver = ("bone", "soft") if chance(0.5, generator) else ("soft", "bone")
    near = _grow(tissue == codes[grower], 1)
    return torch.where(near & (tissue == codes[giver]), codes[grower], tissue)


def _grow(mask: Tensor, voxels: float) -> Tensor:
    """Dilate by a cube, one axis after the other."""
    reach = max(1, round(voxels))
    grown = mask.float()[None]
    for axis in range(3):
        lines = grown.movedim(1 + axis, -1)
        pooled: Tensor = F.max_pool1d(lines.flatten(0, -2), 2 * reach + 1, 1, reach)
        grown = pooled.view(lines.shape).movedim(-1, 1 + axis)
    return grown[0] > 0


def tighten(
    tissue: Tensor, voxel_size: float, settings: AugmentSettings, generator: Generator
) -> Tensor:
    """Let the cortex touch the dura in places, as in young adults.

    Parameters
    ----------
    tissue
        Tissue codes as of `labels.tissue_codes`, (X, Y, Z) uint8.
    voxel_size
        Voxel size of the tissue codes in mm.
    settings
        Give the share of heads that are changed (`tight`).
    generator
        Source of randomness.

    Returns
    -------
    Tensor
        Tissue codes in which CSF near dura or bone has become dura or bone where a smooth
        field exceeds a threshold. What changed is not brain, by any convention.
    """
    if not chance(settings.tight, generator):
        return tissue
    codes = tissue_codes()
    near = _grow(_find_any(tissue, ("dura", "bone")), uniform(1, 2.5, generator) / voxel_size)
    where = smooth_field(tuple(tissue.shape), int(uniform(4, 12, generator)), generator)[0]
    gone = near & (tissue == codes["csf"]) & (where > uniform(-1.5, 0.5, generator))
    return torch.where(gone, codes["dura" if chance(0.7, generator) else "bone"], tissue)


def _find_any(tissue: Tensor, names: tuple[str, ...]) -> Tensor:
    codes = tissue_codes()
    return torch.isin(tissue, torch.tensor([codes[name] for name in names], dtype=tissue.dtype))


def _pick(mask: Tensor, points: Tensor, generator: Generator) -> Tensor | None:
    """Draw one point of a mask, in mm; None if the mask is empty."""
    found = mask.flatten().nonzero()
    if not len(found):
        return None
    number = int(torch.randint(len(found), (), generator=generator))
    return points.reshape(-1, 3)[found[number, 0]]


def _add_lesion(tissue: Tensor, points: Tensor, generator: Generator) -> Tensor:
    """Add a tumour, an old stroke or a resection cavity to the brain."""
    brain = _find_any(tissue, TISSUE)
    middle = _pick(brain, points, generator)
    if middle is None:
        return tissue
    codes = tissue_codes()
    radius = uniform(5, 30, generator)
    ragged = radius * (1 + 0.3 * smooth_field(tuple(tissue.shape), 12, generator)[0])
    blob = brain & ((points - middle).norm(dim=-1) < ragged)
    kind = "lesion" if chance(0.6, generator) else "fluid"
    return torch.where(blob, codes[kind], tissue)


def _add_electrodes(
    tissue: Tensor, points: Tensor, voxel_size: float, generator: Generator
) -> Tensor:
    """Add a subdural grid of contacts: small voids, or small bright spots."""
    codes = tissue_codes()
    shell = _find_any(tissue, ("dura", "csf", "sinus"))
    middle = _pick(shell, points, generator)
    if middle is None:
        return tissue
    width = max(3.0, 1.5 * voxel_size)
    contact = ((points % LATTICE_MM) < width).all(dim=-1)
    near = (points - middle).norm(dim=-1) < uniform(20, 45, generator)
    code = 0 if chance(0.7, generator) else codes["fat"]
    return torch.where(shell & contact & near, code, tissue)


def _split_tissues(tissue: Tensor, voxel_size: float, generator: Generator) -> Tensor:
    """Split tissues into parts without a label: fat, muscle, fluid, marrow, sinuses, air."""
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
    hull = _find_any(tissue, ("dura", "bone", "marrow"))
    outer = _grow(hull, SINUS_MM / voxel_size) & _find_any(tissue, ("csf", "dura"))
    out[outer & (fields[2] > uniform(0.6, 1.5, generator))] = codes["sinus"]
    if chance(0.3, generator):
        out[out == codes["dura"]] = codes["csf" if chance(0.5, generator) else "bone"]
    return out
