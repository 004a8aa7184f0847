"""From a whole-head label map to a head that the generator can paint: tissues and truth.

The convention of the brain's mask is laid down here, once: brain tissue, ventricles, the CSF of
the sulci inside the closed surface of the brain, and a rim of the CSF around it; other outer CSF,
dura, sinuses and optic nerves are out, and the brain stem ends where its label ends, at the
foramen magnum.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deskull.errors import InputError
from deskull.image.geometry import find_box, make_ras_grid, to_canonical_array
from deskull.image.volume import Volume
from deskull.prepare.conform import measure_extent

MOST_CODES = 2**20  # of labels; FreeSurfer's go up to about 15000
CLOSING_MM = 6.0  # bridges the sulci and the Sylvian fissure, not the cisterns at the base
BONE_MM = 2.0  # of skull where a label map has none, as in newborns
RIM_MM = 1.5  # to centres of outer CSF: 1.3 mm of it, as real masks take; docs/experiments.md, 8
TISSUE = (
    "white_matter",
    "cortex",
    "deep_grey",
    "cerebellum_white",
    "cerebellum_grey",
    "brain_stem",
    "ventricle",
    "lesion",
    "brain_vessel",
)
MAY_CLOSE = (*TISSUE, "csf", "vein", "artery", "chiasm")  # what a closed sulcus may hold
MADE = ("dura", "sinus", "fat", "flesh", "fluid")  # tissues without a label of their own


@cache
def load_tissues() -> dict[str, Any]:
    """Read the table of labels and contrasts."""
    text = (resources.files("deskull.learn") / "tissues.toml").read_text("utf-8")
    return tomllib.loads(text)


def load_label_table(path: str | Path) -> dict[str, list[int]]:
    """Read a table of one's own labels: TOML with ``[labels]``, a list of codes per tissue.

    Raises
    ------
    InputError
        If the file is no such table, or names a tissue that the generator does not know.
    """
    try:
        table = tomllib.loads(Path(path).read_text("utf-8"))["labels"]
        found = {name: list(codes) for name, codes in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a table of labels ({error}); expected TOML with [labels] and lines "
            "such as cortex = [3, 42]."
        ) from error
    known = load_tissues()["labels"]
    unknown = sorted(set(found) - set(known))
    if unknown or not found:
        raise InputError(
            f"{path}: unknown tissues {unknown}; expected some of {', '.join(sorted(known))}."
        )
    for name, codes in found.items():
        if not codes or not all(type(code) is int and 0 <= code < MOST_CODES for code in codes):
            raise InputError(
                f"{path}: {name} = {codes}; expected one whole number at least, from 0 to "
                f"{MOST_CODES - 1}. Leave out a tissue that your maps do not have."
            )
    return found


@cache
def tissue_codes() -> dict[str, int]:
    """Code of each tissue in a painted head; 0 is background."""
    names = (*load_tissues()["labels"], *MADE)
    return {name: code for code, name in enumerate(names, start=1)}


@dataclass(frozen=True, eq=False)
class LabelledHead:
    """One person's head in the generator's terms, RAS+.

    Parameters
    ----------
    person
        Whose head.
    tissue
        Codes of `tissue_codes`, (X, Y, Z) uint8, at `voxel_size`.
    truth
        The brain's mask, and that of the brain without outer CSF: (2, X, Y, Z) uint8, 0 or 1.
    centre
        Middle of the brain's box in voxels of `tissue`, (3,).
    extent
        Length of the brain along x, y, z in mm, (3,), see `measure_extent`.
    voxel_size
        Millimetres, isotropic.
    """

    person: str
    tissue: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    centre: NDArray[np.float64]
    extent: NDArray[np.float64]
    voxel_size: float


def make_labelled_head(
    volume: Volume, table: Mapping[str, list[int]] | None = None
) -> LabelledHead:
    """Translate a label map into tissues with bone and dura, and lay down the truth.

    Parameters
    ----------
    volume
        Label map with isotropic voxels of about 1 mm.
    table
        Labels of each tissue; FreeSurfer's and SynthSeg's if not given.

    Raises
    ------
    InputError
        If no brain label of the table is in the map, it holds NaN, or its voxels are not cubes.
    """
    if np.ptp(volume.grid.voxel_size) > 0.02 * min(volume.grid.voxel_size):
        raise InputError(
            f"{volume.name}: voxels of {volume.grid.voxel_size} mm; expected the same along all "
            "axes. Resample the label map to 1 mm, by nearest neighbours."
        )
    if not np.isfinite(volume.data).all():
        count = int((~np.isfinite(volume.data)).sum())
        raise InputError(
            f"{volume.name}: {count} voxels are NaN or infinite; expected the whole numbers of a "
            "label map."
        )
    codes = tissue_codes()
    table = load_tissues()["labels"] if table is None else table
    beyond = max(max(members) for members in table.values()) + 1
    data = to_canonical_array(volume.data, volume.grid)
    labels = np.clip(data, 0, beyond).astype(np.int32)
    lookup = np.zeros(beyond + 1, np.uint8)
    for name, members in table.items():
        lookup[members] = codes[name]
    tissue = lookup[labels]
    if not np.isin(tissue, [codes[name] for name in TISSUE]).any():
        raise InputError(
            f"{volume.name}: no brain label among {np.unique(labels)[:20].tolist()}; expected "
            "FreeSurfer's. Is this a label map of a whole head? Other labels: --label-table."
        )
    tissue = tissue[find_box(_largest_piece(tissue > 0), margin=2)]
    core = _largest_piece(np.isin(tissue, [codes[name] for name in TISSUE]))
    voxel_size = float(np.mean(volume.grid.voxel_size))
    brain = make_brain_mask(tissue, core, voxel_size)
    if not (tissue == codes["bone"]).any():
        _lay_bone(tissue, brain, voxel_size)
    _lay_dura(tissue, brain)
    where = np.argwhere(brain[::2, ::2, ::2]) * 2
    centre = (where.min(0) + where.max(0)) / 2
    grid = make_ras_grid((0, 0, 0), tissue.shape, voxel_size)
    extent = measure_extent(brain, grid)[1]
    truth = np.stack([brain, core]).astype(np.uint8)
    return LabelledHead(volume.name, tissue, truth, centre, extent, voxel_size)


def make_brain_mask(
    tissue: NDArray[np.uint8], core: NDArray[np.bool_], voxel_size: float
) -> NDArray[np.bool_]:
    """Close the surface of the brain's tissue over the sulci, and add a rim of CSF.

    Parameters
    ----------
    tissue
        Codes, (X, Y, Z).
    core
        Brain tissue and ventricles.
    voxel_size
        Millimetres.

    Returns
    -------
    NDArray
        The mask by the house's convention, bool.
    """
    codes = tissue_codes()
    box = find_box(core, margin=int(2 * CLOSING_MM / voxel_size) + 2)
    inside = core[box]
    radius = CLOSING_MM / voxel_size
    grown = ndimage.distance_transform_edt(~inside) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    allowed = np.isin(tissue[box], [codes[name] for name in MAY_CLOSE])
    filled = ndimage.binary_fill_holes(inside | (closed & allowed))
    near = ndimage.distance_transform_edt(~filled) <= RIM_MM / voxel_size
    brain = np.zeros_like(core)
    brain[box] = filled | (near & (tissue[box] == codes["csf"]))
    return brain


def _lay_bone(tissue: NDArray[np.uint8], brain: NDArray[np.bool_], voxel_size: float) -> None:
    """Turn the inside of a head that has no bone, next to CSF or brain, into bone, in place."""
    codes = tissue_codes()
    inner = brain | (tissue == codes["csf"])
    near = ndimage.distance_transform_edt(~inner) <= BONE_MM / voxel_size
    tissue[near & np.isin(tissue, [codes["soft"], codes["skin"]])] = codes["bone"]


def _lay_dura(tissue: NDArray[np.uint8], brain: NDArray[np.bool_]) -> None:
    """Turn what lies between CSF or brain and the bone into dura, one voxel thick, in place."""
    codes = tissue_codes()
    inner = brain | (tissue == codes["csf"])
    shell = ndimage.binary_dilation(inner, ndimage.generate_binary_structure(3, 2)) & ~inner
    shell &= np.isin(tissue, [codes[name] for name in ("bone", "soft", "marrow")])
    tissue[shell] = codes["dura"]


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())
