"""The index: a table of the pairs of image and mask, and of the label maps, to learn from.

`make_index` finds candidates by their names (`layouts.py`, `bids_layouts.py`) and checks them by
opening their files (`checking.py`). `load_index` is the only reader of such tables, also of those
made by hand.
"""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from deskull.corrections_table import TABLE as CORRECTIONS
from deskull.corrections_table import load_corrections
from deskull.errors import InputError, OptionError
from deskull.image.file_names import name_head
from deskull.image.lookup import list_images
from deskull.image.writing import save_bytes
from deskull.network.engine import count_threads
from deskull.text_files import TABLES, read_table
from deskull.train.candidates import Candidate
from deskull.train.checking import Checked, Finding, Observe, Row, check_candidate
from deskull.train.layouts import (
    FINDERS,
    KNOWN_LAYOUTS,
    make_pattern_finder,
)

logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
"""Parts of a split."""

PATHS = ("image", "mask", "brain", "label_map")
COLUMNS = (
    *("participant", "session", "contrast"),
    *PATHS,
    *("manual", "part", "border", "shape", "voxel_size"),
)
ALIASES = {"person": "participant", "participant_id": "participant"}
"""Names of columns in older tables and in BIDS, and what they are called here."""

MAX_BORDER_MM = 10.0
"""Largest distance by which the surface of a mask may be moved."""

MAX_WORKERS = 4
"""Largest number of candidates checked at once; each holds an image and its mask in memory."""


def make_index(
    folder: str | os.PathLike[str],
    pattern: str | None = None,
    mask_pattern: str | None = None,
    observe: Observe | None = None,
) -> tuple[pd.DataFrame, list[Finding]]:
    """Find the pairs and label maps of a folder, or check those of a table.

    Parameters
    ----------
    folder
        Folder, or a TSV or CSV that `load_index` reads.
    pattern, mask_pattern
        Names of images and masks where they follow no known layout; see
        `layouts.make_pattern_finder`.
    observe
        Called with the number of candidates checked, and the number of all.

    Returns
    -------
    tuple
        A row per pair or label map, with `COLUMNS`, absolute paths, and "" where there is
        nothing; and the files that were left out.

    Raises
    ------
    InputError
        If the folder or table cannot be read, a pattern is wrong, or nothing looks like a head
        with a mask.
    """
    folder = Path(os.path.abspath(folder))
    candidates = _find_candidates(folder, pattern, mask_pattern)
    checked: list[Checked] = []
    with ThreadPoolExecutor(min(count_threads(), MAX_WORKERS)) as pool:
        for result in pool.map(check_candidate, _name_participants(candidates, folder)):
            checked.append(result)
            if observe is not None:
                observe(len(checked), len(candidates))
    findings = [finding for result in checked for finding in result.findings]
    rows, duplicates = _drop_duplicates(checked)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"manual": bool, "border": float})
    order = ["participant", "session", "contrast", "image", "label_map"]
    return frame.sort_values(order, ignore_index=True), findings + duplicates


def _find_candidates(
    folder: Path, pattern: str | None, mask_pattern: str | None
) -> list[Candidate]:
    if mask_pattern is not None and pattern is None:
        raise OptionError(f"mask pattern {mask_pattern}: no pattern of the images. Give both.")
    if folder.suffix.lower() in TABLES and not folder.is_dir():
        return [_read_row(row) for _, row in load_index(folder).iterrows()]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with heads, or a table.")
    finders = FINDERS if pattern is None else (make_pattern_finder(pattern, mask_pattern),)
    candidates = []
    files = rest = list_images(folder)
    for find in finders:
        found, rest = find(folder, rest)
        candidates += found
    if not candidates:
        raise InputError(
            f"{folder}: no head with a mask among {len(files)} images; looked for "
            f"{pattern or KNOWN_LAYOUTS}. Give the names with --pattern, or write a table."
        )
    return candidates


def _read_row(row: "pd.Series[Any]") -> Candidate:
    image, mask, brain, label_map = (Path(row[name]) if row[name] else None for name in PATHS)
    return Candidate(
        row["participant"],
        row["session"],
        row["contrast"],
        (image,) if image else (),
        (mask,) if mask else (),
        brain,
        label_map,
        part=row["part"],
        border=row["border"],
    )


def _name_participants(candidates: list[Candidate], folder: Path) -> list[Candidate]:
    """Prefix the data set's folder where several data sets have a participant of one name."""
    sets: dict[str, set[Path]] = {}
    for candidate in candidates:
        if candidate.dataset is not None:
            sets.setdefault(candidate.participant, set()).add(candidate.dataset)
    return [
        replace(c, participant=f"{os.path.relpath(c.dataset, folder)}/{c.participant}")
        if c.dataset is not None and len(sets[c.participant]) > 1
        else c
        for c in candidates
    ]


def _drop_duplicates(checked: Iterable[Checked]) -> tuple[list[Row], list[Finding]]:
    """Keep one of the images with the same voxels: one with a mask corrected by hand if any."""
    rows = [(result.row, result.digest) for result in checked if result.row is not None]
    rows.sort(key=lambda one: not one[0]["manual"])
    first: dict[str, Row] = {}
    findings = []
    for row, digest in rows:
        kept = first.setdefault(digest, row)
        if kept is not row:
            where, other = (str(one["image"] or one["label_map"]) for one in (row, kept))
            why = f"the same voxels as {other}, which is kept."
            findings.append(Finding(Path(where), "duplicate", why))
    return list(first.values()), findings


def save_index(index: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write an index, TSV or CSV by its name, with paths relative to its folder.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(os.path.abspath(path))
    _check_name(path)
    frame = index.copy()
    for name in PATHS:
        frame[name] = [_to_relative(text, path.parent) for text in frame[name]]
    frame["manual"] = ["true" if manual else "false" for manual in frame["manual"]]
    frame["border"] = [f"{border:g}" if border else "" for border in frame["border"]]
    stream = StringIO()
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    frame.to_csv(stream, sep=mark, index=False, lineterminator="\n")
    save_bytes(stream.getvalue().encode("utf-8", "surrogateescape"), path)


def _to_relative(text: str, folder: Path) -> str:
    """Return a path from a folder; absolute where there is none, as between drives."""
    try:
        return Path(os.path.relpath(text, folder)).as_posix() if text else ""
    except ValueError:
        return text


def _check_name(path: Path) -> None:
    if path.suffix.lower() not in TABLES:
        raise InputError(f"{path}: not a table; expected a name that ends in .tsv or .csv.")


def load_index(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read an index, or a table made by hand.

    Parameters
    ----------
    path
        TSV or CSV with columns ``image`` and ``mask``, or ``label_map``, or all of them; paths
        absolute or relative to the table's folder. All other columns are optional:
        ``participant`` (or ``person``, ``participant_id``), ``session`` and ``contrast`` are
        guessed from the file's name; ``part`` fixes the part of a participant, one of `PARTS`;
        ``border`` is the distance in mm by which the mask's surface is moved before it teaches.
        The table of corrected masks that the viewer writes is one as well.

    Returns
    -------
    DataFrame
        With `COLUMNS`, then any others, in lower case; absolute paths. No image was opened.

    Raises
    ------
    InputError
        If the table cannot be read or has no row, a row names neither a pair nor a label map, a
        part or border is not valid, or a participant has two parts.
    """
    path = Path(os.path.abspath(path))
    _check_name(path)
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"{path}: a table without a row; expected one for each pair.")
    given = [ALIASES.get(name, name) for name in rows[0][1]]
    if not ({"image", "mask"} <= set(given) or "label_map" in given):
        raise InputError(
            f"{path}: no columns image and mask, and no column label_map; found "
            f"{', '.join(rows[0][1])}."
        )
    frame = pd.DataFrame([row for _, row in rows], dtype=str).replace("n/a", "")
    frame = frame.set_axis(given, axis=1)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    frame = frame.reindex(columns=list(dict.fromkeys([*COLUMNS, *given])), fill_value="")
    for name in PATHS:
        frame[name] = [os.path.normpath(path.parent / p) if p else "" for p in frame[name]]
    heads = []
    columns = (frame[name] for name in ("image", "mask", "label_map"))
    for (line, _), image, mask, label_map in zip(rows, *columns, strict=True):
        if not label_map and not (image and mask):
            raise InputError(
                f"{path}: line {line} names neither an image with its mask nor a label map."
            )
        heads.append(name_head(Path(image or label_map)))
    for name in ("participant", "session", "contrast"):
        if name not in given:
            frame[name] = [getattr(head, name) for head in heads]
    names = zip(frame["participant"], heads, strict=True)
    frame["participant"] = [name or head.participant for name, head in names]
    frame["manual"] = [text.lower() in ("true", "1", "yes") for text in frame["manual"]]
    lines = [f"{path}: line {line}" for line, _ in rows]
    frame["part"] = [_read_part(*cell) for cell in zip(frame["part"], lines, strict=True)]
    frame["border"] = [_read_border(*cell) for cell in zip(frame["border"], lines, strict=True)]
    collect_parts(frame, f"{path}: ")
    return frame


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read the lines of a table; of the viewer's table of corrections its pairs."""
    if path.name != CORRECTIONS:
        return read_table(path)
    lines = {row["mask"]: line for line, row in read_table(path)}
    return [
        (lines[pair.mask], {"image": pair.image, "mask": pair.mask, "manual": "true", **pair.more})
        for pair in load_corrections(path)
    ]


def _read_part(cell: str, where: str) -> str:
    if cell.lower() in ("", *PARTS):
        return cell.lower()
    raise InputError(f"{where}: part {cell!r}; expected {', '.join(PARTS)}, or an empty cell.")


def _read_border(cell: str, where: str) -> float:
    try:
        border = float(cell or 0)
    except ValueError:
        border = math.nan
    if abs(border) <= MAX_BORDER_MM:
        return border
    raise InputError(
        f"{where}: border {cell!r}; expected mm from {-MAX_BORDER_MM:g} to {MAX_BORDER_MM:g}, or "
        "an empty cell."
    )


def collect_parts(index: pd.DataFrame, where: str = "") -> dict[str, str]:
    """Return the part of each participant whose part is fixed.

    Parameters
    ----------
    index
        Table with columns ``participant`` and ``part``; an empty part fixes nothing.
    where
        Prefix of an error message.

    Raises
    ------
    InputError
        If a participant has two parts.

    Examples
    --------
    >>> collect_parts(pd.DataFrame({"participant": ["a", "a", "b"], "part": ["test", "", ""]}))
    {'a': 'test'}
    """
    parts: dict[str, str] = {}
    for name, part in zip(index["participant"], index["part"], strict=True):
        if part and parts.setdefault(name, part) != part:
            raise InputError(
                f"{where}participant {name} is in {parts[name]} and in {part}; expected one part "
                "for all heads of a participant."
            )
    return parts


def fix_parts(index: pd.DataFrame, path: str | os.PathLike[str]) -> pd.DataFrame:
    """Fix the parts of an index's participants by a table of them.

    Parameters
    ----------
    index
        Index as from `make_index`.
    path
        TSV or CSV with the columns ``participant`` (or ``participant_id``) and ``part``.

    Returns
    -------
    DataFrame
        The index with the column ``part``; participants that the table lacks keep theirs.

    Raises
    ------
    InputError
        If the table cannot be read, or names none of the participants.
    """
    path = Path(path)
    rows = read_table(path)
    names = [ALIASES.get(name, name) for name in (rows[0][1] if rows else ())]
    if not {"participant", "part"} <= set(names):
        raise InputError(f"{path}: no columns participant and part; found {', '.join(names)}.")
    cells = [(line, dict(zip(names, row.values(), strict=True))) for line, row in rows]
    table = pd.DataFrame(
        {
            "participant": [row["participant"] for _, row in cells],
            "part": [_read_part(row["part"], f"{path}: line {line}") for line, row in cells],
        }
    )
    parts = collect_parts(table, f"{path}: ")
    if not set(parts) & set(index["participant"]):
        raise InputError(
            f"{path}: none of the participants of the index, such as "
            f"{index['participant'].iloc[0]}; expected their names in the column participant."
        )
    unknown = sorted(set(parts) - set(index["participant"]))
    if unknown:
        logger.warning(
            "%s: %d of its %d participants are not in the index: %s%s",
            *(path, len(unknown), len(parts), ", ".join(unknown[:10])),
            ", ..." if len(unknown) > 10 else "",
        )
    old = zip(index["participant"], index["part"], strict=True)
    return index.assign(part=[parts.get(name, part) for name, part in old])


def describe_index(index: pd.DataFrame, findings: list[Finding]) -> str:
    """Describe in one line what an index contains.

    Examples
    --------
    >>> index = pd.DataFrame(
    ...     {"participant": ["a"], "contrast": ["T1w"], "mask": ["a_mask.nii"], "label_map": [""]}
    ... )
    >>> describe_index(index, [])
    '1 pairs (T1w 1) and 0 label maps of 1 participants; 0 left out'
    """
    pairs = int((index["mask"] != "").sum())
    maps = int((index["label_map"] != "").sum())
    contrasts = Counter(index.loc[index["mask"] != "", "contrast"])
    kinds = ", ".join(f"{name or 'unknown'} {n}" for name, n in sorted(contrasts.items()))
    return (
        f"{pairs} pairs{f' ({kinds})' if kinds else ''} and {maps} label maps of "
        f"{index['participant'].nunique()} participants; {len(findings)} left out"
    )
