"""Whole-head label maps: translated into tissues, with the reference mask of the brain.

The convention of the mask is defined here, once: brain tissue, ventricles, the CSF of the sulci
inside the closed surface of the brain, and a rim of the CSF around it are in; other outer CSF,
dura, sinuses and optic nerves are out, and the brain stem ends where its label ends, at the
foramen magnum. Intensities are drawn in `synthesis.py`.
"""

import logging
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
from deskull.image.grid import find_box, make_ras_grid, to_canonical_array
from deskull.image.volume import Volume
from deskull.prepare.conform import measure_extent

logger = logging.getLogger(__name__)

LABEL_TABLE = "labels.toml"
"""File beside label maps that gives the labels of each tissue there."""

MAX_LABEL = 2**20
"""Labels lie below it; FreeSurfer's go up to about 15000."""

MAX_LABELS = 500
"""Largest number of labels in a label map; the finest atlases of a head have about 300."""

MIN_ALIKE = 0.5
"""Smallest share of a label map's voxels that equal their neighbour: in head maps at 1 mm it is
above 0.8, in scans below 0.2."""

CLOSING_MM = 6.0
"""Radius of the closing: it bridges the sulci and the Sylvian fissure, not the basal cisterns."""

UNKNOWN_SHARE = 0.01
"""Share of a labelled head that may lie in no tissue without a warning."""

BONE_MM = 2.0
"""Thickness of the skull that is added where a label map has none, as in newborns."""

RIM_MM = 1.5
"""Distance to the centres of outer CSF that counts as brain: a rim of 1.3 mm, as in real masks
(docs/background/experiments.md, 8)."""

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
MAY_CLOSE = (*TISSUE, "csf", "vein", "artery", "chiasm")
"""Tissues that a closed sulcus may contain."""

MADE = ("dura", "sinus", "fat", "flesh", "fluid")
"""Tissues that have no label and are made here or in `synthesis.py`."""


@cache
def load_tissues() -> dict[str, Any]:
    """Read the table of labels (``labels``) and intensities (``contrast``) of each tissue.

    Examples
    --------
    >>> "cortex" in load_tissues()["labels"]
    True
    """
    text = (resources.files("deskull.train") / "tissues.toml").read_text("utf-8")
    return tomllib.loads(text)


def has_label_table(folder: Path) -> bool:
    """Whether the label maps of a folder have a table of their own."""
    return (folder / LABEL_TABLE).is_file()


def load_label_table(path: str | Path) -> dict[str, list[int]]:
    """Read the labels of other label maps: TOML with ``[labels]``, a list of labels per tissue.

    Parameters
    ----------
    path
        TOML file with lines such as ``cortex = [3, 42]``.

    Returns
    -------
    dict
        Labels by tissue.

    Raises
    ------
    InputError
        If the file is not such a table, or names an unknown tissue.
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
        if not codes or not all(type(code) is int and 0 <= code < MAX_LABEL for code in codes):
            raise InputError(
                f"{path}: {name} = {codes}; expected one whole number at least, from 0 to "
                f"{MAX_LABEL - 1}. Leave out a tissue that your maps do not have."
            )
    return found


@cache
def tissue_codes() -> dict[str, int]:
    """Return the code of each tissue in a `LabelledHead`; 0 is background.

    Examples
    --------
    >>> tissue_codes()["white_matter"] > 0
    True
    """
    names = (*load_tissues()["labels"], *MADE)
    return {name: code for code, name in enumerate(names, start=1)}


@dataclass(frozen=True, eq=False)
class LabelledHead:
    """A head as the synthesis needs it, from one label map, RAS+.

    Parameters
    ----------
    participant
        Name of the participant.
    tissue
        Codes of `tissue_codes`, (X, Y, Z) uint8, at `voxel_size`.
    truth
        Mask of the brain, and of the brain without outer CSF: (2, X, Y, Z) uint8, 0 or 1.
    centre
        Centre of the brain's bounding box in voxels of `tissue`, (3,).
    extent
        Extent of the brain along x, y, z in mm, (3,), as from `measure_extent`.
    voxel_size
        Isotropic voxel size in mm.
    """

    participant: str
    tissue: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    centre: NDArray[np.float64]
    extent: NDArray[np.float64]
    voxel_size: float


def make_labelled_head(
    volume: Volume, table: Mapping[str, list[int]] | None = None
) -> LabelledHead:
    """Translate a label map into tissues with bone and dura, and make the reference masks.

    Parameters
    ----------
    volume
        Label map with isotropic voxels of about 1 mm.
    table
        Labels by tissue; those of FreeSurfer and SynthSeg if not given.

    Raises
    ------
    InputError
        If the map has no brain label of the table, contains NaN, or its voxels are not cubes.
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
    _check_unknown(data, tissue, volume.name)
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
        _add_bone(tissue, brain, voxel_size)
    _add_dura(tissue, brain)
    where = np.argwhere(brain[::2, ::2, ::2]) * 2
    centre = (where.min(0) + where.max(0)) / 2
    grid = make_ras_grid((0, 0, 0), tissue.shape, voxel_size)
    extent = measure_extent(brain, grid)[1]
    truth = np.stack([brain, core]).astype(np.uint8)
    return LabelledHead(volume.name, tissue, truth, centre, extent, voxel_size)


def _check_unknown(data: NDArray[np.float32], tissue: NDArray[np.uint8], name: str) -> None:
    """Warn of labels of a map that are in no tissue, if they are more than a few voxels."""
    unknown = (data != 0) & (tissue == 0)
    share = int(np.count_nonzero(unknown)) / max(1, int(np.count_nonzero(data)))
    if share > UNKNOWN_SHARE:
        codes, counts = np.unique(data[unknown], return_counts=True)
        largest = [f"{code:g}" for code in codes[np.argsort(-counts, kind="stable")]]
        logger.warning(
            "%s: %.1f %% of the labelled head are in no tissue and become background: labels "
            "%s%s. Give their tissues in %s or by --label-table",
            *(name, 100 * share, ", ".join(largest[:20]), ", ..." if len(largest) > 20 else ""),
            LABEL_TABLE,
        )


def is_label_map(data: NDArray[np.float32]) -> bool:
    """Whether an image looks like a label map: few whole numbers in large pieces.

    Parameters
    ----------
    data
        Values of the image, (X, Y, Z).

    Examples
    --------
    >>> labels = np.repeat(np.arange(4, dtype=np.float32), 500).reshape(20, 10, 10)
    >>> is_label_map(labels), is_label_map(labels + 0.5)
    (True, False)
    """
    few = data[::5, ::5, ::5]
    with np.errstate(invalid="ignore"):
        if not np.array_equal(few, np.round(few)) or not 3 <= len(np.unique(few)) <= MAX_LABELS:
            return False
    here, there = data[:, :, :-1], data[:, :, 1:]
    inside = (here != 0) & (there != 0)
    alike, count = int(((here == there) & inside).sum()), int(inside.sum())
    return count > 0 and alike >= MIN_ALIKE * count


def make_brain_mask(
    tissue: NDArray[np.uint8], core: NDArray[np.bool_], voxel_size: float
) -> NDArray[np.bool_]:
    """Close the surface of the brain's tissue over the sulci, and add a rim of CSF.

    Parameters
    ----------
    tissue
        Tissue codes, (X, Y, Z) uint8.
    core
        Mask of brain tissue and ventricles, (X, Y, Z) bool.
    voxel_size
        Isotropic voxel size in mm.

    Returns
    -------
    NDArray
        The brain's mask by the convention above, (X, Y, Z) bool.
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


def _add_bone(tissue: NDArray[np.uint8], brain: NDArray[np.bool_], voxel_size: float) -> None:
    """Turn the tissue of a head without bone, next to CSF or brain, into bone, in place."""
    codes = tissue_codes()
    inner = brain | (tissue == codes["csf"])
    near = ndimage.distance_transform_edt(~inner) <= BONE_MM / voxel_size
    tissue[near & np.isin(tissue, [codes["soft"], codes["skin"]])] = codes["bone"]


def _add_dura(tissue: NDArray[np.uint8], brain: NDArray[np.bool_]) -> None:
    """Turn a layer of one voxel between CSF or brain and the bone into dura, in place."""
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
