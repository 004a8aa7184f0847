"""A scan with a mask on one grid, and its pictures, small enough for a page."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deskull.apply import find_brain, load_mask
from deskull.errors import InputError
from deskull.image.volume import Volume
from deskull.picture import draw_mosaic, draw_planes
from deskull.prepare.postprocess import make_signed_distance

if TYPE_CHECKING:
    from PIL.Image import Image

CARD_WIDTH, PICTURE_WIDTH, PAGE_WIDTH = 1200, 1280, 1600
"""Pixels of the picture on a card, of the slices in all planes, and of those on an own page."""

NO_FACE_MM = 3.0
"""Shown around the mask where the face is hidden."""

QUALITY = 60
"""WebP quality: the outline stays sharp, and a picture stays below 150 kB."""

MAX_BYTES = 120_000
"""Size of one picture; with base64, two of them stay below 300 kB."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A scan and its mask.

    Parameters
    ----------
    volume
        The scan.
    mask
        (X, Y, Z) bool on the scan's grid; None if there is none.
    note
        What the reader should know about the mask (it lies on another grid); else empty.
    """

    volume: Volume
    mask: NDArray[np.bool_] | None
    note: str = ""


def load_pair(volume: Volume, mask: Path | None) -> Pair:
    """Load the mask of a scan, brought onto the scan's grid where it lies on another.

    Parameters
    ----------
    volume
        The scan.
    mask
        Path of the mask; None if there is none.

    Raises
    ------
    ImageFileError
        If the mask cannot be read, or is an image of intensities.
    EmptyMaskError
        If the mask lies outside of the scan's field, or is empty.
    """
    if mask is None:
        return Pair(volume, None)
    given = load_mask(mask, volume.grid)
    brain = find_brain(given, volume.grid, volume.name)
    if given.grid.matches(volume.grid):
        return Pair(volume, brain)
    grids = given.grid, volume.grid
    shapes = [" x ".join(map(str, grid.shape)) for grid in grids]
    if shapes[0] == shapes[1]:
        shapes = [f"{shape}, {g.orientation}" for shape, g in zip(shapes, grids, strict=True)]
    note = (
        f"{mask.name} lies on another grid ({shapes[0]}) than the scan ({shapes[1]}); it is shown "
        "where it lies in space, on the grid of the scan."
    )
    return Pair(volume, brain, note)


def hide_face(pair: Pair) -> Pair:
    """Blank what lies farther than `NO_FACE_MM` outside of the mask: pictures to show others.

    Raises
    ------
    InputError
        If there is no mask.
    """
    volume = pair.volume
    if pair.mask is None:
        raise InputError(f"{volume.name}: no mask, which is needed to hide the face. Strip first.")
    distance = make_signed_distance(pair.mask, volume.grid.voxel_size)
    lowest = np.nanmin(volume.data)
    data = np.where(distance <= NO_FACE_MM, volume.data, lowest)
    note = "The face is hidden: only the brain and what lies close to it is shown."
    return Pair(replace(volume, data=data), pair.mask, " ".join([pair.note, note]).strip())


def draw_card(pair: Pair) -> bytes:
    """Draw one large slice in each plane, as WebP."""
    planes = draw_planes(pair.volume.data, _get_mask(pair), pair.volume.grid, CARD_WIDTH)
    return _encode(planes, CARD_WIDTH)


def draw_picture(pair: Pair, title: str, width: int = PICTURE_WIDTH) -> bytes:
    """Draw the mosaic of `deskull.picture`, as WebP.

    Parameters
    ----------
    pair
        Scan and mask.
    title
        One line of text above the picture.
    width
        Width in pixels.
    """
    mosaic = draw_mosaic(pair.volume.data, _get_mask(pair), pair.volume.grid, title)
    return _encode(mosaic, width)


def _get_mask(pair: Pair) -> NDArray[Any]:
    if pair.mask is not None:
        return pair.mask
    return np.zeros(pair.volume.grid.shape, bool)


def _encode(image: "Image", width: int) -> bytes:
    """Encode as WebP of at most `MAX_BYTES`; noisy scans get a lower quality."""
    from PIL.Image import Resampling

    height = round(image.height * width / image.width)
    colours = image.convert("RGB").resize((width, height), Resampling.LANCZOS)
    for quality in (QUALITY, QUALITY // 2, QUALITY // 4, 1):
        stream = BytesIO()
        colours.save(stream, format="WEBP", quality=quality, method=4)
        if stream.tell() <= MAX_BYTES:
            break
    return stream.getvalue()
