"""The metrics table: one row for each prediction compared with its reference.

Metrics of two arrays are in `deskull.measure`; pairs are found in `pairing.py`, files read in
`masks.py`, rows summarised in `summary.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError
from deskull.evaluate.masks import check_one_grid, load_canonical_mask
from deskull.evaluate.pairing import Comparison
from deskull.image.grid import Grid
from deskull.measure.metrics import (
    REGIONS,
    dice,
    iou,
    precision,
    sensitivity,
    share_by_region,
    surface_distances,
    volume_ml,
)
from deskull.tables import make_tsv

OVERLAPS = ("dice", "iou", "sensitivity", "precision")
"""Metrics for which larger is better; of all others zero is best."""

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


@dataclass(frozen=True)
class Row:
    """One prediction compared with its reference.

    Parameters
    ----------
    pair
        Prediction and reference.
    values
        Metrics by the names of `COLUMNS`; empty if the two could not be compared.
    error
        Why not; else empty.
    """

    pair: Comparison
    values: dict[str, float]
    error: str = ""


def compare_masks(
    prediction: NDArray[Any], reference: NDArray[Any], grid: Grid
) -> dict[str, float]:
    """Measure how a prediction differs from its reference.

    Parameters
    ----------
    prediction, reference
        (X, Y, Z), nonzero inside.
    grid
        Grid of both arrays.

    Returns
    -------
    dict
        Metrics by the names of `COLUMNS`; nan where a value does not exist.
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
        Pairs, as `pairing` finds them.
    observe
        Called with the number of pairs done, and of all.

    Returns
    -------
    list
        A row for each pair; if the two cannot be compared, the row says why.
    """
    rows = []
    for number, pair in enumerate(pairs):
        if observe is not None:
            observe(number, len(pairs))
        try:
            prediction = load_canonical_mask(pair.prediction)
            reference = load_canonical_mask(pair.reference)
            check_one_grid(prediction, reference)
            values = compare_masks(prediction.inside, reference.inside, reference.grid)
            rows.append(Row(pair, values))
        except InputError as error:
            rows.append(Row(pair, {}, " ".join(str(error).split())))
    return rows


def to_tsv(rows: Sequence[Row]) -> str:
    """Write rows as TSV; values that do not exist are ``n/a``, as in BIDS."""
    cells = []
    for row in rows:
        values = [_to_word(row.values.get(name, float("nan"))) for name in COLUMNS]
        paths = [str(row.pair.prediction), str(row.pair.reference)]
        cells.append([row.pair.scan, row.pair.method, *values, *paths, row.error or "n/a"])
    return make_tsv(["scan", "method", *COLUMNS, "prediction", "reference", "error"], cells)


def _to_word(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "n/a"
