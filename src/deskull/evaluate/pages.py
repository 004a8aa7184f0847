"""The HTML pages: masks against references, and a cohort against the training heads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import median
from typing import Any

import numpy as np

from deskull import __version__
from deskull.errors import InputError
from deskull.evaluate.drift import DESCRIPTIONS, Drift, Head, Population, describe_tested
from deskull.evaluate.masks import GRID_TOLERANCE, load_canonical_mask
from deskull.evaluate.results import Row, Summary
from deskull.image.grid import to_canonical_array
from deskull.image.volume import load_volume
from deskull.measure.likeness import EvaluatedHead, Likeness
from deskull.measure.metrics import REGIONS
from deskull.picture.differences import draw_differences
from deskull.picture.page import make_page, to_data_address
from deskull.picture.plot import (
    Point,
    draw_bland_altman,
    draw_distributions,
    draw_over_range,
    draw_two_sided,
)

QUALITY = 70
"""WebP quality."""


@dataclass(frozen=True)
class Heading:
    """Heading of a metric on the page, and its number of digits after the decimal point."""

    metric: str
    label: str
    digits: int


HEADINGS = (
    Heading("dice", "Dice", 4),
    Heading("iou", "IoU", 4),
    Heading("sensitivity", "sensitivity", 4),
    Heading("precision", "precision", 4),
    Heading("hd95_mm", "HD95 mm", 2),
    Heading("mean_distance_mm", "mean distance mm", 2),
    Heading("difference_ml", "volume difference ml", 1),
)


@dataclass(frozen=True)
class Picture:
    """Picture of the errors in one scan.

    Parameters
    ----------
    row
        Row of the scan and method.
    address
        ``data:`` address of the picture.
    note
        Why the scan itself is not shown in it; else empty.
    """

    row: Row
    address: str
    note: str


def make_evaluation_page(
    rows: Sequence[Row],
    summaries: Sequence[Summary],
    unpaired: Sequence[str],
    observe: Callable[[int, int], None] | None = None,
) -> str:
    """Make the page of an evaluation; the scans in its pictures are read again.

    Parameters
    ----------
    rows, summaries
        Results of `evaluate` and `summarise`.
    unpaired
        A line of text for each file without a partner.
    observe
        Function called with the number of pictures drawn, and of all.
    """
    good = [row for row in rows if not row.error]
    errors = [f"{row.pair.scan}, {row.pair.method}: {row.error}" for row in rows if row.error]
    return make_page(
        "deskull.evaluate",
        "evaluation.html",
        title="Masks against references",
        version=__version__,
        headings=HEADINGS,
        rows=rows,
        good=good,
        scans=len({row.pair.scan for row in rows}),
        failed=sum(one.failed for one in summaries),
        summaries=summaries,
        unpaired=unpaired,
        errors=errors,
        plots=_draw_plots(good, summaries),
        pictures=_draw_worst(summaries, observe),
    )


def _draw_plots(rows: Sequence[Row], summaries: Sequence[Summary]) -> dict[str, list[Any]]:
    """Draw the distributions of both metrics; volumes and regions of each method."""
    by_method = {
        one.method: [row for row in rows if row.pair.method == one.method] for one in summaries
    }
    distributions = [
        draw_distributions(
            {
                method: [Point(row.pair.scan, row.values[metric]) for row in of_method]
                for method, of_method in by_method.items()
            },
            label,
        )
        for metric, label in (("dice", "Dice"), ("hd95_mm", "HD95 (mm)"))
    ]
    volumes = [
        draw_bland_altman([_to_volumes(row) for row in of_method], "ml", method)
        for method, of_method in by_method.items()
    ]
    regions = [
        draw_two_sided(_sum_regions(of_method), "ml", method)
        for method, of_method in by_method.items()
    ]
    return {"distributions": distributions, "volumes": volumes, "regions": regions}


def _to_volumes(row: Row) -> Point:
    mean = (row.values["volume_ml"] + row.values["reference_ml"]) / 2
    return Point(row.pair.scan, mean, row.values["difference_ml"])


def _sum_regions(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Find the mean volume in ml that is missed and that is too much, by region."""

    def mean(kind: str, total: str, region: str) -> float:
        values = [row.values[f"{kind}_{region}"] * row.values[total] for row in rows]
        return float(np.nan_to_num(values).mean()) if values else 0.0

    return {
        region: (
            mean("fn", "false_negative_ml", region),
            mean("fp", "false_positive_ml", region),
        )
        for region in REGIONS
    }


def _draw_worst(
    summaries: Sequence[Summary], observe: Callable[[int, int], None] | None
) -> list[Picture]:
    worst = [row for one in summaries for row in one.worst]
    pictures = []
    for number, row in enumerate(worst):
        if observe is not None:
            observe(number, len(worst))
        pictures.append(_draw(row))
    return pictures


def _draw(row: Row) -> Picture:
    prediction = load_canonical_mask(row.pair.prediction)
    reference = load_canonical_mask(row.pair.reference)
    image, note = None, ""
    if row.pair.image is not None:
        try:
            volume = load_volume(row.pair.image)
        except InputError as error:
            note = str(error)
        else:
            if volume.grid.canonical().matches(reference.grid, GRID_TOLERANCE):
                image = to_canonical_array(volume.data, volume.grid)
            else:
                note = "the scan lies on another grid and is not shown"
    picture = draw_differences(prediction.inside, reference.inside, reference.grid, image)
    stream = BytesIO()
    picture.save(stream, format="WEBP", quality=QUALITY)
    return Picture(row, to_data_address(stream.getvalue(), "image/webp"), note)


# --- a cohort against the training heads


def make_drift_page(
    drifts: Sequence[Drift], population: Population, likeness: Likeness, weights: str
) -> str:
    """Make the page of a comparison: each trait of the cohort over the training range.

    Parameters
    ----------
    drifts
        Result of `find_drift`.
    population, likeness
        Measurements of the cohort, and the traits of the training and test heads.
    weights
        Name of the weights.
    """
    heads, tested = population.heads, likeness.tested
    traits = [_show_trait(drift, heads, tested) for drift in drifts]
    scores = [head.score for head in heads]
    test_scores = [one.score for one in tested]
    return make_page(
        "deskull.evaluate",
        "drift.html",
        title="A cohort against the training heads",
        heads=heads,
        training=likeness.training.heads if likeness.training else 0,
        weights=weights,
        count=len(drifts),
        differing=[trait for trait in traits if trait["drift"].differs],
        alike=[trait for trait in traits if not trait["drift"].differs],
        failed=population.failed,
        scores={
            "middle": median(scores),
            "lowest": min(scores),
            "tested": (median(test_scores), min(test_scores)) if test_scores else None,
        },
    )


def _show_trait(
    drift: Drift, heads: Sequence[Head], tested: Sequence[EvaluatedHead]
) -> dict[str, Any]:
    description = DESCRIPTIONS[drift.trait]
    points = [
        Point(head.name, head.traits[drift.trait]) for head in heads if drift.trait in head.traits
    ]
    return {
        "drift": drift,
        "description": description,
        "plot": draw_over_range(points, drift.training, description, "training"),
        "tested": describe_tested(drift.tested, tested),
    }
