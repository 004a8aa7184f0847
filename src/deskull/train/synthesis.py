"""Synthetic heads: a label map, posed, deformed, varied, and given random intensities.

After SynthStrip (Hoopes et al. 2022) and SynthSeg (Billot et al. 2023): a network that has
seen every contrast relies on none. `vary_anatomy` adds what label maps do not show: parts of
tissues, thin and thick skulls, lesions, electrodes. Poses and artefacts are `augment.py`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deskull.image.grid import Shape
from deskull.prepare.conform import WindowSettings
from deskull.train.augment import (
    add_noise,
    corrupt,
    cut_field,
    draw_pose,
    draw_voxel_size,
    make_points,
    remove_face,
    sample,
    smooth_field,
)
from deskull.train.draws import Draws
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
    draws: Draws,
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
    draws
        Source of randomness; the same state gives the same head. Its device makes the head.
    contrast
        Contrast as for `draw_intensities`.

    Returns
    -------
    Example
        With known targets for the brain and for the brain without outer CSF.
    """
    pose = draw_pose(settings, draws)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, settings, draws)
    points = make_points(window.shape, voxel_size, pose, settings, draws)
    fine_mm = max(SCAN_MM, voxel_size / MAX_FINER)
    fine = _resize(points.permute(3, 0, 1, 2), _finer(window.shape, voxel_size / fine_mm))
    fine = fine.permute(1, 2, 3, 0)
    labels = _nearest(torch.from_numpy(head.tissue).to(draws.device), _to_index(fine, head))
    tight = tighten(labels, fine_mm, settings, draws)
    tissue = vary_anatomy(tight, fine, fine_mm, settings, draws)
    image = _resize(draw_intensities(tissue, draws, contrast)[None], window.shape)[0]
    target = _read_truth(head, points, voxel_size)
    target[0] *= 1 - _resize((tight != labels).float()[None], window.shape)[0]
    image = remove_face(image, points, settings, draws)
    if draws.chance(settings.stripped):
        image = image * (target[0] > 0.5)
    strength = settings.corruption * draws.uniform(0.2, 1.0)
    if settings.corruption:
        image = corrupt(image, voxel_size, draws, strength)
    image, field = cut_field(image, settings, draws)
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
    return points / head.voxel_size + torch.from_numpy(head.centre).float().to(points.device)


def _read_truth(head: LabelledHead, points: Tensor, voxel_size: float) -> Tensor:
    """Return the shares of brain, and of brain without outer CSF, at the window's voxels."""
    block = max(1, int(voxel_size / head.voxel_size + 0.01))
    truth = torch.from_numpy(head.truth).to(points.device).float()
    if block > 1:
        truth = F.avg_pool3d(truth, block)
    index = (_to_index(points, head) - (block - 1) / 2) / block
    return sample(truth, index).clamp(0, 1)


def _nearest(values: Tensor, index: Tensor) -> Tensor:
    """Return the values at the nearest voxels; 0 outside."""
    rounded = index.round().long()
    size = torch.tensor(values.shape, device=index.device)
    inside = ((rounded >= 0) & (rounded < size)).all(-1)
    x, y, z = rounded.clamp(min=torch.zeros_like(size), max=size - 1).unbind(-1)
    flat = (x * values.shape[1] + y) * values.shape[2] + z
    return torch.take(values, flat) * inside


def draw_intensities(tissue: Tensor, draws: Draws, contrast: str | None = None) -> Tensor:
    """Draw an intensity for every tissue: close to those of a known contrast, or any at all.

    Parameters
    ----------
    tissue
        Tissue codes, (X, Y, Z) uint8.
    draws
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
    >>> bool(draw_intensities(white, Draws(0), "T1w").mean() > 0.5)
    True
    """
    codes = tissue_codes()
    means = torch.zeros(max(codes.values()) + 1)
    contrast = contrast or _draw_contrast(draws)
    if contrast is None:
        means[1:] = draws.uniforms(len(means) - 1) * 1.1
    else:
        for tissue_name, (mean, spread) in load_tissues()["contrast"][contrast].items():
            means[codes[tissue_name]] = mean + spread * draws.uniform(-1.5, 1.5)
    if draws.chance(SWAPPED):
        grey, white = codes["cortex"], codes["white_matter"]
        means[[grey, white]] = means[[white, grey]]
    means = means.clamp(min=0.01)
    means[0] = 0
    texture = 0.02 + 0.10 * draws.uniforms(len(means))
    texture[0] = 0
    noise = draws.noise(tissue.shape)
    noise += smooth_field(tuple(tissue.shape), int(draws.uniform(6, 40)), draws)[0]
    code = tissue.long()
    means, texture = means.to(tissue.device), texture.to(tissue.device)
    image = means[code] + texture[code] * noise * draws.uniform(0.2, 1.0)
    if draws.chance(0.2):
        image = add_noise(image, draws.uniform(0.02, 0.08), draws)
    return image.clamp(min=0)


def _draw_contrast(draws: Draws) -> str | None:
    kind = draws.uniform(0, 1)
    if kind < 0.35:
        return None
    if kind < 0.65:
        return "T1w"
    return ("T1c", "T2w", "FLAIR", "PD")[int(draws.uniform(0, 4))]


def vary_anatomy(
    tissue: Tensor,
    points: Tensor,
    voxel_size: float,
    settings: AugmentSettings,
    draws: Draws,
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
    draws
        Source of randomness.

    Returns
    -------
    Tensor
        New tissue codes. A lesion or a cavity stays inside the brain's surface.
    """
    tissue = _vary_skull(tissue, draws)
    if draws.chance(settings.lesion):
        tissue = _add_lesion(tissue, points, draws)
    tissue = _split_tissues(tissue, voxel_size, draws)
    if draws.chance(settings.electrodes):
        tissue = _add_electrodes(tissue, points, voxel_size, draws)
    return tissue


def _vary_skull(tissue: Tensor, draws: Draws) -> Tensor:
    """Make the skull one voxel thicker or thinner on its outside."""
    if not draws.chance(0.4):
        return tissue
    codes = tissue_codes()
    grower, giver = ("bone", "soft") if draws.chance(0.5) else ("soft", "bone")
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


def tighten(tissue: Tensor, voxel_size: float, settings: AugmentSettings, draws: Draws) -> Tensor:
    """Let the cortex touch the dura in places, as in young adults.

    Parameters
    ----------
    tissue
        Tissue codes as of `labels.tissue_codes`, (X, Y, Z) uint8.
    voxel_size
        Voxel size of the tissue codes in mm.
    settings
        Give the share of heads that are changed (`tight`).
    draws
        Source of randomness.

    Returns
    -------
    Tensor
        Tissue codes in which CSF near dura or bone has become dura or bone where a smooth
        field exceeds a threshold. What changed is not brain, by any convention.
    """
    if not draws.chance(settings.tight):
        return tissue
    codes = tissue_codes()
    near = _grow(_find_any(tissue, ("dura", "bone")), draws.uniform(1, 2.5) / voxel_size)
    where = smooth_field(tuple(tissue.shape), int(draws.uniform(4, 12)), draws)[0]
    gone = near & (tissue == codes["csf"]) & (where > draws.uniform(-1.5, 0.5))
    return torch.where(gone, codes["dura" if draws.chance(0.7) else "bone"], tissue)


def _find_any(tissue: Tensor, names: tuple[str, ...]) -> Tensor:
    codes = torch.tensor([tissue_codes()[name] for name in names], dtype=tissue.dtype)
    return torch.isin(tissue, codes.to(tissue.device))


def _pick(mask: Tensor, points: Tensor, draws: Draws) -> Tensor | None:
    """Draw one point of a mask, in mm; None if the mask is empty."""
    found = mask.flatten().nonzero()
    if not len(found):
        return None
    number = draws.below(len(found))
    return points.reshape(-1, 3)[found[number, 0]]


def _add_lesion(tissue: Tensor, points: Tensor, draws: Draws) -> Tensor:
    """Add a tumour, an old stroke or a resection cavity to the brain."""
    brain = _find_any(tissue, TISSUE)
    middle = _pick(brain, points, draws)
    if middle is None:
        return tissue
    codes = tissue_codes()
    radius = draws.uniform(5, 30)
    ragged = radius * (1 + 0.3 * smooth_field(tuple(tissue.shape), 12, draws)[0])
    blob = brain & ((points - middle).norm(dim=-1) < ragged)
    kind = "lesion" if draws.chance(0.6) else "fluid"
    return torch.where(blob, codes[kind], tissue)


def _add_electrodes(tissue: Tensor, points: Tensor, voxel_size: float, draws: Draws) -> Tensor:
    """Add a subdural grid of contacts: small voids, or small bright spots."""
    codes = tissue_codes()
    shell = _find_any(tissue, ("dura", "csf", "sinus"))
    middle = _pick(shell, points, draws)
    if middle is None:
        return tissue
    width = max(3.0, 1.5 * voxel_size)
    contact = ((points % LATTICE_MM) < width).all(dim=-1)
    near = (points - middle).norm(dim=-1) < draws.uniform(20, 45)
    code = 0 if draws.chance(0.7) else codes["fat"]
    return torch.where(shell & contact & near, code, tissue)


def _split_tissues(tissue: Tensor, voxel_size: float, draws: Draws) -> Tensor:
    """Split tissues into parts without a label: fat, muscle, fluid, marrow, sinuses, air."""
    codes = tissue_codes()
    fields = smooth_field(tuple(tissue.shape), int(draws.uniform(10, 40)), draws, 3)
    out = tissue.clone()
    soft = tissue == codes["soft"]
    out[soft & (fields[0] > draws.uniform(-0.3, 0.6))] = codes["fat"]
    out[soft & (fields[0] < draws.uniform(-0.9, -0.3))] = codes["flesh"]
    out[soft & (fields[1] > draws.uniform(0.8, 1.6))] = codes["fluid"]
    if draws.chance(0.3):
        out[soft & (fields[2] > draws.uniform(0.9, 1.6))] = 0
    bone = tissue == codes["bone"]
    out[bone & (fields[1] > draws.uniform(0.2, 1.2))] = codes["marrow"]
    hull = _find_any(tissue, ("dura", "bone", "marrow"))
    outer = _grow(hull, SINUS_MM / voxel_size) & _find_any(tissue, ("csf", "dura"))
    out[outer & (fields[2] > draws.uniform(0.6, 1.5))] = codes["sinus"]
    if draws.chance(0.3):
        out[out == codes["dura"]] = codes["csf" if draws.chance(0.5) else "bone"]
    return out
