"""From a thresholded mask to a clean one, and its surface: pieces, holes, distance, border.

Works on arrays and voxel sizes, inside the brain's box wherever it can: over a full field
each of these steps costs seconds. Thresholding and files are not done here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deskull.errors import InputError
from deskull.image.grid import VoxelSize, find_box


def clean_mask(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Keep the largest piece and fill its holes.

    A piece is connected through voxel faces; of two equal ones always the same one stays.
    A hole is background from which no path through voxel faces leads out in 3D;
    background that reaches the edge of the array is none.

    Parameters
    ----------
    mask
        (X, Y, Z), nonzero inside. It is not changed.

    Returns
    -------
    NDArray[np.bool_]
        (X, Y, Z); empty if `mask` is.
    """
    mask = mask.astype(bool, copy=False)
    if mask.strides[0] < mask.strides[2]:  # labelling is twice as fast along the memory
        return clean_mask(mask.T).T
    cleaned = np.zeros_like(mask)
    if not mask.any():
        return cleaned
    box = find_box(mask)
    labels, pieces = ndimage.label(mask[box])
    if pieces > 1:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        labels = labels == sizes.argmax()
    background, regions = ndimage.label(np.pad(labels == 0, 1, constant_values=True))
    if regions > 1:
        cleaned[box] = (background != background[0, 0, 0])[1:-1, 1:-1, 1:-1]
    else:
        cleaned[box] = labels
    return cleaned


def make_signed_distance(
    mask: NDArray[Any], voxel_size: VoxelSize, threads: int | None = None
) -> NDArray[np.float32]:
    """Measure how far each voxel's centre lies from the mask's surface.

    The surface lies halfway between a voxel in and its neighbour out. So the Euclidean
    distance to the nearest centre on the other side (exact for any voxel size; Maurer, Qi and
    Raghavan, IEEE PAMI 25, 2003) is shortened by half a voxel along the way: it is averaged
    with that of the face neighbour which lies nearest to the other side. Across a face of axis
    i this takes off ``voxel_size[i] / 2``, also with thick slices, and across a diagonal plane
    half the gap between its layers. It is nowhere less than half the smallest voxel size, so
    that the sign always tells in from out.

    The edge of the array is no surface: nothing is known of what lies beyond it.

    Parameters
    ----------
    mask
        (X, Y, Z), nonzero inside.
    voxel_size
        mm along each array axis.
    threads
        Threads to use; None lets SimpleITK choose.

    Returns
    -------
    NDArray[np.float32]
        (X, Y, Z), mm, negative inside; +inf everywhere for an empty mask, -inf for a full one.
    """
    mask = mask.astype(bool, copy=False)
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    if mask.all():
        return np.full(mask.shape, -np.inf, np.float32)
    distance = _measure_outside(mask, voxel_size, threads)
    box = find_box(mask, margin=1)
    distance[box] -= _measure_outside(~mask[box], voxel_size, threads)
    return distance


def move_border(
    mask: NDArray[Any], voxel_size: VoxelSize, border: float, threads: int | None = None
) -> NDArray[np.bool_]:
    """Grow or shrink a mask by a distance in mm.

    Parameters
    ----------
    mask
        (X, Y, Z), nonzero inside. It is not changed.
    voxel_size
        mm along each array axis.
    border
        mm, fractions allowed: plus grows, minus shrinks, 0 returns the mask as it is. Voxels
        whose `make_signed_distance` is at most `border` are in. Where the field cuts the mask
        it is not shrunk from the cut.
    threads
        Threads to use; None lets SimpleITK choose.

    Returns
    -------
    NDArray[np.bool_]
        (X, Y, Z); empty if nothing is left.

    Raises
    ------
    InputError
        If `border` is not a finite number.
    """
    if not np.isfinite(border):
        raise InputError(f"border {border}; expected a finite number of mm.")
    mask = mask.astype(bool, copy=False)
    if border == 0 or not mask.any():
        return mask.copy()
    reach = np.ceil(max(border, 0) / np.array(voxel_size)).astype(int) + 1
    box = find_box(mask, margin=(int(reach[0]), int(reach[1]), int(reach[2])))
    moved = np.zeros_like(mask)
    moved[box] = make_signed_distance(mask[box], voxel_size, threads) <= border
    return moved


def _measure_outside(
    mask: NDArray[np.bool_], voxel_size: VoxelSize, threads: int | None
) -> NDArray[np.float32]:
    """Distance in mm from each voxel outside a mask to its surface; 0 inside, (X, Y, Z)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing(voxel_size[::-1])
    maurer = sitk.SignedMaurerDistanceMapImageFilter()
    maurer.SetUseImageSpacing(True)
    maurer.SetSquaredDistance(False)
    if threads:
        maurer.SetNumberOfThreads(threads)
    centre: NDArray[np.float32] = sitk.GetArrayFromImage(maurer.Execute(image))
    np.maximum(centre, 0, out=centre)
    nearest = centre.copy()
    for axis in range(3):
        there, here = np.moveaxis(nearest, axis, 0), np.moveaxis(centre, axis, 0)
        np.minimum(there[1:], here[:-1], out=there[1:])
        np.minimum(there[:-1], here[1:], out=there[:-1])
    nearest += centre
    nearest /= 2
    return nearest
