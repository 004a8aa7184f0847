"""Pictures as pixels: slices in three planes, the mask's outline, and the stripped brain.

`draw_mosaic` shows one scan, `draw_sheets` many. Pillow draws, from arrays into memory: no
plotting library, no file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid
from deskull.picture.colours import CANVAS_GREY, OUTLINE_COLOUR, TEXT_GREY
from deskull.picture.layout import (
    CAPTION,
    GUTTER,
    HALF,
    HEADER,
    MOSAIC,
    ROWS_OF_SHEET,
    SHEET_ROW,
    WIDTH,
    Cut,
    Label,
    Row,
    Shown,
    View,
    cut_slice,
    fit_text,
    make_header,
    make_scale_bar,
    make_view,
    place_row,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

GREY_LEVELS = 96
"""As many as a screen shows; fewer make a smaller file."""

OUTLINE = 255
"""Pixel value that the palette turns into the outline's colour; greys end below it."""


@dataclass(frozen=True, eq=False)
class _Strip:
    """Part of a picture, over its whole width: pixels, and labels on them."""

    pixels: NDArray[np.uint8]
    labels: Sequence[Label]


def draw_mosaic(data: NDArray[Any], mask: NDArray[Any], grid: Grid, title: str = "") -> "Image":
    """Draw slices in three planes: the scan with the mask's outline left, the brain right.

    Rows are axial, coronal and sagittal, each with the same slices in both halves, spread over
    the mask's box (over the field if the mask is empty). The display is neurological: the
    subject's left is on the left of axial and coronal slices, marked L and R. Sagittal slices
    look to the right and say which half of the head they cut. Axes are those nearest to RAS+:
    an oblique scan is shown in its own planes. Voxel sizes are respected.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z); voxels that are not finite are drawn black.
    mask
        Mask, (X, Y, Z), nonzero inside.
    grid
        Grid of `data` and `mask`.
    title
        One line above the slices, cut short if it is too long.

    Returns
    -------
    PIL.Image.Image
        `WIDTH` pixels wide, mode ``"P"`` (greys and the outline's colour). The same arrays
        give the same picture.

    Raises
    ------
    GeometryError
        If the shapes of `data`, `mask` and `grid` differ.
    """
    view = make_view(Shown(title, data, mask, grid), MOSAIC)
    return _stack([_draw_header(title, view), *(_draw_row(view, row) for row in MOSAIC)])


def draw_planes(data: NDArray[Any], mask: NDArray[Any], grid: Grid, width: int) -> "Image":
    """Draw one large slice in each plane, with the mask's outline.

    Parameters
    ----------
    data, mask, grid
        Intensities, mask and their grid, as for `draw_mosaic`.
    width
        Width of the picture in pixels.

    Returns
    -------
    PIL.Image.Image
        Axial, coronal and sagittal slice through the middle of the mask's box, side by side,
        drawn as by `draw_mosaic`.

    Raises
    ------
    GeometryError
        If the shapes of `data`, `mask` and `grid` differ.
    """
    view = make_view(Shown("", data, mask, grid), (SHEET_ROW,), width - 2 * GUTTER)
    tiles, height = place_row(view, SHEET_ROW, GUTTER, width - 2 * GUTTER)
    pixels = np.full((height + 2 * GUTTER, width), CANVAS_GREY, np.uint8)
    for tile in tiles:
        rows, columns = slice(tile.top, tile.top + tile.height), slice(tile.left, None)
        pixels[rows, columns][:, : tile.width] = _draw_slice(view, tile.cut, thickness=2)[0]
    return _stack([_Strip(pixels, [label for tile in tiles for label in tile.labels()])])


def draw_sheets(scans: Iterable[Shown]) -> Iterator["Image"]:
    """Draw many scans below each other, `ROWS_OF_SHEET` to a sheet.

    Each has one axial, one coronal and one sagittal slice through the middle of its mask's
    box, drawn as by `draw_mosaic`.

    Parameters
    ----------
    scans
        Taken one by one, so that a generator may load them.

    Yields
    ------
    PIL.Image.Image
        As `draw_mosaic` makes them.

    Raises
    ------
    GeometryError
        If the shapes of a scan's arrays and grid differ.
    """
    strips: list[_Strip] = []
    for scan in scans:
        strips += [_make_caption(scan.name), _draw_row(make_view(scan, (SHEET_ROW,)), SHEET_ROW)]
        if len(strips) == 2 * ROWS_OF_SHEET:
            yield _stack(strips)
            strips = []
    if strips:
        yield _stack(strips)


def encode_png(image: "Image") -> bytes:
    """Encode a picture as PNG, the same bytes for the same picture."""
    stream = BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _draw_row(view: View, row: Row) -> _Strip:
    """Draw slices side by side: the scan with the outline, then the brain."""
    tiles, height = place_row(view, row)
    pixels = np.full((height + GUTTER, WIDTH), CANVAS_GREY, np.uint8)
    labels: list[Label] = []
    for tile in tiles:
        below = slice(tile.top, tile.top + tile.height)
        for shift, drawn in zip((0, HALF), _draw_slice(view, tile.cut), strict=True):
            pixels[below, tile.left + shift : tile.left + shift + tile.width] = drawn
            labels += tile.labels(shift)
    return _Strip(pixels, labels)


def _draw_slice(
    view: View, cut: Cut, thickness: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels of one slice: the scan with the outline, and the brain."""
    from scipy import ndimage

    values, signed = cut_slice(view, cut)
    grey = to_grey(values, GREY_LEVELS)
    inside = signed >= 0.5
    rim = inside & ~ndimage.binary_erosion(inside, iterations=thickness, border_value=1)
    return np.where(rim, np.uint8(OUTLINE), grey), np.where(inside, grey, np.uint8(0))


def to_grey(values: NDArray[np.float32], levels: int) -> NDArray[np.uint8]:
    """Turn brightness in [0, 1] into so many greys from 0 to below `OUTLINE`.

    Examples
    --------
    >>> to_grey(np.array([0.0, 0.5, 1.0], np.float32), levels=3).tolist()
    [0, 127, 254]
    """
    return np.round(np.round(values * (levels - 1)) * (OUTLINE - 1) / (levels - 1)).astype(
        np.uint8
    )


def _draw_header(title: str, view: View) -> _Strip:
    bar = make_scale_bar(view)
    pixels = np.full((HEADER, WIDTH), CANVAS_GREY, np.uint8)
    pixels[bar.top : bar.top + bar.thickness, bar.left : bar.left + bar.length] = TEXT_GREY
    return _Strip(pixels, [*make_header(title), bar.label])


def _make_caption(name: str) -> _Strip:
    """Name of a scan on a sheet."""
    labels = [Label(name, GUTTER + 2, 5, room=WIDTH - 2 * GUTTER)]
    return _Strip(np.full((CAPTION, WIDTH), CANVAS_GREY, np.uint8), labels)


def _stack(strips: Sequence[_Strip]) -> "Image":
    """Put strips below each other, with their labels, in greys and the outline's colour."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.concatenate([strip.pixels for strip in strips]))
    draw = ImageDraw.Draw(image)
    top = 0
    for strip in strips:
        for label in strip.labels:
            write_label(draw, label, top)
        top += len(strip.pixels)
    image.putpalette([*np.repeat(np.arange(255), 3).tolist(), *OUTLINE_COLOUR])
    return image


def write_label(draw: "ImageDraw", label: Label, top: int = 0, colour: str = "") -> None:
    """Write a label on a picture.

    Parameters
    ----------
    draw
        Pillow's drawing of the picture.
    label
        Text, and where it goes.
    top
        Pixels by which the label is moved down.
    colour
        Colour of the letters as Pillow names it; by default the grey of the label.
    """
    from PIL import ImageFont

    draw.text(
        (label.left, top + label.top),
        fit_text(label),
        colour or label.grey,
        ImageFont.load_default(label.size),
        label.anchor,
        stroke_width=int(label.outlined),
        stroke_fill=0,
    )
