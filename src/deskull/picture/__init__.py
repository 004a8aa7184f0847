"""How a mask looks: pictures of scans, drawn from arrays into memory.

What is shown is `layout.py`; `mosaic.py` draws it, `vector.py` writes it as SVG.
"""

from typing import Any

from numpy.typing import NDArray

from deskull.image.grid import Grid
from deskull.picture.colours import OUTLINE_COLOUR
from deskull.picture.layout import ROWS_OF_SHEET, WIDTH, Shown
from deskull.picture.mosaic import OUTLINE, draw_mosaic, draw_planes, draw_sheets, encode_png
from deskull.picture.vector import draw_svg

__all__ = [
    "OUTLINE",
    "OUTLINE_COLOUR",
    "ROWS_OF_SHEET",
    "WIDTH",
    "Shown",
    "draw_mosaic",
    "draw_planes",
    "draw_sheets",
    "draw_svg",
    "encode_picture",
    "encode_png",
]


def encode_picture(
    kind: str, data: NDArray[Any], mask: NDArray[Any], grid: Grid, title: str = ""
) -> bytes:
    """Draw one scan as a file, PNG or SVG.

    Parameters
    ----------
    kind
        ``".svg"``, else a PNG.
    data, mask, grid, title
        Intensities, mask, their grid, and the title, as for `draw_mosaic`.

    Raises
    ------
    GeometryError
        If the shapes of `data`, `mask` and `grid` differ.
    """
    if kind.lower() == ".svg":
        return draw_svg(data, mask, grid, title)
    return encode_png(draw_mosaic(data, mask, grid, title))
