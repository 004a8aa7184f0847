"""Small plots of an evaluation: dots and boxes, Bland-Altman, bars.

Every dot says its scan when pointed at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deskull.assess.svg import STYLE as SVG_STYLE
from deskull.assess.svg import (
    Scale,
    make_bottom_axis,
    make_dot,
    make_left_axis,
    make_line,
    make_scale,
    make_svg,
    make_text,
)

STYLE = (
    SVG_STYLE
    + """
svg text.name { fill: var(--front); }
svg .dot { fill: var(--mark); fill-opacity: .55; } svg .dot:hover { fill-opacity: 1; }
svg .box { fill: none; stroke: var(--front); } svg .middle { stroke: var(--front);
  stroke-width: 2; } svg .limit { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .over { fill: var(--over); } svg .missed { fill: var(--missed); }
:root { --over: #d9480f; --missed: #1c7ed6; }
"""
)

WIDTH, NAMES = 720, 170
"""Pixels of a plot, and of those the names of methods at its left."""

ROW = 44
"""Pixels of height that a method has."""

RADIUS = 4
"""Pixels of a dot."""


@dataclass(frozen=True)
class Point:
    """One scan in a plot.

    Parameters
    ----------
    name
        Of the scan.
    x, y
        Where it lies; a distribution has x alone.
    """

    name: str
    x: float
    y: float = 0.0


def draw_distributions(groups: Mapping[str, Sequence[Point]], label: str) -> str:
    """Draw a dot for each scan, and a box from quartile to quartile with the median.

    Parameters
    ----------
    groups
        By the names of methods; `Point.x` is the value, unknown ones are left out.
    label
        What the values are, with their unit.

    Returns
    -------
    str
        An ``svg`` element.
    """
    values = [dot.x for dots in groups.values() for dot in dots if np.isfinite(dot.x)]
    scale = make_scale(values, NAMES, WIDTH - 20)
    height = ROW * len(groups) + 40
    parts = make_bottom_axis(scale, height - 36, label)
    for number, (name, dots) in enumerate(groups.items()):
        middle = ROW * number + ROW / 2
        known = [dot for dot in dots if np.isfinite(dot.x)]
        parts.append(make_text(NAMES - 12, middle + 4, _cut(name), "end", "name"))
        shifts = np.random.default_rng(0).uniform(-ROW / 4, ROW / 4, len(known))
        parts += [
            _dot(scale(dot.x), middle + shift, f"{dot.name}: {dot.x:.4g}")
            for dot, shift in zip(known, shifts, strict=True)
        ]
        if known:
            parts.append(_draw_box(scale, [dot.x for dot in known], middle))
    return make_svg(parts, WIDTH, height, label)


def draw_bland_altman(dots: Sequence[Point], unit: str, name: str) -> str:
    """Draw differences against means, with the mean difference and where 95 % should lie.

    Parameters
    ----------
    dots
        `Point.x` is the mean of prediction and reference, `Point.y` prediction less reference.
    unit
        Of both.
    name
        Of the method, above the plot.

    Returns
    -------
    str
        An ``svg`` element.
    """
    width, height = 460, 300
    dots = [dot for dot in dots if np.isfinite([dot.x, dot.y]).all()]
    differences = np.array([dot.y for dot in dots])
    bias = float(differences.mean()) if dots else 0.0
    spread = 1.96 * float(differences.std(ddof=1)) if len(dots) > 1 else 0.0
    across = make_scale([dot.x for dot in dots], 56, width - 64)
    limits = (bias - spread, bias, bias + spread)
    up = make_scale([*differences.tolist(), *limits, 0.0], height - 40, 24)
    parts = [make_text(56, 14, _cut(name, 50), "start", "name")]
    parts += make_bottom_axis(across, height - 40, f"mean of both volumes, {unit}")
    parts += make_left_axis(up, 56)
    parts.append(make_line(56, up(0), width - 64, up(0), "axis"))
    for value, kind in zip(limits, ("limit", "middle", "limit"), strict=True):
        parts.append(make_line(56, up(value), width - 64, up(value), kind))
        parts.append(make_text(width - 60, up(value) + 4, f"{value:+.1f}"))
    parts += [_dot(across(dot.x), up(dot.y), f"{dot.name}: {dot.y:+.1f} {unit}") for dot in dots]
    return make_svg(parts, width, height, f"{name}: difference of volumes against their mean")


def draw_two_sided(rows: Mapping[str, tuple[float, float]], unit: str, name: str) -> str:
    """Draw two bars per row, one to the left and one to the right of a middle line.

    Parameters
    ----------
    rows
        By the names of rows: missed, drawn to the left, and too much, drawn to the right.
    unit
        Of both.
    name
        Of the method, above the plot.

    Returns
    -------
    str
        An ``svg`` element.
    """
    width, tall, first = 460, 26, 46
    largest = max((value for pair in rows.values() for value in pair), default=0) or 1.0
    middle, reach = 280.0, 130.0
    height = first + tall * len(rows) + 6
    parts = [make_text(0, 14, _cut(name, 60), "start", "name")]
    parts.append(make_text(middle - 8, 36, "missed", "end"))
    parts.append(make_text(middle + 8, 36, "too much"))
    for number, (row, (missed, over)) in enumerate(rows.items()):
        top = first + tall * number
        left, right = (round(reach * value / largest, 1) for value in (missed, over))
        parts.append(make_text(0, top + 16, row, "start", "name"))
        parts.append(_bar(middle - left, top + 4, left, "missed"))
        parts.append(_bar(middle, top + 4, right, "over"))
        parts.append(make_text(middle - left - 5, top + 16, f"{missed:.1f} {unit}", "end"))
        parts.append(make_text(middle + right + 5, top + 16, f"{over:.1f} {unit}"))
    parts.append(make_line(middle, first, middle, height - 6, "axis"))
    return make_svg(parts, width, height, f"{name}: false volume by region")


def _draw_box(scale: Scale, values: Sequence[float], middle: float) -> str:
    low, median, high = (scale(v) for v in np.percentile(values, (25, 50, 75)))
    top = middle - ROW / 3
    return (
        f'<rect class="box" x="{low}" y="{top:.1f}" width="{high - low:.1f}" '
        f'height="{ROW / 1.5:.1f}"/>' + make_line(median, top, median, middle + ROW / 3, "middle")
    )


def _dot(x: float, y: float, words: str) -> str:
    return make_dot(x, y, (RADIUS, RADIUS), "dot", words)


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="16"/>'


def _cut(words: str, most: int = 24) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
