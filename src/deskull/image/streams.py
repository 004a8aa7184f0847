"""Bytes of a file in their order, unpacked on the way, and never more than were asked for.

What the bytes mean is `formats.py` and the readers that it calls.
"""

import bz2
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.stored import check_promise

_CHUNK = 4 * 1024**2
_GZIP = b"\x1f\x8b"


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, through gzip if its content is gzip whatever its name.

    Raises
    ------
    ImageFileError
        If what is read turns out to be damaged gzip, or to have no end.
    """
    with path.open("rb") as file:
        if file.peek(2)[:2] != _GZIP:
            yield file
            return
        from isal import igzip, igzip_lib

        damage: Any = (igzip_lib.IsalError, igzip.BadGzipFile)
        try:
            with igzip.IGzipFile(fileobj=file, mode="rb") as unzipped:
                yield cast(BinaryIO, unzipped)
        except EOFError as error:
            raise ImageFileError(
                f"{path.name}: truncated, its gzip stream has no end. Copy or download it again."
            ) from error
        except damage as error:
            raise ImageFileError(
                f"{path.name}: damaged gzip ({error}). Copy or download it again."
            ) from error


def read_exactly(stream: BinaryIO, count: int, name: str) -> NDArray[np.uint8]:
    """Read `count` bytes.

    Raises
    ------
    ImageFileError
        If there are fewer.
    """
    buffer = np.empty(count, np.uint8)
    view = buffer.data
    done = 0
    while done < count:
        try:
            got = stream.readinto(view[done : done + _CHUNK])  # type: ignore[attr-defined]
            where = f"ends after {done} of {count} bytes"
        except EOFError:  # gzip does not say how much of the last chunk it had
            got, where = 0, f"not all of its {count} bytes are there"
        if not got:
            raise _truncated(name, where)
        done += got
    return buffer


def read_voxels(
    stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
) -> NDArray[Any]:
    """Read voxels whose first axis runs fastest.

    Raises
    ------
    ImageFileError
        If the file is too small to hold them, or ends before the last.
    """
    check_promise(shape, dtype, name, held=os.fstat(stream.fileno()).st_size)
    raw = read_exactly(stream, int(np.prod(shape, dtype=object)) * dtype.itemsize, name)
    return raw.view(dtype).reshape(shape, order="F")


def unpack(packed: bytes, encoding: str, count: int, name: str) -> bytes:
    """Unpack the first `count` bytes of a zlib, gzip or bzip2 stream.

    Raises
    ------
    ImageFileError
        If the stream is damaged, or holds fewer.
    """
    from isal import igzip_lib, isal_zlib

    damage: Any = igzip_lib.IsalError
    either = isal_zlib.MAX_WBITS | 32  # zlib or gzip, as its first bytes say
    unpacker = bz2.BZ2Decompressor() if encoding == "bzip2" else isal_zlib.decompressobj(either)
    try:
        unpacked = bytes(unpacker.decompress(packed, count))
    except (OSError, EOFError, damage) as error:
        raise ImageFileError(
            f"{name}: damaged {encoding} ({error}). Copy or download it again."
        ) from error
    if len(unpacked) < count:
        raise _truncated(name, f"ends after {len(unpacked)} of {count} bytes")
    return unpacked


def _truncated(name: str, where: str) -> ImageFileError:
    return ImageFileError(f"{name}: truncated, {where}. Copy or download it again.")
