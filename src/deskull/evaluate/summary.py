"""Summary of the rows of an evaluation: means, confidence intervals, the worst scans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deskull import __version__
from deskull.evaluate.metrics_table import METRICS, OVERLAPS, Row
from deskull.tables import make_json

WORST = 5
"""Number of worst scans that are shown for each method."""

RESAMPLES, SEED = 2000, 0
"""Number of bootstrap samples, and seed."""


@dataclass(frozen=True)
class Estimate:
    """A metric over the scans of one method.

    Parameters
    ----------
    count
        Number of scans for which the metric exists.
    mean, median, worst
        Over these scans; `worst` is the lowest overlap, or the largest distance or error.
    low, high
        95 % confidence interval of the mean: percentiles of its bootstrap over scans.
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
        Rows with the lowest Dice, at most `WORST`, the worst first.
    gain
        Dice minus that of the first method, on scans that both have; None for the first.
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
        mine = [row for row in rows if row.pair.method == method]
        good = [row for row in mine if not row.error]
        estimates = {
            name: estimate([row.values[name] for row in good], name in OVERLAPS)
            for name in METRICS
        }
        gain = None
        if method != methods[0]:
            own = _dice_by_scan(rows, method)
            gain = estimate([own[s] - first[s] for s in own if s in first], True)
        worst = sorted(good, key=lambda row: row.values["dice"])[:WORST]
        failed = len(mine) - len(good)
        summaries.append(Summary(method, len(mine), failed, estimates, worst, gain))
    return summaries


def estimate(values: Sequence[float], high_is_good: bool) -> Estimate:
    """Estimate a mean with its confidence interval; values that do not exist are left out.

    The interval takes scans for independent: it is too narrow if there are several scans of one
    participant. The same values in the same order give the same interval.

    Parameters
    ----------
    values
        One value per scan.
    high_is_good
        Whether the lowest value is the worst; else the one farthest from zero.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return Estimate(0, *[float("nan")] * 5)
    count = known.size
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(draws @ known / count, (2.5, 97.5))
    worst = known.min() if high_is_good else known[np.abs(known).argmax()]
    middle, median = float(known.mean()), float(np.median(known))
    return Estimate(count, middle, float(low), float(high), median, float(worst))


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


def _dice_by_scan(rows: Iterable[Row], method: str) -> dict[str, float]:
    return {
        row.pair.scan: row.values["dice"]
        for row in rows
        if row.pair.method == method and not row.error
    }


def _to_plain(value: Any) -> Any:
    """Turn NaN and infinity into null, and round to six digits."""
    if isinstance(value, dict):
        return {name: _to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
