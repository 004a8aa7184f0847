"""The marks that reviewers gave the scans of a folder: a TSV table beside the data.

`Mark` is a row of the table; `load_marks` is its one reader and `save_mark` its one writer.
"""

import getpass
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from deskull.cohort.stripped import Stripped
from deskull.errors import InputError
from deskull.image.writing import save_bytes
from deskull.text_files import make_stamp, make_tsv, read_schema, read_table

TABLE = "deskull_review.tsv"
SCHEMA = 2
"""Version of the table. 1 has no column ``schema``, only record, input, mark and marked."""

MARKS = ("pass", "fail", "maybe")
TAGS = ("motion", "cut field", "neck kept", "cortex cut", "other")
"""Reasons that a reviewer can name."""

MAX_COMMENT = 2000
"""Characters of a comment."""

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Mark:
    """A reviewer's judgement of one scan; a row of the table.

    Parameters
    ----------
    record
        Path of the scan's record below the folder.
    input
        Name of the scan.
    mark
        ``pass``, ``fail`` or ``maybe``; empty for none.
    marked
        UTC time stamp of the judgement.
    by
        Name of the user who gave it; empty if unknown.
    mask_sha256
        SHA-256 of the mask file that was judged; empty if unknown.
    tags
        Reasons, such as ``motion`` or ``cut field``; in the table separated by semicolons.
    comment
        Free text.
    schema
        Version of the table.
    """

    record: str
    input: str
    mark: str = ""
    marked: str = ""
    by: str = ""
    mask_sha256: str = ""
    tags: tuple[str, ...] = ()
    comment: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.mark not in (*MARKS, ""):
            raise InputError(f"mark {self.mark!r}; expected one of {', '.join(MARKS)}, or none.")
        if unknown := set(self.tags) - set(TAGS):
            raise InputError(f"tag {min(unknown)!r}; expected some of {', '.join(TAGS)}.")
        if len(self.comment) > MAX_COMMENT:
            raise InputError(
                f"a comment of {len(self.comment)} characters; expected at most {MAX_COMMENT}."
            )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not (self.mark or self.tags or self.comment)


COLUMNS = tuple(field.name for field in fields(Mark))


def load_marks(folder: Path) -> dict[str, Mark]:
    """Read the marks of a folder; tables of schema 1 as well.

    Rows without a record, or with a mark that is unknown, are ignored.

    Returns
    -------
    dict
        Marks by the record's path below the folder; empty if there is no table.

    Raises
    ------
    InputError
        If the table cannot be read, or is of a newer schema.
    """
    path = folder / TABLE
    if not path.exists():
        return {}
    try:
        rows = read_table(path)
    except InputError as error:
        raise InputError(f"{error} Move it away, or repair it.") from error
    marks = [mark for _, row in rows if (mark := _parse(row, path)) is not None]
    return {mark.record: mark for mark in marks}


def save_mark(scan: Stripped, mark: Mark) -> Mark:
    """Write one mark into the table of a scan's folder, or remove it if it is empty.

    The table is read again each time, so that marks given elsewhere meanwhile are kept.

    Parameters
    ----------
    scan
        The scan that was judged.
    mark
        The judgement, as `make_mark` makes it.

    Returns
    -------
    Mark
        The mark as it was written, with name and time.

    Raises
    ------
    InputError
        If the table cannot be read.
    OutputError
        If it cannot be written.
    """
    with _one_at_a_time:
        marks = load_marks(scan.folder)
        marks.pop(scan.key, None)
        if not mark.is_empty:
            marks[scan.key] = mark
        _save(marks.values(), scan.folder / TABLE)
    return mark


def make_mark(
    scan: Stripped,
    mark: str,
    *,
    mask_sha256: str = "",
    tags: Iterable[str] = (),
    comment: str = "",
) -> Mark:
    """Make the mark that the current user gives a scan now.

    Raises
    ------
    InputError
        If the mark or a tag is unknown, or the comment is too long.
    """
    said = mark, make_stamp(), find_user(), mask_sha256
    return Mark(scan.key, scan.name, *said, tuple(tags), " ".join(comment.split()))


def find_user() -> str:
    """Name of the current user; empty if the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user name
        return ""


def _parse(row: Mapping[str, str], path: Path) -> Mark | None:
    given = {name: row.get(name, "") for name in COLUMNS}
    schema = read_schema(row, SCHEMA, path)
    tags = tuple(tag for tag in given["tags"].split(";") if tag in TAGS)
    texts = {name: given[name] for name in COLUMNS if name not in ("schema", "tags")}
    if not texts["record"] or texts["mark"] not in (*MARKS, ""):
        return None
    texts["comment"] = texts["comment"][:MAX_COMMENT]
    mark = Mark(**texts, tags=tags, schema=schema)
    return None if mark.is_empty else mark


def _save(marks: Iterable[Mark], path: Path) -> None:
    rows = []
    for mark in sorted(marks, key=lambda mark: mark.record):
        cells = vars(replace(mark, schema=SCHEMA)) | {"tags": ";".join(mark.tags)}
        rows.append([cells[name] for name in COLUMNS])
    save_bytes(make_tsv(COLUMNS, rows).encode("utf-8", "surrogateescape"), path)
