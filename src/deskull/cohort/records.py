"""What a run leaves in its folder: a record for each scan, and a marker while it runs.

A record is written last and whole. One that says ``done`` therefore means that the outputs are
there, of that very input, with those settings and weights. The marker only warns: two runs in one
folder damage nothing.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deskull import __version__
from deskull.cohort.plan import Task
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
from deskull.text_files import make_relative, make_stamp

# --- the record of a scan


def make_request(
    settings: Settings, digest: str, frame: int | None = None, orientation: str = "native"
) -> Request:
    """Make the request of a run: what decides, with the scan, what its outputs are.

    Parameters
    ----------
    settings
        Settings of the run.
    digest
        SHA-256 of the weights.
    frame
        Frame of 4D scans, from 0; None for the mean of the frames that a task names.
    orientation
        ``"native"`` or ``"ras"``.
    """
    requested = RequestedSettings(**vars(settings), frame=frame, orientation=orientation)
    return Request(requested, digest)


def is_done(task: Task, request: Request) -> bool:
    """Whether the scan, the request and the outputs of a task are as its record says.

    The same must hold for the scans that share its mask, whichever of them was stripped.
    """

    def is_from(source: Task) -> bool:
        shared = replace(request, mask_of=source.name)
        return _is_as_recorded(source, request) and all(
            _is_as_recorded(other.as_recipient(source), shared)
            for other in task.with_source(source).others
        )

    return any(is_from(member) for member in task.members)


def _is_as_recorded(task: Task, request: Request) -> bool:
    record = read_record(task)
    if record is None or record.status != DONE or not request.is_same(record.request):
        return False
    if not is_unchanged(task.scan, record.input):
        return False
    for name, path in task.files.items():
        written = record.outputs.get(name)
        if written is None or written.path != _make_relative(path, task):
            return False
        if not is_unchanged(path, written):
            return False
    return True


def read_record(task: Task) -> Record | None:
    """Read the record of a task; None if there is none, or it has no status."""
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
    """Make the record of a task, after its outputs were written.

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
    file = _make_relative(task.scan, task)
    outputs = {
        name: OutputFile(path=_make_relative(path, task), **vars(make_fingerprint(path)))
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


def _make_relative(path: Path, task: Task) -> str:
    """Write a path as seen from the real folder of the record, so that both can be moved."""
    folder = task.record.parent
    if path.parent == folder:
        return path.name
    return make_relative(path.parent.resolve() / path.name, folder.resolve())


def find_recorded(file: str, *records: Path | None) -> Path:
    """Find a file by its path as seen from a record.

    Parameters
    ----------
    file
        Path from the record. Links in the path of the record are followed first; in records of
        earlier versions they were not.
    records
        Paths of the record, by which its folder is reached.

    Returns
    -------
    Path
        Path of the file, whether it is there or not.
    """
    known = [record.parent for record in records if record is not None]
    folders = [*(folder.resolve() for folder in known), *(folder.absolute() for folder in known)]
    places = [Path(os.path.normpath(folder / file)) for folder in folders]
    return next((place for place in places if place.exists()), places[0])


def record_failure(task: Task, request: Request, error: str) -> Record:
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
    return record


def record_no_mask(task: Task, request: Request) -> None:
    """Record the scans that share the mask of a task as failed, because there is none."""
    for other in task.others:
        error = f"{other.name}: no mask, because {task.name}, whose mask it shares, failed."
        record_failure(other.as_recipient(task), replace(request, mask_of=task.name), error)


def explain_error(error: BaseException) -> str:
    """Explain in a record why a scan failed."""
    if isinstance(error, DeskullError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory. Use fewer --workers, or a machine with more."
    return f"an internal error of deskull ({type(error).__name__}: {error}). Please report it."


# --- several runs in one folder


MARKER = ".deskull_batch.lock"
"""Name of the file that marks a folder as one that a run works in."""

STALE_SECONDS = 3600.0
"""Age from which on a temporary file was left by a run that was killed: writing takes seconds."""


@contextmanager
def mark_run(marker: Path) -> Iterator[str]:
    """Write a marker for the time of a run, and find out whether there is another run.

    Parameters
    ----------
    marker
        Path of the marker; each shard of a run has its own.

    Yields
    ------
    str
        Process and machine of another run that works there, or may; empty if there is none.
    """
    mine = {"pid": os.getpid(), "machine": platform.node()}
    other = _read_marker(marker)
    save_bytes(json.dumps(mine).encode(), marker)
    try:
        yield _describe_run(other)
    finally:
        if _read_marker(marker) == mine:
            with suppress(OSError):
                marker.unlink()


def _read_marker(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {"pid": int(found["pid"]), "machine": str(found["machine"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _describe_run(marker: Mapping[str, Any]) -> str:
    """Describe the run that wrote a marker; empty if its process is known to be gone."""
    here = marker.get("machine") == platform.node()
    if not marker or (here and not _is_running(marker["pid"])):
        return ""
    return f"process {marker['pid']}" + ("" if here else f" on {marker['machine']}")


def remove_stale_files(tasks: Sequence[Task], marker: Path) -> None:
    """Remove temporary files that killed runs left in the folders of outputs.

    A clock that was changed, or is wrong on one of several machines, must not make a file in use
    look old. Ages are therefore counted from the time of the marker on the same file system, and
    files of a process that runs on this machine are kept.

    Parameters
    ----------
    tasks
        Tasks whose folders are searched.
    marker
        Marker of this run; only files older than it by `STALE_SECONDS` are removed.
    """
    try:
        now = marker.stat().st_mtime
    except OSError:  # gone with another run that ended just now; the next run removes them
        return
    for folder in {
        path.parent
        for task in tasks
        for member in task.members
        for path in (*member.outputs.values(), member.record)
    }:
        for file in folder.glob(".deskull-*.part"):
            with suppress(OSError):  # another run was faster, or may do what this one may not
                pid = file.name.split("-")[1]
                in_use = pid.isdecimal() and _is_running(int(pid))
                if now - file.stat().st_mtime > STALE_SECONDS and not in_use:
                    file.unlink()


def _is_running(pid: int) -> bool:
    """Whether a process runs on this machine; False for this one, and if it cannot be known."""
    if os.name != "posix" or pid == os.getpid():  # on Windows signal 0 would end it
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
