"""What a run leaves in its folder: a record for each scan, a row in the table, and its lock.

A record is written last and whole, so that one that says ``done`` means it: the outputs of
that very input, of those settings and weights, are there. The lock lets several runs in one folder
see one another.
"""

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deskull import __version__
from deskull.cohort.plan import Gap, Task
from deskull.errors import DeskullError
from deskull.image.fingerprint import Fingerprint, is_unchanged, make_fingerprint
from deskull.image.writing import make_folder, save_bytes
from deskull.record import (
    DONE,
    FAILED,
    InputScan,
    OutputFile,
    Record,
    Request,
    RequestedSettings,
    load_record,
    save_records,
)
from deskull.settings import Settings
from deskull.tables import make_relative, make_stamp, make_tsv

COLUMNS = ("input", "status", "volume_ml", "mask", "score", "flags", "seconds", "error")
WAITING, LEFT_OUT = "waiting", "left out"
CORRECTED = "corrected"
"""The mask that counts was corrected by hand."""


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: its row in the table.

    Parameters
    ----------
    name
        Name of the task.
    status
        ``"done"``, ``"failed"``, ``"waiting"`` or ``"left out"``.
    volume_ml
        Of the mask that counts, in millilitres; None if there is none.
    mask
        ``"automatic"``, or ``"corrected"`` if brain and volume are those of a mask that was
        corrected by hand; empty if there is none.
    score
        How far the mask can be trusted, 0 to 100; None if it was not judged.
    flags
        Names of the doubts.
    seconds
        From reading to writing.
    error
        Why it failed or was left out, else empty.
    version
        Of the deskull that did it; empty if nothing was done.
    earlier
        Whether a run before did it, and nothing was left to do in this one.
    orientation
        Of the grid of the outputs, such as ``"LPS"``; empty where there is none.
    """

    name: str
    status: str
    volume_ml: float | None = None
    mask: str = ""
    score: int | None = None
    flags: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    version: str = ""
    earlier: bool = False
    orientation: str = ""


def make_outcome(task: Task, record: Record | None) -> Outcome:
    """Sum up a record; None gives a scan that waits."""
    if record is None:
        return Outcome(task.name, WAITING)
    return Outcome(
        task.name,
        record.status or FAILED,
        record.final_ml,
        record.mask_kind,
        record.score,
        tuple(flag.name for flag in record.flags),
        round(math.fsum(record.seconds.values()), 3),
        record.error,
        record.deskull,
        orientation=record.input.orientation,
    )


def make_gap_outcome(gap: Gap) -> Outcome:
    """Row of what is not stripped."""
    return Outcome(gap.name, FAILED if gap.failed else LEFT_OUT, error=gap.reason)


def make_request(
    settings: Settings, digest: str, frame: int | None = None, orientation: str = "native"
) -> Request:
    """Make what decides, beside the scan, what its outputs are."""
    return Request(
        RequestedSettings(**vars(settings), frame=frame, orientation=orientation), digest
    )


def is_done(task: Task, request: Request) -> bool:
    """Whether a scan, what was asked of it, and its outputs are as its record says.

    The same must hold for the scans that share its mask, whichever of them was stripped.
    """

    def is_from(giver: Task) -> bool:
        given = replace(request, mask_of=giver.name)
        return _is_as_recorded(giver, request) and all(
            _is_as_recorded(other.given(giver), given) for other in task.lead(giver).others
        )

    return any(is_from(member) for member in task.members)


def _is_as_recorded(task: Task, request: Request) -> bool:
    record = read_record(task)
    if record is None or record.status != DONE or not request.is_same(record.request):
        return False
    if not is_unchanged(task.scan, record.input):
        return False
    return all(
        _is_there(path, record.outputs.get(name), task) for name, path in task.files.items()
    )


def _is_there(path: Path, written: OutputFile | None, task: Task) -> bool:
    """Whether an output is in its place, as its entry in a record says."""
    if written is None or written.path != _place(path, task):
        return False
    return is_unchanged(path, written)


def read_record(task: Task) -> Record | None:
    """Read a task's record; None if there is none, or none that says what became of it."""
    record = load_record(task.record)
    return None if record is None or record.status is None else record


def make_record(
    task: Task,
    request: Request,
    fingerprint: Fingerprint,
    stripped: Record | None,
    seconds: Mapping[str, float],
    error: str | None,
) -> Record:
    """Make a task's record, after its outputs were written.

    Parameters
    ----------
    task, request
        Task of the scan, and what was requested.
    fingerprint
        Fingerprint of the scan; empty if it could not be read.
    stripped
        The record of the result; None if there is no result.
    seconds
        Seconds of each step.
    error
        Why it failed, or None.
    """
    base = stripped or Record(input=InputScan(), deskull=__version__)
    file = _place(task.scan, task)
    outputs = {
        name: OutputFile(path=_place(path, task), **vars(make_fingerprint(path)))
        for name, path in task.files.items()
        if error is None
    }
    return replace(
        base,
        status=DONE if error is None else FAILED,
        error=" ".join((error or "").split()),
        input=replace(base.input, path=task.name, file=file, **vars(fingerprint)),
        seconds=dict(seconds),
        outputs=outputs,
        request=request,
        finished=make_stamp(),
    )


def record_failure(task: Task, request: Request, error: str) -> Outcome:
    """Record a scan that was not even read.

    Raises
    ------
    OutputError
        If the record cannot be written.
    """
    record = make_record(task, request, Fingerprint(), None, {}, error)
    make_folder(task.record.parent)
    save_records([record], task.record)
    record_no_mask(task, request)
    return make_outcome(task, record)


def record_no_mask(task: Task, request: Request) -> None:
    """Record for the scans that get a task's mask that there is none."""
    for other in task.others:
        words = f"{other.name}: no mask, because {task.name}, whose mask it shares, failed."
        record_failure(other.given(task), replace(request, mask_of=task.name), words)


def _place(path: Path, task: Task) -> str:
    """Path of a file as seen from its record, so that both can be moved together."""
    return make_relative(path, task.record.parent)


def name_table(share: str = "") -> str:
    """Name of the table of a run, or of a share of it."""
    return f"deskull_batch{share}.tsv"


def save_table(outcomes: Iterable[Outcome], path: Path) -> None:
    """Write one row a scan as TSV.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    rows: list[list[object]] = []
    for row in outcomes:
        volume = "" if row.volume_ml is None else f"{row.volume_ml:.3f}"
        score = "" if row.score is None else row.score
        judged = [volume, row.mask, score, ",".join(row.flags)]
        rows.append([row.name, row.status, *judged, f"{row.seconds:.2f}", row.error])
    save_bytes(make_tsv(COLUMNS, rows).encode("utf-8", "surrogateescape"), path)


def explain(error: BaseException) -> str:
    """Words of the record on why a scan failed."""
    if isinstance(error, DeskullError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory. Use fewer --workers, or a machine with more."
    return f"an internal error of deskull ({type(error).__name__}: {error}). Please report it."


# --- several runs in one folder


LOCK = ".deskull_batch.lock"
STALE_SECONDS = 3600.0
"""Age at which a temporary file was left by a run that was killed: writing takes seconds."""


def sweep(tasks: Sequence[Task], fresh: Path) -> None:
    """Remove temporary files that killed runs left in the folders of outputs.

    A clock that was changed, or goes wrong on one of several machines, must not make a file in
    use look old: ages are those that the file system tells, and a process that is here keeps
    its files.

    Parameters
    ----------
    tasks
        Tasks whose folders are swept.
    fresh
        A file just written; only files older than it by `STALE_SECONDS` are removed.
    """
    try:
        now = fresh.stat().st_mtime
    except OSError:  # gone with another run that ended just now; the next one sweeps
        return
    for folder in {
        path.parent
        for task in tasks
        for member in task.members
        for path in (*member.outputs.values(), member.record)
    }:
        for file in folder.glob(".deskull-*.part"):
            with suppress(OSError):  # another run was faster, or may do what we may not
                if now - file.stat().st_mtime > STALE_SECONDS and not _is_in_use(file):
                    file.unlink()


def _is_in_use(file: Path) -> bool:
    """Whether a process of the number in a temporary file's name runs on this machine."""
    pid = file.name.split("-")[1]
    return pid.isdecimal() and _is_running(int(pid))


@contextmanager
def lock(folder: Path, share: str = "") -> Iterator[str]:
    """Say to other runs that this one works in a folder, and give the words on the other's.

    Two runs do no harm to one another, so nothing is refused.

    Parameters
    ----------
    folder
        Folder of the outputs.
    share
        Word of the shard, so that the shards of one run do not see one another.

    Yields
    ------
    str
        Where another run works there, or may: its process and machine; else empty.
    """
    path = folder / (LOCK + share)
    mine = {"pid": os.getpid(), "machine": platform.node()}
    other = _read_lock(path)
    save_bytes(json.dumps(mine).encode(), path)
    try:
        yield _describe(other)
    finally:
        if _read_lock(path) == mine:
            with suppress(OSError):
                path.unlink()


def _read_lock(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {"pid": int(found["pid"]), "machine": str(found["machine"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _describe(other: Mapping[str, Any]) -> str:
    """Words on a run that holds the lock; none if its process is known to be gone."""
    here = other.get("machine") == platform.node()
    if not other or (here and not _is_running(other["pid"])):
        return ""
    return f"process {other['pid']}" + ("" if here else f" on {other['machine']}")


def _is_running(pid: int) -> bool:
    if os.name != "posix" or pid == os.getpid():  # elsewhere signal 0 would end it
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
