"""The words of SVG that plots in a page are drawn with: scales, axes, lines, text.

What is drawn is for `chart.py` and `evaluation/plots.py`. Colours are those of `page.STYLE`, so
that plots follow the reader's light or dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deskull.assess.page import escape

STYLE = """
svg text { fill: var(--soft); font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
svg .axis { stroke: var(--line); }
"""
"""Of text and axes; what else is drawn brings its own."""


@dataclass(frozen=True)
class Scale:
    """From values to pixels.

    Parameters
    ----------
    low, high
        Values at its ends.
    start, stop
        Pixels there.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values, four or so."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= 0.7 * rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def make_scale(values: Sequence[float], start: float, stop: float) -> Scale:
    """Make a scale that holds all values, which are finite, with a little room."""
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    room = 0.05 * (high - low) or max(0.01 * abs(high), 1e-3)
    return Scale(low - room, high + room, start, stop)


def make_bottom_axis(scale: Scale, top: float, label: str = "") -> list[str]:
    """Make a line with round numbers below it, and a label below those."""
    parts = [make_line(scale.start, top, scale.stop, top, "axis")]
    for tick in scale.ticks():
        parts.append(make_line(scale(tick), top, scale(tick), top + 4, "axis"))
        parts.append(make_text(scale(tick), top + 17, f"{tick:g}", "middle"))
    if label:
        parts.append(make_text((scale.start + scale.stop) / 2, top + 32, label, "middle"))
    return parts


def make_left_axis(scale: Scale, right: float) -> list[str]:
    """Make short lines that end at a pixel, with round numbers at their left."""
    parts = []
    for tick in scale.ticks():
        parts.append(make_line(right - 4, scale(tick), right, scale(tick), "axis"))
        parts.append(make_text(right - 8, scale(tick) + 4, f"{tick:g}", "end"))
    return parts


def make_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Make a line; its kind is the class that the style knows."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def make_text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Make a text that begins, ends or has its middle at x; any words are harmless."""
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def make_dot(x: float, y: float, reach: tuple[float, float], kind: str, words: str) -> str:
    """Make a dot that says its words when pointed at; it reaches so many pixels across and up."""
    return (
        f'<ellipse class="{kind}" cx="{x:.1f}" cy="{y:.1f}" rx="{reach[0]:.2f}" '
        f'ry="{reach[1]:.2f}"><title>{escape(words)}</title></ellipse>'
    )


def make_svg(parts: Sequence[str], width: int, height: int, label: str) -> str:
    """Make the whole element, of so many pixels; its label is read aloud."""
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg>'
    )
