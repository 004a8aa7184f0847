"""One mask for the scans of a session: which one is stripped, and what the others are told.

Sessions are told by names alone: BIDS names by ``sub-`` and ``ses-``; others if they lie in one
folder and differ in nothing but the word for the contrast, such as ``p1_T1.nii.gz`` and
``p1_FLAIR.nii.gz``. Of each the scan is stripped whose field holds the head.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull.apply import judge_mask
from deskull.cohort.plan import Task
from deskull.image.grid import Grid
from deskull.image.header import peek
from deskull.image.names import INV2, UNIT1, find_inversion, find_root, name_head, parse_name
from deskull.image.volume import Volume
from deskull.measure.quality import CUT_MM2, Flag
from deskull.measure.score import COSTS, LOW
from deskull.result import Result

HEAD_MM = (120.0, 140.0, 160.0)
"""Field that holds the brain of an adult, its edges from the shortest to the longest."""

ABOUT = 0.1
"""Fields whose shares of a head differ by less are taken to hold as much of it."""

BEYOND_MM = 5.0
"""Distance from the field of the mask at which a scan that goes on there is looked at."""

MORE = 1.05
"""Ratio of the volumes of two masks from which on one is the more complete one."""

BEYOND = "beyond-mask"
_OF_FIELD = ("field-cuts-brain", "volume")  # doubts about one field, not about the mask in it
_OF_NETWORK = ("pieces",)  # of a slab the mask may well have several

Preference = Callable[[Task], int]


def share_masks(
    tasks: Sequence[Task],
    find_session: Callable[[Task], Hashable] | None = None,
    prefer: Preference | None = None,
) -> list[Task]:
    """Let one scan of each session be stripped, and the others get its mask.

    Stripped is the scan whose field holds the head; of several the T1w image, else the best
    resolved one: that with the thinnest slices.

    Parameters
    ----------
    tasks
        One a scan.
    find_session
        What the scans of a session have in common; by name if not given.
    prefer
        Rank of a scan among those that hold the head, the lowest first; `rank` if not given.

    Returns
    -------
    list
        One a session, in the order of the scans that are stripped.
    """
    find_session, prefer = find_session or _find_session, prefer or rank
    sessions: dict[Hashable, list[Task]] = {}
    for task in tasks:
        sessions.setdefault(find_session(task), []).append(task)
    heads = [_put_first(session, prefer) for session in sessions.values()]
    order = {task.record: number for number, task in enumerate(tasks)}
    return sorted(heads, key=lambda head: order[head.record])


def _find_session(task: Task) -> Hashable:
    """Find what the scans of a session have in common; a scan without a contrast is alone."""
    scan = task.scan
    name = parse_name(scan)
    if name is not None:
        return find_root(scan, name) or scan.parent, name.participant, name.session
    head = name_head(scan)
    return (scan.parent, head.participant, head.session) if head.contrast else scan


def rank(task: Task, mp2rage: str = INV2) -> int:
    """Rank a scan among those that hold the head: T1w before all others, series at the end.

    Parameters
    ----------
    task
        Task of the scan.
    mp2rage
        ``"inv-2"`` or ``"UNIT1"``: the image of an MP2RAGE acquisition that is best to strip.
    """
    name = parse_name(task.scan)
    image = find_inversion(name) if name else ""
    if image:
        return 1 if image == mp2rage else 2 if image in (INV2, UNIT1) else 3
    contrast = name.suffix if name else name_head(task.scan).contrast
    return 0 if contrast == "T1w" else 1 if task.frames is None else 4


def _put_first(session: Sequence[Task], prefer: Preference) -> Task:
    if len(session) == 1:
        return session[0]
    sizes = {task.record: _measure(task.scan) for task in session}
    most = max(share for share, _, _ in sizes.values())

    def find_rank(task: Task) -> tuple[bool, int, float, float, str]:
        share, longest, volume = sizes[task.record]
        return share < most - ABOUT, prefer(task), longest, volume, task.name

    head, *others = sorted(session, key=find_rank)
    return replace(head, others=tuple(others))


def _measure(scan: Path) -> tuple[float, float, float]:
    """Share of a head that a field can hold, longest edge of a voxel in mm, and its volume.

    A header that does not tell is taken to be of a whole head, and coarse.
    """
    header = peek(scan)
    if header is None:
        return 1.0, float("inf"), float("inf")
    sizes = header.voxel_size
    edges = sorted(n * size for n, size in zip(header.shape[:3], sizes, strict=True))
    share = min(1.0, *(edge / most for edge, most in zip(edges, HEAD_MM, strict=True)))
    return share, max(sizes), math.prod(sizes)


# --- what a field does not hold


def goes_beyond(mask: NDArray[np.bool_], grid: Grid, other: Grid) -> bool:
    """Whether another field goes on where that of a mask cuts the brain.

    Parameters
    ----------
    mask
        (X, Y, Z) on `grid`.
    grid, other
        Grid of the mask, and of a co-registered scan.
    """
    area = 0.0
    for axis, size in enumerate(grid.voxel_size):
        for plane, step in ((0, -1), (grid.shape[axis] - 1, 1)):
            face = np.argwhere(mask.take(plane, axis=axis))
            index = np.insert(face.astype(float), axis, plane + step * BEYOND_MM / size, axis=1)
            seen = other.to_index(grid.to_mm(index))
            inside = ((seen > -0.5) & (seen < np.array(other.shape) - 0.5)).all(axis=1)
            area += np.count_nonzero(inside) * grid.voxel_volume / size
    return area > CUT_MM2


def holds_more(one: Result, other: Result) -> bool:
    """Whether one scan of a session shows more of the brain than another, and no worse."""
    return one.volume_ml > MORE * other.volume_ml and one.score >= min(other.score, LOW)


def judge_given(
    result: Result, volume: Volume, brain: NDArray[np.bool_]
) -> tuple[int, list[Flag]]:
    """Score and doubts of a scan that gets its mask from another one.

    Parameters
    ----------
    result
        Result of the scan whose mask is used.
    volume, brain
        The scan that gets it, and the mask on its grid.
    """
    quality, giver = judge_mask(volume, brain), result.volume
    flags = [flag for flag in quality.flags if flag.name not in _OF_NETWORK]
    cost = 0.0
    if goes_beyond(result.mask, giver.grid, volume.grid):
        words = (
            f"The field of {giver.name}, whose mask is used, cuts the brain where this scan "
            "continues: a part of the mask is missing."
        )
        flags.append(Flag(BEYOND, words))
        cost = COSTS[BEYOND]
    names = {flag.name for flag in flags}
    for flag in result.flags:
        if flag.name not in (*names, *_OF_FIELD):
            flags.append(Flag(flag.name, f"Of the mask, made from {giver.name}: {flag.sentence}"))
    return round(min(result.score, quality.score) * math.exp(-cost)), flags
