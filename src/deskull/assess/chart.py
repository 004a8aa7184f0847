"""Small charts of a cohort as inline SVG: one dot for each scan, stacked over its value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deskull.assess.page import escape

WIDTH, HEIGHT, EDGE, FLOOR = 360, 100, 12, 24
"""Pixels: of the chart, left and right of the axis, and below it."""

BINS = 40
LARGEST_RADIUS = 5.0


@dataclass(frozen=True)
class Dot:
    """One scan of a chart.

    Parameters
    ----------
    value
        Where it lies.
    name
        Shown when the mouse rests on it.
    target
        Identifier of the element that a click leads to.
    doubtful
        Drawn in the colour that asks for a look.
    """

    value: float
    name: str
    target: str
    doubtful: bool = False


def make_dot_chart(title: str, unit: str, dots: Sequence[Dot]) -> str:
    """Draw a distribution.

    Parameters
    ----------
    title, unit
        Of the values.
    dots
        Finite values.

    Returns
    -------
    str
        ``<figure>``; empty without dots.
    """
    if not dots:
        return ""
    low, high = min(dot.value for dot in dots), max(dot.value for dot in dots)
    span = high - low or abs(high) or 1.0
    low, high = low - 0.04 * span, high + 0.04 * span
    stacks: list[list[Dot]] = [[] for _ in range(BINS)]
    for dot in sorted(dots, key=lambda dot: dot.value):
        stacks[min(int(BINS * (dot.value - low) / (high - low)), BINS - 1)].append(dot)
    step = min(2 * LARGEST_RADIUS, (HEIGHT - FLOOR - 8) / max(map(len, stacks)))
    marks = [
        _draw_dot(dot, number, height, step)
        for number, stack in enumerate(stacks)
        for height, dot in enumerate(stack)
    ]
    words = f"{title}{f' ({unit})' if unit else ''}"
    return (
        f'<figure class="chart"><figcaption>{escape(words)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">'
        f"{_draw_axis(low, high)}{''.join(marks)}</svg></figure>"
    )


def _draw_dot(dot: Dot, number: int, height: int, step: float) -> str:
    x = EDGE + (number + 0.5) * (WIDTH - 2 * EDGE) / BINS
    y = HEIGHT - FLOOR - (height + 0.5) * step - 2
    kind = "dot doubtful" if dot.doubtful else "dot"
    words = escape(f"{dot.name}: {dot.value:.4g}")
    across = min(LARGEST_RADIUS, (WIDTH - 2 * EDGE) / BINS / 2) * 0.9
    return (
        f'<a href="#{escape(dot.target)}"><ellipse class="{kind}" cx="{x:.1f}" cy="{y:.1f}" '
        f'rx="{across:.1f}" ry="{max(min(across, 0.45 * step), 0.5):.2f}">'
        f"<title>{words}</title></ellipse></a>"
    )


def _draw_axis(low: float, high: float) -> str:
    """Draw a line with about five round numbers below it."""
    y = HEIGHT - FLOOR
    parts = [f'<line class="axis" x1="{EDGE}" y1="{y}" x2="{WIDTH - EDGE}" y2="{y}"/>']
    step = _find_step((high - low) / 5)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        value = number * step
        x = EDGE + (value - low) / (high - low) * (WIDTH - 2 * EDGE)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{value:g}</text>')
    return "".join(parts)


def _find_step(least: float) -> float:
    """Smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)
