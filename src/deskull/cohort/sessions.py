"""Which scans are of one person and session, and may share one mask.

By name alone: BIDS names by ``sub-`` and ``ses-``; others if they lie in one folder and differ
in nothing but the word for the contrast, such as ``p1_T1.nii.gz`` and ``p1_FLAIR.nii.gz``.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from deskull.cohort.plan import Task
from deskull.image.bids import find_root, parse_name
from deskull.image.header import peek
from deskull.image.names import name_head

SHARED = ("brain", "mask")  # what is made for a scan that gets its mask from another


def share_masks(tasks: Sequence[Task]) -> list[Task]:
    """Let one scan of each session be stripped, and the others get its mask.

    Stripped is the T1w image, of several the best resolved one; without one the best resolved
    of all: that with the thinnest slices.

    Parameters
    ----------
    tasks
        One a scan.

    Returns
    -------
    list
        One a session, in the order of the scans that are stripped.
    """
    sessions: dict[Hashable, list[Task]] = {}
    for task in tasks:
        sessions.setdefault(_find_session(task.scan), []).append(task)
    heads = [_put_first(session) for session in sessions.values()]
    order = {task.record: number for number, task in enumerate(tasks)}
    return sorted(heads, key=lambda head: order[head.record])


def _find_session(scan: Path) -> Hashable:
    """Find what the scans of a session have in common; a scan without a contrast is alone."""
    name = parse_name(scan)
    if name is not None:
        return find_root(scan, name) or scan.parent, name.entities["sub"], name.entities.get("ses")
    head = name_head(scan)
    return (scan.parent, head.person, head.session) if head.contrast else scan


def _put_first(session: Sequence[Task]) -> Task:
    if len(session) == 1:
        return session[0]
    ranks = {task.record: (not _is_t1w(task.scan), _measure(task.scan)) for task in session}
    head, *others = sorted(session, key=lambda task: (ranks[task.record], task.name))
    return replace(head, others=tuple(_limit(task) for task in others))


def _is_t1w(scan: Path) -> bool:
    name = parse_name(scan)
    return (name.suffix if name else name_head(scan).contrast) == "T1w"


def _measure(scan: Path) -> tuple[float, float]:
    """Longest edge of a voxel in mm, and its volume; infinite where the header does not tell."""
    header = peek(scan)
    if header is None:
        return float("inf"), float("inf")
    x, y, z = header.voxel_size
    return max(x, y, z), x * y * z


def _limit(task: Task) -> Task:
    outputs = {name: path for name, path in task.outputs.items() if name in SHARED}
    sidecars = {name: task.sidecars[name] for name in outputs if name in task.sidecars}
    return replace(task, outputs=outputs, sidecars=sidecars)
