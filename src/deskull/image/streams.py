"""Bytes of a file in their order, unpacked on the way, and never more than requested.

gzip, bzip2, xz and Zstandard are known by their first bytes, whatever a file is called. What the
bytes mean is `formats/`.
"""

import bz2
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.stored import check_promise

_CHUNK = 256 * 1024
_SHARE = 4 * 1024**2
_XZ_MEMORY = 512 * 1024**2  # the largest preset of xz takes 65 MiB
_AUTO = zlib.MAX_WBITS | 32  # zlib or gzip, as the first bytes say


class Unpacker(Protocol):
    """What turns packed bytes into others, as `bz2.BZ2Decompressor` does."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpack `max_length` bytes at most."""
        ...


class _ZlibUnpacker:
    """zlib of the standard library in the form of an `Unpacker`."""

    def __init__(self, bits: int) -> None:
        self._unpacker = zlib.decompressobj(bits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def unused_data(self) -> bytes:
        return self._unpacker.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        unpacked = self._unpacker.decompress(
            self._unpacker.unconsumed_tail + data, max(max_length, 0)
        )
        self.needs_input = not self._unpacker.unconsumed_tail and len(unpacked) < max_length
        return unpacked


def _make_gzip() -> Unpacker:
    try:
        from isal import igzip_lib
    except ImportError:  # slower, and good enough
        return cast(Unpacker, _ZlibUnpacker(zlib.MAX_WBITS | 16))
    unpacker: Unpacker = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return unpacker


def _make_xz() -> Unpacker:
    return cast(Unpacker, lzma.LZMADecompressor(memlimit=_XZ_MEMORY))


def _make_zstd() -> Unpacker:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    unpacker: Unpacker = zstd.ZstdDecompressor()
    return unpacker


class Packing(NamedTuple):
    """A way to pack files: its name, its first bytes, and what unpacks it."""

    name: str
    start: bytes
    make: Callable[[], Unpacker]


PACKINGS = (
    Packing("gzip", b"\x1f\x8b", _make_gzip),
    Packing("bzip2", b"BZh", lambda: cast(Unpacker, bz2.BZ2Decompressor())),
    Packing("xz", b"\xfd7zXZ\0", _make_xz),
    Packing("Zstandard", b"\x28\xb5\x2f\xfd", _make_zstd),
)


class Unpacked(io.RawIOBase):
    """The content of a packed file, from its beginning to its end.

    Several streams one after the other are one content, as for gzip.

    Parameters
    ----------
    file
        Stream of the packed bytes.
    packing
        Way in which the bytes are packed.
    """

    def __init__(self, file: BinaryIO, packing: Packing) -> None:
        self._file = file
        self._packing = packing
        self._unpacker = packing.make()
        self._waiting = b""
        self._position = 0
        self.behind = 0
        """Bytes behind the last stream that are no stream, nor zeros; known at the end."""

    def readable(self) -> bool:
        """Whether bytes can be read: yes."""
        return True

    def fileno(self) -> int:
        """Give the number of the packed file."""
        return self._file.fileno()

    def tell(self) -> int:
        """Bytes of the content that were read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go forward."""
        target = offset if whence == os.SEEK_SET else self._position + offset
        if target < self._position or whence == os.SEEK_END:
            raise io.UnsupportedOperation("a packed file goes forward only")
        while self._position < target and self._some(target - self._position):
            pass
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer only at the end."""
        parts, left = [], size if size >= 0 else 2**63
        while left and (part := self._some(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, at the end a part of it."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (part := self._some(len(view) - done)):
            view[done : done + len(part)] = part
            done += len(part)
        return done

    def _some(self, most: int) -> bytes:
        """Next bytes of the content; none at its end."""
        while True:
            if self._unpacker.eof and not self._begin_next():
                return b""
            data = self._waiting
            if not data and self._unpacker.needs_input:
                data = self._file.read(_CHUNK)
                if not data:
                    raise EOFError
            self._waiting = b""
            unpacked = self._unpacker.decompress(data, min(most, _CHUNK))
            if unpacked:
                self._position += len(unpacked)
                return bytes(unpacked)

    def _begin_next(self) -> bool:
        """Begin the stream behind the last one, if there is one."""
        rest = self._unpacker.unused_data
        rest += self._file.read(max(len(self._packing.start) - len(rest), 0))
        if not rest.startswith(self._packing.start):
            if rest.strip(b"\0"):
                size = os.fstat(self._file.fileno()).st_size
                self.behind = len(rest) + size - self._file.tell()
            return False
        self._unpacker, self._waiting = self._packing.make(), rest
        return True


def find_packing(head: bytes) -> Packing | None:
    """How a file is packed, by its first bytes; None if it is not.

    Examples
    --------
    >>> find_packing(b"BZh91AY").name
    'bzip2'
    """
    return next((one for one in PACKINGS if head.startswith(one.start)), None)


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, and unpack it if it is packed.

    Raises
    ------
    ImageFileError
        If what is read turns out to be damaged, to have no end, or to need a module that is not
        installed.
    """
    with path.open("rb") as file:
        packing = find_packing(file.peek(6)[:6])
        if packing is None:
            yield file
            return
        with _explaining(path.name, packing.name):
            yield cast(BinaryIO, Unpacked(cast(BinaryIO, file), packing))


@contextmanager
def _explaining(name: str, packing: str) -> Iterator[None]:
    """Say what is wrong with a packed file."""
    try:
        yield
    except EOFError as error:
        raise ImageFileError(
            f"{name}: truncated, its {packing} stream has no end. Copy or download it again."
        ) from error
    except ModuleNotFoundError as error:
        if packing != "Zstandard":
            raise
        raise ImageFileError(
            f"{name}: packed with {packing}, which needs a module that is not installed. "
            "Run: pip install 'deskull[zstd]'"
        ) from error
    except Exception as error:
        if not _is_damage(error):
            raise
        raise ImageFileError(
            f"{name}: damaged {packing} ({error}). Copy or download it again."
        ) from error


def _is_damage(error: Exception) -> bool:
    """Whether an error is that of an unpacker."""
    plain = type(error) is OSError and error.errno is None  # as bz2 says it
    named = type(error).__name__ in ("IsalError", "ZstdError")
    return plain or named or isinstance(error, zlib.error | lzma.LZMAError)


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
            got = stream.readinto(view[done : done + _SHARE])  # type: ignore[attr-defined]
            where = f"ends after {done} of {count} bytes"
        except EOFError:  # an unpacker does not say how much of the last chunk it had
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


def find_end(stream: BinaryIO) -> str:
    """Go to the end, where a packed file's sum is checked; say what lies behind it."""
    stream.read(_CHUNK)
    behind = getattr(stream, "behind", 0)
    return f"{behind} bytes after its compressed content were ignored" if behind else ""


def unpack(packed: bytes, encoding: str, count: int, name: str) -> bytes:
    """Unpack the first `count` bytes of a zlib, gzip or bzip2 stream.

    Raises
    ------
    ImageFileError
        If the stream is damaged, or holds fewer.
    """
    with _explaining(name, encoding):
        if encoding == "bzip2":
            unpacked = bz2.BZ2Decompressor().decompress(packed, count)
        else:
            unpacked = _inflate(packed, count)
    if len(unpacked) < count:
        raise _truncated(name, f"ends after {len(unpacked)} of {count} bytes")
    return unpacked


def _inflate(packed: bytes, count: int) -> bytes:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.decompressobj(_AUTO).decompress(packed, count)
    return bytes(isal_zlib.decompressobj(_AUTO).decompress(packed, count))


def _truncated(name: str, where: str) -> ImageFileError:
    return ImageFileError(f"{name}: truncated, {where}. Copy or download it again.")
