"""Whether a file is still the one that it was: its size, time of change and SHA-256."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deskull.errors import ImageFileError
from deskull.image.formats import find_voxel_files
from deskull.image.formats.dicom import find_slices
from deskull.image.writing import find_files

_CHUNK = 1024**2


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """By what a file is known again.

    Of DICOM all slices count, whichever file stands for them, and nothing else in their folder. Of
    an image of several files the sizes and times are added up, so that one which was put back
    as it was earlier counts as changed too.

    Parameters
    ----------
    bytes
        Size in bytes; null if unknown.
    modified
        Time of the last change in ns since 1970; null if unknown.
    sha256
        SHA-256 of the content; empty if unknown.
    """

    bytes: int | None = None
    modified: int | None = None
    sha256: str = ""


def make_fingerprint(path: Path) -> Fingerprint:
    """Take the fingerprint of a file, of an image of several files, or of a folder.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    try:
        files = _list_files(path)
        size, modified = _measure(files)
        return Fingerprint(bytes=size, modified=modified, sha256=hash_files(files))
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}).") from error


def is_unchanged(path: Path, fingerprint: Fingerprint) -> bool:
    """Whether a file is as it was: by size and time of change, or else by its hash."""
    try:
        files = _list_files(path)
        size, modified = _measure(files)
        if size != fingerprint.bytes:
            return False
        return modified == fingerprint.modified or hash_files(files) == fingerprint.sha256
    except (OSError, ImageFileError):
        return False


def hash_files(files: Iterable[Path]) -> str:
    """SHA-256 of the content of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _list_files(path: Path) -> list[Path]:
    """Files of an image; of a folder without DICOM all but hidden ones, such as half-written."""
    if slices := find_slices(path):
        return slices
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return sorted(file for file in files if not file.name.startswith("."))
    first, *others = [*find_files(path), *find_voxel_files(path)]
    return [first, *(file for file in others if file.exists())]


def _measure(files: Sequence[Path]) -> tuple[int, int]:
    """Size in bytes and time of change in ns, of all files together."""
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), sum(stat.st_mtime_ns for stat in stats)
