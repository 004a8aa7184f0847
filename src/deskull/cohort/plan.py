"""The work list of a cohort run: a task for each scan, and where its outputs go.

How scans are found is in `search.py`, and for a BIDS data set in `bids.py`. With one mask for
several scans of a session, `share_masks` chooses which of them is stripped. A plan is sorted, so
that every machine makes the same one and takes its own shard of it. Nothing is written here.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from deskull.errors import OptionError, OutputError
from deskull.image.bids_names import (
    BIDS_FOLDERS,
    INV2,
    UNIT1,
    find_inversion,
    find_root,
    parse_name,
)
from deskull.image.file_names import find_stem, name_head
from deskull.image.header import peek
from deskull.image.writing import find_files
from deskull.outputs import FROM_MASK

HEAD_MM = (120.0, 140.0, 160.0)
"""Field of view in mm that holds the brain of an adult, from its shortest to its longest edge."""

SIMILAR_SHARE = 0.1
"""Fields of view whose shares of a head differ by less are taken to hold as much of it."""


@dataclass(frozen=True)
class Task:
    """One scan to strip, and the scans that share its mask.

    Parameters
    ----------
    name
        Path of the scan below the common root of all inputs, with forward slashes.
    scan
        Absolute path of the scan; for DICOM, a folder.
    outputs
        Absolute path of each requested output except the record, by the output's name.
    record
        Absolute path of the record.
    sidecars
        Fields of the JSON file written beside an output, by the output's name.
    frames
        Frames of a 4D scan whose mean is stripped if no frame is requested; the mask is for all
        frames. Empty takes all frames, None makes a 4D scan an error.
    uri
        BIDS URI by which the sidecars of `others` cite the mask; empty outside BIDS.
    others
        Scans of the same session that get the mask of this one. If the field of view cuts the
        brain, one of them may be stripped instead: see `with_source`.
    """

    name: str
    scan: Path
    outputs: Mapping[str, Path]
    record: Path
    sidecars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    frames: tuple[int, ...] | None = None
    uri: str = ""
    others: tuple["Task", ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """Path of every output and sidecar of the scan itself, without those of `others`."""
        return {**self.outputs, **{f"{name}.json": p for name, p in self._sidecar_paths()}}

    def _sidecar_paths(self) -> Iterator[tuple[str, Path]]:
        for name in self.sidecars:
            path = self.outputs[name]
            yield name, path.with_name(f"{find_stem(path)}.json")

    @property
    def members(self) -> tuple["Task", ...]:
        """The task itself, followed by `others`."""
        return (self, *self.others)

    def with_source(self, member: "Task") -> "Task":
        """Return a task for the same scans in which another member is stripped."""
        others = (replace(m, others=()) for m in self.members if m.record != member.record)
        return replace(member, others=tuple(others))

    def as_recipient(self, source: "Task") -> "Task":
        """Return this task with the outputs that can be made from the mask of another scan."""
        outputs = {name: path for name, path in self.outputs.items() if name in FROM_MASK}
        sidecars = {
            name: {**fields, "Sources": [*fields["Sources"], source.uri]}
            for name, fields in self.sidecars.items()
            if name in outputs
        }
        return replace(self, outputs=outputs, sidecars=sidecars)


@dataclass(frozen=True)
class Gap:
    """A file among the inputs, or a requested participant, that is not stripped.

    Parameters
    ----------
    name
        Path below the common root of all inputs, or what was requested.
    reason
        Why it is not stripped.
    failed
        Whether it should have been stripped, so that the run fails.
    """

    name: str
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Plan(Sequence[Task]):
    """What a run strips, and what it leaves out; as a sequence, its tasks.

    Parameters
    ----------
    tasks
        Tasks, sorted by name.
    gaps
        Gaps, sorted by name.
    ignored
        Phrase that counts the files that are not images or were written by deskull; empty if
        there are none.
    """

    tasks: list[Task]
    gaps: list[Gap] = field(default_factory=list)
    ignored: str = ""

    def __len__(self) -> int:
        return len(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self.tasks[index]

    def take_shard(self, number: int, count: int) -> "Plan":
        """Take every `count`-th task and gap, starting with the `number`-th, counted from 1.

        Raises
        ------
        OptionError
            If there is no such shard.
        """
        if not 1 <= number <= count:
            raise OptionError(f"shard {number}/{count}; expected 1/{count} to {count}/{count}.")
        shard = slice(number - 1, None, count)
        return replace(self, tasks=self.tasks[shard], gaps=self.gaps[shard])


def remove_clashes(tasks: Iterable[Task]) -> tuple[list[Task], list[Gap]]:
    """Sort tasks, and turn those that would write the same file into gaps.

    Raises
    ------
    OutputError
        If an output is an input, or a task would write one file twice.
    """
    ordered = sorted(tasks, key=lambda task: (task.name, task.record))
    folders: dict[Path, Path] = {}

    def resolve(path: Path) -> Path:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        return folders[path.parent] / path.name

    scans = {resolve(file) for task in ordered for file in find_files(task.scan)}
    writers: dict[Path, list[Task]] = {}
    for task in ordered:
        written = [f for p in (*task.files.values(), task.record) for f in find_files(p)]
        for file, count in Counter(map(resolve, written)).items():
            if file in scans:
                raise OutputError(
                    f"{file}: it is an input, and an input is never replaced. Choose another "
                    "--out-dir, or other names in a table with the columns in and out."
                )
            if count > 1:
                raise OutputError(f"{file}: {task.scan} would write it twice. Choose two names.")
            writers.setdefault(file, []).append(task)
    clashes: dict[tuple[Path, Path], str] = {}
    for file, several in writers.items():
        if len(several) > 1:
            names = list(dict.fromkeys(task.name for task in several))
            who = " and ".join(names) if len(names) > 1 else f"several rows of {names[0]}"
            reason = f"{who} would write one file, {file.name}: none is stripped. Rename one."
            for task in several:
                clashes.setdefault((task.scan, task.record), reason)
    reasons = [(task, clashes.get((task.scan, task.record))) for task in ordered]
    good = [task for task, reason in reasons if reason is None]
    return good, [Gap(task.name, reason, failed=True) for task, reason in reasons if reason]


# --- one mask for the scans of a session


def share_masks(
    tasks: Sequence[Task],
    find_session: Callable[[Path], Hashable] | None = None,
    mp2rage: str = INV2,
) -> list[Task]:
    """Join the scans of each session into one task: one is stripped, the others get its mask.

    The scan whose field of view holds the head is stripped; among several, the T1w image, else
    the one of the highest resolution, which is that with the thinnest slices.

    Parameters
    ----------
    tasks
        One task for each scan.
    find_session
        Function that gives the scans of a session, by their paths, the same key. By default the
        names decide: BIDS names by ``sub-`` and ``ses-``, or without ``ses-`` by the folder that
        holds ``anat`` and the like; others are of one session if they lie
        in one folder and differ only in the contrast, as ``p1_T1.nii.gz`` and
        ``p1_FLAIR.nii.gz`` do.
    mp2rage
        ``"inv-2"`` or ``"UNIT1"``: the image of an MP2RAGE acquisition that is stripped.

    Returns
    -------
    list
        One task for each session, in the order of the scans that are stripped.
    """
    find_session = find_session or _find_session
    sessions: dict[Hashable, list[Task]] = {}
    for task in tasks:
        sessions.setdefault(find_session(task.scan), []).append(task)
    order = {task.record: number for number, task in enumerate(tasks)}
    joined = [_join(session, mp2rage) for session in sessions.values()]
    return sorted(joined, key=lambda task: order[task.record])


def _find_session(scan: Path) -> Hashable:
    """Find the key of a scan's session; a scan whose name has no contrast is alone."""
    name = parse_name(scan)
    if name is not None:
        place = find_root(scan, name)
        if place is not None and not name.session:  # the session's folder, or the participant's
            place = scan.parent.parent if scan.parent.name in BIDS_FOLDERS else scan.parent
        return place or scan.parent, name.participant, name.session
    head = name_head(scan)
    return (scan.parent, head.participant, head.session) if head.contrast else scan


def _join(session: Sequence[Task], mp2rage: str) -> Task:
    """Join the tasks of a session; the first choice is stripped."""
    if len(session) == 1:
        return session[0]
    fields = {task.record: _measure_field(task.scan) for task in session}
    largest = max(share for share, _, _ in fields.values())

    def find_rank(task: Task) -> tuple[bool, int, float, float, str]:
        share, longest, volume = fields[task.record]
        contrast = _rank_contrast(task, mp2rage)
        return share < largest - SIMILAR_SHARE, contrast, longest, volume, task.name

    first, *others = sorted(session, key=find_rank)
    return replace(first, others=tuple(others))


def _rank_contrast(task: Task, mp2rage: str) -> int:
    """Rank a scan by its contrast: T1w first, 4D series last."""
    name = parse_name(task.scan)
    inversion = find_inversion(name) if name else ""
    if inversion:
        return 1 if inversion == mp2rage else 2 if inversion in (INV2, UNIT1) else 3
    contrast = name.suffix if name else name_head(task.scan).contrast
    return 0 if contrast == "T1w" else 1 if task.frames is None else 4


def _measure_field(scan: Path) -> tuple[float, float, float]:
    """Measure a scan by its header.

    Returns
    -------
    tuple
        Share of an adult head that the field of view can hold, 0 to 1; longest edge of a voxel
        in mm; volume of a voxel in mm3. A header that cannot be read ahead counts as a whole head
        of infinitely large voxels.
    """
    header = peek(scan)
    if header is None:
        return 1.0, float("inf"), float("inf")
    sizes = header.voxel_size
    edges = sorted(n * size for n, size in zip(header.shape[:3], sizes, strict=True))
    share = min(1.0, *(edge / head for edge, head in zip(edges, HEAD_MM, strict=True)))
    return share, max(sizes), math.prod(sizes)
