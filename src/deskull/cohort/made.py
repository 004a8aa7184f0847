"""Images among the inputs that are not scans: outputs of deskull, and what others made."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deskull.errors import DeskullError
from deskull.image.bids_names import is_made, parse_name
from deskull.image.file_names import MADE_ENDINGS, find_base, find_stem, says_label
from deskull.image.fingerprint import hash_files, is_unchanged
from deskull.image.formats import open_image
from deskull.image.header import peek
from deskull.image.stored import to_stored
from deskull.record import OutputFile, load_record

MIN_EQUAL = 0.6
"""Share of voxels equal to their neighbour from which on an image is a mask or a label map: these
have 0.83 and more, heads 0.25 and less (measured on 30 of each)."""


class WrittenFiles:
    """Files that deskull wrote, according to the records in `paths`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: dict[str, OutputFile | None] = {}
        self._hashes: dict[int, set[str]] = {}  # size in bytes -> SHA-256
        for path in paths:
            record = load_record(path)
            if record is None:
                continue
            self._files[os.path.realpath(path)] = None
            for output in record.outputs.values():
                self._files[os.path.realpath(path.parent / output.path)] = output
                if output.bytes is not None:
                    self._hashes.setdefault(output.bytes, set()).add(output.sha256)

    def contains(self, path: Path) -> bool:
        """Whether a file is a record, an output in its place, or an output that was moved."""
        if not self._files:
            return False
        place = os.path.realpath(path)
        if place in self._files:
            output = self._files[place]
            if output is None or is_unchanged(path, output):
                return True
        try:
            hashes = self._hashes.get(path.stat().st_size)
            return hashes is not None and hash_files([path]) in hashes
        except OSError:
            return False


class Siblings:
    """The images among the inputs by folder and stem, to find what one was made from."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._stems: dict[tuple[Path, str], list[Path]] = {}
        for path in images:
            self._stems.setdefault((path.parent, find_stem(path).lower()), []).append(path)
            if find_base(path, MADE_ENDINGS) is None:
                self._stems.setdefault((path.parent, ""), []).append(path)

    def explain_made(self, path: Path) -> str:
        """Explain why an image was made from a scan; empty if it may be a scan itself."""
        name = parse_name(path)
        if name is not None and is_made(name):
            return "made from a scan, by its BIDS name"
        base = find_base(path, MADE_ENDINGS)
        if base is None:
            return ""
        for other in self._stems.get((path.parent, base.lower()), ()):
            if _may_share_grid(path, other):
                return f"made from {other.name}, by its name and grid"
        if says_label(path) and _has_equal_areas(path):
            return "a mask or label map, by its name and voxels"
        return ""


def _may_share_grid(path: Path, other: Path) -> bool:
    """Whether two images lie on one grid, or a header cannot be read ahead."""
    one, two = peek(path), peek(other)
    if one is None or two is None:
        return True
    return one.shape[:3] == two.shape[:3] and np.allclose(one.affine, two.affine, atol=1e-2)


def _has_equal_areas(path: Path) -> bool:
    """Whether most neighbouring voxels of an image, without its background, are equal."""
    try:
        raw = to_stored(open_image(path)).raw
    except DeskullError:  # its reader reports later what is wrong
        return False
    one, two = raw[1:], raw[:-1]
    inside = (one != raw.flat[0]) | (two != raw.flat[0])
    equal = np.count_nonzero((one == two) & inside)
    return bool(equal >= MIN_EQUAL * np.count_nonzero(inside))
