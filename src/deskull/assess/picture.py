"""Pictures of scans: slices in three planes, the mask's outline, and the stripped brain.

`draw_mosaic` shows one scan, `draw_sheets` many. Pillow draws, from arrays into memory: no
plotting library, no file. Reports and the interactive viewer are made elsewhere.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    from PIL.ImageDraw import ImageDraw

WIDTH = 1600
"""Pixels of the picture."""

GUTTER = 6
"""Pixels between slices; three times as much between scan and brain."""

HEADER = 58
"""Pixels above the slices for the title and the headings of both halves."""

CAPTION = 26
"""Pixels above each row of a sheet for the name of its scan."""

LARGE, SMALL = 22, 15
"""Sizes of letters: of a title, and of all else."""

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
class _Cut:
    """A slice: the RAS+ axis that is cut, and where, as share of the mask's box."""

    axis: int
    share: float

    @property
    def across(self) -> tuple[int, int]:
        """Axes that run to the right and up."""
        return ((1, 2), (0, 2), (0, 1))[self.axis]

    @property
    def label(self) -> tuple[str, str]:
        """Words at the left and right corner of the slice."""
        if self.axis:
            return "L", "R"
        if self.share == 0.5:
            return "middle", ""
        return ("left half" if self.share < 0.5 else "right half"), ""


_Row = tuple[_Cut, ...]

AXIAL: _Row = tuple(_Cut(2, share) for share in (0.14, 0.38, 0.62, 0.84))
CORONAL: _Row = tuple(_Cut(1, share) for share in (0.16, 0.38, 0.62, 0.84))
SAGITTAL: _Row = tuple(_Cut(0, share) for share in (0.2, 0.5, 0.72))
MOSAIC = (AXIAL, CORONAL, SAGITTAL)
SHEET_ROW: _Row = (_Cut(2, 0.5), _Cut(1, 0.5), _Cut(0, 0.5))

ROWS_OF_SHEET = 12
"""Scans on one sheet; more go to the next."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A scan of a sheet.

    Parameters
    ----------
    name
        Written above it.
    data
        (X, Y, Z) intensities.
    mask
        (X, Y, Z), nonzero inside.
    grid
        Of both.
    """

    name: str
    data: NDArray[Any]
    mask: NDArray[Any]
    grid: Grid


@dataclass(frozen=True)
class _Word:
    """Text on a strip, from its left or right end, cut short where there is no room."""

    text: str
    left: int
    top: int
    size: int = SMALL
    grey: int = TEXT_GREY
    anchor: str = "la"
    room: int = 0
    outlined: bool = False


@dataclass(frozen=True, eq=False)
class _Strip:
    """What is stacked to a picture: pixels as wide as it, and words on them."""

    pixels: NDArray[np.uint8]
    words: Sequence[_Word]


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

    def pixels(self, cut: _Cut) -> tuple[int, int]:
        """Width and height of a slice."""
        right, up = cut.across
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
    view = _make_view(Shown(title, data, mask, grid), MOSAIC)
    return _stack([_make_header(title), *(_draw_row(view, row) for row in MOSAIC)])


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
        strips += [_make_caption(scan.name), _draw_row(_make_view(scan, (SHEET_ROW,)), SHEET_ROW)]
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


def _make_view(scan: Shown, rows: Sequence[_Row]) -> _View:
    """Bring arrays to RAS+ and decide what is shown, how large and how bright."""
    data, mask, grid = scan.data, scan.mask, scan.grid
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
        (_half_width() - (len(row) - 1) * GUTTER) / len(row) / extent[cut.across[0]]
        for row in rows
        for cut in row
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


def _draw_row(view: _View, row: _Row) -> _Strip:
    """Draw slices side by side: the scan with the outline, then the brain."""
    height = max(view.pixels(cut)[1] for cut in row)
    pixels = np.full((height + GUTTER, WIDTH), CANVAS_GREY, np.uint8)
    words = []
    for number, cut in enumerate(row):
        width, rows = view.pixels(cut)
        top = (height - rows) // 2
        for half, drawn in enumerate(_draw_slice(view, cut)):
            left = _find_left(half, number, len(row), width)
            pixels[top : top + rows, left : left + width] = drawn
            for text, column, anchor in zip(cut.label, (4, width - 4), ("la", "ra"), strict=True):
                words.append(_Word(text, left + column, top + 3, anchor=anchor, outlined=True))
    return _Strip(pixels, words)


def _draw_slice(view: _View, cut: _Cut) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels of one slice: the scan with the outline, and the brain."""
    from PIL.Image import Resampling

    low, high = view.box[cut.axis]
    index = min(int(low + cut.share * (high - low)), view.mask.shape[cut.axis] - 1)
    black, white = view.window
    values = np.moveaxis(view.data, cut.axis, 0)[index].astype(np.float64)
    values = np.nan_to_num((values - black) / (white - black), nan=0, posinf=0, neginf=0)
    values = _resize(np.clip(values, 0, 1), view, cut, Resampling.BICUBIC)
    grey = np.clip(np.round(values * (GREY_LEVELS - 1)), 0, GREY_LEVELS - 1)
    grey = np.round(grey * (OUTLINE - 1) / (GREY_LEVELS - 1)).astype(np.uint8)
    inside = np.moveaxis(view.mask, cut.axis, 0)[index].astype(np.float64)
    inside = _resize(inside, view, cut, Resampling.BILINEAR) >= 0.5
    rim = inside & ~ndimage.binary_erosion(inside, border_value=1)
    return np.where(rim, np.uint8(OUTLINE), grey), np.where(inside, grey, np.uint8(0))


def _resize(
    values: NDArray[np.float64], view: _View, cut: _Cut, method: int
) -> NDArray[np.float32]:
    """Part shown of a slice (right, up) as square pixels, (rows from the top, columns)."""
    from PIL import Image

    right, up = cut.across
    rows = values.shape[1]
    (left, stop), (bottom, top) = view.bounds[right], view.bounds[up]
    image = Image.fromarray(values.T[::-1].astype(np.float32))
    box = (left, rows - top, stop, rows - bottom)
    return np.asarray(image.resize(view.pixels(cut), method, box=box))


def _make_header(title: str) -> _Strip:
    """Title, and headings of both halves."""
    words = [_Word(title, GUTTER + 2, 4, LARGE, room=WIDTH - 2 * GUTTER)]
    for half, heading in enumerate(("scan with the mask's outline", "brain")):
        left = _find_left(half, 0, 1, _half_width()) + 2
        words.append(_Word(heading, left, HEADER - 24, grey=HEADING_GREY))
    return _Strip(np.full((HEADER, WIDTH), CANVAS_GREY, np.uint8), words)


def _make_caption(name: str) -> _Strip:
    """Name of a scan on a sheet."""
    words = [_Word(name, GUTTER + 2, 5, room=WIDTH - 2 * GUTTER)]
    return _Strip(np.full((CAPTION, WIDTH), CANVAS_GREY, np.uint8), words)


def _stack(strips: Sequence[_Strip]) -> "Image":
    """Put strips below each other, with their words, in greys and the outline's colour."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.concatenate([strip.pixels for strip in strips]))
    draw = ImageDraw.Draw(image)
    top = 0
    for strip in strips:
        for word in strip.words:
            _write(draw, word, top)
        top += len(strip.pixels)
    image.putpalette([*np.repeat(np.arange(255), 3).tolist(), *OUTLINE_COLOUR])
    return image


def _write(draw: "ImageDraw", word: _Word, top: int) -> None:
    from PIL import ImageFont

    font, text = ImageFont.load_default(word.size), word.text
    if word.room and draw.textlength(text, font=font) > word.room:
        while text and draw.textlength(text + "...", font=font) > word.room:
            text = text[:-1]
        text += "..."
    place, edge = (word.left, top + word.top), int(word.outlined)
    draw.text(place, text, word.grey, font, word.anchor, stroke_width=edge, stroke_fill=0)
