"""Does a mask lie on the brain of a scan: where brightness says most about the distance from it.

A mask of another scan fits where the two are co-registered. There the layers around its surface
(cortex, fluid, skull, scalp) differ most in brightness, whatever the contrast; a few mm aside
they mix. So mutual information between layer and brightness (Viola and Wells, IJCV 24, 1997)
tells how far off a mask lies, without a network and without knowing the contrast.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deskull.measure.quality import Flag
from deskull.measure.traits import make_blocks

BLOCK_MM = 4.0
"""Step of the search, and edge of the blocks that voxels are averaged to."""

LAYERS_MM = (-24, -16, -12, -8, -4, 0, 4, 8, 12, 16, 24)
"""Distances from the surface between which brightness is taken together; plus is outside."""

LEVELS = 24
"""Levels of brightness, as many voxels in each."""

REACH_MM = 32.0
"""How far is looked along each axis; what is farther off still shows as far off."""

OFF_MM = 8.0
"""Smallest displacement that is flagged: the masks of 41 heads lie within 9 mm of where they fit
best, where the gain is 1.06 at most."""

OFF_GAIN = 1.12
"""Least ratio of the information there and here: 1.1 to 1.5 for masks that were moved by 8 mm."""

WAYS = (("left", "right"), ("back", "front"), ("down", "up"))


@dataclass(frozen=True)
class Displacement:
    """Where a mask would fit better.

    Parameters
    ----------
    mm
        Displacement to where it would fit better, in RAS+ mm; zeros if it fits best where it is.
    gain
        Ratio of the mutual information there to that here, 1 or more.
    """

    mm: tuple[float, float, float]
    gain: float


def find_displacement(
    image: NDArray[np.float32], mask: NDArray[np.bool_], voxel_size: float
) -> Displacement:
    """Find where a mask fits best, by steps of `BLOCK_MM`.

    Parameters
    ----------
    image
        Intensities on a grid near RAS+, (X, Y, Z) float32, finite.
    mask
        Mask on the same grid, (X, Y, Z) bool.
    voxel_size
        Edge of a voxel in mm, the same along all axes.
    """
    from scipy import ndimage

    blocks = max(1, round(BLOCK_MM / voxel_size))
    step = blocks * voxel_size
    inside = make_blocks(mask.astype(np.float32), blocks) > 0.5
    if not inside.any() or inside.all():
        return Displacement((0.0, 0.0, 0.0), 1.0)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    layers = np.searchsorted(LAYERS_MM, distance * step)
    near = np.argwhere(np.abs(distance * step) < LAYERS_MM[-1] + BLOCK_MM)
    levels = _make_levels(make_blocks(image, blocks))
    at_most = np.array(levels.shape) - 1
    layers = layers[tuple(near.T)]

    def measure(moved: tuple[int, ...]) -> float:
        there = np.clip(near + moved, 0, at_most)
        return _find_information(layers, levels[tuple(there.T)])

    here: tuple[int, ...] = (0, 0, 0)
    start = most = measure(here)
    while True:
        around = [tuple(np.add(here, way)) for way in _list_steps()]
        found, place = max((measure(one), one) for one in around)
        if found <= most or max(map(abs, place)) * step > REACH_MM:
            break
        here, most = place, found
    x, y, z = (float(count * step) for count in here)
    return Displacement((x, y, z), most / start if start > 0 else 1.0)


def find_misplaced(found: Displacement) -> Flag | None:
    """Flag a mask that would fit better elsewhere.

    Examples
    --------
    >>> find_misplaced(Displacement((0.0, 0.0, 16.0), gain=1.3)).name
    'misplaced'
    """
    far = float(np.linalg.norm(found.mm))
    if far < OFF_MM or found.gain < OFF_GAIN:
        return None
    parts = [
        f"{abs(mm):.0f} mm {ways[mm > 0]}"
        for mm, ways in zip(found.mm, WAYS, strict=True)
        if abs(mm) >= OFF_MM / 2
    ]
    return Flag(
        "misplaced",
        f"The mask lies about {far:.0f} mm off: it fits the scan better {' and '.join(parts)} of "
        "where it is. Are the two co-registered?",
    )


def _list_steps() -> list[tuple[int, ...]]:
    """One step along one axis, either way."""
    return [way for way in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, way)) == 1]


def _make_levels(image: NDArray[np.float32]) -> NDArray[np.intp]:
    """Rank of each voxel's brightness, in `LEVELS` equal shares."""
    limits = np.quantile(image, np.linspace(0, 1, LEVELS + 1)[1:-1])
    return np.searchsorted(limits, image)


def _find_information(layers: NDArray[np.intp], levels: NDArray[np.intp]) -> float:
    """Mutual information of layer and level in nats."""
    count = len(LAYERS_MM) + 1
    joint = np.bincount(layers * LEVELS + levels, minlength=count * LEVELS) / layers.size
    joint = joint.reshape(count, LEVELS)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    known = joint > 0
    return float((joint[known] * np.log(joint[known] / apart[known])).sum())
