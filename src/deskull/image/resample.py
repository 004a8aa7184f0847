"""The one resampler: intensities or maps on one grid, read off at the voxels of another.

Both grids are first brought to the axes nearest to RAS+, so that the stored orientation of
a scan decides nothing. Where the target is coarser, blocks of source voxels are averaged
first, so that nothing aliases.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Box, Grid, Shape, from_canonical_array, to_canonical_array

PARALLEL = 1e-4  # voxels by which axes may stray over the whole field and still be parallel
SLAB = 16  # layers that one thread works on at a time


def resample(
    array: NDArray[np.float32],
    source: Grid,
    target: Grid,
    *,
    fill: float = 0.0,
    order: int = 1,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Read an array off at the voxel centres of another grid.

    Parameters
    ----------
    array
        Values on `source`, (X, Y, Z), finite.
    source, target
        Grid of the array, and grid of the result.
    fill
        Value outside of the source's field.
    order
        Order of the interpolating spline: 1 for linear, 0 for the nearest voxel.
    threads
        Number of slabs worked on at a time.

    Returns
    -------
    NDArray
        ``target.shape``, float32.

    Examples
    --------
    >>> from deskull.image.grid import make_ras_grid
    >>> fine = make_ras_grid((0, 0, 0), (4, 4, 4), 1.0)
    >>> coarse = make_ras_grid((0, 0, 0), (2, 2, 2), 2.0)
    >>> ramp = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None], (4, 4, 4))
    >>> resample(ramp, fine, coarse)[:, 0, 0].tolist()
    [0.5, 2.5]
    """
    values, grid, wanted = (
        to_canonical_array(array, source),
        source.canonical(),
        target.canonical(),
    )
    box = _box_of_target(grid, wanted)
    if any(s.stop <= s.start for s in box):
        return np.full(target.shape, fill, np.float32)
    values, grid = values[box], grid.crop(box)
    if order > 0:
        values, grid = _average_blocks(values, grid, _block_sizes(grid, wanted))
    # Rounding takes away the 1e-14 by which a flipped and an unflipped affine differ.
    matrix = np.round(np.linalg.inv(grid.affine) @ wanted.affine, 9)
    values = np.asarray(values, dtype=np.float32)
    turned = np.abs(matrix[:3, :3] - np.diag(np.diag(matrix[:3, :3])))
    if (turned @ wanted.shape).max() < PARALLEL:
        out = _along_axes(values, matrix, wanted.shape, fill, order)
    else:
        out = _in_slabs(values, matrix, wanted.shape, fill, order, threads)
    return from_canonical_array(out, target)


def _along_axes(
    values: NDArray[np.float32], matrix: NDArray[np.float64], shape: Shape, fill: float, order: int
) -> NDArray[np.float32]:
    """Interpolate between grids with parallel axes, one axis after the other: far less work."""
    for axis in range(3):
        edge = [(1, 1) if k == axis else (0, 0) for k in range(3)]
        values = np.pad(values, edge, constant_values=np.float32(fill))
        place = matrix[axis, axis] * np.arange(shape[axis]) + matrix[axis, 3] + 1
        place = np.clip(place, 0, values.shape[axis] - 1)
        if order == 0:
            values = np.take(values, np.floor(place + 0.5).astype(int), axis=axis)
            continue
        below = np.minimum(place.astype(int), values.shape[axis] - 2)
        share = (place - below).astype(np.float32)
        share = share.reshape([-1 if k == axis else 1 for k in range(3)])
        lower = np.take(values, below, axis=axis)
        values = np.take(values, below + 1, axis=axis)
        values -= lower
        values *= share
        values += lower
    return values


def _in_slabs(
    values: NDArray[np.float32],
    matrix: NDArray[np.float64],
    shape: Shape,
    fill: float,
    order: int,
    threads: int,
) -> NDArray[np.float32]:
    """Interpolate between any two grids."""
    from scipy import ndimage

    values = np.ascontiguousarray(values)
    out = np.empty(shape, np.float32)

    def fill_slab(slab: slice) -> None:
        # "constant" would drop an edge layer at a coordinate of -1e-16.
        ndimage.affine_transform(
            values,
            matrix[:3, :3],
            matrix[:3, :3] @ (slab.start, 0, 0) + matrix[:3, 3],
            output=out[slab],
            output_shape=out[slab].shape,
            order=order,
            mode="grid-constant",
            cval=fill,
            prefilter=False,
        )

    # Where a slab starts decides the last bit of a coordinate; the threads must not.
    slabs = [slice(a, min(a + SLAB, shape[0])) for a in range(0, shape[0], SLAB)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill_slab, slabs))
    return out


def _box_of_target(grid: Grid, target: Grid) -> Box:
    """Part of `grid` that the target can reach, on whole blocks from the first voxel on."""
    index = np.round(grid.to_index(target.to_mm(target.corners)), 6)
    blocks = np.array(_block_sizes(grid, target))
    start = np.floor(index.min(0) / blocks - 2).astype(int) * blocks
    stop = np.ceil(index.max(0) / blocks + 3).astype(int) * blocks
    start, stop = np.maximum(start, 0), np.minimum(stop, grid.shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return x, y, z


def _block_sizes(grid: Grid, target: Grid) -> tuple[int, int, int]:
    """Source voxels that fit into one of the target's, along each canonical axis."""
    coarse = min(target.voxel_size)
    x, y, z = (max(1, int(coarse / size + 0.01)) for size in grid.voxel_size)
    return x, y, z


def _average_blocks(
    values: NDArray[np.float32], grid: Grid, blocks: tuple[int, int, int]
) -> tuple[NDArray[np.float32], Grid]:
    """Mean over blocks of voxels; the last block of an axis may be repeated at its edge."""
    affine = grid.affine.copy()
    for axis, size in enumerate(blocks):
        if size == 1:
            continue
        parts = [_take(values, axis, k, size) for k in range(size)]
        values = np.asarray(sum(parts[1:], parts[0]) / np.float32(size))
        affine[:3, 3] += affine[:3, axis] * (size - 1) / 2
        affine[:3, axis] *= size
    x, y, z = values.shape
    return values, Grid((x, y, z), affine)


def _take(values: NDArray[np.float32], axis: int, first: int, step: int) -> NDArray[np.float32]:
    """Every `step`-th layer from `first` on, the last layer standing in for missing ones."""
    length = values.shape[axis]
    index = np.minimum(np.arange(0, length, step) + first, length - 1)
    if index[-1] == first + (len(index) - 1) * step:
        cut = [slice(None)] * 3
        cut[axis] = slice(first, None, step)
        return values[tuple(cut)]
    return np.asarray(np.take(values, index, axis=axis))
