"""Results of an evaluation: a row of metrics for each pair of masks, and a summary of the rows.

Metrics of two arrays are in `deskull.measure`, pairs are found in `pairing.py`, masks are read in
`masks.py`, and results are shown by `pages.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull import __version__
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
from deskull.text_files import make_json, make_tsv

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

WORST = 5
"""Number of worst scans that are shown for each method."""

RESAMPLES, SEED = 2000, 0
"""Number of bootstrap samples, and their seed."""


@dataclass(frozen=True)
class Row:
    """Metrics of one prediction and its reference.

    Parameters
    ----------
    pair
        Paths of prediction and reference.
    values
        Metrics by the names of `COLUMNS`; empty if the two could not be compared.
    error
        Why they could not be compared; else empty.
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
        Masks, (X, Y, Z) of any type, nonzero inside.
    grid
        Grid of both arrays.

    Returns
    -------
    dict
        Metrics by the names of `COLUMNS`; nan where a value does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from deskull.image.grid import make_ras_grid
    >>> mask = np.zeros((8, 8, 8))
    >>> mask[2:6, 2:6, 2:6] = 1
    >>> compare_masks(mask, mask, make_ras_grid((0, 0, 0), mask.shape, 1.0))["dice"]
    1.0
    """
    prediction, reference = prediction.astype(bool), reference.astype(bool)
    surface = surface_distances(prediction, reference, grid.voxel_size)
    ml, reference_ml = (volume_ml(mask, grid.voxel_volume) for mask in (prediction, reference))
    added, missed = prediction & ~reference, reference & ~prediction
    values = (
        dice(prediction, reference),
        iou(prediction, reference),
        sensitivity(prediction, reference),
        precision(prediction, reference),
        surface.hd95,
        surface.mean,
        ml,
        reference_ml,
        ml - reference_ml,
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
        Pairs of masks, from `pair_folders` or `read_pairs`.
    observe
        Function called with the number of pairs done, and of all.

    Returns
    -------
    list
        A row for each pair; if its masks cannot be compared, the row says why.
    """
    rows = []
    for number, pair in enumerate(pairs):
        if observe is not None:
            observe(number, len(pairs))
        try:
            _check_two_files(pair)
            prediction = load_canonical_mask(pair.prediction)
            reference = load_canonical_mask(pair.reference)
            check_one_grid(prediction, reference)
            values = compare_masks(prediction.inside, reference.inside, reference.grid)
            rows.append(Row(pair, values))
        except InputError as error:
            rows.append(Row(pair, {}, " ".join(str(error).split())))
    return rows


def _check_two_files(pair: Comparison) -> None:
    """Refuse to compare a mask with itself, which would look like a perfect prediction."""
    with suppress(OSError):  # a file that is missing is reported by its reader
        if pair.prediction.samefile(pair.reference):
            raise InputError(
                f"{pair.prediction}: prediction and reference are the same file; expected two. "
                "Masks of one folder are paired by a table with the columns prediction and "
                "reference."
            )


# --- summary


@dataclass(frozen=True)
class Estimate:
    """A metric over the scans of one method.

    Parameters
    ----------
    count
        Number of scans for which the metric exists.
    mean, median
        Mean and median of the metric over these scans.
    low, high
        95 % confidence interval of the mean: percentiles of its bootstrap over scans.
    worst
        Lowest overlap, or largest distance or error.
    """

    count: int
    mean: float
    low: float
    high: float
    median: float
    worst: float


@dataclass(frozen=True)
class Summary:
    """Summary of the rows of one method.

    Parameters
    ----------
    method
        Name of the method.
    scans, failed
        Number of pairs, and of those that could not be compared.
    estimates
        Estimates by the names of `METRICS`.
    worst
        Rows with the lowest Dice, at most `WORST`, the lowest first.
    gain
        Dice minus that of the first method, on scans that both have; None for the first method.
    """

    method: str
    scans: int
    failed: int
    estimates: dict[str, Estimate]
    worst: list[Row]
    gain: Estimate | None = None


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Summarise the rows of each method, in the order in which methods first occur."""
    methods = list(dict.fromkeys(row.pair.method for row in rows))
    first = _dice_by_scan(rows, methods[0]) if methods else {}
    summaries = []
    for method in methods:
        of_method = [row for row in rows if row.pair.method == method]
        good = [row for row in of_method if not row.error]
        estimates = {
            name: estimate([row.values[name] for row in good], name in OVERLAPS)
            for name in METRICS
        }
        gain = None
        if method != methods[0]:
            dices = _dice_by_scan(rows, method)
            gain = estimate([dices[s] - first[s] for s in dices if s in first], True)
        worst = sorted(good, key=lambda row: row.values["dice"])[:WORST]
        failed = len(of_method) - len(good)
        summaries.append(Summary(method, len(of_method), failed, estimates, worst, gain))
    return summaries


def estimate(values: Sequence[float], high_is_good: bool) -> Estimate:
    """Estimate a mean with its confidence interval; values that do not exist are left out.

    The interval assumes that scans are independent: it is too narrow if there are several scans
    of one participant. The same values in the same order give the same interval.

    Parameters
    ----------
    values
        One value of the metric per scan.
    high_is_good
        Whether the lowest value is the worst; otherwise it is the one farthest from zero.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return Estimate(0, *[float("nan")] * 5)
    count = known.size
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(draws @ known / count, (2.5, 97.5))
    worst = known.min() if high_is_good else known[np.abs(known).argmax()]
    mean, median = float(known.mean()), float(np.median(known))
    return Estimate(count, mean, float(low), float(high), median, float(worst))


def _dice_by_scan(rows: Iterable[Row], method: str) -> dict[str, float]:
    return {
        row.pair.scan: row.values["dice"]
        for row in rows
        if row.pair.method == method and not row.error
    }


# --- files


def to_tsv(rows: Sequence[Row]) -> str:
    """Write rows as TSV; values that do not exist are ``n/a``, as in BIDS."""
    cells = []
    for row in rows:
        values = [_format(row.values.get(name, float("nan"))) for name in COLUMNS]
        paths = [str(row.pair.prediction), str(row.pair.reference)]
        cells.append([row.pair.scan, row.pair.method, *values, *paths, row.error or "n/a"])
    return make_tsv(["scan", "method", *COLUMNS, "prediction", "reference", "error"], cells)


def _format(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "n/a"


def to_json(summaries: Sequence[Summary], rows: Sequence[Row], unpaired: Sequence[str]) -> bytes:
    """Encode summaries, worst scans and errors; values that do not exist are null."""
    fields = {
        "deskull": __version__,
        "interval": f"95 %, {RESAMPLES} bootstrap samples of scans, seed {SEED}",
        "methods": [
            {
                "method": one.method,
                "scans": one.scans,
                "failed": one.failed,
                "metrics": {name: vars(value) for name, value in one.estimates.items()},
                "dice_gain": vars(one.gain) if one.gain else None,
                "worst": [{"scan": r.pair.scan, "dice": r.values["dice"]} for r in one.worst],
            }
            for one in summaries
        ],
        "errors": [
            {"scan": row.pair.scan, "method": row.pair.method, "error": row.error}
            for row in rows
            if row.error
        ],
        "unpaired": list(unpaired),
    }
    return make_json(_to_plain(fields))


def _to_plain(value: Any) -> Any:
    """Turn NaN and infinity into null, and round to six digits."""
    if isinstance(value, dict):
        return {name: _to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
