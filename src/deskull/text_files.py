"""Text files: tables (CSV, TSV) and JSON, and the time stamps and relative paths in them.

File names that are not valid text survive reading and writing (``surrogateescape``). What the
columns and keys mean is decided elsewhere.
"""

import csv
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deskull.errors import InputError

TABLES = (".csv", ".tsv")


def read_text(path: Path) -> str:
    """Read a text file, in UTF-8 with or without a mark of it.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return path.read_text("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def read_table(
    path: Path, needed: Sequence[str] = (), more: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read a table with the names of its columns in the first line.

    TSV is split at tabs, CSV at what its first line has most of: comma, semicolon or tab.

    Parameters
    ----------
    path
        Path of the table.
    needed
        Columns that must be there, in lower case.
    more
        Columns that may be there; ``n/a`` in one of them is an empty cell, as in BIDS.

    Returns
    -------
    list
        Number of each line that is not empty, and its cells by the column's name in lower case,
        spaces around them cut off; a cell that a short line lacks is empty.

    Raises
    ------
    InputError
        If it cannot be read, is no table, or lacks a column.
    """
    text = read_text(path)
    head = text.partition("\n")[0]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    try:
        rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=mark)]
    except csv.Error as error:
        raise InputError(f"{path.name}: not a table ({error}).") from error
    columns = [name.strip().lower() for name in rows[0]] if rows else []
    if not set(needed) <= set(columns):
        raise InputError(
            f"{path.name}: columns {', '.join(columns) or 'none'}; expected {_list(needed)}"
            f"{f', and if wanted {_list(more)},' if more else ''} in the first line."
        )
    found = []
    for number, texts in enumerate(rows[1:], start=2):
        cells = dict(zip(columns, map(str.strip, texts), strict=False))
        if any(map(str.strip, texts)):
            missing = [name for name in columns if name in more and cells.get(name) == "n/a"]
            found.append((number, dict.fromkeys(columns, "") | cells | dict.fromkeys(missing, "")))
    return found


def read_schema(row: Mapping[str, str], newest: int, path: Path) -> int:
    """Read the version of a table's schema from the column ``schema`` of a row.

    Parameters
    ----------
    row
        Cells of a row by the names of their columns.
    newest
        The newest version that can be read; 1 has no such column.
    path
        Path of the table.

    Raises
    ------
    InputError
        If the table is of a newer version, which must not be read, let alone written, by halves.

    Examples
    --------
    >>> read_schema({"image": "scan.nii.gz"}, newest=2, path=Path("corrected.tsv"))
    1
    """
    cell = row.get("schema", "")
    version = int(cell) if cell.isdecimal() else 1
    if version > newest:
        raise InputError(
            f"{path}: a table of schema {version}; this deskull knows it up to schema {newest}. "
            "Use the deskull that wrote it."
        )
    return version


def _list(names: Sequence[str]) -> str:
    """List names in a phrase: `a`, `b` and `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def make_tsv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Make the text of a table; write it with the error handler ``surrogateescape``.

    Parameters
    ----------
    columns
        Names of the columns, for the first line.
    rows
        Cells in the order of the columns.

    Examples
    --------
    >>> make_tsv(["scan", "ml"], [["sub-01", 1432]])
    'scan\tml\nsub-01\t1432\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def make_json(value: Any) -> bytes:
    r"""Make the bytes of a JSON file: UTF-8, indented, with a final line break.

    Examples
    --------
    >>> make_json({"score": 98})
    b'{\n "score": 98\n}\n'
    """
    try:
        return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # the name of a file that is not valid text
        return (json.dumps(value, indent=1) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        If it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: JSON of a {type(value).__name__}; expected an object.")
    return value


def make_stamp() -> str:
    """Make a time stamp of now, in UTC: ``2026-01-31T09:05:00Z``.

    Examples
    --------
    >>> len(make_stamp())
    20
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def make_relative(path: Path, folder: Path) -> str:
    """Write a path as seen from a folder, with forward slashes, so that both can be moved.

    Examples
    --------
    >>> make_relative(Path("study/masks/a.nii.gz"), Path("study/tables"))
    '../masks/a.nii.gz'
    """
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()
