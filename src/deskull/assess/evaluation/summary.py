"""What the rows of an evaluation say together: means, how sure they are, the worst scans."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deskull import __version__
from deskull.assess.evaluation.rows import METRICS, OVERLAPS, Row

WORST = 5
"""Scans of each method that are looked at."""

RESAMPLES, SEED = 2000, 0
"""Of the bootstrap."""


@dataclass(frozen=True)
class Estimate:
    """A metric over the scans of one method.

    Parameters
    ----------
    count
        Scans on which it is known.
    mean, median, worst
        Of these; `worst` is the least of overlaps, and the largest of distances and errors.
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
    """What the rows of one method say.

    Parameters
    ----------
    method
        Its name.
    scans, failed
        Pairs, and how many of them could not be compared.
    estimates
        By the names of `METRICS`.
    worst
        Rows with the lowest Dice, `WORST` at most, the worst first.
    gain
        Dice less that of the first method, on the scans that both have; None for the first.
    """

    method: str
    scans: int
    failed: int
    estimates: dict[str, Estimate]
    worst: list[Row]
    gain: Estimate | None = None


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Sum up the rows of each method, in the order in which methods first occur."""
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


def estimate(values: Sequence[float], most_is_best: bool) -> Estimate:
    """Estimate a mean and how sure it is; unknown values are left out and not counted.

    The interval is that of scans drawn at random: it is too narrow where several scans are of
    one person. The same values in the same order give the same interval.

    Parameters
    ----------
    values
        One for each scan.
    most_is_best
        Whether the least value is the worst; else that farthest from zero.
    """
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return Estimate(0, *[float("nan")] * 5)
    count = known.size
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(draws @ known / count, (2.5, 97.5))
    worst = known.min() if most_is_best else known[np.abs(known).argmax()]
    middle, median = float(known.mean()), float(np.median(known))
    return Estimate(count, middle, float(low), float(high), median, float(worst))


def to_json(summaries: Sequence[Summary], rows: Sequence[Row], unpaired: Sequence[str]) -> str:
    """Write summaries, the worst scans and what was not compared; unknown values are null."""
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
    return json.dumps(_to_plain(fields), indent=2) + "\n"


def _dice_by_scan(rows: Iterable[Row], method: str) -> dict[str, float]:
    return {
        row.pair.scan: row.values["dice"]
        for row in rows
        if row.pair.method == method and not row.error
    }


def _to_plain(value: Any) -> Any:
    """Turn what JSON has no word for into null, and round what nobody measured."""
    if isinstance(value, dict):
        return {name: _to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
