"""What a mask has too much and what it misses, in colour on three slices of the scan.

Slices go through where most is wrong. `mosaic.py` shows a mask alone.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid, find_box, to_canonical_array
from deskull.picture.colours import CANVAS_GREY, MISSED_COLOUR, OVER_COLOUR
from deskull.picture.layout import (
    HALF,
    Cut,
    Label,
    Shown,
    cut_slice,
    make_view,
    place_row,
)
from deskull.picture.mosaic import write_label

if TYPE_CHECKING:
    from PIL.Image import Image

STRENGTH = 0.75
"""Opacity of the colour over the scan's grey."""

NO_SCAN_GREY = 0.35
"""Brightness of the brain where the scan itself is not at hand."""


def draw_differences(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    grid: Grid,
    image: NDArray[Any] | None = None,
) -> "Image":
    """Draw three slices through where two masks differ most.

    Parameters
    ----------
    prediction, reference
        Masks on one grid, (X, Y, Z), nonzero inside.
    grid
        Grid of all arrays.
    image
        Intensities of the scan, (X, Y, Z); without them the brain is plain grey.

    Returns
    -------
    PIL.Image.Image
        An axial, a coronal and a sagittal slice side by side, RGB: what the prediction has too
        much in `OVER_COLOUR`, what it misses in `MISSED_COLOUR`.

    Raises
    ------
    GeometryError
        If the shapes differ.
    """
    from PIL import Image, ImageDraw

    first, second = prediction.astype(bool), reference.astype(bool)
    either = first | second
    data = either.astype(np.float32) if image is None else image
    wrong = to_canonical_array(first ^ second, grid)
    box = find_box(to_canonical_array(either, grid))
    row = tuple(Cut(axis, _find_worst(wrong, box[axis], axis)) for axis in (2, 1, 0))
    view = make_view(Shown("", data, either, grid), (row,))
    masks = [replace(view, mask=to_canonical_array(mask, grid)) for mask in (first, second)]
    tiles, height = place_row(view, row)
    pixels = np.full((height, HALF, 3), CANVAS_GREY, np.uint8)
    labels: list[Label] = []
    for tile in tiles:
        grey = cut_slice(view, tile.cut)[0] * (NO_SCAN_GREY if image is None else 1.0)
        predicted, true = (cut_slice(one, tile.cut)[1] >= 0.5 for one in masks)
        place = (slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width))
        pixels[place] = _colour(grey, predicted & ~true, true & ~predicted)
        labels += tile.labels()
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    for label in labels:
        write_label(draw, label, colour="white")
    return picture


def _find_worst(wrong: NDArray[np.bool_], part: slice, axis: int) -> float:
    """Where the slice with the most wrong voxels lies, as share of the box; else the middle."""
    counts = np.count_nonzero(wrong, axis=tuple({0, 1, 2} - {axis}))
    if not counts.any():
        return 0.5
    return float((counts.argmax() + 0.5 - part.start) / (part.stop - part.start))


def _colour(
    grey: NDArray[np.float32], over: NDArray[np.bool_], missed: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    colours = np.repeat(255 * grey[..., None], 3, axis=-1)
    for where, colour in ((over, OVER_COLOUR), (missed, MISSED_COLOUR)):
        colours[where] = (1 - STRENGTH) * colours[where] + STRENGTH * np.array(colour)
    return np.round(colours).astype(np.uint8)
