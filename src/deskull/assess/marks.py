"""What a person thought of each scan of a folder, in a TSV beside the data."""

import csv
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deskull.assess.stripped import Stripped
from deskull.errors import InputError
from deskull.image.writing import save_bytes
from deskull.tables import make_tsv

TABLE = "deskull_review.tsv"
COLUMNS = ("record", "input", "mark", "marked")
MARKS = ("pass", "fail", "maybe")

_one_at_a_time = threading.Lock()


def load_marks(folder: Path) -> dict[str, str]:
    """Read the marks of a folder.

    Returns
    -------
    dict
        One of `MARKS` by the record's path below the folder; empty if there is no table.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    return {row["record"]: row["mark"] for row in _load_rows(folder / TABLE)}


def save_mark(scan: Stripped, mark: str) -> None:
    """Put one mark into the table of a scan's folder, or take it out.

    The table is read anew each time, so that marks given elsewhere meanwhile are kept.

    Parameters
    ----------
    scan
        Which.
    mark
        One of `MARKS`, or empty for none.

    Raises
    ------
    InputError
        If the mark is unknown, or the table cannot be read.
    OutputError
        If it cannot be written.
    """
    if mark not in (*MARKS, ""):
        raise InputError(f"mark {mark!r}; expected one of {', '.join(MARKS)}, or none.")
    path, record = scan.folder / TABLE, get_key(scan)
    with _one_at_a_time:
        rows = [row for row in _load_rows(path) if row["record"] != record]
        if mark:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            rows.append(
                {"record": record, "input": scan.name, "mark": mark, "marked": now},
            )
        _save_rows(sorted(rows, key=lambda row: row["record"]), path)


def get_key(scan: Stripped) -> str:
    """Path of a scan's record below its folder, which the table knows it by."""
    return scan.path.relative_to(scan.folder).as_posix()


def _load_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            rows = [*csv.DictReader(stream, delimiter="\t", restval="")]
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}). Move it away.") from error
    kept = [{name: row.get(name) or "" for name in COLUMNS} for row in rows]
    return [row for row in kept if row["mark"] in MARKS and row["record"]]


def _save_rows(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    table = make_tsv(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    save_bytes(table.encode("utf-8", "surrogateescape"), path)
