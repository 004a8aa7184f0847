"""Readers for NRRD and MetaImage: lines of text, and the voxels they describe.

The voxels come behind the text or lie in files beside it. Each reader turns its file into a
NIfTI-1 image made from the voxels and the affine in RAS+ mm. Called by `formats.py`, which
also wraps what is raised here by a header that makes no sense.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.stored import StoredArray, check_promise, make_nifti
from deskull.image.streams import read_exactly, unpack

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_NRRD_SPACES = {
    "right-anterior-superior": np.eye(3),
    "ras": np.eye(3),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0]),
}
"""To RAS+; a space that is not named here is taken as LPS, as ITK does."""

_NRRD_COLOURS = ("complex", "color", "quaternion", "vector", "matrix", "normal", "gradient")
_NRRD_TYPES = {"float": "f4", "double": "f8"} | {
    sign + name: kind + str(width)
    for width, word in ((1, "char"), (2, "short"), (4, "int"), (8, "long long"), (8, "longlong"))
    for name in (word, f"{word} int", f"int{8 * width}", f"int{8 * width}_t")
    for sign, kind in (("", "i"), ("signed ", "i"), ("unsigned ", "u"), ("u", "u"))
}
_NRRD_ENCODINGS = {
    **dict.fromkeys(("ascii", "text", "txt"), "text"),
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    "raw": "raw",
}
_META_TYPES = {
    **{"MET_CHAR": "i1", "MET_SHORT": "i2", "MET_INT": "i4", "MET_LONG": "i4"},
    **{"MET_UCHAR": "u1", "MET_USHORT": "u2", "MET_UINT": "u4", "MET_ULONG": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_META_LINES = 1000
_LONGEST_LINE = 64 * 1024
_MOST_FILES = 10_000


@dataclass(frozen=True)
class _Description:
    """What the text says about the voxels.

    Parameters
    ----------
    name
        Of the file, for messages.
    shape, dtype
        Of the voxels, the first axis runs fastest.
    encoding
        ``"raw"``, ``"text"``, ``"gzip"`` or ``"bzip2"``.
    files
        That hold them one after the other, in equal shares; none if they follow the text.
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


def _read_voxels(file: BinaryIO, text: _Description) -> NDArray[Any]:
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


def _read_share(file: BinaryIO, text: _Description, count: int) -> NDArray[np.uint8]:
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


def _find_files(words: str, path: Path) -> list[Path]:
    """Files of voxels: one name, or a pattern such as ``slice%03d.raw 1 20 1``."""
    pattern, *numbers = words.rsplit(maxsplit=3)
    if "%" not in pattern or len(numbers) != 3:
        return [path.parent / words]
    first, last, step = (int(number) for number in numbers)
    count = (last - first) // step + 1
    if not 0 < count <= _MOST_FILES:
        raise ImageFileError(f"{path.name}: its voxels in {count} files; expected 1 or more.")
    return [path.parent / (pattern % number) for number in range(first, last + 1, step)]


def find_voxel_files(path: Path) -> Sequence[Path]:
    """Files that the header of an NRRD or MetaImage names for its voxels; none of other files."""
    suffix = path.suffix.lower()
    if suffix not in (".nrrd", ".nhdr", ".mha", ".mhd"):
        return []
    try:
        with path.open("rb") as file:
            if suffix in (".mha", ".mhd"):
                return _describe_metaimage(*_read_meta_header(file, path), path).files
            import nrrd

            return _describe_nrrd(nrrd.read_header(file), path).files
    except Exception:  # what is wrong with it, its reader says
        return []


def read_nrrd(path: Path) -> SpatialImage:
    """Read NRRD, data attached or beside it; the axes of space come first, frames last."""
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(file)
        kinds = [str(kind).lower() for kind in header.get("kinds", ())]
        colours = [kind for kind in kinds if any(word in kind for word in _NRRD_COLOURS)]
        if colours:
            raise ImageFileError(
                f"{path.name}: an axis of kind {colours[0]}; expected one real number a voxel. "
                "Convert it to a scalar image first."
            )
        raw = _read_voxels(file, _describe_nrrd(header, path))
    axes, affine = _nrrd_affine(header, raw.ndim, path.name)
    frames = [axis for axis in range(raw.ndim) if axis not in axes]
    return make_nifti(StoredArray(raw.transpose(*axes, *frames)), affine, path.name)


def _describe_nrrd(header: dict[str, Any], path: Path) -> _Description:
    beside = header.get("data file", header.get("datafile"))
    order = {"little": "<", "big": ">"}[str(header.get("endian", "little"))]
    return _Description(
        path.name,
        tuple(int(n) for n in header["sizes"]),
        np.dtype(order + _NRRD_TYPES[str(header["type"])]),
        _NRRD_ENCODINGS[str(header["encoding"]).lower()],
        [] if beside is None else _find_files(str(beside), path),
        int(header.get("line skip", header.get("lineskip", 0))),
        int(header.get("byte skip", header.get("byteskip", 0))),
    )


def _nrrd_affine(
    header: dict[str, Any], ndim: int, name: str
) -> tuple[list[int], NDArray[np.float64]]:
    """Axes of space, and the affine over them."""
    directions = header.get("space directions")
    if directions is None:
        axes = list(range(min(ndim, 3)))
        spacings = np.nan_to_num(np.asarray(header.get("spacings", np.ones(ndim)), float), nan=1.0)
        columns = np.diag(spacings[axes])
    else:
        rows = np.array([[np.nan] * 3 if row is None else row[:3] for row in directions], float)
        axes = [axis for axis in range(ndim) if np.isfinite(rows[axis]).all() and rows[axis].any()]
        columns = rows[axes].T
    if len(axes) != 3 or columns.shape != (3, 3):
        raise ImageFileError(f"{name}: {len(axes)} axes in space {header['sizes']}; expected 3.")
    space = str(header.get("space", "")).lower().removesuffix("-time").removesuffix("t")
    to_ras = _NRRD_SPACES.get(space, _LPS_TO_RAS)
    origin = np.nan_to_num(np.asarray(header.get("space origin", np.zeros(3)), float)[:3])
    return axes, _make_affine(to_ras @ columns, to_ras @ origin)


def read_metaimage(path: Path) -> SpatialImage:
    """Read MetaImage, voxels attached or beside it, from LPS to RAS."""
    with path.open("rb") as file:
        header, names = _read_meta_header(file, path)
        raw = _read_voxels(file, _describe_metaimage(header, names, path))
    return make_nifti(StoredArray(raw), _metaimage_affine(header, raw.ndim), path.name)


def _read_meta_header(file: BinaryIO, path: Path) -> tuple[dict[str, str], list[str]]:
    """Fields up to the one that says where the voxels are, and the names in a list of files."""
    header: dict[str, str] = {}
    for _ in range(_META_LINES):
        line = file.readline(_LONGEST_LINE).decode("utf-8", "surrogateescape")
        key, equals, value = (word.strip() for word in line.partition("="))
        if not equals:
            break
        header[key] = value
        if key == "ElementDataFile":
            is_list = value.upper().startswith("LIST")
            rest = file.read(_LONGEST_LINE * 16) if is_list else b""
            return header, [
                os.fsdecode(name.strip()) for name in rest.splitlines() if name.strip()
            ]
    raise ImageFileError(
        f"{path.name}: no MetaImage, its text has no ElementDataFile; expected lines such as "
        "NDims = 3."
    )


def _describe_metaimage(header: dict[str, str], names: list[str], path: Path) -> _Description:
    kind, channels = header["ElementType"], int(header.get("ElementNumberOfChannels", "1"))
    if kind not in _META_TYPES or channels != 1:
        raise ImageFileError(
            f"{path.name}: {channels} numbers of type {kind} a voxel; expected one real number. "
            "Convert it to a scalar image first."
        )
    shape = tuple(int(n) for n in header["DimSize"].split())
    if len(shape) < 3:
        raise ImageFileError(f"{path.name}: {len(shape)} dimensions {shape}; expected 3.")
    is_big = _is_true(header, "BinaryDataByteOrderMSB") or _is_true(header, "ElementByteOrderMSB")
    encoding = "gzip" if _is_true(header, "CompressedData") else "raw"
    where = header["ElementDataFile"]
    files = [path.parent / name for name in names]
    if not files and where.upper() != "LOCAL":
        files = _find_files(where, path)
    return _Description(
        path.name,
        shape,
        np.dtype((">" if is_big else "<") + _META_TYPES[kind]),
        encoding if _is_true(header, "BinaryData", "True") else "text",
        files,
        skip=int(header.get("HeaderSize", "0")),
    )


def _is_true(header: dict[str, str], key: str, usual: str = "False") -> bool:
    return header.get(key, usual)[:1] in "Tt1"


def _metaimage_affine(header: dict[str, str], ndim: int) -> NDArray[np.float64]:
    def read(keys: tuple[str, ...], usual: NDArray[np.float64]) -> NDArray[np.float64]:
        words = next((header[key] for key in keys if key in header), None)
        return usual if words is None else np.array([float(word) for word in words.split()])

    directions = read(("TransformMatrix", "Rotation", "Orientation"), np.eye(ndim))
    spacing = read(("ElementSpacing", "ElementSize"), np.ones(ndim))[:3]
    origin = read(("Offset", "Position", "Origin"), np.zeros(ndim))[:3]
    columns = directions.reshape(ndim, ndim)[:3, :3].T * spacing
    return _make_affine(_LPS_TO_RAS @ columns, _LPS_TO_RAS @ origin)


def _make_affine(columns: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = origin
    return affine
