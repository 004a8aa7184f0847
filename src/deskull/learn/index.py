"""The index: a table of the (image, mask) pairs and label maps there are to learn from.

`make_index` finds candidates by their names (`layouts.py`, `bids.py`) and keeps what holds
when the files are opened (`checking.py`). `load_index` is the one reader of such tables, also
of those made by hand.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from deskull.errors import InputError, OptionError
from deskull.image.names import list_images, name_head
from deskull.image.writing import save_bytes
from deskull.learn.bids import find_bids
from deskull.learn.checking import Checked, Finding, Row, check_candidate
from deskull.learn.layouts import (
    Candidate,
    Finder,
    find_beside,
    find_freesurfer,
    make_pattern_finder,
)
from deskull.network.engine import count_threads
from deskull.tables import TABLES, read_table

PATHS = ("image", "mask", "brain", "label_map")
COLUMNS = ("person", "session", "contrast", *PATHS, "manual", "shape", "voxel_size")
MOST_WORKERS = 4  # each holds an image and its mask
FINDERS: tuple[Finder, ...] = (find_freesurfer, find_bids, find_beside)

LOOKED_FOR = (
    "NFBS (sub-*_T1w with _T1w_brainmask), BIDS (sub-*/ with desc-brain_mask in a derivative "
    "data set), FreeSurfer (SUBJECT/mri with brainmask.mgz or aseg.mgz), X with X_mask, "
    "X_brainmask, X_reference, X_majority or X_mask_manual, and label maps"
)


def make_index(
    folder: str | os.PathLike[str],
    pattern: str | None = None,
    mask_pattern: str | None = None,
    observe: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, list[Finding]]:
    """Find the pairs and label maps of a folder, or check those of a table.

    Parameters
    ----------
    folder
        A folder, or a TSV or CSV that `load_index` reads.
    pattern, mask_pattern
        Names of images and masks where they follow no known layout; see
        `layouts.make_pattern_finder`.
    observe
        Called with the number of candidates done, and of all.

    Returns
    -------
    tuple
        A row for each pair or label map that holds, with `COLUMNS`, paths absolute, empty
        where there is nothing; and what was left out.

    Raises
    ------
    InputError
        If the folder or table cannot be read, a pattern is wrong, or nothing like a head with
        a mask is there at all.
    """
    folder = Path(os.path.abspath(folder))
    candidates = _find_candidates(folder, pattern, mask_pattern)
    checked: list[Checked] = []
    with ThreadPoolExecutor(min(count_threads(), MOST_WORKERS)) as pool:
        for result in pool.map(check_candidate, _name_persons(candidates, folder)):
            checked.append(result)
            if observe is not None:
                observe(len(checked), len(candidates))
    findings = [finding for result in checked for finding in result.findings]
    rows, doubles = _drop_doubles(checked)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"manual": bool})
    order = ["person", "session", "contrast", "image", "label_map"]
    return frame.sort_values(order, ignore_index=True), findings + doubles


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
            f"{pattern or LOOKED_FOR}. Tell the names with --pattern, or write a table."
        )
    return candidates


def _read_row(row: "pd.Series[Any]") -> Candidate:
    image, mask, brain, label_map = (Path(row[name]) if row[name] else None for name in PATHS)
    return Candidate(
        row["person"],
        row["session"],
        row["contrast"],
        (image,) if image else (),
        (mask,) if mask else (),
        brain,
        label_map,
    )


def _name_persons(candidates: list[Candidate], folder: Path) -> list[Candidate]:
    """Tell persons of one name in several data sets apart by the data set's folder."""
    sets: dict[str, set[Path]] = {}
    for candidate in candidates:
        if candidate.dataset is not None:
            sets.setdefault(candidate.person, set()).add(candidate.dataset)
    return [
        replace(c, person=f"{os.path.relpath(c.dataset, folder)}/{c.person}")
        if c.dataset is not None and len(sets[c.person]) > 1
        else c
        for c in candidates
    ]


def _drop_doubles(
    checked: Iterable[Checked],
) -> tuple[list[Row], list[Finding]]:
    """Of images with the same voxels keep one, that with a mask made by a person if there is."""
    held = [(result.row, result.digest) for result in checked if result.row is not None]
    held.sort(key=lambda one: not one[0]["manual"])
    first: dict[str, Row] = {}
    findings = []
    for row, digest in held:
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
    stream = StringIO()
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    frame.to_csv(stream, sep=mark, index=False, lineterminator="\n")
    save_bytes(stream.getvalue().encode("utf-8", "surrogateescape"), path)


def _to_relative(text: str, folder: Path) -> str:
    """Path from a folder; absolute where there is no way, as between drives."""
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
        TSV or CSV, as `tables.read_table` reads them, with columns ``image`` and ``mask``, or
        ``label_map``, or all of them; paths absolute or from the table's folder. Other columns
        are optional: what is missing is empty, but for person, session and contrast, which are
        guessed from the file's name.

    Returns
    -------
    DataFrame
        With `COLUMNS`, then any others, in lower case; paths absolute. The files were not
        opened.

    Raises
    ------
    InputError
        If the table cannot be read or has no row, or a row names neither a pair nor a label map.
    """
    path = Path(os.path.abspath(path))
    _check_name(path)
    rows = read_table(path)
    if not rows:
        raise InputError(f"{path}: a table without a row; expected one for each pair.")
    given = [*rows[0][1]]
    if not ({"image", "mask"} <= set(given) or "label_map" in given):
        raise InputError(
            f"{path}: no columns image and mask, and no column label_map; found "
            f"{', '.join(given)}."
        )
    frame = pd.DataFrame([row for _, row in rows], dtype=str).replace("n/a", "")
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
    for name in {"person", "session", "contrast"}.difference(given):
        frame[name] = [getattr(head, name) for head in heads]
    names = zip(frame["person"], heads, strict=True)
    frame["person"] = [person or head.person for person, head in names]
    frame["manual"] = [text.lower() in ("true", "1", "yes") for text in frame["manual"]]
    return frame


def tell_index(index: pd.DataFrame, findings: list[Finding]) -> str:
    """Say in one line what an index holds."""
    pairs = int((index["mask"] != "").sum())
    maps = int((index["label_map"] != "").sum())
    contrasts = Counter(index.loc[index["mask"] != "", "contrast"])
    kinds = ", ".join(f"{name or 'unknown'} {n}" for name, n in sorted(contrasts.items()))
    return (
        f"{pairs} pairs{f' ({kinds})' if kinds else ''} and {maps} label maps of "
        f"{index['person'].nunique()} persons; {len(findings)} left out"
    )
