"""Pairs of prediction and reference, by file names in folders or by a table.

No image is opened here. Files without a partner are reported.
"""

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deskull.errors import InputError
from deskull.image.bids_names import name_scan_of
from deskull.image.file_names import rank_mask, says_made, says_reference
from deskull.image.lookup import list_images
from deskull.text_files import read_table


@dataclass(frozen=True)
class Comparison:
    """A prediction, and the reference that it is compared with.

    Parameters
    ----------
    scan
        Name that both files share.
    method
        Name of the method that made the prediction.
    prediction, reference
        Paths of both masks.
    image
        Path of the scan, for pictures; None if it is not known.
    """

    scan: str
    method: str
    prediction: Path
    reference: Path
    image: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """Pairs to be compared, and files without a partner.

    Parameters
    ----------
    pairs
        Pairs, sorted by scan, and those of a scan in the order of the methods.
    unpaired
        A line of text for each file without a partner, and each that another one stands for.
    """

    pairs: list[Comparison]
    unpaired: list[str] = field(default_factory=list)


@dataclass(frozen=True, order=True)
class _Key:
    """What the file names of one scan share: the scan, and its contrast if named."""

    scan: str
    contrast: str = ""

    def __str__(self) -> str:
        return "_".join(part for part in (self.scan, self.contrast) if part)


_Found = dict[str, dict[str, Path]]  # scan -> contrast -> file


def pair_folders(
    predictions: Mapping[str, Path], references: Path, images: Path | None = None
) -> Pairing:
    """Pair the masks of folders by their names.

    Names match if they differ only in the ending of a mask (``_mask``, ``_brainmask``,
    ``_brain_mask``, ``_reference`` and the like), or in BIDS if they have the same entities except
    ``desc`` and ``label``; there one side may omit the contrast, which ``desc-brainT2w`` names
    too. If a name occurs in several folders, the path below the folder must match as well. If
    some files of a folder are named as masks, the others are ignored.

    Parameters
    ----------
    predictions
        Path of the masks of each method, by the method's name: a folder or a file.
    references
        Path of the references: a folder or a file. One prediction file and one reference file are
        paired whatever their names are.
    images
        Path of the scans, for pictures: a folder or a file.

    Raises
    ------
    InputError
        If a path is missing, or no two names match.
    """
    for path in (*predictions.values(), references, *([images] if images else [])):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder.")
    scans, _ = _index(_list_scans(images), images, False) if images else ({}, [])
    if references.is_file() and all(path.is_file() for path in predictions.values()):
        key = _make_key(references)
        image = images if images is None or images.is_file() else _find_image(key, scans)
        pairs = [
            Comparison(str(key), m, path, references, image) for m, path in predictions.items()
        ]
        return Pairing(pairs)
    sides = [*predictions.values(), references]
    masks = [_list_masks(side) for side in sides]
    deep = any(_has_repeated_names(files) for files in masks)
    indexed = [_index(files, side, deep) for files, side in zip(masks, sides, strict=True)]
    *found, to_match = [index for index, _ in indexed]
    scans, _ = _index(_list_scans(images), images, deep) if images else ({}, [])
    pairs, unpaired = [], [line for _, lines in indexed for line in lines]
    for method, files in zip(predictions, found, strict=True):
        matched, unmatched = _match(files, to_match)
        pairs += [
            Comparison(str(key), method, *paths, _find_image(key, scans))
            for key, paths in matched.items()
        ]
        unpaired += [f"{path}: no reference for this prediction of {method}" for path in unmatched]
        used = {reference for _, reference in matched.values()}
        missing = [path for _, path in _list_files(to_match) if path not in used]
        unpaired += [f"{path}: no prediction of {method} for this reference" for path in missing]
    if not pairs:
        raise InputError(_explain_none(dict(zip(sides, [*found, to_match], strict=True))))
    order = list(predictions)
    return Pairing(sorted(pairs, key=lambda p: (p.scan, order.index(p.method))), unpaired)


def read_pairs(table: Path) -> Pairing:
    """Read pairs from a table.

    Parameters
    ----------
    table
        Path of a CSV or TSV with the columns ``prediction`` and ``reference``, and optionally
        ``method``, ``scan`` and ``image``. Relative paths start at the folder of the table.

    Raises
    ------
    InputError
        If the table cannot be read, or a column or cell is missing.
    """
    rows = read_table(table, ("prediction", "reference"), ("method", "scan", "image"))
    scans = _name_scans(table, rows)
    pairs = []
    for (number, row), scan in zip(rows, scans, strict=True):
        places = {
            name: Path(os.path.abspath(table.parent / row[name]))
            for name in ("prediction", "reference", "image")
            if row.get(name)
        }
        if len(places.keys() - {"image"}) < 2:
            raise InputError(
                f"{table.name}, line {number}: a path is missing; expected one in each of the "
                "columns prediction and reference."
            )
        pairs.append(Comparison(scan, row.get("method") or "prediction", **places))
    if not pairs:
        raise InputError(f"{table.name}: no pair below its first line; expected one a line.")
    return Pairing(pairs)


def _name_scans(table: Path, rows: list[tuple[int, dict[str, str]]]) -> list[str]:
    """Name the scan of each row by the table, by the name of the reference, or by its path."""
    cells = [row for _, row in rows]
    short = [row.get("scan") or str(_make_key(Path(row["reference"]))) for row in cells]
    long = [row.get("scan") or row["reference"] for row in cells]
    methods = [row.get("method", "") for row in cells]
    unique = len(set(zip(short, methods, strict=True))) == len(short) and all(short)
    names = short if unique else long
    seen: set[tuple[str, str]] = set()
    for (number, _), key in zip(rows, zip(names, methods, strict=True), strict=True):
        if key in seen:
            raise InputError(
                f"{table.name}, line {number}: scan {key[0]!r} is there already; expected one "
                "line for each scan and method. Tell them apart in the columns scan and method."
            )
        seen.add(key)
    return names


def _make_key(path: Path, below: Path | None = None) -> _Key:
    """Make the key of a file from its name, and from its folder below another one if given."""
    scan, contrast = name_scan_of(path)
    if below is not None:
        scan = "/".join(part for part in (*path.parent.relative_to(below).parts, scan) if part)
    return _Key(scan, contrast)


def _list_masks(place: Path) -> list[Path]:
    """List masks by their names; if there are none, all images that are not outputs."""
    if place.is_file():
        return [Path(os.path.abspath(place))]
    files = list_images(place)
    named = [file for file in files if rank_mask(file) is not None]
    return named or [file for file in files if not says_made(file)]


def _list_scans(place: Path) -> list[Path]:
    """List images that are neither masks nor outputs of a tool."""
    if place.is_file():
        return [Path(os.path.abspath(place))]
    files = list_images(place)
    return [file for file in files if rank_mask(file) is None and not says_made(file)]


def _has_repeated_names(files: Iterable[Path]) -> bool:
    """Whether one name occurs in several folders."""
    folders: dict[_Key, set[Path]] = {}
    for path in files:
        folders.setdefault(_make_key(path), set()).add(path.parent)
    return any(len(found) > 1 for found in folders.values())


def _index(files: Iterable[Path], place: Path, deep: bool) -> tuple[_Found, list[str]]:
    """Sort files by their keys; of several masks of one scan, the most trusted is taken.

    Returns
    -------
    tuple
        Files by their keys, and a line of text for each that is passed over and is no less
        trusted.
    """
    below = Path(os.path.abspath(place if place.is_dir() else place.parent)) if deep else None
    found: _Found = {}
    lines = []
    for path in sorted(files, key=_rank):
        key = _make_key(path, below)
        taken = found.setdefault(key.scan, {}).setdefault(key.contrast, path)
        if taken != path and _rank(taken) == _rank(path):
            lines.append(f"{path}: not compared; by its name of the same scan as {taken.name}")
    return found, lines


def _rank(path: Path) -> float:
    """Rank a mask among several of one scan; 0 is the most trusted."""
    rank = rank_mask(path)
    return math.inf if rank is None else rank


def _list_files(found: _Found) -> Iterator[tuple[_Key, Path]]:
    for scan, files in found.items():
        for contrast, path in files.items():
            yield _Key(scan, contrast), path


def find_swapped(pairs: Sequence[Comparison]) -> str | None:
    """Find out whether predictions and references look swapped by the names of all pairs.

    Parameters
    ----------
    pairs
        Pairs of a `Pairing`.

    Returns
    -------
    str or None
        A message for the user; None if they do not look swapped.
    """
    if not pairs:
        return None
    swapped = [
        says_reference(pair.prediction) and not says_reference(pair.reference) for pair in pairs
    ]
    if not all(swapped):
        return None
    first = pairs[0]
    return (
        f"predictions are named as references ({first.prediction}) and references are not "
        f"({first.reference}): are the two swapped? Expected PREDICTIONS first. Dice is the same "
        "either way; volume differences, sensitivity and specificity are not."
    )


def _match(
    predictions: _Found, references: _Found
) -> tuple[dict[_Key, tuple[Path, Path]], list[Path]]:
    """Match files by key, and list predictions left over; one side may omit the contrast.

    Files of the same contrast are partners first, so that what has no contrast is matched with
    what is left.
    """
    matched, unmatched = {}, []
    both = dict(_list_files(predictions)).keys() & dict(_list_files(references)).keys()
    mine, theirs = _leave_out(both, predictions), _leave_out(both, references)
    for key, path in _list_files(predictions):
        partner = key if key in both else _find_partner(key, theirs)
        if partner is not None and (key in both or _find_partner(partner, mine) == key):
            reference = references[partner.scan][partner.contrast]
            matched[max(key, partner)] = (path, reference)
        else:
            unmatched.append(path)
    return matched, unmatched


def _leave_out(keys: Collection[_Key], found: _Found) -> _Found:
    left: _Found = {}
    for key, path in _list_files(found):
        if key not in keys:
            left.setdefault(key.scan, {})[key.contrast] = path
    return left


def _find_partner(key: _Key, others: _Found) -> _Key | None:
    """Find the same key, or the only one of the same scan if a contrast is omitted."""
    contrasts = others.get(key.scan, {})
    if key.contrast in contrasts:
        return key
    possible = [contrast for contrast in contrasts if not (contrast and key.contrast)]
    return _Key(key.scan, possible[0]) if len(possible) == 1 else None


def _find_image(key: _Key, scans: _Found) -> Path | None:
    partner = _find_partner(key, scans)
    return None if partner is None else scans[partner.scan][partner.contrast]


def _explain_none(found: Mapping[Path, _Found]) -> str:
    """List the names that were found, if no two of them match."""
    places = []
    for place, files in found.items():
        keys = [str(key) for key, _ in _list_files(files)]
        places.append(f"{place} has {', '.join(keys[:3]) or 'no mask'}" + " ..." * (len(keys) > 3))
    return (
        f"no prediction and reference with the same name: {'; '.join(places)}. Names may differ "
        "in endings such as _mask or _reference; for others give a table with the columns "
        "prediction and reference."
    )
