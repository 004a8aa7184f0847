"""Masks to be compared: a prediction or a reference, with its axes nearest to RAS+.

`deskull.apply.load_mask` is different: it keeps values and axes of the file, to apply the mask to
other images.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import GeometryError, ImageFileError
from deskull.image.formats import open_image
from deskull.image.grid import Grid, to_canonical_array
from deskull.image.stored import to_stored
from deskull.image.volume import make_grid

INSIDE = 0.5
"""Voxels of a mask or a probability above this value are inside."""

SAME = 0.05
"""Tolerance in voxels: corners of two equal grids may differ by so much."""

PROBABLE = 1.5
"""Largest value of a probability; spline interpolation overshoots 1."""

MIN_ALIKE = 0.5
"""Share of equal neighbours inside: above 0.8 in masks and label maps, below 0.3 in scans."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask in the axes nearest to RAS+.

    Parameters
    ----------
    inside
        (X, Y, Z) bool.
    grid
        Grid of its voxels.
    name
        Name of the file, for messages.
    """

    inside: NDArray[np.bool_]
    grid: Grid
    name: str


def load_canonical_mask(path: Path) -> Mask:
    """Read a mask, a probability or a label map; it may be empty.

    Raises
    ------
    ImageFileError
        If the file cannot be read as one 3D image, or is an image of intensities.
    """
    image, name = open_image(path), path.name
    try:
        data = np.asarray(to_stored(image).without_singletons())
    except (OSError, EOFError, ValueError) as error:
        raise ImageFileError(f"{name}: its voxels cannot be read ({error}).") from error
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        raise ImageFileError(f"{name}: {data.dtype} {data.shape}; expected a 3D mask.")
    inside = data > INSIDE
    _check_alike(data, inside, name)
    grid = make_grid(image, name)
    return Mask(to_canonical_array(inside, grid), grid.canonical(), name)


def _check_alike(data: NDArray[Any], inside: NDArray[np.bool_], name: str) -> None:
    """Refuse a scan or a brain given as a mask: all of it would count as inside."""
    high = data.max(where=inside, initial=0)
    alike = (data[1:] == data[:-1])[inside[1:] & inside[:-1]]
    if high > PROBABLE and alike.size and alike.mean() < MIN_ALIKE:
        raise ImageFileError(
            f"{name}: values up to {high:g}, {alike.mean():.0%} of neighbours equal: a scan or a "
            "brain, not its mask; expected 0 and 1, a probability or labels."
        )


def check_one_grid(prediction: Mask, reference: Mask) -> None:
    """Raise GeometryError unless both masks lie on one lattice; stored axes may differ."""
    mine, wanted = prediction.grid, reference.grid
    if mine.shape == wanted.shape and mine.matches(wanted, SAME):
        return
    if mine.shape != wanted.shape:
        what = f"shape {_product(mine.shape)} in RAS order, but that of {reference.name} is "
        what += _product(wanted.shape)
    elif not np.allclose(mine.voxel_size, wanted.voxel_size, rtol=1e-3):
        what = f"voxels of {_product(mine.voxel_size)} mm, but those of {reference.name} are "
        what += f"{_product(wanted.voxel_size)} mm"
    else:
        apart = np.linalg.norm(mine.to_mm(mine.corners) - wanted.to_mm(mine.corners), axis=1)
        what = f"its affine puts the field's corners {apart.min():.3g} to {apart.max():.3g} mm "
        what += f"away from those of {reference.name}"
    raise GeometryError(
        f"{prediction.name}: {what}; expected masks on one grid. Strip the scan that the "
        "reference was made on, or resample one mask to the other's grid."
    )


def _product(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
