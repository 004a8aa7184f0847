"""Where voxels lie in space: the Grid, and how one grid is chosen from another.

A grid is a shape and an affine, nothing else. Reorient, crop, pad and resize are all
"choose another grid"; moving intensities from one to the other is `image/resample.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deskull.errors import GeometryError

T = TypeVar("T", bound=np.generic)
Shape = tuple[int, int, int]
VoxelSize = tuple[float, float, float]  # mm along each array axis
Box = tuple[slice, slice, slice]

VOXEL_MM = (0.02, 50.0)
"""Smallest and largest voxel of a head in mm: from microscopy to the slabs of a localiser."""

FIELD_MM = 3000.0
"""Largest field of view in mm: a body from head to foot, and more."""

_MAX_MM = 1e9


@dataclass(frozen=True, eq=False)
class Grid:
    """A 3D lattice of voxels in RAS+ millimetres.

    Parameters
    ----------
    shape
        Number of voxels along each array axis.
    affine
        Voxel index to RAS+ mm, (4, 4) float64. Shear and oblique axes are welcome.

    Raises
    ------
    GeometryError
        If the shape has no voxels, or the affine is not finite, singular or not affine.

    Examples
    --------
    >>> grid = Grid((192, 256, 256), np.diag([-1.0, 1.0, 2.0, 1.0]))
    >>> grid.orientation, grid.voxel_size, grid.voxel_volume
    ('LAS', (1.0, 1.0, 2.0), 2.0)
    >>> grid.to_mm((10, 0, 5)).tolist()
    [-10.0, 0.0, 10.0]
    """

    shape: Shape
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"shape {tuple(self.shape)}; expected three positive numbers.")
        if affine.shape != (4, 4) or not (np.abs(affine) <= _MAX_MM).all():
            raise GeometryError(f"affine {affine.tolist()}; expected a finite 4 x 4 matrix.")
        if not np.allclose(affine[3], (0, 0, 0, 1), atol=1e-6):
            raise GeometryError(f"last row of affine {affine[3].tolist()}; expected 0, 0, 0, 1.")
        columns = np.linalg.norm(affine[:3, :3], axis=0)
        if columns.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / columns)) < 1e-3:
            raise GeometryError(
                f"singular affine {affine[:3].tolist()}; expected three independent axes with a "
                "voxel size above zero. Repair the header first (its sform or qform)."
            )
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @cached_property
    def voxel_size(self) -> tuple[float, float, float]:
        """Millimetres along each array axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def voxel_volume(self) -> float:
        """Cubic millimetres of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @cached_property
    def orientation(self) -> str:
        """Axis codes that each array axis points to most, such as ``"RAS"``."""
        return "".join(nib.orientations.aff2axcodes(self.affine))

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the field in RAS+ mm, (3,)."""
        return self.to_mm((np.array(self.shape) - 1) / 2)

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """Indices of the eight voxels at the field's corners, (8, 3)."""
        return np.asarray(np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(self.shape) - 1))

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices (..., 3) to RAS+ mm (..., 3)."""
        return np.asarray(np.asarray(index) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, mm: ArrayLike) -> NDArray[np.float64]:
        """RAS+ mm (..., 3) to fractional voxel indices (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(mm) @ inverse[:3, :3].T + inverse[:3, 3])

    @property
    def is_oblique(self) -> bool:
        """Whether an axis is turned by more than a degree against the scanner's axes."""
        axes = np.abs(self.canonical().affine[:3, :3]) / np.array(self.canonical().voxel_size)
        return bool((axes - np.diag(np.diag(axes))).max() > 0.0175)

    def matches(self, other: "Grid", tolerance: float = 1e-3) -> bool:
        """Whether both have one shape and every corner agrees within `tolerance` voxels."""
        if self.shape != other.shape:
            return False
        index = self.to_index(other.to_mm(self.corners))
        return bool(np.abs(index - self.corners).max() <= tolerance)

    def crop(self, box: Box) -> "Grid":
        """Grid of ``array[box]``; `box` has plain starts and stops, which may lie outside."""
        start = np.array([s.start for s in box])
        affine = self.affine.copy()
        affine[:3, 3] = self.to_mm(start)
        x, y, z = (s.stop - s.start for s in box)
        return Grid((x, y, z), affine)

    def canonical_transform(self) -> NDArray[np.float64]:
        """Orientation transform, nibabel's (3, 2), that brings the axes nearest to RAS+."""
        return np.asarray(nib.orientations.io_orientation(self.affine))

    def canonical(self) -> "Grid":
        """Return this grid with its axes permuted and flipped nearest to RAS+."""
        transform = self.canonical_transform()
        affine = self.affine @ nib.orientations.inv_ornt_aff(transform, self.shape)
        shape = [0, 0, 0]
        for axis, (target, _) in enumerate(transform):
            shape[int(target)] = self.shape[axis]
        return Grid((shape[0], shape[1], shape[2]), affine)


def make_ras_grid(centre: ArrayLike, shape: Shape, voxel_size: float) -> Grid:
    """Make an isotropic RAS+ grid about a point.

    Parameters
    ----------
    centre
        Middle of the field in RAS+ mm, (3,).
    shape
        Number of voxels along x, y and z.
    voxel_size
        Edge of a voxel in mm, the same along all axes.

    Examples
    --------
    >>> make_ras_grid((0, 0, 0), (3, 3, 3), 2.0).affine[:3, 3].tolist()
    [-2.0, -2.0, -2.0]
    """
    affine = np.diag([voxel_size, voxel_size, voxel_size, 1.0])
    affine[:3, 3] = np.asarray(centre) - voxel_size * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def has_size_of_head(shape: Sequence[int], voxel_size: Sequence[float]) -> bool:
    """Whether a head can be scanned with this number of voxels of this size.

    Parameters
    ----------
    shape
        Number of voxels along each array axis.
    voxel_size
        Edges of a voxel in mm, along the same axes.

    Examples
    --------
    >>> has_size_of_head((192, 256, 256), (1, 1, 1)), has_size_of_head((9, 9, 9), (0.01, 1, 1))
    (True, False)
    """
    low, high = VOXEL_MM
    field = max(n * size for n, size in zip(shape, voxel_size, strict=True))
    return low <= min(voxel_size) and max(voxel_size) <= high and field <= FIELD_MM


def to_canonical_array(array: NDArray[T], grid: Grid) -> NDArray[T]:
    """View of an array on `grid` with its axes permuted and flipped nearest to RAS+.

    Examples
    --------
    >>> grid = Grid((2, 1, 1), np.diag([-1.0, 1, 1, 1]))
    >>> to_canonical_array(np.array([1, 2]).reshape(2, 1, 1), grid).ravel().tolist()
    [2, 1]
    """
    return np.asarray(nib.orientations.apply_orientation(array, grid.canonical_transform()))


def from_canonical_array(array: NDArray[T], grid: Grid) -> NDArray[T]:
    """View of an array on ``grid.canonical()`` with its axes as those of `grid`.

    Examples
    --------
    >>> grid = Grid((2, 1, 1), np.diag([-1.0, 1, 1, 1]))
    >>> from_canonical_array(np.array([2, 1]).reshape(2, 1, 1), grid).ravel().tolist()
    [1, 2]
    """
    transform = grid.canonical_transform()
    view = np.transpose(array, transform[:, 0].astype(int))
    return view[tuple(slice(None, None, int(flip)) for flip in transform[:, 1])]


def find_box(mask: NDArray[Any], margin: int | tuple[int, int, int] = 0) -> Box:
    """Find the smallest box that holds a mask.

    Parameters
    ----------
    mask
        Mask, (X, Y, Z) or (X, Y, Z, T), nonzero inside.
    margin
        Voxels added on every side, one number or one per axis; the box is clipped to the array.

    Returns
    -------
    Box
        Slices with plain starts and stops along X, Y and Z; an empty mask has an empty box.

    Examples
    --------
    >>> mask = np.zeros((5, 5, 5), bool)
    >>> mask[1:3, 2, 4] = True
    >>> find_box(mask)
    (slice(1, 3, None), slice(2, 3, None), slice(4, 5, None))
    """
    extents = []
    for axis, wider in enumerate(np.broadcast_to(margin, 3).tolist()):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        planes = np.flatnonzero(mask.any(axis=others))
        if planes.size == 0:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        start, stop = int(planes[0]) - wider, int(planes[-1]) + 1 + wider
        extents.append(slice(max(start, 0), min(stop, mask.shape[axis])))
    return extents[0], extents[1], extents[2]
