"""What a cohort run has to do: a task for each scan, and where its outputs go.

How scans are found is `search.py`, in a BIDS data set `bids.py`. A plan is sorted, so that every
machine makes the same one and takes its own share of it. Nothing is written here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from deskull.errors import OptionError, OutputError
from deskull.image.names import find_stem
from deskull.image.writing import find_files
from deskull.outputs import FROM_MASK


@dataclass(frozen=True)
class Task:
    """One scan to strip.

    Parameters
    ----------
    name
        The scan's path below the common root of all inputs, with forward slashes.
    scan
        Absolute path of the scan; of DICOM a folder.
    outputs
        Absolute path of each wanted output but the record.
    record
        Absolute path of the record.
    sidecars
        Fields of the JSON written beside an output, by the output's name.
    frames
        Of a 4D scan, the frames whose mean is stripped where no frame is asked for; the mask is
        for all frames. Empty takes all, None makes a 4D scan an error.
    uri
        How the sidecars of scans that get this one's mask cite it; empty outside BIDS.
    others
        Scans of the same session that get this one's mask. If its field cuts the brain, one of
        them may turn out to be the better one to strip: see `lead`.
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
        """Every output and sidecar, those of the others left out."""
        return {**self.outputs, **{f"{name}.json": p for name, p in self._sidecar_paths()}}

    def _sidecar_paths(self) -> Iterator[tuple[str, Path]]:
        for name in self.sidecars:
            path = self.outputs[name]
            yield name, path.with_name(f"{find_stem(path)}.json")

    @property
    def members(self) -> tuple["Task", ...]:
        """The task itself, and those of the others."""
        return (self, *self.others)

    def lead(self, member: "Task") -> "Task":
        """Return the same scans as a task in which another of them is stripped."""
        others = (replace(m, others=()) for m in self.members if m.record != member.record)
        return replace(member, others=tuple(others))

    def given(self, giver: "Task") -> "Task":
        """Return this task as that of a scan that gets its mask from another: fewer outputs."""
        outputs = {name: path for name, path in self.outputs.items() if name in FROM_MASK}
        sidecars = {
            name: {**fields, "Sources": [*fields["Sources"], giver.uri]}
            for name, fields in self.sidecars.items()
            if name in outputs
        }
        return replace(self, outputs=outputs, sidecars=sidecars)


@dataclass(frozen=True)
class Gap:
    """What lies among the inputs, or was asked for, and is not stripped.

    Parameters
    ----------
    name
        Path below the common root of all inputs, or what was asked for.
    reason
        Why it is not stripped.
    failed
        Whether it should have been: then the run fails.
    """

    name: str
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Plan(Sequence[Task]):
    """What a run has to do, and what it leaves out; as a sequence its tasks.

    Parameters
    ----------
    tasks
        Sorted by name.
    gaps
        Sorted by name.
    others
        Numbers of files that are no images or outputs of deskull, as a phrase; empty if none.
    """

    tasks: list[Task]
    gaps: list[Gap] = field(default_factory=list)
    others: str = ""

    def __len__(self) -> int:
        return len(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self.tasks[index]

    def take_shard(self, number: int, count: int) -> "Plan":
        """Take every `count`-th task and gap, beginning with the `number`-th, from 1.

        Raises
        ------
        OptionError
            If there is no such share.
        """
        if not 1 <= number <= count:
            raise OptionError(f"shard {number}/{count}; expected 1/{count} to {count}/{count}.")
        shard = slice(number - 1, None, count)
        return replace(self, tasks=self.tasks[shard], gaps=self.gaps[shard])


def settle_outputs(tasks: Iterable[Task]) -> tuple[list[Task], list[Gap]]:
    """Sort tasks, and take out those that would write a file which another one writes as well.

    Raises
    ------
    OutputError
        If an output is an input, or a task would write one file twice.
    """
    every = sorted(tasks, key=lambda task: (task.name, task.record))
    folders: dict[Path, Path] = {}

    def settle(path: Path) -> Path:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        return folders[path.parent] / path.name

    scans = {settle(file) for task in every for file in find_files(task.scan)}
    writers: dict[Path, list[Task]] = {}
    for task in every:
        written = [f for p in (*task.files.values(), task.record) for f in find_files(p)]
        for file, count in Counter(map(settle, written)).items():
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
            names = " and ".join(task.name for task in several)
            words = f"{names} would write one file, {file.name}: none is stripped. Rename one."
            for task in several:
                clashes.setdefault((task.scan, task.record), words)
    words_on = [clashes.get((task.scan, task.record)) for task in every]
    pairs = list(zip(every, words_on, strict=True))
    good = [task for task, words in pairs if words is None]
    return good, [Gap(task.name, words, failed=True) for task, words in pairs if words]
