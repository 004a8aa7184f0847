"""How alike two masks are: overlap, volume, distance of the surfaces, and where they differ.

Arrays and voxel sizes in, floats out; nonzero is inside. Where a ratio has nothing to divide
by, the value is nan, never a flattering number. Tables over many scans are made elsewhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError
from deskull.image.grid import Grid, VoxelSize, find_box, to_canonical_array

REGIONS = ("neck", "eyes", "vertex", "cerebellum", "frontal", "elsewhere")
"""Parts of the box that holds the reference, split by height and depth alone. They name what
usually goes wrong there, not anatomy."""

NECK_TOP = 0.08
"""Height below which there is nothing but the end of the brain stem, and the neck."""

FACE_TOP, FACE_BACK = 0.45, 0.70
"""Eyes, orbits and nose lie below the one and before the other."""

VERTEX_BOTTOM = 0.80
"""Height above which all is vertex."""

CEREBELLUM_TOP, CEREBELLUM_FRONT = 0.40, 0.50
"""The cerebellum lies below the one and behind the other."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm between two surfaces, the same in both directions.

    Parameters
    ----------
    mean
        Mean over the surface voxels of both masks of the distance to the other's surface
        (average symmetric surface distance).
    hd95
        95th percentile Hausdorff distance: the larger of the two directed 95th percentiles,
        as Metrics Reloaded (Maier-Hein et al., Nature Methods 21, 2024) has it.
    largest
        Hausdorff distance: the largest distance from one surface to the other.
    """

    mean: float
    hd95: float
    largest: float


def dice(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Twice the overlap over the sum of both volumes; 1.0 if both are empty, 0.0 if one is.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 1]))
    0.5
    """
    both, first, second = _count(prediction, reference)
    return 2 * both / (first + second) if first + second else 1.0


def iou(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Overlap over union (Jaccard); 1.0 if both are empty, 0.0 if one is.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> iou(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 1]))
    0.25
    """
    both, first, second = _count(prediction, reference)
    return both / (first + second - both) if first + second else 1.0


def sensitivity(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Share of the reference that was found; nan if only the reference is empty, 1.0 if both are.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> sensitivity(np.array([1, 1, 0]), np.array([0, 1, 1]))
    0.5
    """
    both, first, second = _count(prediction, reference)
    return _share(both, second, first)


def precision(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Share of the prediction that is right; nan if only it is empty, 1.0 if both are.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> precision(np.array([1, 0, 0]), np.array([1, 1, 0]))
    1.0
    """
    both, first, second = _count(prediction, reference)
    return _share(both, first, second)


def volume_ml(mask: NDArray[Any], voxel_volume: float) -> float:
    """Volume of a mask in millilitres.

    Parameters
    ----------
    mask
        Mask, (X, Y, Z), nonzero inside.
    voxel_volume
        Volume of a voxel in mm3, such as `Grid.voxel_volume`.

    Examples
    --------
    >>> volume_ml(np.ones((10, 10, 10)), voxel_volume=8.0)
    8.0
    """
    return float(np.count_nonzero(mask) * voxel_volume / 1000)


def surface_distances(
    prediction: NDArray[Any], reference: NDArray[Any], voxel_size: VoxelSize
) -> SurfaceDistances:
    """Measure how far the surfaces of two masks lie apart.

    A surface is the centres of the mask's voxels that have a voxel face in common with the
    outside; what lies beyond the edge of the array is outside. All of them count alike.

    Parameters
    ----------
    prediction, reference
        Masks on one grid, (X, Y, Z), nonzero inside.
    voxel_size
        Edges of a voxel in mm, along each array axis.

    Returns
    -------
    SurfaceDistances
        All nan if one of the masks is empty or both are: an empty mask has no surface.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> first, second = np.zeros((2, 9, 9, 9), bool)
    >>> first[2:5, 2:7, 2:7] = second[4:7, 2:7, 2:7] = True
    >>> surface_distances(first, second, (1.0, 1.0, 1.0)).largest
    2.0
    """
    _check_shapes(prediction, reference)
    first = _find_surface(prediction, voxel_size)
    second = _find_surface(reference, voxel_size)
    if not (len(first) and len(second)):
        return SurfaceDistances(mean=np.nan, hd95=np.nan, largest=np.nan)
    there = _find_nearest(first, second)
    back = _find_nearest(second, first)
    return SurfaceDistances(
        mean=float((there.sum() + back.sum()) / (there.size + back.size)),
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        largest=float(max(there.max(), back.max())),
    )


def find_regions(height: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.intp]:
    """Tell the region of each place.

    Parameters
    ----------
    height
        Height within the reference's box, 0 at its lower and 1 at its upper edge; any shape.
    depth
        Depth within the box, 0 at its back and 1 at its front edge; of the same shape.

    Returns
    -------
    NDArray
        Indices into `REGIONS`, the first that fits: the neck is below `NECK_TOP`, the eyes
        (with the rest of the face) below `FACE_TOP` and before `FACE_BACK`, the vertex above
        `VERTEX_BOTTOM`, the cerebellum below `CEREBELLUM_TOP` and behind `CEREBELLUM_FRONT`,
        and frontal is what is left before `FACE_BACK`.

    Examples
    --------
    >>> found = find_regions(np.array([0.04, 0.9, 0.5]), np.array([0.5, 0.5, 0.9]))
    >>> [REGIONS[number] for number in found]
    ['neck', 'vertex', 'frontal']
    """
    front = depth > FACE_BACK
    conditions = [
        height < NECK_TOP,
        front & (height < FACE_TOP),
        height > VERTEX_BOTTOM,
        (height < CEREBELLUM_TOP) & (depth < CEREBELLUM_FRONT),
        front,
    ]
    return np.asarray(np.select(conditions, range(5), 5), np.intp)


def share_by_region(wrong: NDArray[Any], reference: NDArray[Any], grid: Grid) -> dict[str, float]:
    """Share of the wrong voxels that lies in each region.

    Parameters
    ----------
    wrong
        Map of the differences, (X, Y, Z), nonzero where the masks differ.
    reference
        Reference mask, (X, Y, Z), nonzero inside; the regions are parts of its box.
    grid
        Grid of both arrays. Its axes nearest to RAS+ are up and front: a head that lies in the
        scanner in another way than its header says is cut into the wrong regions.

    Returns
    -------
    dict
        By the names of `REGIONS`, sum 1; all nan if nothing is wrong or the reference is empty.
    """
    box = find_box(to_canonical_array(reference, grid))
    by_place = np.count_nonzero(to_canonical_array(wrong, grid), axis=0)  # (Y, Z)
    if not by_place.any() or box[0].stop == box[0].start:
        return dict.fromkeys(REGIONS, float("nan"))
    depth, height = (
        (np.arange(count) + 0.5 - part.start) / (part.stop - part.start)
        for count, part in zip(by_place.shape, box[1:], strict=True)
    )
    regions = find_regions(*np.broadcast_arrays(height[None, :], depth[:, None]))
    counts = np.bincount(regions.ravel(), by_place.ravel(), minlength=len(REGIONS))
    return dict(zip(REGIONS, (counts / by_place.sum()).tolist(), strict=True))


def _check_shapes(prediction: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise InputError unless both masks have one shape."""
    if prediction.shape != reference.shape:
        raise InputError(
            f"prediction of shape {prediction.shape}, reference of shape {reference.shape}; "
            "expected masks on one grid. Bring one to the other's grid first."
        )


def _count(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[int, int, int]:
    """Voxels in both, in the prediction, in the reference."""
    _check_shapes(prediction, reference)
    prediction = prediction.astype(bool, copy=False)
    reference = reference.astype(bool, copy=False)
    return (
        int(np.count_nonzero(prediction & reference)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
    )


def _share(part: int, whole: int, other: int) -> float:
    """Part of a whole; for an empty whole 1.0 if the other mask is empty too, else nan."""
    if whole:
        return part / whole
    return float("nan") if other else 1.0


def _find_surface(mask: NDArray[Any], voxel_size: VoxelSize) -> NDArray[np.float64]:
    """Centres in mm of the mask's surface voxels, (N, 3), N = 0 for an empty mask."""
    from scipy import ndimage

    mask = mask.astype(bool, copy=False)
    boxes = ndimage.find_objects(mask.view(np.uint8), max_label=1)
    if not boxes or boxes[0] is None:
        return np.empty((0, 3))
    inside = mask[boxes[0]]
    surface = inside & ~ndimage.binary_erosion(inside)
    start = [s.start for s in boxes[0]]
    return np.asarray((np.argwhere(surface) + start) * np.array(voxel_size))


def _find_nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in mm from each point to the nearest of the others, (N,)."""
    from scipy.spatial import KDTree

    return np.asarray(KDTree(others).query(points)[0])
