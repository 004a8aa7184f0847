"""Voxels that a text describes, as in NRRD and MetaImage.

They come behind the text or lie in files beside it, plain, packed or as text themselves.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.stored import check_promise
from deskull.image.streams import read_exactly, unpack

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
UNPLACED = "no orientation in its header; axes assumed to be left, posterior, superior (LPS)"
MAX_FILES = 10_000


@dataclass(frozen=True)
class Description:
    """What the text says about the voxels.

    Parameters
    ----------
    name
        Name of the file in messages.
    shape, dtype
        Shape and type of the voxels; the first axis runs fastest.
    encoding
        ``"raw"``, ``"text"``, ``"gzip"`` or ``"bzip2"``.
    files
        Files that hold the voxels one after the other, in equal shares; none if they follow the
        text.
    lines, skip
        Lines of a file, and then bytes of its content, before the voxels; a skip of -1 says
        that they are what a raw file ends with.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: str
    files: Sequence[Path]
    lines: int = 0
    skip: int = 0


def read_voxels(file: BinaryIO, text: Description) -> NDArray[Any]:
    """Read voxels from the end of the text on, or from the files that it names."""
    missing = [path for path in text.files if not path.is_file()]
    if missing:
        raise ImageFileError(
            f"{text.name}: its voxels are missing; expected them in {missing[0]}, beside it."
        )
    sizes = [path.stat().st_size for path in text.files] or [os.fstat(file.fileno()).st_size]
    check_promise(text.shape, text.dtype, text.name, held=sum(sizes))
    count = int(np.prod(text.shape, dtype=object)) * text.dtype.itemsize // len(sizes)
    parts = []
    for path in text.files:
        with path.open("rb") as data:
            parts.append(_read_share(data, text, count))
    raw = np.concatenate(parts) if parts else _read_share(file, text, count)
    return raw.view(text.dtype).reshape(text.shape, order="F")


def _read_share(file: BinaryIO, text: Description, count: int) -> NDArray[np.uint8]:
    """Bytes of the voxels that one file holds."""
    for _ in range(text.lines):
        if not file.readline():
            break
    if text.encoding == "raw":
        if text.skip < 0:
            file.seek(-count, os.SEEK_END)
        else:
            file.seek(text.skip, os.SEEK_CUR)
        return read_exactly(file, count, text.name)
    packed = file.read()
    if text.encoding == "text":
        values = np.array(packed.split()[: count // text.dtype.itemsize], dtype=text.dtype)
        return values.view(np.uint8)
    skip = max(text.skip, 0)
    return np.frombuffer(unpack(packed, text.encoding, count + skip, text.name), np.uint8)[skip:]


def find_files(entry: str, path: Path) -> list[Path]:
    """Files of voxels: one name, or a pattern such as ``slice%03d.raw 1 20 1``."""
    pattern, *numbers = entry.rsplit(maxsplit=3)
    if "%" not in pattern or len(numbers) != 3:
        return [path.parent / entry]
    first, last, step = (int(number) for number in numbers)
    count = (last - first) // step + 1
    if not 0 < count <= MAX_FILES:
        raise ImageFileError(f"{path.name}: its voxels in {count} files; expected 1 or more.")
    return [path.parent / (pattern % number) for number in range(first, last + 1, step)]


def make_affine(columns: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put an affine together from the directions of the axes and the first voxel's place."""
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = origin
    return affine
