"""How good are masks: predictions against references, a row per scan.

Metrics of two arrays are in `measure`. Which files are a pair is `pairing.py`, what all rows
say together `summary.py`, the page `page.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.assess.evaluation.pairing import Comparison
from deskull.errors import GeometryError, ImageFileError, InputError
from deskull.image.formats import open_image
from deskull.image.geometry import Grid, to_canonical_array
from deskull.image.stored import to_stored
from deskull.measure.metrics import (
    dice,
    iou,
    precision,
    sensitivity,
    surface_distances,
    volume_ml,
)
from deskull.measure.regions import REGIONS, share_by_region
from deskull.tables import make_tsv

OVERLAPS = ("dice", "iou", "sensitivity", "precision")
"""Shares, the larger the better; of all other metrics zero is best."""

METRICS = (
    *OVERLAPS,
    "hd95_mm",
    "mean_distance_mm",
    "volume_ml",
    "reference_ml",
    "difference_ml",
    "false_positive_ml",
    "false_negative_ml",
)
"""Columns of a row, before the shares ``fp_neck`` ... and ``fn_neck`` ... of `REGIONS`."""

COLUMNS = (*METRICS, *(f"{kind}_{region}" for kind in ("fp", "fn") for region in REGIONS))

INSIDE = 0.5
"""A voxel of a mask or of a probability is inside above this."""

SAME = 0.05
"""Voxels by which the corners of two grids may differ and still be one."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask in the axes nearest to RAS+.

    Parameters
    ----------
    inside
        (X, Y, Z) bool.
    grid
        Where its voxels lie.
    name
        What messages call it.
    """

    inside: NDArray[np.bool_]
    grid: Grid
    name: str


@dataclass(frozen=True)
class Row:
    """One prediction compared with its reference.

    Parameters
    ----------
    pair
        What was compared.
    values
        By the names of `COLUMNS`; empty if the two could not be compared.
    error
        Why not.
    """

    pair: Comparison
    values: dict[str, float]
    error: str = ""


def load_mask(path: Path) -> Mask:
    """Read a mask, a probability or a label map; an empty mask is one too.

    Raises
    ------
    ImageFileError
        If the file cannot be read as one 3D image.
    """
    image, name = open_image(path), path.name
    try:
        data = np.asarray(to_stored(image).without_singletons())
    except (OSError, EOFError, ValueError) as error:
        raise ImageFileError(f"{name}: its voxels cannot be read ({error}).") from error
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        raise ImageFileError(f"{name}: {data.dtype} {data.shape}; expected a 3D mask.")
    x, y, z = data.shape
    try:
        grid = Grid((x, y, z), image.affine)
    except GeometryError as error:
        raise GeometryError(f"{name}: {error}") from error
    return Mask(to_canonical_array(data > INSIDE, grid), grid.canonical(), name)


def check_one_grid(prediction: Mask, reference: Mask) -> None:
    """Raise GeometryError unless both masks lie on one lattice; stored axes may differ."""
    mine, wanted = prediction.grid, reference.grid
    if mine.shape == wanted.shape and mine.matches(wanted, SAME):
        return
    if mine.shape != wanted.shape:
        what = f"shape {_product(mine.shape)} in RAS order, but that of {reference.name} is "
        what += _product(wanted.shape)
    elif not np.allclose(mine.voxel_size, wanted.voxel_size, rtol=1e-3):
        what = f"voxels of {_product(mine.voxel_size)} mm, but those of {reference.name} are "
        what += f"{_product(wanted.voxel_size)} mm"
    else:
        apart = np.linalg.norm(mine.to_mm(mine.corners) - wanted.to_mm(mine.corners), axis=1)
        what = f"its affine puts the field's corners {apart.min():.3g} to {apart.max():.3g} mm "
        what += f"away from those of {reference.name}"
    raise GeometryError(
        f"{prediction.name}: {what}; expected masks on one grid. Strip the scan that the "
        "reference was made on, or resample one mask to the other's grid."
    )


def compare_masks(
    prediction: NDArray[Any], reference: NDArray[Any], grid: Grid
) -> dict[str, float]:
    """Measure how a prediction differs from its reference.

    Parameters
    ----------
    prediction, reference
        (X, Y, Z), nonzero inside.
    grid
        Of both.

    Returns
    -------
    dict
        By the names of `COLUMNS`; nan where a value does not exist.
    """
    prediction, reference = prediction.astype(bool), reference.astype(bool)
    surface = surface_distances(prediction, reference, grid.voxel_size)
    mine, wanted = (volume_ml(mask, grid.voxel_volume) for mask in (prediction, reference))
    added, missed = prediction & ~reference, reference & ~prediction
    values = (
        dice(prediction, reference),
        iou(prediction, reference),
        sensitivity(prediction, reference),
        precision(prediction, reference),
        surface.hd95,
        surface.mean,
        mine,
        wanted,
        mine - wanted,
        volume_ml(added, grid.voxel_volume),
        volume_ml(missed, grid.voxel_volume),
    )
    found = dict(zip(METRICS, values, strict=True))
    for kind, wrong in (("fp", added), ("fn", missed)):
        shares = share_by_region(wrong, reference, grid)
        found |= {f"{kind}_{region}": share for region, share in shares.items()}
    return found


def evaluate(
    pairs: Sequence[Comparison], observe: Callable[[int, int], None] | None = None
) -> list[Row]:
    """Compare every prediction with its reference.

    Parameters
    ----------
    pairs
        As `pairing` finds them.
    observe
        Called with the number of pairs done, and of all.

    Returns
    -------
    list
        A row for each pair; that of a pair which cannot be compared says why.
    """
    rows = []
    for number, pair in enumerate(pairs):
        if observe is not None:
            observe(number, len(pairs))
        try:
            prediction, reference = load_mask(pair.prediction), load_mask(pair.reference)
            check_one_grid(prediction, reference)
            values = compare_masks(prediction.inside, reference.inside, reference.grid)
            rows.append(Row(pair, values))
        except InputError as error:
            rows.append(Row(pair, {}, " ".join(str(error).split())))
    return rows


def to_tsv(rows: Sequence[Row]) -> str:
    """Write rows as a table; what is unknown is ``n/a``, as in BIDS."""
    cells = []
    for row in rows:
        values = [_to_word(row.values.get(name, float("nan"))) for name in COLUMNS]
        paths = [str(row.pair.prediction), str(row.pair.reference)]
        cells.append([row.pair.scan, row.pair.method, *values, *paths, row.error or "n/a"])
    return make_tsv(["scan", "method", *COLUMNS, "prediction", "reference", "error"], cells)


def _product(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)


def _to_word(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "n/a"
