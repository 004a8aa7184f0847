"""Masks to be compared: a prediction or a reference, in the orientation nearest to RAS+.

`deskull.apply.load_mask` differs: it keeps the values and the orientation of the file, to apply
the mask to other images.
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

GRID_TOLERANCE = 0.05
"""Distance in voxels by which the corners of two equal grids may differ."""

MAX_PROBABILITY = 1.5
"""Largest value of a probability; spline interpolation overshoots 1."""

MIN_EQUAL = 0.5
"""Smallest share of equal neighbours inside: above 0.8 in masks and label maps, below 0.3 in
scans."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask in the orientation nearest to RAS+.

    Parameters
    ----------
    inside
        Whether each voxel is inside, (X, Y, Z) bool on `grid`.
    grid
        Grid of the voxels.
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
    _check_equal(data, inside, name)
    grid = make_grid(image, name)
    return Mask(to_canonical_array(inside, grid), grid.canonical(), name)


def _check_equal(data: NDArray[Any], inside: NDArray[np.bool_], name: str) -> None:
    """Refuse a scan or a brain given as a mask: all of it would count as inside."""
    high = data.max(where=inside, initial=0)
    equal = (data[1:] == data[:-1])[inside[1:] & inside[:-1]]
    if high > MAX_PROBABILITY and equal.size and equal.mean() < MIN_EQUAL:
        raise ImageFileError(
            f"{name}: values up to {high:g}, {equal.mean():.0%} of neighbours equal: a scan or a "
            "brain, not its mask; expected 0 and 1, a probability or labels."
        )


def check_one_grid(prediction: Mask, reference: Mask) -> None:
    """Raise GeometryError unless both masks lie on one grid; their stored axes may differ."""
    one, other = prediction.grid, reference.grid
    if one.shape == other.shape and one.matches(other, GRID_TOLERANCE):
        return
    if one.shape != other.shape:
        difference = f"shape {_product(one.shape)} in RAS order, but that of {reference.name} is "
        difference += _product(other.shape)
    elif not np.allclose(one.voxel_size, other.voxel_size, rtol=1e-3):
        difference = f"voxels of {_product(one.voxel_size)} mm, but those of {reference.name} are "
        difference += f"{_product(other.voxel_size)} mm"
    else:
        mm = np.linalg.norm(one.to_mm(one.corners) - other.to_mm(one.corners), axis=1)
        difference = f"its affine puts the field's corners {mm.min():.3g} to {mm.max():.3g} mm "
        difference += f"away from those of {reference.name}"
    raise GeometryError(
        f"{prediction.name}: {difference}; expected masks on one grid. Strip the scan that the "
        "reference was made on, or resample one mask to the other's grid."
    )


def _product(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
