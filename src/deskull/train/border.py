"""The border of a data set: how far its masks' surfaces lie from those of released weights.

References differ in how much CSF they include. Moved by their border, masks of another convention
teach the same surface as those of the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deskull.apply import turn_mask
from deskull.errors import DeskullError, InputError
from deskull.image.grid import VoxelSize, find_box
from deskull.image.volume import Volume, load_volume
from deskull.prepare.postprocess import make_signed_distance
from deskull.train.checking import INSIDE
from deskull.train.pairs import find_share

MAX_SCANS = 20
"""Largest number of scans that are stripped, of as many participants."""

REACH_MM, STEP_MM = 5.0, 0.1
"""Borders that are tried: from -REACH_MM to REACH_MM."""


@dataclass(frozen=True)
class Border:
    """The border of a data set.

    Parameters
    ----------
    mm
        Median over the scans, in mm; plus where the masks are tighter than the weights'.
    low, high
        Smallest and largest border of a scan, in mm.
    dice, moved_dice
        Mean Dice with the weights' masks: as the masks are, and moved by each scan's border.
    scans
        Number of scans measured.
    """

    mm: float
    low: float
    high: float
    dice: float
    moved_dice: float
    scans: int


def measure_border(
    index: pd.DataFrame,
    strip: Callable[[Volume], NDArray[Any]],
    observe: Callable[[int, int], None] = lambda done, count: None,
) -> Border:
    """Measure by which border the masks of a data set agree best with those of weights.

    Parameters
    ----------
    index
        Index as from `make_index` or `load_index`; of each participant the first pair is used.
    strip
        Returns the weights' mask of a scan, (X, Y, Z) on the scan's grid.
    observe
        Called with the number of scans done, and the number of all.

    Raises
    ------
    InputError
        If there is no pair, or none whose scan can be stripped.
    """
    pairs = index[index["mask"] != ""].drop_duplicates("participant")
    if pairs.empty:
        raise InputError("no pair of image and mask to measure a border on.")
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_SCANS)).round())
    found = []
    for number, place in enumerate(chosen, start=1):
        row = pairs.iloc[int(place)]
        observe(number, len(chosen))
        try:
            scan = load_volume(row["image"])
            mask = turn_mask(load_volume(row["mask"]), scan.grid)
            found.append(find_border(mask.data > INSIDE, strip(scan) > 0, scan.grid.voxel_size))
        except DeskullError as error:
            last = error
    if not found:
        raise InputError(f"no scan could be stripped to measure a border: {last}")
    borders, dice, moved = np.array(found).T
    return Border(
        round(float(np.median(borders)), 1),
        float(borders.min()),
        float(borders.max()),
        float(dice.mean()),
        float(moved.mean()),
        len(found),
    )


def find_border(
    mask: NDArray[np.bool_], wanted: NDArray[np.bool_], voxel_size: VoxelSize
) -> tuple[float, float, float]:
    """Find the border by which a mask agrees best with another one.

    The surface is moved through the mask's signed distance; each voxel counts by the share of it
    that is inside, so that the border is found to a fraction of a voxel.

    Parameters
    ----------
    mask, wanted
        Masks on one grid, (X, Y, Z) bool, not empty: the one to move, and the one to agree with.
    voxel_size
        Edges of a voxel in mm, along each array axis.

    Returns
    -------
    tuple
        Border in mm, soft Dice without it, and soft Dice with it.

    Examples
    --------
    >>> axis = np.arange(40) - 19.5
    >>> radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis)))
    >>> border, before, after = find_border(radius < 12, radius < 14, (1.0, 1.0, 1.0))
    >>> round(border), before < 0.8, after > 0.97
    (2, True, True)
    """
    margin = int(np.ceil(REACH_MM / min(voxel_size))) + 1
    box = find_box(mask | wanted, margin=margin)
    distance, inside = make_signed_distance(mask[box], voxel_size), wanted[box]
    near = np.abs(distance) < REACH_MM + 1
    deep = ~near & (distance < 0)
    count, both, total = int(deep.sum()), int((deep & inside).sum()), int(inside.sum())
    distance, inside = distance[near], inside[near].astype(np.float32)
    width = float(np.mean(voxel_size))
    steps = round(REACH_MM / STEP_MM)
    borders = np.arange(-steps, steps + 1) * STEP_MM
    dice = []
    for border in borders:
        share = find_share(distance, border, width)
        overlap, size = both + float(share @ inside), count + float(share @ share)
        dice.append(2 * overlap / (size + total))
    best = int(np.argmax(dice))
    return float(borders[best]), dice[steps], dice[best]
