"""NRRD, its voxels attached (.nrrd) or beside it (.nhdr), with pynrrd's reader of the text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

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

_SPACES = {
    "right-anterior-superior": np.eye(3),
    "ras": np.eye(3),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0]),
}
"""To RAS+; a space that is not named here is taken as LPS, as ITK does."""

_COLOURS = ("complex", "color", "quaternion", "vector", "matrix", "normal", "gradient")
_TYPES = {"float": "f4", "double": "f8"} | {
    sign + name: kind + str(width)
    for width, word in ((1, "char"), (2, "short"), (4, "int"), (8, "long long"), (8, "longlong"))
    for name in (word, f"{word} int", f"int{8 * width}", f"int{8 * width}_t")
    for sign, kind in (("", "i"), ("signed ", "i"), ("unsigned ", "u"), ("u", "u"))
}
_ENCODINGS = {
    **dict.fromkeys(("ascii", "text", "txt"), "text"),
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    "raw": "raw",
}
_MAX_TEXT = 1024**2


def read_nrrd(path: Path) -> SpatialImage:
    """Read NRRD, data attached or beside it; the axes of space come first, frames last."""
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(_read_text(file, path.name))
        kinds = [str(kind).lower() for kind in header.get("kinds", ())]
        colours = [kind for kind in kinds if any(word in kind for word in _COLOURS)]
        if colours:
            raise ImageFileError(
                f"{path.name}: an axis of kind {colours[0]}; expected one real number a voxel. "
                "Convert it to a scalar image first."
            )
        raw = read_voxels(file, _describe(header, path))
    axes, affine = _find_affine(header, raw.ndim, path.name)
    frames = [axis for axis in range(raw.ndim) if axis not in axes]
    notes = [] if "space" in header or "space directions" in header else [UNPLACED]
    if "space directions" not in header and not np.isfinite(_find_spacings(header, 3)[:3]).all():
        notes.append(UNSIZED)
    stored = StoredArray(raw.transpose(*axes, *frames), notes=notes)
    return make_nifti(stored, affine, path.name)


def find_nrrd_files(path: Path) -> Sequence[Path]:
    """Files beside an NRRD that hold its voxels."""
    import nrrd

    with path.open("rb") as file:
        return _describe(nrrd.read_header(_read_text(file, path.name)), path).files


def _read_text(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Lines up to the empty one before the voxels."""
    left = _MAX_TEXT
    while left > 0 and (line := file.readline(left)):
        left -= len(line)
        yield line
        if not line.strip():
            return
    if left <= 0:
        raise ImageFileError(f"{name}: more than {_MAX_TEXT} bytes of header; expected an NRRD.")


def _describe(header: dict[str, Any], path: Path) -> Description:
    beside = header.get("data file", header.get("datafile"))
    order = {"little": "<", "big": ">"}[str(header.get("endian", "little"))]
    return Description(
        path.name,
        tuple(int(n) for n in header["sizes"]),
        np.dtype(order + _TYPES[str(header["type"])]),
        _ENCODINGS[str(header["encoding"]).lower()],
        [] if beside is None else find_files(str(beside), path),
        int(header.get("line skip", header.get("lineskip", 0))),
        int(header.get("byte skip", header.get("byteskip", 0))),
    )


def _find_spacings(header: dict[str, Any], ndim: int) -> NDArray[np.float64]:
    """Sizes along the axes, NaN where the text has none."""
    return np.asarray(header.get("spacings", np.full(ndim, np.nan)), float)


def _find_affine(
    header: dict[str, Any], ndim: int, name: str
) -> tuple[list[int], NDArray[np.float64]]:
    """Axes of space, and the affine over them."""
    directions = header.get("space directions")
    if directions is None:
        axes = list(range(min(ndim, 3)))
        spacings = np.nan_to_num(_find_spacings(header, ndim), nan=1.0)
        columns = np.diag(spacings[axes])
    else:
        rows = np.array([[np.nan] * 3 if row is None else row[:3] for row in directions], float)
        axes = [axis for axis in range(ndim) if np.isfinite(rows[axis]).all() and rows[axis].any()]
        columns = rows[axes].T
    if len(axes) != 3 or columns.shape != (3, 3):
        raise ImageFileError(f"{name}: {len(axes)} axes in space {header['sizes']}; expected 3.")
    space = str(header.get("space", "")).lower().removesuffix("-time").removesuffix("t")
    to_ras = _SPACES.get(space, LPS_TO_RAS)
    origin = np.nan_to_num(np.asarray(header.get("space origin", np.zeros(3)), float)[:3])
    return axes, make_affine(to_ras @ columns, to_ras @ origin)
