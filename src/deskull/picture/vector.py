"""Pictures as SVG: the scan as one embedded PNG, the mask as a path that can be zoomed into.

The brain's half is the same PNG seen through the mask. The file needs nothing outside of
itself, and its names are its own, so that many can stand in one page.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid
from deskull.picture.colours import CANVAS_GREY, OUTLINE_COLOUR, TEXT_GREY
from deskull.picture.layout import (
    GUTTER,
    HALF,
    HEADER,
    MOSAIC,
    WIDTH,
    Label,
    ScaleBar,
    Shown,
    Tile,
    cut_slice,
    fit_text,
    make_header,
    make_scale_bar,
    make_view,
    place_row,
)
from deskull.picture.mosaic import OUTLINE, encode_png, to_grey

GREY_LEVELS = (48, 32, 20, 12)
"""As many as `LARGEST` has room for: noise is what takes it."""

LARGEST = 290_000
"""Bytes of the embedded scan and the path."""

FINE = 10
"""Steps to a pixel in which the path is written."""

STROKE = 1.5
"""Pixels of the outline's width."""

LEVEL = 0.5
"""Value of the resampled mask along its outline."""

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_LINES = {  # corners inside (1 upper left, then clockwise 2, 4, 8) -> edges that a line joins
    1: ((_LEFT, _TOP),),
    2: ((_TOP, _RIGHT),),
    3: ((_LEFT, _RIGHT),),
    4: ((_RIGHT, _BOTTOM),),
    5: ((_LEFT, _TOP), (_RIGHT, _BOTTOM)),
    6: ((_TOP, _BOTTOM),),
    7: ((_LEFT, _BOTTOM),),
    8: ((_LEFT, _BOTTOM),),
    9: ((_TOP, _BOTTOM),),
    10: ((_TOP, _RIGHT), (_LEFT, _BOTTOM)),
    11: ((_RIGHT, _BOTTOM),),
    12: ((_LEFT, _RIGHT),),
    13: ((_TOP, _RIGHT),),
    14: ((_LEFT, _TOP),),
}


def draw_svg(data: NDArray[Any], mask: NDArray[Any], grid: Grid, title: str = "") -> bytes:
    """Draw what `draw_mosaic` draws as SVG.

    Parameters
    ----------
    data, mask, grid, title
        Intensities, mask, their grid, and the title, as for `draw_mosaic`.

    Returns
    -------
    bytes
        UTF-8, the same for the same arrays; below 300 kB for a head.

    Raises
    ------
    GeometryError
        If the shapes of `data`, `mask` and `grid` differ.
    """
    view = make_view(Shown(title, data, mask, grid), MOSAIC)
    tiles: list[Tile] = []
    height = HEADER
    for row in MOSAIC:
        placed, tall = place_row(view, row, height)
        tiles += placed
        height += tall + GUTTER
    brightness = np.full((height - HEADER, HALF), CANVAS_GREY / OUTLINE, np.float32)
    lines: list[NDArray[np.float64]] = []
    for tile in tiles:
        values, inside = cut_slice(view, tile.cut)
        top, corner = tile.top - HEADER, np.array([tile.left, tile.top])
        brightness[top : top + tile.height, tile.left : tile.left + tile.width] = values
        lines += [line + corner for line in find_contours(inside)]
    bar = make_scale_bar(view)
    labels = [
        *make_header(title),
        bar.label,
        *(w for tile in tiles for s in (0, HALF) for w in tile.labels(s)),
    ]
    path = _make_path(lines)
    return _compose(_encode(brightness, len(path)), path, tiles, (labels, bar), height)


def _encode(brightness: NDArray[np.float32], taken: int) -> bytes:
    """Scan as PNG, in the most greys that leave the file small."""
    from PIL import Image

    for levels in GREY_LEVELS:
        png = encode_png(Image.fromarray(to_grey(brightness, levels)))
        if len(png) * 4 / 3 + taken <= LARGEST:
            break
    return png


def _make_path(lines: Sequence[NDArray[np.float64]]) -> str:
    """Write closed lines as the data of a path, in steps of `FINE` to a pixel."""
    labels = []
    for line in lines:
        points = np.round(line * FINE).astype(int)
        x, y = points[0]
        steps = [(a, b) for a, b in np.diff(points, axis=0).tolist() if a or b]
        labels.append(f"M{x} {y}l" + " ".join(f"{a} {b}" for a, b in steps) + "z")
    return "".join(labels).replace(" -", "-")


def find_contours(field: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Find the closed lines around what is at or above `LEVEL`, by marching squares.

    Where two opposite corners of a square are inside and two are not, the corners inside are taken
    as apart. Beyond its edge the field is 0.

    Parameters
    ----------
    field
        Values at the middles of pixels, (rows, columns).

    Returns
    -------
    list
        Of each line its points (N, 2): x to the right and y down in pixels, 0 at the outer edge
        of the first pixel. The last point is joined to the first.

    Examples
    --------
    >>> (line,) = find_contours(np.ones((1, 1), np.float32))
    >>> line.tolist()
    [[0.5, 1.0], [1.0, 0.5], [0.5, 0.0], [0.0, 0.5]]
    """
    padded = np.pad(np.asarray(field, np.float64), 1)
    first, second = _find_segments(padded >= LEVEL)
    neighbours: dict[int, list[int]] = {}
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    lines = []
    while neighbours:
        edge, line = next(iter(neighbours)), []
        while edge in neighbours:
            line.append(edge)
            one, other = neighbours.pop(edge)
            edge = one if one in neighbours else other
        lines.append(_place(np.array(line), padded))
    return lines


def _find_segments(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of edges joined by a line; edges are numbered, two to each corner of the grid."""
    case = inside[:-1, :-1] + 2 * inside[:-1, 1:] + 4 * inside[1:, 1:] + 8 * inside[1:, :-1]
    width = inside.shape[1]
    shifts = np.array([0, 3, 2 * width, 1])  # of the edges of a square from its first corner's
    pairs = []
    for code, lines in _LINES.items():
        rows, columns = np.nonzero(case == code)
        corner = 2 * (rows * width + columns)
        pairs += [np.stack([corner + shifts[a], corner + shifts[b]]) for a, b in lines]
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _place(edges: NDArray[np.int64], padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the level is crossed on each edge, (N, 2)."""
    corners, down = edges // 2, edges % 2
    rows, columns = np.divmod(corners, padded.shape[1])
    start, end = padded[rows, columns], padded[rows + down, columns + 1 - down]
    share = (LEVEL - start) / (end - start)
    return np.stack([columns + share * (1 - down), rows + share * down], axis=1) - 0.5


def _compose(
    png: bytes,
    path: str,
    tiles: Sequence[Tile],
    texts: tuple[Sequence[Label], ScaleBar],
    height: int,
) -> bytes:
    """Put the scan, the outline, the brain, the labels and the scale bar into one file."""
    labels, bar = texts
    own = hashlib.sha256(png + path.encode()).hexdigest()[:8]
    scan, mask, brain = (f"{name}-{own}" for name in ("scan", "mask", "brain"))
    title = labels[0].text or "mask of the brain"
    black = "".join(
        f'<rect x="{t.left + HALF}" y="{t.top}" width="{t.width}" height="{t.height}"/>'
        for t in tiles
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><defs>",
        f'<image id="{scan}" y="{HEADER}" width="{HALF}" height="{height - HEADER}" '
        f'href="data:image/png;base64,{b64encode(png).decode()}"/>',
        f'<path id="{mask}" transform="scale({1 / FINE})" d="{path}"/>',
        f'<clipPath id="{brain}"><use href="#{mask}" clip-rule="evenodd"/></clipPath></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="{_to_colour(CANVAS_GREY)}"/>',
        f'<use href="#{scan}"/>',
        f'<use href="#{mask}" fill="none" stroke="{_to_colour(*OUTLINE_COLOUR)}" '
        f'stroke-width="{STROKE * FINE:g}"/>',
        f'{black}<g transform="translate({HALF})"><g clip-path="url(#{brain})">'
        f'<use href="#{scan}"/></g></g>',
        '<g font-family="Open Sans,Verdana,sans-serif">',
        *(_write(label) for label in labels if label.text),
        f'<rect x="{bar.left}" y="{bar.top}" width="{bar.length}" height="{bar.thickness}" '
        f'fill="{_to_colour(TEXT_GREY)}"/>',
        "</g></svg>\n",
    ]
    return "\n".join(parts).encode()


def _write(label: Label) -> str:
    """Text; a label's top is that of its letters, SVG wants the line that they stand on."""
    anchor = ' text-anchor="end"' if label.anchor[0] == "r" else ""
    edge = ' stroke="#000" stroke-width="2" paint-order="stroke"' if label.outlined else ""
    return (
        f'<text x="{label.left}" y="{label.top + round(0.85 * label.size)}" '
        f'font-size="{label.size}" fill="{_to_colour(label.grey)}"{anchor}{edge}>'
        f"{escape(fit_text(label))}</text>"
    )


def _to_colour(*values: int) -> str:
    red, green, blue = values if len(values) == 3 else values * 3
    return f"#{red:02x}{green:02x}{blue:02x}"
