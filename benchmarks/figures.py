"""Figures as a journal prints them: direct labels, colours that the colour-blind distinguish.

Each figure is written twice, for light and for dark pages: `x.png` and `x_dark.png`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito 2008; distinguished also by `MARKS`."""

MARKS = ("o", "s", "D", "^", "v", "P")
THEMES = {"": ("white", "#1f2328"), "_dark": ("#0d1117", "#e6edf3")}
"""Ending of the file's name: background, and all that is drawn on it but data."""

STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
GAP = 0.075
"""Least distance of two labels at the ends of lines, as a share of the axis."""


def save_figure(draw: Callable[[], Figure], path: Path) -> None:
    """Write a figure for light and for dark pages; `draw` makes it anew for each."""
    drawn = ("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color")
    drawn += ("xtick.color", "ytick.color")
    for ending, (back, front) in THEMES.items():
        ground = {"figure.facecolor": back, "axes.facecolor": back, "savefig.facecolor": back}
        with rc_context({**STYLE, **ground, **dict.fromkeys(drawn, front)}):
            draw().savefig(path.with_stem(path.stem + ending), dpi=150)


def look(number: int) -> tuple[str, str]:
    """Colour and mark of a method, by its number."""
    return COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]


def label_ends(axis: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Name lines at their right ends, in their colour; names that would overlap are moved apart.

    Parameters
    ----------
    axis
        Its limits are final.
    ends
        Last value and colour of each line, by its name.
    """
    low, high = axis.get_ylim()
    places = {name: (value - low) / (high - low) for name, (value, _) in ends.items()}
    order = sorted(places, key=lambda name: places[name])
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + GAP)
    for name, place in places.items():
        axis.text(1.03, place, name, color=ends[name][1], va="center", transform=axis.transAxes)


def label_above(axis: Axes, points: Mapping[str, tuple[float, str]]) -> None:
    """Name points above the plot, over their place on a logarithmic axis and off all dots.

    Parameters
    ----------
    axis
        Its limits are final.
    points
        Place along the axis and colour of each, by its name; names of two lines are allowed.
    """
    rows: list[float] = []
    to_axis = axis.transScale + axis.transLimits
    for name, (value, colour) in sorted(points.items(), key=lambda point: point[1][0]):
        place = float(to_axis.transform((value, axis.get_ylim()[0]))[0])
        row = next((i for i, end in enumerate(rows) if place - end > 0.3), len(rows))
        rows[row : row + 1] = [place]
        axis.annotate(
            name,
            (place, 1.0),
            (0, 8 + 28 * row),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            color=colour,
        )
