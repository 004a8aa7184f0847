"""One picture of one scan: slices in three planes, the mask's outline, and the stripped brain.

Pillow draws it, from arrays into memory: no plotting library, no file. Reports and the
interactive viewer are made elsewhere.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deskull.errors import GeometryError
from deskull.image.geometry import Grid, to_canonical_array
from deskull.prepare.postprocess import find_box

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 1600
"""Pixels of the picture."""

GUTTER = 6
"""Pixels between slices; three times as much between scan and brain."""

HEADER = 58
"""Pixels above the slices for the title and the headings of both halves."""

LARGEST_SCALE = 3.0
"""Pixels per mm at most, so that a small field is not blown up."""

MARGIN_MM = 14.0
"""Shown around the mask's box: skull and scalp, to judge the outline against."""

LEAST_MM = 150.0
"""Shown at least along each axis, so that a mask of a few voxels is seen in its head."""

GREY_LEVELS = 96
"""More cannot be told apart on a screen, and fewer make a smaller file."""

OUTLINE = 255
"""Pixel value that the palette turns into the outline's colour; greys end below it."""

OUTLINE_COLOUR = (255, 96, 32)
"""Orange, which the colour-blind too tell from grey."""

CANVAS_GREY, HEADING_GREY, TEXT_GREY = 24, 165, 240

WINDOW_PERCENTILES = (2.0, 99.5)
"""Black at the first of what is shown, white at the second of the brain: fat may saturate."""


@dataclass(frozen=True)
class _Plane:
    """A row of the picture: the RAS+ axis that is cut, and where, as shares of the mask's box."""

    axis: int
    shares: tuple[float, ...]

    @property
    def across(self) -> tuple[int, int]:
        """Axes that run to the right and up."""
        return ((1, 2), (0, 2), (0, 1))[self.axis]

    def label(self, share: float) -> tuple[str, str]:
        """Words at the left and right corner of a slice."""
        if self.axis:
            return "L", "R"
        if share == 0.5:
            return "middle", ""
        return ("left half" if share < 0.5 else "right half"), ""


AXIAL = _Plane(2, (0.14, 0.38, 0.62, 0.84))
CORONAL = _Plane(1, (0.16, 0.38, 0.62, 0.84))
SAGITTAL = _Plane(0, (0.2, 0.5, 0.72))
ROWS = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True)
class _View:
    """What all slices share: arrays near RAS+, the part shown, and how it is drawn."""

    data: NDArray[Any]
    mask: NDArray[np.bool_]
    box: NDArray[np.float64]
    """Voxel edges (3, 2) of the mask, over which the slices are spread."""
    bounds: NDArray[np.float64]
    """Voxel edges (3, 2) of what is shown."""
    extent: NDArray[np.float64]
    """The same in mm, (3,)."""
    window: tuple[float, float]
    scale: float
    """Pixels per mm."""

    def pixels(self, plane: _Plane) -> tuple[int, int]:
        """Width and height of a slice."""
        right, up = plane.across
        return round(self.extent[right] * self.scale), round(self.extent[up] * self.scale)


def draw_mosaic(data: NDArray[Any], mask: NDArray[Any], grid: Grid, title: str = "") -> "Image":
    """Draw slices in three planes: the scan with the mask's outline left, the brain right.

    Rows are axial, coronal and sagittal, each with the same slices in both halves, spread over
    the mask's box (over the field if the mask is empty). The display is neurological: the
    person's left is on the left of axial and coronal slices, marked L and R. Sagittal slices
    look to the right and say which half of the head they cut. Axes are those nearest to RAS+:
    an oblique scan is shown in its own planes. Voxel sizes are respected.

    Parameters
    ----------
    data
        (X, Y, Z) intensities; voxels that are not finite are drawn black.
    mask
        (X, Y, Z), nonzero inside.
    grid
        Of both.
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
    from PIL import Image

    view = _make_view(data, mask, grid)
    heights = [view.pixels(plane)[1] for plane in ROWS]
    canvas = np.full((HEADER + sum(heights) + 3 * GUTTER, WIDTH), CANVAS_GREY, np.uint8)
    labels = []
    top = HEADER
    for plane, height in zip(ROWS, heights, strict=True):
        width = view.pixels(plane)[0]
        for number, share in enumerate(plane.shares):
            slices = _draw_slice(view, plane, share)
            for half, pixels in enumerate(slices):
                left = _find_left(half, number, len(plane.shares), width)
                canvas[top : top + height, left : left + width] = pixels
                labels.append((left, top, width, plane.label(share)))
        top += height + GUTTER
    image = Image.fromarray(canvas)
    _write_words(image, title, labels)
    image.putpalette([*np.repeat(np.arange(255), 3).tolist(), *OUTLINE_COLOUR])
    return image


def encode_png(image: "Image") -> bytes:
    """Encode a picture as PNG, the same bytes for the same picture."""
    stream = BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _make_view(data: NDArray[Any], mask: NDArray[Any], grid: Grid) -> _View:
    """Bring arrays to RAS+ and decide what is shown, how large and how bright."""
    if not data.shape == mask.shape == grid.shape:
        raise GeometryError(
            f"image of shape {data.shape}, mask of shape {mask.shape}, grid of shape "
            f"{grid.shape}; expected one grid."
        )
    data = to_canonical_array(data, grid)
    mask = to_canonical_array(mask, grid).astype(bool, copy=False)
    size = np.array(grid.canonical().voxel_size)
    field = np.array([[0.0, count] for count in mask.shape])
    box = bounds = field
    if mask.any():
        box = np.array([[float(s.start), float(s.stop)] for s in find_box(mask)])
        margin = np.maximum(MARGIN_MM, (LEAST_MM - (box[:, 1] - box[:, 0]) * size) / 2) / size
        bounds = np.stack([box[:, 0] - margin, box[:, 1] + margin], axis=1)
        bounds = np.clip(bounds, field[:, :1], field[:, 1:])
    extent = (bounds[:, 1] - bounds[:, 0]) * size
    scale = min(
        (_half_width() - (len(plane.shares) - 1) * GUTTER)
        / len(plane.shares)
        / extent[plane.across[0]]
        for plane in ROWS
    )
    window = _find_window(data, mask, bounds)
    return _View(data, mask, box, bounds, extent, window, min(scale, LARGEST_SCALE))


def _half_width() -> int:
    """Pixels that each half has for its slices and the gutters between them."""
    return (WIDTH - 5 * GUTTER) // 2


def _find_left(half: int, number: int, count: int, width: int) -> int:
    """First column of a slice, centred in its slot."""
    slot = (_half_width() + GUTTER) / count
    left = GUTTER + half * (_half_width() + 3 * GUTTER)
    return int(left + number * slot + (slot - GUTTER - width) / 2)


def _find_window(
    data: NDArray[Any], mask: NDArray[np.bool_], bounds: NDArray[np.float64]
) -> tuple[float, float]:
    """Intensities drawn black and white."""
    low, high = np.floor(bounds[:, 0]).astype(int), np.ceil(bounds[:, 1]).astype(int)
    stride = np.maximum((high - low) // 64, 1)
    sample = tuple(slice(a, b, s) for a, b, s in zip(low, high, stride, strict=True))
    shown = data[sample]
    finite = np.isfinite(shown)
    brain = shown[finite & mask[sample]]
    shown = shown[finite]
    if not shown.size:
        return 0.0, 1.0
    black = float(np.percentile(shown, WINDOW_PERCENTILES[0]))
    white = float(np.percentile(brain if brain.size else shown, WINDOW_PERCENTILES[1]))
    return black, white if white > black else black + 1.0


def _draw_slice(
    view: _View, plane: _Plane, share: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels of one slice: the scan with the outline, and the brain."""
    from PIL.Image import Resampling

    low, high = view.box[plane.axis]
    index = min(int(low + share * (high - low)), view.mask.shape[plane.axis] - 1)
    black, white = view.window
    values = np.moveaxis(view.data, plane.axis, 0)[index].astype(np.float64)
    values = np.nan_to_num((values - black) / (white - black), nan=0, posinf=0, neginf=0)
    values = _resize(np.clip(values, 0, 1), view, plane, Resampling.BICUBIC)
    grey = np.clip(np.round(values * (GREY_LEVELS - 1)), 0, GREY_LEVELS - 1)
    grey = np.round(grey * (OUTLINE - 1) / (GREY_LEVELS - 1)).astype(np.uint8)
    inside = np.moveaxis(view.mask, plane.axis, 0)[index].astype(np.float64)
    inside = _resize(inside, view, plane, Resampling.BILINEAR) >= 0.5
    rim = inside & ~ndimage.binary_erosion(inside, border_value=1)
    return np.where(rim, np.uint8(OUTLINE), grey), np.where(inside, grey, np.uint8(0))


def _resize(
    values: NDArray[np.float64], view: _View, plane: _Plane, method: int
) -> NDArray[np.float32]:
    """Part shown of a slice (right, up) as square pixels, (rows from the top, columns)."""
    from PIL import Image

    right, up = plane.across
    rows = values.shape[1]
    (left, stop), (bottom, top) = view.bounds[right], view.bounds[up]
    image = Image.fromarray(values.T[::-1].astype(np.float32))
    box = (left, rows - top, stop, rows - bottom)
    return np.asarray(image.resize(view.pixels(plane), method, box=box))


def _write_words(
    image: "Image", title: str, labels: list[tuple[int, int, int, tuple[str, str]]]
) -> None:
    """Write the title, the headings of both halves and the letters of each slice."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(22), ImageFont.load_default(15)
    room = WIDTH - 2 * GUTTER
    if draw.textlength(title, font=large) > room:
        while title and draw.textlength(title + "...", font=large) > room:
            title = title[:-1]
        title += "..."
    draw.text((GUTTER + 2, 4), title, fill=TEXT_GREY, font=large)
    for half, heading in enumerate(("scan with the mask's outline", "brain")):
        left = _find_left(half, 0, 1, _half_width()) + 2
        draw.text((left, HEADER - 24), heading, fill=HEADING_GREY, font=small)
    for left, top, width, words in labels:
        for word, column, anchor in zip(words, (4, width - 4), ("la", "ra"), strict=True):
            place = (left + column, top + 3)
            draw.text(place, word, TEXT_GREY, small, anchor, stroke_width=1, stroke_fill=0)
