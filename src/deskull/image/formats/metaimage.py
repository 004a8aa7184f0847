"""MetaImage, its voxels attached (.mha) or beside it (.mhd)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.formats.described import (
    LPS_TO_RAS,
    UNPLACED,
    Description,
    find_files,
    make_affine,
    read_voxels,
)
from deskull.image.stored import UNSIZED, StoredArray, make_nifti

_TYPES = {
    **{"MET_CHAR": "i1", "MET_SHORT": "i2", "MET_INT": "i4", "MET_LONG": "i4"},
    **{"MET_UCHAR": "u1", "MET_USHORT": "u2", "MET_UINT": "u4", "MET_ULONG": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")
_SIZES = ("ElementSpacing", "ElementSize")
_MAX_LINES = 1000
_MAX_LINE = 64 * 1024


def read_metaimage(path: Path) -> SpatialImage:
    """Read MetaImage, voxels attached or beside it, from LPS to RAS."""
    with path.open("rb") as file:
        header, names = _read_header(file, path)
        raw = read_voxels(file, _describe(header, names, path))
    notes = [] if any(key in header for key in _DIRECTIONS) else [UNPLACED]
    notes += [] if any(key in header for key in _SIZES) else [UNSIZED]
    stored = StoredArray(raw, notes=notes)
    return make_nifti(stored, _find_affine(header, raw.ndim), path.name)


def find_metaimage_files(path: Path) -> Sequence[Path]:
    """Files beside a MetaImage that hold its voxels."""
    with path.open("rb") as file:
        return _describe(*_read_header(file, path), path).files


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, str], list[str]]:
    """Fields up to the one that says where the voxels are, and the names in a list of files."""
    header: dict[str, str] = {}
    for _ in range(_MAX_LINES):
        line = file.readline(_MAX_LINE).decode("utf-8", "surrogateescape")
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            break
        header[key] = value
        if key == "ElementDataFile":
            is_list = value.upper().startswith("LIST")
            rest = file.read(_MAX_LINE * 16) if is_list else b""
            return header, [
                os.fsdecode(name.strip()) for name in rest.splitlines() if name.strip()
            ]
    raise ImageFileError(
        f"{path.name}: no MetaImage, its text has no ElementDataFile; expected lines such as "
        "NDims = 3."
    )


def _describe(header: dict[str, str], names: list[str], path: Path) -> Description:
    kind, channels = header["ElementType"], int(header.get("ElementNumberOfChannels", "1"))
    if kind not in _TYPES or channels != 1:
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
        files = find_files(where, path)
    return Description(
        path.name,
        shape,
        np.dtype((">" if is_big else "<") + _TYPES[kind]),
        encoding if _is_true(header, "BinaryData", "True") else "text",
        files,
        skip=int(header.get("HeaderSize", "0")),
    )


def _is_true(header: dict[str, str], key: str, usual: str = "False") -> bool:
    return header.get(key, usual)[:1] in "Tt1"


def _find_affine(header: dict[str, str], ndim: int) -> NDArray[np.float64]:
    def read(keys: tuple[str, ...], usual: NDArray[np.float64]) -> NDArray[np.float64]:
        text = next((header[key] for key in keys if key in header), None)
        return usual if text is None else np.array([float(number) for number in text.split()])

    directions = read(_DIRECTIONS, np.eye(ndim))
    spacing = read(_SIZES, np.ones(ndim))[:3]
    origin = read(("Offset", "Position", "Origin"), np.zeros(ndim))[:3]
    columns = directions.reshape(ndim, ndim)[:3, :3].T * spacing
    return make_affine(LPS_TO_RAS @ columns, LPS_TO_RAS @ origin)
