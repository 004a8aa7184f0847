"""The page of an evaluation: tables, plots and the worst scans, in one file."""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np

from deskull import __version__
from deskull.assess.evaluation.masks import SAME, load_canonical_mask
from deskull.assess.evaluation.plots import STYLE as PLOT_STYLE
from deskull.assess.evaluation.plots import (
    Point,
    draw_bland_altman,
    draw_distributions,
    draw_two_sided,
)
from deskull.assess.evaluation.rows import Row
from deskull.assess.evaluation.summary import Estimate, Summary
from deskull.assess.page import NOT_MEDICAL, escape, make_page, to_data_address
from deskull.errors import InputError
from deskull.image.geometry import to_canonical_array
from deskull.image.volume import load_volume
from deskull.measure.regions import REGIONS
from deskull.picture.errors import draw_errors

QUALITY = 70
"""Of WebP."""

STYLE = (
    PLOT_STYLE
    + """
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } figure { margin: .8rem 0; }
figcaption { margin-bottom: .3rem; }
.wide th.number { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
.wide td.number { padding: .35rem .4rem; } details > summary { cursor: pointer; }
.wide { overflow-x: auto; } .key-over { color: var(--over); } .key-missed { color: var(--missed); }
"""
)

HEADINGS = {  # metric -> what the table calls it, and digits after the point
    "dice": ("Dice", 4),
    "iou": ("IoU", 4),
    "sensitivity": ("sensitivity", 4),
    "precision": ("precision", 4),
    "hd95_mm": ("HD95 mm", 2),
    "mean_distance_mm": ("mean distance mm", 2),
    "difference_ml": ("volume difference ml", 1),
}


def make_evaluation_page(
    rows: Sequence[Row],
    summaries: Sequence[Summary],
    unpaired: Sequence[str],
    observe: Callable[[int, int], None] | None = None,
) -> str:
    """Make the page; the scans of its pictures are read once more.

    Parameters
    ----------
    rows, summaries
        As `evaluate` and `summarise` give them.
    unpaired
        A line for each file without a partner.
    observe
        Called with the number of pictures drawn, and of all.
    """
    good = [row for row in rows if not row.error]
    sections = [
        f"<h1>Masks against references</h1><p>{escape(_tell(rows, summaries, unpaired))}</p>",
        _make_summary(summaries),
        _make_plots(good, summaries),
        _make_worst(summaries, observe),
        _make_list(rows),
        _make_left_out(rows, unpaired),
        f'<p class="soft">deskull {escape(__version__)}. {NOT_MEDICAL}</p>',
    ]
    return make_page("Masks against references", "\n".join(sections), style=STYLE)


def _tell(rows: Sequence[Row], summaries: Sequence[Summary], unpaired: Sequence[str]) -> str:
    scans = len({row.pair.scan for row in rows})
    failed = sum(one.failed for one in summaries)
    by = "1 method" if len(summaries) == 1 else f"{len(summaries)} methods"
    words = f"{len(rows)} masks of {scans} scans by {by}."
    if failed:
        words += f" {failed} could not be compared."
    if unpaired:
        words += f" {len(unpaired)} files have no partner."
    return words + (" They are listed at the end." if failed or unpaired else "")


def _make_summary(summaries: Sequence[Summary]) -> str:
    names = "".join(f'<th class="number">{head}</th>' for head, _ in HEADINGS.values())
    lines = []
    for one in summaries:
        cells = [
            _number(
                f"{_digits(value.mean, digits)}<br><small>{_digits(value.low, digits)} to "
                f"{_digits(value.high, digits)}<br>worst {_digits(value.worst, digits)}</small>"
            )
            for value, digits in ((one.estimates[n], d) for n, (_, d) in HEADINGS.items())
        ]
        count = f"{one.scans - one.failed}<br><small>of {one.scans}</small>"
        gain = _number(_tell_gain(one.gain)) if len(summaries) > 1 else ""
        lines.append(
            f"<tr><td>{escape(one.method)}</td>{_number(count)}{''.join(cells)}{gain}</tr>"
        )
    against = f"Dice less {escape(summaries[0].method)}'s" if len(summaries) > 1 else ""
    last = f'<th class="number">{against}</th>' if against else ""
    return (
        '<h2>Summary</h2><div class="wide"><table><tr><th>method</th><th class="number">scans</th>'
        f"{names}{last}</tr>{''.join(lines)}</table></div>"
        "<p><small>Mean over scans, its 95 % confidence interval (bootstrap over scans: too "
        "narrow where several scans are of one person), and the worst scan. HD95 is the 95th "
        "percentile of the distance between both surfaces, mean distance their average; an "
        "empty mask has none and is left out there. Volume difference is prediction less "
        "reference.</small></p>"
    )


def _tell_gain(gain: Estimate | None) -> str:
    if gain is None:
        return "–"
    interval = f"{gain.low:+.4f} to {gain.high:+.4f}"
    return f"{gain.mean:+.4f}<br><small>{interval}<br>on {gain.count} scans</small>"


def _make_plots(rows: Sequence[Row], summaries: Sequence[Summary]) -> str:
    by_method = {
        one.method: [row for row in rows if row.pair.method == one.method] for one in summaries
    }
    spread = [
        draw_distributions(
            {
                method: [Point(row.pair.scan, row.values[metric]) for row in mine]
                for method, mine in by_method.items()
            },
            label,
        )
        for metric, label in (("dice", "Dice"), ("hd95_mm", "HD95, mm"))
    ]
    volumes = [
        draw_bland_altman([_to_volumes(row) for row in mine], "ml", method)
        for method, mine in by_method.items()
    ]
    regions = [
        draw_two_sided(_sum_regions(mine), "ml", method) for method, mine in by_method.items()
    ]
    return (
        f'<h2>Distribution</h2><div class="plots">{"".join(spread)}</div>'
        "<p><small>A dot is a scan: point at it for its name. Boxes go from quartile to quartile, "
        "with the median.</small></p>"
        f'<h2>Volumes</h2><div class="plots">{"".join(volumes)}</div>'
        "<p><small>Prediction less reference (Bland-Altman): mean difference, and the range that "
        "should hold 95 % of scans.</small></p>"
        f'<h2>Where the errors lie</h2><div class="plots">{"".join(regions)}</div>'
        "<p><small>Mean false volume of a scan, by parts of the box that holds the reference: "
        "neck (its lowest 8 % and below), eyes and face (lower front), vertex (highest 20 %), "
        "cerebellum (lower back), frontal (the rest of the front 30 %), elsewhere.</small></p>"
    )


def _to_volumes(row: Row) -> Point:
    mean = (row.values["volume_ml"] + row.values["reference_ml"]) / 2
    return Point(row.pair.scan, mean, row.values["difference_ml"])


def _sum_regions(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Mean ml missed and too much in each region."""

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


def _make_worst(summaries: Sequence[Summary], observe: Callable[[int, int], None] | None) -> str:
    worst = [row for one in summaries for row in one.worst]
    figures = []
    for number, row in enumerate(worst):
        if observe is not None:
            observe(number, len(worst))
        values = row.values
        words = (
            f"{row.pair.method}, {row.pair.scan}: Dice {_digits(values['dice'], 4)}, HD95 "
            f"{_digits(values['hd95_mm'], 1)} mm, {values['false_positive_ml']:.1f} ml too much, "
            f"{values['false_negative_ml']:.1f} ml missed"
        )
        picture, note = _draw(row)
        figures.append(
            f"<figure><figcaption>{escape(words)}{note}</figcaption>"
            f'<img alt="{escape(words)}" src="{to_data_address(picture, "image/webp")}"></figure>'
        )
    return (
        '<h2>Worst scans</h2><p>Slices with the most errors: <b class="key-over">too much</b>, '
        f'<b class="key-missed">missed</b>.</p>{"".join(figures)}'
    )


def _draw(row: Row) -> tuple[bytes, str]:
    """Picture of a scan's errors, and a note where the scan itself cannot be shown."""
    prediction = load_canonical_mask(row.pair.prediction)
    reference = load_canonical_mask(row.pair.reference)
    image, note = None, ""
    if row.pair.image is not None:
        try:
            volume = load_volume(row.pair.image)
        except InputError as error:
            note = f" <small>({escape(error)})</small>"
        else:
            if volume.grid.canonical().matches(reference.grid, SAME):
                image = to_canonical_array(volume.data, volume.grid)
            else:
                note = " <small>(the scan lies on another grid and is not shown)</small>"
    picture = draw_errors(prediction.inside, reference.inside, reference.grid, image)
    stream = BytesIO()
    picture.save(stream, format="WEBP", quality=QUALITY)
    return stream.getvalue(), note


def _make_list(rows: Sequence[Row]) -> str:
    names = "".join(f'<th class="number">{head}</th>' for head, _ in HEADINGS.values())
    lines = [
        f"<tr><td>{escape(row.pair.scan)}</td><td>{escape(row.pair.method)}</td>"
        + "".join(_number(_digits(row.values[n], d)) for n, (_, d) in HEADINGS.items())
        + "</tr>"
        for row in rows
        if not row.error
    ]
    return (
        f"<h2>All scans</h2><details><summary>{len(lines)} rows</summary>"
        f'<div class="wide"><table><tr><th>scan</th><th>method</th>{names}</tr>'
        f"{''.join(lines)}</table></div></details>"
    )


def _make_left_out(rows: Sequence[Row], unpaired: Sequence[str]) -> str:
    lines = [f"{row.pair.scan}, {row.pair.method}: {row.error}" for row in rows if row.error]
    lines += unpaired
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>Not compared</h2><ul>{items}</ul>"


def _number(content: str) -> str:
    return f'<td class="number">{content}</td>'


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"
