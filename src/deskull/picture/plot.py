"""Small plots for pages, as SVG: dots above their values, boxes, Bland-Altman, bars.

Python decides where things lie, the template ``plot.svg`` writes them, and ``plot.css`` gives
them the colours of the page. Each dot names its scan when pointed at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deskull.picture.page import render

if TYPE_CHECKING:
    from markupsafe import Markup

RADIUS = 4.0
"""Pixels of a dot."""

CHART_WIDTH, CHART_HEIGHT, CHART_EDGE, CHART_FLOOR = 360, 116, 12, 40
"""Pixels of a stacked chart: width, height, margin left and right, and room below the axis."""

BIN = 8.4
"""Width in pixels of the bins in which dots are stacked."""

LARGEST_RADIUS = 5.0
"""Pixels of a dot in a stacked chart, at most."""

WIDTH, NAMES, ROW = 720, 170, 44
"""Pixels of a distribution: width, margin left for the names of methods, height per method."""


@dataclass(frozen=True)
class Line:
    """A straight line between two pixels; ``kind`` is its CSS class."""

    element: ClassVar[str] = "line"
    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True)
class Text:
    """A text that starts, ends or is centred at a pixel, by ``anchor``."""

    element: ClassVar[str] = "text"
    x: float
    y: float
    text: str
    anchor: str = "start"
    kind: str = ""


@dataclass(frozen=True)
class Bar:
    """A rectangle from its upper left pixel."""

    element: ClassVar[str] = "rect"
    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Dot:
    """A dot around a pixel, with a tooltip; a click leads to the element named ``target``."""

    element: ClassVar[str] = "ellipse"
    x: float
    y: float
    tooltip: str
    kind: str = "dot"
    reach: tuple[float, float] = (RADIUS, RADIUS)
    target: str = ""


Part = Line | Text | Bar | Dot


@dataclass(frozen=True)
class Point:
    """One scan of a plot.

    Parameters
    ----------
    name
        Name of the scan, for the tooltip.
    x, y
        Values of the scan; a distribution shows x alone.
    target
        Identifier of the element of the page that a click leads to; empty for none.
    doubtful
        Whether the dot is drawn in the colour of doubts.
    """

    name: str
    x: float
    y: float = 0.0
    target: str = ""
    doubtful: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether both values exist."""
        return math.isfinite(self.x) and math.isfinite(self.y)


@dataclass(frozen=True)
class Scale:
    """Linear map from values to pixels.

    Parameters
    ----------
    low, high
        Values at both ends of the scale.
    start, stop
        Pixels at both ends of the scale.

    Examples
    --------
    >>> scale = Scale(0.0, 10.0, 100.0, 200.0)
    >>> scale(2.5), scale.ticks()
    (125.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round values, about four."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= 0.7 * rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def make_scale(values: Sequence[float], start: float, stop: float) -> Scale:
    """Make a scale that holds all values, which are finite, with a margin of 5 %.

    Examples
    --------
    >>> scale = make_scale([0.0, 10.0], 0.0, 100.0)
    >>> scale.low, scale.high
    (-0.5, 10.5)
    """
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    room = 0.05 * (high - low) or max(0.01 * abs(high), 1e-3)
    return Scale(low - room, high + room, start, stop)


def draw_chart(title: str, unit: str, points: Sequence[Point]) -> "Markup":
    """Draw one dot for each scan, stacked above its value `Point.x`.

    Parameters
    ----------
    title, unit
        Name and unit of the values, for the axis.
    points
        Scans with finite values.

    Returns
    -------
    Markup
        ``<svg>``; empty without points.
    """
    from markupsafe import Markup

    if not points:
        return Markup()
    width, floor = CHART_WIDTH, CHART_HEIGHT - CHART_FLOOR
    across = make_scale([point.x for point in points], CHART_EDGE, width - CHART_EDGE)
    stacks: dict[int, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.x):
        stacks.setdefault(int((across(point.x) - CHART_EDGE) / BIN), []).append(point)
    step = min(2 * LARGEST_RADIUS, (floor - 8) / max(map(len, stacks.values())))
    reach = (min(LARGEST_RADIUS, BIN / 2) * 0.9, max(min(BIN / 2 * 0.9, 0.45 * step), 0.5))
    label = f"{title} ({unit})" if unit else title
    parts = _make_bottom_axis(across, floor, label)
    for number, stack in stacks.items():
        for height, point in enumerate(stack):
            x, y = CHART_EDGE + (number + 0.5) * BIN, floor - (height + 0.5) * step - 2
            kind = "dot doubtful" if point.doubtful else "dot"
            tooltip = f"{point.name}: {point.x:.4g} {unit}".rstrip()
            parts.append(Dot(x, y, tooltip, kind, reach, point.target))
    return _make_svg(parts, width, CHART_HEIGHT, label)


def draw_distributions(groups: Mapping[str, Sequence[Point]], label: str) -> "Markup":
    """Draw a dot for each scan, and a box from quartile to quartile with the median.

    Parameters
    ----------
    groups
        Points by the names of methods; `Point.x` is the value; values that do not exist are
        left out.
    label
        Name and unit of the values, for the axis.

    Returns
    -------
    Markup
        ``<svg>``.
    """
    values = [point.x for points in groups.values() for point in points if point.is_finite]
    scale = make_scale(values, NAMES, WIDTH - 20)
    height = ROW * len(groups) + 40
    parts = _make_bottom_axis(scale, height - 36, label)
    for number, (name, points) in enumerate(groups.items()):
        middle = ROW * number + ROW / 2
        known = [point for point in points if point.is_finite]
        parts.append(Text(NAMES - 12, middle + 4, _shorten(name), "end", "name"))
        shifts = np.random.default_rng(0).uniform(-ROW / 4, ROW / 4, len(known))
        parts += [
            Dot(scale(point.x), middle + shift, f"{point.name}: {point.x:.4g}")
            for point, shift in zip(known, shifts, strict=True)
        ]
        if known:
            parts += _draw_box(scale, [point.x for point in known], middle)
    return _make_svg(parts, WIDTH, height, label)


def draw_over_range(
    points: Sequence[Point], limits: tuple[float, float], label: str, span: str
) -> "Markup":
    """Draw a dot for each scan over a range that most scans of another set lie in.

    Parameters
    ----------
    points
        `Point.x` is the value.
    limits
        Lower and upper end of the range.
    label
        Name and unit of the values, for the axis.
    span
        Label of the range, written on it.

    Returns
    -------
    Markup
        ``<svg>``.
    """
    width, height = 460, 92
    known = [point for point in points if point.is_finite]
    scale = make_scale([*limits, *(point.x for point in known)], 12, width - 12)
    low, high = (scale(value) for value in limits)
    parts: list[Part] = [Bar(low, 14, max(high - low, 1), 38, "range")]
    parts.append(Text((low + high) / 2, 10, span, "middle"))
    parts += _make_bottom_axis(scale, 56, label)
    shifts = np.random.default_rng(0).uniform(-12, 12, len(known))
    parts += [
        Dot(
            scale(point.x),
            33 + shift,
            f"{point.name}: {point.x:.4g}",
            "dot" if limits[0] <= point.x <= limits[1] else "dot doubtful",
        )
        for point, shift in zip(known, shifts, strict=True)
    ]
    return _make_svg(parts, width, height, label)


def draw_bland_altman(points: Sequence[Point], unit: str, name: str) -> "Markup":
    """Draw differences against means, with the mean difference and where 95 % should lie.

    Parameters
    ----------
    points
        `Point.x` is the mean of prediction and reference, `Point.y` prediction minus reference.
    unit
        Unit of both values.
    name
        Name of the method, above the plot.

    Returns
    -------
    Markup
        ``<svg>``.
    """
    width, height = 460, 300
    points = [point for point in points if point.is_finite]
    differences = np.array([point.y for point in points])
    bias = float(differences.mean()) if points else 0.0
    spread = 1.96 * float(differences.std(ddof=1)) if len(points) > 1 else 0.0
    across = make_scale([point.x for point in points], 56, width - 64)
    limits = (bias - spread, bias, bias + spread)
    up = make_scale([*differences.tolist(), *limits, 0.0], height - 40, 40)
    parts: list[Part] = [Text(56, 14, _shorten(name, 50), "start", "name")]
    parts += _make_bottom_axis(across, height - 40, f"mean of both volumes ({unit})")
    parts += _make_left_axis(up, 56)
    parts.append(Text(56, 30, f"prediction minus reference ({unit})"))
    parts.append(Line(56, up(0), width - 64, up(0), "axis"))
    for value, kind in zip(limits, ("limit", "middle", "limit"), strict=True):
        parts.append(Line(56, up(value), width - 64, up(value), kind))
        parts.append(Text(width - 60, up(value) + 4, f"{value:+.1f}"))
    parts += [
        Dot(across(point.x), up(point.y), f"{point.name}: {point.y:+.1f} {unit}")
        for point in points
    ]
    return _make_svg(parts, width, height, f"{name}: difference of volumes against their mean")


def draw_two_sided(rows: Mapping[str, tuple[float, float]], unit: str, name: str) -> "Markup":
    """Draw two bars per row, one to the left and one to the right of a middle line.

    Parameters
    ----------
    rows
        By the names of rows: missed, drawn to the left, and too much, drawn to the right.
    unit
        Unit of both values.
    name
        Name of the method, above the plot.

    Returns
    -------
    Markup
        ``<svg>``.
    """
    width, tall, first = 460, 26, 46
    largest = max((value for pair in rows.values() for value in pair), default=0) or 1.0
    middle, reach = 280.0, 130.0
    height = first + tall * len(rows) + 6
    parts: list[Part] = [Text(0, 14, _shorten(name, 60), "start", "name")]
    parts.append(Text(middle - 8, 36, "missed", "end"))
    parts.append(Text(middle + 8, 36, "too much"))
    for number, (row, (missed, over)) in enumerate(rows.items()):
        top = first + tall * number
        left, right = reach * missed / largest, reach * over / largest
        parts += [
            Text(0, top + 16, row, "start", "name"),
            Bar(middle - left, top + 4, left, 16, "missed"),
            Bar(middle, top + 4, right, 16, "over"),
            Text(middle - left - 5, top + 16, f"{missed:.1f} {unit}", "end"),
            Text(middle + right + 5, top + 16, f"{over:.1f} {unit}"),
        ]
    parts.append(Line(middle, first, middle, height - 6, "axis"))
    return _make_svg(parts, width, height, f"{name}: false volume by region")


def _draw_box(scale: Scale, values: Sequence[float], middle: float) -> list[Part]:
    low, median, high = (scale(float(v)) for v in np.percentile(values, (25, 50, 75)))
    top, bottom = middle - ROW / 3, middle + ROW / 3
    box = Bar(low, top, high - low, bottom - top, "box")
    return [box, Line(median, top, median, bottom, "middle")]


def _make_bottom_axis(scale: Scale, top: float, label: str) -> list[Part]:
    """Make a line with round numbers below it, and a label below those."""
    parts: list[Part] = [Line(scale.start, top, scale.stop, top, "axis")]
    for tick in scale.ticks():
        parts.append(Line(scale(tick), top, scale(tick), top + 4, "axis"))
        parts.append(Text(scale(tick), top + 17, f"{tick:g}", "middle"))
    return [*parts, Text((scale.start + scale.stop) / 2, top + 32, label, "middle")]


def _make_left_axis(scale: Scale, right: float) -> list[Part]:
    """Make short lines that end at a pixel, with round numbers on their left."""
    parts: list[Part] = []
    for tick in scale.ticks():
        parts.append(Line(right - 4, scale(tick), right, scale(tick), "axis"))
        parts.append(Text(right - 8, scale(tick) + 4, f"{tick:g}", "end"))
    return parts


def _make_svg(parts: Sequence[Part], width: int, height: int, label: str) -> "Markup":
    """Make the element; its label is read aloud."""
    from markupsafe import Markup

    return Markup(
        render("deskull.picture", "plot.svg", parts=parts, width=width, height=height, label=label)
    )


def _shorten(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
