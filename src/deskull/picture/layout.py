"""What a picture shows and where: slices in three planes, voxel sizes respected.

Nothing is drawn here: `mosaic.py` draws pixels of it, `vector.py` writes SVG.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import GeometryError
from deskull.image.grid import Grid, find_box, to_canonical_array
from deskull.picture.colours import HEADING_GREY, TEXT_GREY

WIDTH = 1600
"""Pixels of the picture."""

GUTTER = 6
"""Pixels between slices; three times as much between scan and brain."""

HALF_WIDTH = (WIDTH - 5 * GUTTER) // 2
"""Pixels that each half has for its slices and the gutters between them."""

HALF = HALF_WIDTH + 3 * GUTTER
"""Pixels from a slice of the scan to the same slice of the brain."""

HEADER = 58
"""Pixels above the slices for the title and the headings of both halves."""

CAPTION = 26
"""Pixels above each row of a sheet for the name of its scan."""

LARGE, SMALL = 22, 15
"""Sizes of letters: of a title, and of all else."""

SCALE_BAR_MM = 50.0

LARGEST_SCALE = 3.0
"""Pixels per mm at most, so that a small field is not blown up."""

MARGIN_MM = 14.0
"""Shown around the mask's box: skull and scalp, to judge the outline against."""

MIN_MM = 150.0
"""Shown at least along each axis, so that a mask of a few voxels is seen in its head."""

WINDOW_PERCENTILES = (2.0, 99.5)
"""Black at the first of what is shown, white at the second of the brain: fat may saturate."""


@dataclass(frozen=True)
class Cut:
    """A slice: the RAS+ axis that is cut, and where, as share of the mask's box."""

    axis: int
    share: float

    @property
    def across(self) -> tuple[int, int]:
        """Axes that run to the right and up."""
        return ((1, 2), (0, 2), (0, 1))[self.axis]

    @property
    def sides(self) -> tuple[str, str]:
        """Texts at the left and right corner of the slice."""
        if self.axis:
            return "L", "R"
        if self.share == 0.5:
            return "middle", ""
        return ("left half" if self.share < 0.5 else "right half"), ""


Row = tuple[Cut, ...]

AXIAL: Row = tuple(Cut(2, share) for share in (0.14, 0.38, 0.62, 0.84))
CORONAL: Row = tuple(Cut(1, share) for share in (0.16, 0.38, 0.62, 0.84))
SAGITTAL: Row = tuple(Cut(0, share) for share in (0.2, 0.5, 0.72))
MOSAIC = (AXIAL, CORONAL, SAGITTAL)
SHEET_ROW: Row = (Cut(2, 0.5), Cut(1, 0.5), Cut(0, 0.5))

ROWS_OF_SHEET = 12
"""Scans on one sheet; more go to the next."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A scan of a sheet.

    Parameters
    ----------
    name
        Text above the slices.
    data
        Intensities, (X, Y, Z).
    mask
        Mask, (X, Y, Z), nonzero inside.
    grid
        Grid of both arrays.
    """

    name: str
    data: NDArray[Any]
    mask: NDArray[Any]
    grid: Grid


@dataclass(frozen=True)
class Label:
    """Text on a picture.

    Parameters
    ----------
    text
        Text of one line.
    left, top
        Pixel of its upper left corner; of its upper right one if `anchor` is ``"ra"``.
    size
        Size of the letters in pixels.
    grey
        Brightness, 0 to 255.
    anchor
        Anchor as Pillow names it: ``"la"`` or ``"ra"``.
    room
        Width in pixels beyond which the text is shortened; 0 for no limit.
    outlined
        Whether the letters have a black outline.
    """

    text: str
    left: int
    top: int
    size: int = SMALL
    grey: int = TEXT_GREY
    anchor: str = "la"
    room: int = 0
    outlined: bool = False


@dataclass(frozen=True)
class View:
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

    grid: Grid
    """Grid of the arrays, axes nearest to RAS+."""

    def index(self, cut: Cut) -> int:
        """Index of a slice along its axis, from 0."""
        low, high = self.box[cut.axis]
        return min(int(low + cut.share * (high - low)), int(self.mask.shape[cut.axis]) - 1)

    def position(self, cut: Cut) -> str:
        """Where a slice lies: mm in the scan's coordinates; its number if the scan is oblique."""
        if self.grid.is_oblique:
            return f"slice {self.index(cut)}"
        middle = [(count - 1) / 2 for count in self.mask.shape]
        middle[cut.axis] = self.index(cut)
        place = float(self.grid.to_mm(np.array([middle]))[0, cut.axis])
        return f"{'xyz'[cut.axis]} = {place:.0f} mm"

    def pixels(self, cut: Cut) -> tuple[int, int]:
        """Width and height of a slice."""
        right, up = cut.across
        return round(self.extent[right] * self.scale), round(self.extent[up] * self.scale)


@dataclass(frozen=True)
class Tile:
    """Where a slice goes: pixels of the scan's half; the brain's is `HALF` further right."""

    cut: Cut
    left: int
    top: int
    width: int
    height: int
    position: str = ""

    def labels(self, shift: int = 0) -> list[Label]:
        """Left and right, or which half of the head, and the position, moved to the right."""
        columns = (self.left + shift + 4, self.left + shift + self.width - 4)
        bottom = self.top + self.height - SMALL - 6
        position = Label(self.position, columns[0], bottom, outlined=True)
        return [position] * bool(self.position) + [
            Label(text, column, self.top + 3, anchor=anchor, outlined=True)
            for text, column, anchor in zip(self.cut.sides, columns, ("la", "ra"), strict=True)
            if text
        ]


def make_view(scan: Shown, rows: Sequence[Row], width: int = HALF_WIDTH) -> View:
    """Bring arrays to RAS+ and decide what is shown, how large and how bright.

    Parameters
    ----------
    scan
        Scan and mask to show.
    rows
        Slices of each row of the picture.
    width
        Width of a row in pixels.
    """
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
        margin = np.maximum(MARGIN_MM, (MIN_MM - (box[:, 1] - box[:, 0]) * size) / 2) / size
        bounds = np.stack([box[:, 0] - margin, box[:, 1] + margin], axis=1)
        bounds = np.clip(bounds, field[:, :1], field[:, 1:])
    extent = (bounds[:, 1] - bounds[:, 0]) * size
    scale = min(
        (width - (len(row) - 1) * GUTTER) / len(row) / extent[cut.across[0]]
        for row in rows
        for cut in row
    )
    window = _find_window(data, mask, bounds)
    scale, lattice = min(scale, LARGEST_SCALE), grid.canonical()
    return View(data, mask, box, bounds, extent, window, scale, lattice)


def place_row(
    view: View, row: Row, top: int = 0, width: int = HALF_WIDTH
) -> tuple[list[Tile], int]:
    """Put slices side by side, each in the middle of its slot; also the row's height."""
    height = max(view.pixels(cut)[1] for cut in row)
    slot = (width + GUTTER) / len(row)
    tiles = []
    for number, cut in enumerate(row):
        columns, rows = view.pixels(cut)
        left = int(GUTTER + number * slot + (slot - GUTTER - columns) / 2)
        place = left, top + (height - rows) // 2, columns, rows
        tiles.append(Tile(cut, *place, view.position(cut)))
    return tiles, height


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `SCALE_BAR_MM` in the header: left end, upper edge and length in pixels."""

    left: int
    top: int
    length: int

    thickness = 4

    @property
    def label(self) -> Label:
        """Its length in mm, left of it."""
        return Label(f"{SCALE_BAR_MM:.0f} mm", self.left - 8, self.top - 7, anchor="ra")


def make_scale_bar(view: View) -> ScaleBar:
    """Make the bar at the right end of the second line of the header."""
    length = round(SCALE_BAR_MM * view.scale)
    return ScaleBar(WIDTH - GUTTER - length, HEADER - 16, length)


def make_header(title: str) -> list[Label]:
    """Title, and headings of both halves."""
    labels = [Label(title, GUTTER + 2, 4, LARGE, room=WIDTH - 2 * GUTTER)]
    for half, heading in enumerate(("scan with the mask's outline", "brain")):
        left = GUTTER + half * HALF + 2
        labels.append(Label(heading, left, HEADER - 24, grey=HEADING_GREY))
    return labels


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


def cut_slice(view: View, cut: Cut) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Resample one slice to its pixels.

    Returns
    -------
    tuple
        Brightness in [0, 1], and the mask in [0, 1] with its surface at 0.5: (rows from the
        top, columns) each.
    """
    from PIL.Image import Resampling

    index = view.index(cut)
    black, white = view.window
    values = np.moveaxis(view.data, cut.axis, 0)[index].astype(np.float64)
    values = np.nan_to_num((values - black) / (white - black), nan=0, posinf=0, neginf=0)
    values = _resize(np.clip(values, 0, 1), view, cut, Resampling.BICUBIC)
    inside = np.moveaxis(view.mask, cut.axis, 0)[index].astype(np.float64)
    return np.clip(values, 0, 1), _resize(inside, view, cut, Resampling.BILINEAR)


def _resize(values: NDArray[np.float64], view: View, cut: Cut, method: int) -> NDArray[np.float32]:
    """Part shown of a slice (right, up) as square pixels, (rows from the top, columns)."""
    from PIL import Image

    right, up = cut.across
    rows = values.shape[1]
    (left, stop), (bottom, top) = view.bounds[right], view.bounds[up]
    image = Image.fromarray(values.T[::-1].astype(np.float32))
    box = (left, rows - top, stop, rows - bottom)
    return np.asarray(image.resize(view.pixels(cut), method, box=box))


def fit_text(label: Label) -> str:
    """Shorten the text of a label where there is no room for it."""
    from PIL import ImageFont

    font, text = ImageFont.load_default(label.size), label.text
    if not label.room or font.getlength(text) <= label.room:
        return text
    while text and font.getlength(text + "...") > label.room:
        text = text[:-1]
    return text + "..."
