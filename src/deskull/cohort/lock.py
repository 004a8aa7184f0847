"""Several runs in one folder: how they see one another, and what killed ones left there."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deskull.cohort.plan import Task
from deskull.image.writing import save_bytes

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
        Whose folders.
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
        Of the outputs.
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
