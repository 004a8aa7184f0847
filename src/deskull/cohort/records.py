"""What is left of each scan of a cohort run: its record, and its row in the table.

A record is written last and whole, so that one that says ``done`` means it: the outputs of
that very input, of those settings and weights, are there.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deskull.cohort.plan import Gap, Task
from deskull.errors import DeskullError, ImageFileError
from deskull.image.writing import find_files, make_folder, save_bytes
from deskull.settings import Settings
from deskull.tables import make_tsv

COLUMNS = ("input", "status", "volume_ml", "mask", "score", "flags", "seconds", "error")
DONE, FAILED, WAITING, LEFT_OUT = "done", "failed", "waiting", "left out"
_CHUNK = 1024**2


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: its row in the table.

    Parameters
    ----------
    name
        Of the task.
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


def make_outcome(task: Task, record: Mapping[str, Any] | None) -> Outcome:
    """Sum up a record; None gives a scan that waits."""
    if record is None:
        return Outcome(task.name, WAITING)
    return Outcome(
        task.name,
        record["status"],
        *find_mask(record),
        record.get("score"),
        tuple(flag["name"] for flag in record.get("flags", ())),
        round(math.fsum(record.get("seconds", {}).values()), 3),
        record.get("error", ""),
        str(record.get("deskull", "")),
        orientation=str(record["input"].get("orientation", "")),
    )


def find_mask(record: Mapping[str, Any]) -> tuple[float | None, str]:
    """Volume in ml of the mask that counts, and whether it is the automatic or corrected one."""
    corrected = record.get("corrected")
    if isinstance(corrected, dict) and "volume_ml" in corrected:
        return corrected["volume_ml"], "corrected"
    volume: float | None = record.get("volume_ml")
    return volume, "" if volume is None else "automatic"


def make_gap_outcome(gap: Gap) -> Outcome:
    """Row of what is not stripped."""
    return Outcome(gap.name, FAILED if gap.failed else LEFT_OUT, error=gap.reason)


def make_request(
    settings: Settings,
    digest: str,
    frame: int | None = None,
    orientation: str = "native",
) -> dict[str, Any]:
    """Make what decides, beside the scan, what its outputs are; fit for JSON."""
    chosen = {"frame": frame, "orientation": orientation}
    request = {"settings": settings.to_dict() | chosen, "weights": digest}
    same: dict[str, Any] = json.loads(json.dumps(request))
    return same


def make_fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes, time of change in ns and SHA-256 of a scan.

    Of several files the sizes and times are added up, so that one which was put back as it was
    earlier counts as changed too.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    try:
        return _measure(path) | {"sha256": hash_files(_list_files(path))}
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}).") from error


def _list_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    first, *others = find_files(path)
    return [first, *(file for file in others if file.exists())]


def _measure(path: Path) -> dict[str, int]:
    stats = [file.stat() for file in _list_files(path)]
    size = sum(stat.st_size for stat in stats)
    return {"bytes": size, "modified": sum(stat.st_mtime_ns for stat in stats)}


def hash_files(files: Iterable[Path]) -> str:
    """SHA-256 of the content of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def is_unchanged(path: Path, fingerprint: Mapping[str, Any]) -> bool:
    """Whether a file is as it was: by size and time of change, or else by its hash."""
    try:
        now = _measure(path)
        if now["bytes"] != fingerprint["bytes"]:
            return False
        same: bool = now["modified"] == fingerprint["modified"]
        return same or hash_files(_list_files(path)) == fingerprint["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def is_done(task: Task, request: Mapping[str, Any]) -> bool:
    """Whether a scan, what was asked of it, and its outputs are as its record says.

    The same must hold for the scans that share its mask, whichever of them was stripped.
    """

    def is_from(giver: Task) -> bool:
        given = {**request, "mask_of": giver.name}
        return _is_as_recorded(giver, request) and all(
            _is_as_recorded(other.given(giver), given) for other in task.lead(giver).others
        )

    return any(is_from(member) for member in task.members)


def _is_as_recorded(task: Task, request: Mapping[str, Any]) -> bool:
    record = read_record(task)
    if record is None or record["status"] != DONE or record.get("request") != request:
        return False
    if not is_unchanged(task.scan, record["input"]):
        return False
    written = record["outputs"]
    return isinstance(written, dict) and all(
        _is_there(path, written.get(name), task) for name, path in task.files.items()
    )


def _is_there(path: Path, written: object, task: Task) -> bool:
    """Whether an output is in its place, as its entry in a record, maybe a damaged one, says."""
    if not isinstance(written, dict) or written.get("path") != _place(path, task):
        return False
    return is_unchanged(path, written)


def load_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None if there is none, or none of ours."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(record, dict) and isinstance(record.get("input"), dict)
    return record if ours else None


def read_record(task: Task) -> dict[str, Any] | None:
    """Read a task's record; None if there is none, or none that says what became of it."""
    record = load_record(task.record)
    if record is None or record.get("status") not in (DONE, FAILED) or "outputs" not in record:
        return None
    return record


def make_record(
    task: Task,
    request: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    stripped: Mapping[str, Any],
    error: str | None,
) -> dict[str, Any]:
    """Make a task's record, after its outputs were written.

    Parameters
    ----------
    task, request
        What was to be done, and how.
    fingerprint
        Of the scan; empty if it could not be read.
    stripped
        The record of the result, with all timings.
    error
        Why it failed, or None.
    """
    place = {"path": task.name, "file": _place(task.scan, task)}
    scan = {**place, **fingerprint, **stripped.get("input", {})}
    outputs = {
        name: {"path": _place(path, task), **make_fingerprint(path)}
        for name, path in task.files.items()
        if error is None
    }
    head = {"status": DONE if error is None else FAILED}
    tail = {} if error is None else {"error": " ".join(error.split())}
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        **head,
        **stripped,
        "input": scan,
        "outputs": outputs,
        "request": request,
        "finished": finished,
        **tail,
    }


def record_failure(task: Task, request: Mapping[str, Any], error: str) -> Outcome:
    """Record a scan that was not even read.

    Raises
    ------
    OutputError
        If the record cannot be written.
    """
    record = make_record(task, request, {}, {}, error)
    make_folder(task.record.parent)
    save_record(task, record)
    record_no_mask(task, request)
    return make_outcome(task, record)


def record_no_mask(task: Task, request: Mapping[str, Any]) -> None:
    """Record for the scans that get a task's mask that there is none."""
    for other in task.others:
        words = f"{other.name}: no mask, because {task.name} failed, which gives it."
        record_failure(other.given(task), {**request, "mask_of": task.name}, words)


def save_record(task: Task, record: Mapping[str, Any]) -> None:
    """Write a record, whole.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    save_bytes((json.dumps(record, indent=1) + "\n").encode(), task.record)


def _place(path: Path, task: Task) -> str:
    """Path of a file as seen from its record, so that both can be moved together."""
    try:
        return Path(os.path.relpath(path, task.record.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()


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
    return f"a fault of deskull's own ({type(error).__name__}: {error}). Please report it."
