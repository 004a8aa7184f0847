"""What no label map knows: parts of tissues, thin and thick skulls, lesions, electrodes.

Everything works on the tissue codes of one head that is posed already, (X, Y, Z) uint8.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from deskull.learn.augment import AugmentSettings, chance, smooth_field, uniform
from deskull.learn.labels import TISSUE, tissue_codes

LATTICE_MM = 10.0  # between the contacts of a subdural grid
SINUS_MM = 4.0  # from the skull, as far as venous sinuses reach


def vary_anatomy(
    tissue: Tensor,
    points: Tensor,
    voxel_size: float,
    settings: AugmentSettings,
    generator: Generator,
) -> Tensor:
    """Make a head that no label map shows.

    Parameters
    ----------
    tissue
        Codes of `labels.tissue_codes`.
    points
        (X, Y, Z, 3) mm from the brain's middle.
    voxel_size
        Of the window, mm.
    settings
        How often there are lesions and electrodes.
    generator
        The source of chance.

    Returns
    -------
    Tensor
        Codes, a new array. A lesion or a cavity stays inside the brain's surface.
    """
    tissue = _vary_skull(tissue, generator)
    if chance(settings.lesion, generator):
        tissue = _add_lesion(tissue, points, generator)
    tissue = _split_tissues(tissue, voxel_size, generator)
    if chance(settings.electrodes, generator):
        tissue = _add_electrodes(tissue, points, voxel_size, generator)
    return tissue


def _vary_skull(tissue: Tensor, generator: Generator) -> Tensor:
    """Let the bone take a voxel from what lies outside of it, or give one away."""
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
    """Let the cortex touch the dura here and there, as in young adults.

    Parameters
    ----------
    tissue
        Codes of `labels.tissue_codes`, (X, Y, Z) uint8.
    voxel_size
        mm.
    settings
        How often.
    generator
        The source of chance.

    Returns
    -------
    Tensor
        Codes: CSF near dura or bone became dura or bone where a smooth field says so. What
        changed is not brain, by any convention.
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
    """Draw one point of a mask, in mm; None of an empty one."""
    found = mask.flatten().nonzero()
    if not len(found):
        return None
    number = int(torch.randint(len(found), (), generator=generator))
    return points.reshape(-1, 3)[found[number, 0]]


def _add_lesion(tissue: Tensor, points: Tensor, generator: Generator) -> Tensor:
    """Put a tumour, an old stroke or the cavity of a resection into the brain."""
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
    """Lay a grid of contacts on the brain: small voids, or small bright spots."""
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
    hull = _find_any(tissue, ("dura", "bone", "marrow"))
    outer = _grow(hull, SINUS_MM / voxel_size) & _find_any(tissue, ("csf", "dura"))
    out[outer & (fields[2] > uniform(0.6, 1.5, generator))] = codes["sinus"]
    if chance(0.3, generator):
        out[out == codes["dura"]] = codes["csf" if chance(0.5, generator) else "bone"]
    return out
