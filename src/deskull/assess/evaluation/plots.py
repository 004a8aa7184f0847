"""Small plots as SVG text, to stand in a page: dots and boxes, Bland-Altman, bars.

Colours are those of `page.STYLE`, so that plots follow the reader's light or dark. Every dot
says its scan when pointed at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deskull.assess.page import escape

STYLE = """
svg text { fill: var(--soft); font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
svg text.name { fill: var(--front); } svg .axis { stroke: var(--line); }
svg .dot { fill: var(--mark); fill-opacity: .55; } svg .dot:hover { fill-opacity: 1; }
svg .box { fill: none; stroke: var(--front); } svg .middle { stroke: var(--front);
  stroke-width: 2; } svg .limit { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .over { fill: var(--over); } svg .missed { fill: var(--missed); }
:root { --over: #d9480f; --missed: #1c7ed6; }
"""

WIDTH, NAMES = 720, 170
"""Pixels of a plot, and of those the names of methods at its left."""

ROW = 44
"""Pixels of height that a method has."""


@dataclass(frozen=True)
class Dot:
    """One scan in a plot."""

    name: str
    x: float
    y: float = 0.0


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values, four or so."""
        rough = (self.high - self.low) / 4
        power = 10 ** np.floor(np.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= 0.7 * rough)
        first = np.ceil(self.low / step - 1e-9)
        last = np.floor(self.high / step + 1e-9)
        return [float(n * step) + 0.0 for n in np.arange(first, last + 1)]  # no -0


def draw_distributions(groups: Mapping[str, Sequence[Dot]], label: str) -> str:
    """Draw a dot for each scan, and a box from quartile to quartile with the median.

    Parameters
    ----------
    groups
        By the names of methods; `Dot.x` is the value, unknown ones are left out.
    label
        What the values are, with their unit.

    Returns
    -------
    str
        An ``svg`` element.
    """
    values = [dot.x for dots in groups.values() for dot in dots if np.isfinite(dot.x)]
    scale = _make_scale(values, NAMES, WIDTH - 20)
    height = ROW * len(groups) + 40
    parts = _draw_bottom_axis(scale, height - 36, label)
    for number, (name, dots) in enumerate(groups.items()):
        middle = ROW * number + ROW / 2
        known = [dot for dot in dots if np.isfinite(dot.x)]
        parts.append(_text(NAMES - 12, middle + 4, _cut(name), "end", "name"))
        shifts = np.random.default_rng(0).uniform(-ROW / 4, ROW / 4, len(known))
        parts += [
            _dot(scale(dot.x), middle + shift, f"{dot.name}: {dot.x:.4g}")
            for dot, shift in zip(known, shifts, strict=True)
        ]
        if known:
            parts.append(_draw_box(scale, [dot.x for dot in known], middle))
    return _wrap(parts, WIDTH, height, label)


def draw_bland_altman(dots: Sequence[Dot], unit: str, name: str) -> str:
    """Draw differences against means, with the mean difference and where 95 % should lie.

    Parameters
    ----------
    dots
        `Dot.x` is the mean of prediction and reference, `Dot.y` prediction less reference.
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
    across = _make_scale([dot.x for dot in dots], 56, width - 64)
    limits = (bias - spread, bias, bias + spread)
    up = _make_scale([*differences.tolist(), *limits, 0.0], height - 40, 24)
    parts = [_text(56, 14, _cut(name, 50), "start", "name")]
    parts += _draw_bottom_axis(across, height - 40, f"mean of both volumes, {unit}")
    for tick in up.ticks():
        parts.append(_line(52, up(tick), 56, up(tick), "axis"))
        parts.append(_text(48, up(tick) + 4, f"{tick:g}", "end"))
    parts.append(_line(56, up(0), width - 64, up(0), "axis"))
    for value, kind in zip(limits, ("limit", "middle", "limit"), strict=True):
        parts.append(_line(56, up(value), width - 64, up(value), kind))
        parts.append(_text(width - 60, up(value) + 4, f"{value:+.1f}"))
    parts += [_dot(across(dot.x), up(dot.y), f"{dot.name}: {dot.y:+.1f} {unit}") for dot in dots]
    return _wrap(parts, width, height, f"{name}: difference of volumes against their mean")


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
    parts = [_text(0, 14, _cut(name, 60), "start", "name")]
    parts.append(_text(middle - 8, 36, "missed", "end"))
    parts.append(_text(middle + 8, 36, "too much"))
    for number, (row, (missed, over)) in enumerate(rows.items()):
        top = first + tall * number
        left, right = (round(reach * value / largest, 1) for value in (missed, over))
        parts.append(_text(0, top + 16, row, "start", "name"))
        parts.append(_bar(middle - left, top + 4, left, "missed"))
        parts.append(_bar(middle, top + 4, right, "over"))
        parts.append(_text(middle - left - 5, top + 16, f"{missed:.1f} {unit}", "end"))
        parts.append(_text(middle + right + 5, top + 16, f"{over:.1f} {unit}"))
    parts.append(_line(middle, first, middle, height - 6, "axis"))
    return _wrap(parts, width, height, f"{name}: false volume by region")


def _make_scale(values: Sequence[float], start: float, stop: float) -> _Scale:
    """Make a scale that holds all values, with a little room."""
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    room = 0.05 * (high - low) or max(0.01 * abs(high), 1e-3)
    return _Scale(low - room, high + room, start, stop)


def _draw_bottom_axis(scale: _Scale, top: float, label: str) -> list[str]:
    parts = [_line(scale.start, top, scale.stop, top, "axis")]
    for tick in scale.ticks():
        parts.append(_line(scale(tick), top, scale(tick), top + 4, "axis"))
        parts.append(_text(scale(tick), top + 17, f"{tick:g}", "middle"))
    parts.append(_text((scale.start + scale.stop) / 2, top + 32, label, "middle"))
    return parts


def _draw_box(scale: _Scale, values: Sequence[float], middle: float) -> str:
    low, median, high = (scale(v) for v in np.percentile(values, (25, 50, 75)))
    top = middle - ROW / 3
    return (
        f'<rect class="box" x="{low}" y="{top:.1f}" width="{high - low:.1f}" '
        f'height="{ROW / 1.5:.1f}"/>' + _line(median, top, median, middle + ROW / 3, "middle")
    )


def _wrap(parts: Sequence[str], width: int, height: int, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _dot(x: float, y: float, words: str) -> str:
    title = f"<title>{escape(words)}</title>"
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>'


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="16"/>'


def _cut(words: str, most: int = 24) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
