"""Small charts of a cohort: one dot for each scan, stacked over its value."""

from collections.abc import Sequence
from dataclasses import dataclass

from deskull.assess.page import escape
from deskull.assess.svg import make_bottom_axis, make_dot, make_scale, make_svg

WIDTH, HEIGHT, EDGE, FLOOR = 360, 100, 12, 24
"""Pixels: of the chart, left and right of the axis, and below it."""

BIN = 8.4
"""Pixels that dots on one another share."""

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
    across = make_scale([dot.value for dot in dots], EDGE, WIDTH - EDGE)
    stacks: dict[int, list[Dot]] = {}
    for dot in sorted(dots, key=lambda dot: dot.value):
        stacks.setdefault(int((across(dot.value) - EDGE) / BIN), []).append(dot)
    step = min(2 * LARGEST_RADIUS, (HEIGHT - FLOOR - 8) / max(map(len, stacks.values())))
    parts = make_bottom_axis(across, HEIGHT - FLOOR)
    parts += [
        _draw_dot(dot, EDGE + (number + 0.5) * BIN, height, step)
        for number, stack in stacks.items()
        for height, dot in enumerate(stack)
    ]
    words = f"{title}{f' ({unit})' if unit else ''}"
    return (
        f'<figure class="chart"><figcaption>{escape(words)}</figcaption>'
        f"{make_svg(parts, WIDTH, HEIGHT, words)}</figure>"
    )


def _draw_dot(dot: Dot, x: float, height: int, step: float) -> str:
    y = HEIGHT - FLOOR - (height + 0.5) * step - 2
    across = min(LARGEST_RADIUS, BIN / 2) * 0.9
    reach = across, max(min(across, 0.45 * step), 0.5)
    kind = "dot doubtful" if dot.doubtful else "dot"
    mark = make_dot(x, y, reach, kind, f"{dot.name}: {dot.value:.4g}")
    return f'<a href="#{escape(dot.target)}">{mark}</a>'
