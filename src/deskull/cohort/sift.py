"""What an image among the inputs is: a scan, written by deskull, or made from a scan by others.

What deskull wrote is told by its records: by path, or by content where it was moved. What
others made is told by its name together with the grid of the scan it was made from, or with
voxels that are those of a mask or a label map.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deskull.errors import DeskullError
from deskull.image.fingerprint import hash_files, is_unchanged
from deskull.image.formats import dicom_header, open_image
from deskull.image.header import peek
from deskull.image.names import (
    MADE_WORDS,
    TEXTS,
    find_base,
    find_stem,
    find_suffix,
    is_made,
    parse_name,
    says_label,
)
from deskull.image.stored import to_stored
from deskull.record import OutputFile, load_record

DICOM = (".dcm", ".ima")
PLAIN = 0.6
"""Share of voxels that are as their neighbour: masks and label maps have 0.83 and more, heads 0.25
and less (measured on 30 of each)."""


def is_dicom(path: Path) -> bool:
    """Whether a file is an image of a DICOM series, by its name or its first bytes."""
    suffix = find_suffix(path)
    if suffix in DICOM:
        return True
    if suffix or path.name == "DICOMDIR" or path.suffix.lower() in TEXTS:
        return False  # a DICOMDIR is the index of a disc
    try:
        with path.open("rb") as file:
            return dicom_header.is_dicom(file.read(132))
    except OSError:
        return False


class Written:
    """What deskull wrote, as records tell.

    Parameters
    ----------
    records
        Files that may be records.
    """

    def __init__(self, records: Iterable[Path]) -> None:
        self._files: dict[str, OutputFile | None] = {}
        self._sums: dict[int, set[str]] = {}
        for path in records:
            record = load_record(path)
            if record is None:
                continue
            self._files[os.path.realpath(path)] = None
            for output in record.outputs.values():
                self._files[os.path.realpath(path.parent / output.path)] = output
                if output.bytes is not None:
                    self._sums.setdefault(output.bytes, set()).add(output.sha256)

    def holds(self, path: Path) -> bool:
        """Whether a file is a record, an output in its place, or an output that was moved."""
        if not self._files:
            return False
        place = os.path.realpath(path)
        if place in self._files:
            output = self._files[place]
            if output is None or is_unchanged(path, output):
                return True
        try:
            sums = self._sums.get(path.stat().st_size)
            return sums is not None and hash_files([path]) in sums
        except OSError:
            return False


class Siblings:
    """Images by their folder and stem, among which one may be that which another was made from.

    Parameters
    ----------
    images
        All that lie among the inputs.
    """

    def __init__(self, images: Iterable[Path]) -> None:
        self._stems: dict[tuple[Path, str], list[Path]] = {}
        for path in images:
            self._stems.setdefault((path.parent, find_stem(path).lower()), []).append(path)
            if find_base(path, MADE_WORDS) is None:
                self._stems.setdefault((path.parent, ""), []).append(path)

    def explain_made(self, path: Path) -> str:
        """Say from what an image was made; empty of one that is a scan, as far as can be told."""
        name = parse_name(path)
        if name is not None and is_made(name):
            return "made from a scan, by its BIDS name"
        base = find_base(path, MADE_WORDS)
        if base is None:
            return ""
        for other in self._stems.get((path.parent, base.lower()), ()):
            if _may_share_grid(path, other):
                return f"made from {other.name}, by its name and grid"
        if says_label(path) and _is_plain(path):
            return "a mask or label map, by its name and voxels"
        return ""


def _may_share_grid(path: Path, other: Path) -> bool:
    """Whether two images lie on one grid, or the header of one does not tell."""
    one, two = peek(path), peek(other)
    if one is None or two is None:
        return True
    same = one.shape[:3] == two.shape[:3]
    return same and bool(np.allclose(one.affine, two.affine, atol=1e-2))


def _is_plain(path: Path) -> bool:
    """Whether an image consists of areas in which all voxels are the same, the outside apart."""
    try:
        raw = to_stored(open_image(path)).raw
    except DeskullError:  # its reader says later what is wrong
        return False
    one, two = raw[1:], raw[:-1]
    inside = (one != raw.flat[0]) | (two != raw.flat[0])
    same = np.count_nonzero((one == two) & inside)
    return bool(same >= PLAIN * np.count_nonzero(inside))
