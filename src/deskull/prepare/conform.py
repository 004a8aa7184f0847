"""The way in and the exact way back: any grid to the network's window, and home again."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deskull.image.grid import (
    Box,
    Grid,
    Shape,
    find_box,
    make_ras_grid,
    to_canonical_array,
)
from deskull.image.resample import resample
from deskull.typed_json import ranged

COARSE_MM = 4.0  # fine enough to find a head
HEAD_LEVEL = 0.15  # of the way from air to bright: above noise and ghosts
HEAD_SHARE = 0.05  # of the fullest slice: what a slice of the head holds at least
FITTED_MM = (1.0, 2.2)  # voxel sizes of a fitted window, from a newborn's brain to the largest
SURELY_OUTSIDE = -8.0  # logit; a surer voxel must not outvote its neighbour in interpolation
STRAY = 1.0  # percent of a brain's voxels at each end that may be a neck, a nose or noise


@dataclass(frozen=True)
class WindowSettings:
    """The network's grid: how many voxels, and how large they are.

    Parameters
    ----------
    shape
        Voxels along x, y, z in RAS+.
    voxel_size
        Edge of a voxel in mm, or ``"fit"``: chosen for each head such that its brain fills
        `fill` of the window. An infant and an adult then look alike to the network.
    fill
        Share of the window's edge that a fitted brain takes along its longest axis, in (0, 1).

    Examples
    --------
    >>> WindowSettings((96, 112, 96), "fit", 0.75).choose_voxel_size((130.0, 168.0, 126.0))
    2.0
    """

    shape: Shape = ranged(1, 2048)  # noqa: RUF009
    voxel_size: float | Literal["fit"] = ranged(0.1, 20)
    fill: float = ranged(0.1, 1, 0.75)

    @property
    def is_fitted(self) -> bool:
        """Whether the voxel size follows the brain."""
        return self.voxel_size == "fit"

    def choose_voxel_size(self, extent: ArrayLike | None = None) -> float:
        """Choose the edge of the window's voxels in mm.

        Parameters
        ----------
        extent
            Length of the brain along x, y, z in mm, (3,), as `measure_extent` gives it; None
            where nothing is known yet, which gives the largest voxels.
        """
        if self.voxel_size != "fit":
            return self.voxel_size
        if extent is None:
            return FITTED_MM[1]
        wanted = np.asarray(extent) / (self.fill * np.array(self.shape))
        return float(np.clip(wanted.max(), *FITTED_MM))


def measure_extent(
    brain: NDArray[np.bool_], grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the middle of a brain and its length along each axis.

    The outmost hundredth of its voxels at either end does not count.

    Parameters
    ----------
    brain
        Mask of the brain, (X, Y, Z) bool, not empty.
    grid
        Grid of the mask, with axes RAS+.

    Returns
    -------
    tuple
        Middle in RAS+ mm, (3,), and length along x, y, z in mm, (3,).

    Examples
    --------
    >>> brain = np.ones((100, 140, 100), bool)
    >>> middle, extent = measure_extent(brain, make_ras_grid((0, 0, 0), brain.shape, 1.0))
    >>> extent.round().tolist()
    [98.0, 138.0, 98.0]
    """
    ends = np.percentile(np.argwhere(brain), [STRAY, 100 - STRAY], axis=0)
    return grid.to_mm(ends.mean(axis=0)), (ends[1] - ends[0] + 1) * np.array(grid.voxel_size)


def make_window(centre: ArrayLike, source: Grid, shape: Shape, voxel_size: float) -> Grid:
    """Choose the network's grid about a point of the scan.

    Where the scan's axes are parallel to RAS+ and its voxels fit a whole number of times
    into the window's, the window is shifted by less than a voxel onto the scan's own lattice,
    which spares half a voxel of blur.

    Parameters
    ----------
    centre
        Middle of the window in RAS+ mm, (3,).
    source
        Grid of the scan.
    shape, voxel_size
        Number of voxels of the window along x, y, z, and the edge of a voxel in mm.

    Examples
    --------
    >>> scan = make_ras_grid((0, 0, 0), (200, 200, 200), 1.0)
    >>> make_window((10.2, 0, 0), scan, (96, 112, 96), 2.0).voxel_size
    (2.0, 2.0, 2.0)
    """
    window = make_ras_grid(centre, shape, voxel_size)
    lattice = source.canonical()
    ratios = voxel_size / np.array(lattice.voxel_size)
    blocks = np.maximum(np.floor(ratios + 0.01), 1)
    diagonal = np.diag(np.diag(lattice.affine[:3, :3]))
    parallel = np.allclose(lattice.affine[:3, :3], diagonal, atol=1e-4)
    if not parallel or not np.allclose(ratios, blocks, atol=1e-3):
        return window
    index = (lattice.to_index(window.affine[:3, 3]) - (blocks - 1) / 2) / blocks
    snapped = lattice.to_mm(np.round(index) * blocks + (blocks - 1) / 2)
    affine = window.affine.copy()
    affine[:3, 3] = snapped
    return Grid(shape, affine)


def find_head_centres(
    data: NDArray[np.float32], grid: Grid, reach: float
) -> list[NDArray[np.float64]]:
    """Say where windows of `reach` mm should lie to hold the head, wherever it is.

    The box of what is brighter than air is found; one window in its middle holds it if no edge
    is longer than `reach`. Along a longer one (a scan down to the shoulders) windows are laid
    from end to end, overlapping by half.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z) float32, finite.
    grid
        Grid of the intensities.
    reach
        Length of the window's shortest edge in mm.

    Returns
    -------
    list
        Middles of the windows in RAS+ mm, (3,) each.
    """
    values, canonical = to_canonical_array(data, grid), grid.canonical()
    steps = [max(1, int(COARSE_MM / size)) for size in canonical.voxel_size]
    coarse = values[:: steps[0], :: steps[1], :: steps[2]]
    low, high = np.percentile(coarse, [0.5, 99.5])
    head = coarse > low + HEAD_LEVEL * (high - low)
    places = []
    for axis, (step, size) in enumerate(zip(steps, canonical.voxel_size, strict=True)):
        share = head.mean(axis=tuple({0, 1, 2} - {axis}))
        line = np.flatnonzero(share >= HEAD_SHARE * max(share.max(), 1e-9))
        line = line if line.size else np.array([0, len(share) - 1])
        start, stop = step * line[0], min(step * line[-1], canonical.shape[axis] - 1)
        spare = max(0.0, (stop - start) * size - reach)
        count = 1 + int(np.ceil(spare / (reach / 2)))
        ends = (start + stop - spare / size) / 2, (start + stop + spare / size) / 2
        places.append(np.linspace(*ends, count) if count > 1 else [(start + stop) / 2])
    return [canonical.to_mm(index) for index in itertools.product(*places)]


def conform(
    data: NDArray[np.float32], grid: Grid, window: Grid, *, fill: float, threads: int = 1
) -> NDArray[np.float32]:
    """Bring a scan's intensities onto the network's window by linear interpolation.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z) float32, finite.
    grid, window
        Grid of the scan, and grid of the network's window.
    fill
        Intensity of air, for the part of the window outside of the scan's field.
    threads
        Largest number of cores to use.

    Returns
    -------
    NDArray
        ``window.shape``, float32.
    """
    return resample(data, grid, window, fill=fill, threads=threads)


def to_native(
    logits: NDArray[np.float32],
    window: Grid,
    grid: Grid,
    threads: int = 1,
) -> tuple[NDArray[np.float32], Box]:
    """Bring a map from the network's window back onto the scan's own voxels.

    Only the box of the scan that the brain can reach is worked on; elsewhere the map is at
    `SURELY_OUTSIDE`.

    Parameters
    ----------
    logits
        Logits on the window, (X, Y, Z) float32; clipped to plus or minus `SURELY_OUTSIDE` first.
    window, grid
        The network's grid and the scan's.
    threads
        Largest number of cores to use.

    Returns
    -------
    tuple
        The interpolated logits in a box of the scan, float32, and that box.
    """
    clipped = np.clip(logits, SURELY_OUTSIDE, -SURELY_OUTSIDE)
    inside = find_box(clipped > SURELY_OUTSIDE / 2)
    if inside[0].stop == 0:
        return np.zeros((0, 0, 0), np.float32), inside
    x, y, z = (slice(s.start - 1, s.stop + 1) for s in inside)
    reach = window.crop((x, y, z))
    index = grid.to_index(reach.to_mm(reach.corners))
    start = np.clip(np.floor(index.min(0)), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(index.max(0)) + 1, start, grid.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    box = (x, y, z)
    if min(stop - start) == 0:
        return np.zeros(tuple(stop - start), np.float32), box
    native = resample(clipped, window, grid.crop(box), fill=SURELY_OUTSIDE, threads=threads)
    return native, box
