"""Files out of a zip, a tar or a pipe into a private folder: bounded, and nowhere else."""

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from deskull.errors import ImageFileError
from deskull.image.file_names import ARCHIVES, find_suffix
from deskull.image.lookup import STDIN
from deskull.image.streams import open_stream

MAX_BYTES = 8 * 1024**3
MAX_FILES = 100_000
_MAX_GROWTH = 100, 256 * 1024**2  # times the size of the archive, and bytes more
_CHUNK = 1024**2
_MAX_READ = 4 * _CHUNK  # of what a tar says about its files
_ZIP = (b"PK\3\4", b"PK\5\6")
_TAR_MAGIC = slice(257, 262)
Entry = tuple[str, IO[bytes] | None]  # name in an archive, and its content if it is a file


def is_archive(head: bytes, name: str) -> bool:
    r"""Whether a file is a zip or tar, by its first unpacked bytes, or a tar by its name.

    Examples
    --------
    >>> is_archive(b"PK\3\4", "scans"), is_archive(b"DICM", "scan.dcm")
    (True, False)
    """
    is_tar = head[_TAR_MAGIC] == b"ustar" or find_suffix(name) in ARCHIVES[1:]
    return is_tar or head.startswith(_ZIP)


def unpack_archive(path: Path, folder: Path) -> list[str]:
    """Extract every file of a zip or tar into `folder`; the tree and the names are kept alike.

    Folders get a number for a name, and files one of plain letters, so that none can escape.

    Returns
    -------
    list
        Names of the files as the archive has them.

    Raises
    ------
    ImageFileError
        If there are more than `MAX_FILES`, or more than `MAX_BYTES` in all.
    """
    names: list[str] = []
    places: dict[str, Path] = {}
    left = _find_limit(path)
    entries = _read_zip(path) if _is_zip(path) else _read_tar(path)
    for count, (name, packed) in enumerate(entries):
        if count == MAX_FILES:
            raise ImageFileError(
                f"{path.name}: more than {MAX_FILES} files; expected at most so many. Unpack it, "
                "and give the folder of one scan."
            )
        if packed is None:
            continue
        names.append(name)
        parent, _, last = name.rpartition("/")
        place = places.setdefault(parent, folder / str(len(places)))
        place.mkdir(parents=True, exist_ok=True)
        target = place / (re.sub(r"[^A-Za-z0-9._-]", "_", last)[-100:] or "_")
        target = target.with_name(f"{count}_{target.name}") if target.exists() else target
        left -= _copy(packed, target, left, path.name)
    return names


def unpack_file(path: Path, target: Path) -> None:
    """Unpack a file packed by itself.

    Raises
    ------
    ImageFileError
        If it is damaged, or larger than a head can be.
    """
    with open_stream(path) as stream:
        _copy(stream, target, _find_limit(path), path.name)


def _find_limit(path: Path) -> int:
    """Most bytes that a packed file may grow to."""
    times, more = _MAX_GROWTH
    return min(MAX_BYTES, times * path.stat().st_size + more)


def _is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does; one may also be the last file of a tar."""
    with path.open("rb") as file:
        return file.read(4).startswith(_ZIP)


def _read_zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                yield entry.filename, None
                continue
            with archive.open(entry) as packed:
                yield entry.filename, packed


def _read_tar(path: Path) -> Iterator[Entry]:
    with open_stream(path) as stream:
        guarded = cast(IO[bytes], _Guarded(stream))
        with tarfile.open(fileobj=guarded, mode="r:") as archive:
            held: Any = archive
            for entry in archive:
                held.members.clear()  # or all of them stay in memory
                yield entry.name, archive.extractfile(entry) if entry.isreg() else None


class _Guarded:
    """A stream that refuses reads that only a tar with damaged headers causes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"{size} bytes in the name of a file")
        return self._stream.read(size)


def _copy(source: BinaryIO | IO[bytes], target: Path, left: int, name: str) -> int:
    """Copy what may have `left` bytes at most; how many there were."""
    total = 0
    with target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            total += len(chunk)
            if total > left:
                raise ImageFileError(
                    f"{name}: more than {left / 1024**2:.0f} MiB in it; expected one scan. Give "
                    "the files of one scan."
                )
            out.write(chunk)
    return total


# --- pipes


def save_pipe(path: Path, target: Path) -> None:
    """Copy what comes down a pipe into a file.

    Raises
    ------
    ImageFileError
        If it is no pipe but a terminal or a device, if nothing comes, or more than `MAX_BYTES`.
    """
    given = str(path) == STDIN
    with open(0 if given else path, "rb", closefd=not given) as source:
        mode = os.fstat(source.fileno()).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)):
            what = "a terminal" if source.isatty() else "a device"
            raise ImageFileError(
                f"{path}: {what}, not a file; expected an image from a file or a pipe."
            )
        if not _copy(source, target, MAX_BYTES, str(path)):
            raise ImageFileError(f"{path}: the pipe is empty; expected an image.")
