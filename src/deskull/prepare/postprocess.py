"""From a thresholded mask to a clean one, and its surface: pieces, holes, distance, border.

Works on arrays and voxel sizes, inside the brain's box wherever it can: over a full field
each of these steps costs seconds. Thresholding and files are not done here.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError
from deskull.image.grid import VoxelSize, find_box

LINES = 2**17  # voxels that one thread works on at a time: they fit into its cache


def clean_mask(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Keep the largest piece and fill its holes.

    A piece is connected through voxel faces; of two equal ones always the same one stays.
    A hole is background from which no path through voxel faces leads out in 3D;
    background that reaches the edge of the array is none.

    Parameters
    ----------
    mask
        Mask, (X, Y, Z), nonzero inside. It is not changed.

    Returns
    -------
    NDArray[np.bool_]
        (X, Y, Z); empty if `mask` is.

    Examples
    --------
    >>> clean_mask(np.array([[[1, 0, 1, 1]]])).astype(int).tolist()
    [[[0, 0, 1, 1]]]
    """
    from scipy import ndimage

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
    mask: NDArray[Any], voxel_size: VoxelSize, threads: int = 1, reach: float = np.inf
) -> NDArray[np.float32]:
    """Measure how far each voxel's centre lies from the mask's surface.

    The surface lies halfway between a voxel in and its neighbour out. So the Euclidean
    distance to the nearest centre on the other side (exact for any voxel size; axis by axis as by
    Saito and Toriwaki, Pattern Recognition 27, 1994) is shortened by half a voxel along the way:
    it is averaged with that of the face neighbour which lies nearest to the other side. Across a
    face of axis i this takes off ``voxel_size[i] / 2``, also with thick slices, and across a
    diagonal plane half the gap between its layers. It is nowhere less than half the smallest
    voxel size, so that the sign always tells in from out.

    The edge of the array is no surface: nothing is known of what lies beyond it.

    Parameters
    ----------
    mask
        Mask, (X, Y, Z), nonzero inside.
    voxel_size
        Edges of a voxel in mm, along each array axis.
    threads
        Largest number of cores to use.
    reach
        Distance from the surface in mm up to which values are needed; those farther away may be
        infinite, with their sign. A small one saves time.

    Returns
    -------
    NDArray[np.float32]
        (X, Y, Z), mm, negative inside; +inf everywhere for an empty mask, -inf for a full one.

    Examples
    --------
    >>> make_signed_distance(np.array([[[1, 1, 0, 0]]]), (1.0, 1.0, 2.0)).ravel().tolist()
    [-3.0, -1.0, 1.0, 3.0]
    """
    mask = mask.astype(bool, copy=False)
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    if mask.all():
        return np.full(mask.shape, -np.inf, np.float32)
    distance = _measure_outside(mask, voxel_size, threads, reach)
    box = find_box(mask, margin=1)
    distance[box] -= _measure_outside(~mask[box], voxel_size, threads, reach)
    return distance


def move_border(
    mask: NDArray[Any], voxel_size: VoxelSize, border: float, threads: int = 1
) -> NDArray[np.bool_]:
    """Grow or shrink a mask by a distance in mm.

    Parameters
    ----------
    mask
        Mask, (X, Y, Z), nonzero inside. It is not changed.
    voxel_size
        Edges of a voxel in mm, along each array axis.
    border
        Distance in mm, fractions allowed: plus grows, minus shrinks, 0 returns the mask as it is.
        Voxels whose `make_signed_distance` is at most `border` are in. Where the field cuts the
        mask it is not shrunk from the cut.
    threads
        Largest number of cores to use.

    Returns
    -------
    NDArray[np.bool_]
        (X, Y, Z); empty if nothing is left.

    Raises
    ------
    InputError
        If `border` is not a finite number.

    Examples
    --------
    >>> mask = np.array([[[1, 1, 0, 0]]])
    >>> move_border(mask, (1.0, 1.0, 2.0), border=1.5).astype(int).tolist()
    [[[1, 1, 1, 0]]]
    """
    if not np.isfinite(border):
        raise InputError(f"border {border}; expected a finite number of mm.")
    mask = mask.astype(bool, copy=False)
    if border == 0 or not mask.any():
        return mask.copy()
    reach = np.ceil(max(border, 0) / np.array(voxel_size)).astype(int) + 1
    box = find_box(mask, margin=(int(reach[0]), int(reach[1]), int(reach[2])))
    moved = np.zeros_like(mask)
    moved[box] = make_signed_distance(mask[box], voxel_size, threads, abs(border)) <= border
    return moved


def _measure_outside(
    mask: NDArray[np.bool_], voxel_size: VoxelSize, threads: int, reach: float
) -> NDArray[np.float32]:
    """Distance in mm from each voxel outside a mask to its surface; 0 inside, (X, Y, Z)."""
    centre = np.where(mask, np.float32(0), np.float32(np.inf))
    # A centre lies up to half a voxel farther than the surface.
    farthest = (reach + max(voxel_size)) ** 2
    with ThreadPoolExecutor(threads) as pool:
        for axis in (2, 1, 0):
            work = partial(_pass_on, size=voxel_size[axis], farthest=farthest)
            list(pool.map(work, _cut(np.moveaxis(centre, axis, 0))))
    np.sqrt(centre, out=centre)
    nearest = centre.copy()
    for axis in range(3):
        there, here = np.moveaxis(nearest, axis, 0), np.moveaxis(centre, axis, 0)
        np.minimum(there[1:], here[:-1], out=there[1:])
        np.minimum(there[:-1], here[1:], out=there[:-1])
    nearest += centre
    nearest /= 2
    return nearest


def _cut(lines: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Cut an array into views of about `LINES` voxels with the whole of its first axis."""
    if lines.strides[1] < lines.strides[2]:  # it is faster along the memory
        lines = lines.swapaxes(1, 2)
    width = max(1, LINES // (lines.shape[0] * lines.shape[2]))
    return [lines[:, start : start + width] for start in range(0, lines.shape[1], width)]


def _pass_on(part: NDArray[np.float32], size: float, farthest: float) -> None:
    """Let squared distances reach along the first axis: the least of each plus the way squared."""
    count, lines = len(part), part.reshape(len(part), -1)
    reached = np.isfinite(lines).any(axis=0)
    if not reached.any():
        return
    known = lines.compress(reached, axis=1)
    rows = np.flatnonzero(np.isfinite(known).any(axis=1))
    first, end = int(rows[0]), int(rows[-1]) + 1
    nearest, way = known.copy(), np.empty_like(known)
    for step in range(1, count):
        squared = np.float32((step * size) ** 2)
        if squared > farthest or (step % 8 == 1 and squared >= nearest.max()):
            break
        for start, stop, to in (
            (first, min(end, count - step), step),
            (max(first, step), end, -step),
        ):
            if start < stop:
                np.add(known[start:stop], squared, out=way[start:stop])
                there = nearest[start + to : stop + to]
                np.minimum(there, way[start:stop], out=there)
    filled = np.full_like(lines, np.inf)
    filled[:, reached] = nearest
    part[...] = filled.reshape(part.shape)
