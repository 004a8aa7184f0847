"""NIfTI-1 and -2: single file or pair, either byte order, packed or not."""

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import GeometryError, ImageFileError
from deskull.image.grid import Grid, has_size_of_head
from deskull.image.lookup import find_partner
from deskull.image.stored import (
    NATIVE_ORDER,
    NO_EXTENSIONS,
    SILENT,
    StoredArray,
    check_frame,
    check_promise,
    make_image,
)
from deskull.image.streams import find_end, open_stream, read_exactly, read_voxels

MAGIC_END = 348
"""Bytes from the beginning that identify a NIfTI."""

_MAX_LEAD = 64 * 1024**2
_LONG_QUATERNION = 1.01
_ROUNDING = 1e-6
_KINDS = {
    b"n+1\0": nib.Nifti1Image,
    b"ni1\0": nib.Nifti1Pair,
    b"n+2\0": nib.Nifti2Image,
    b"ni2\0": nib.Nifti2Pair,
}
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # code, name, and mm in one


def find_kind(head: bytes) -> type[Any] | None:
    """Class of nibabel for a file that begins so; None if it is no NIfTI."""
    return _KINDS.get(head[344:348]) or _KINDS.get(head[4:8])


def read_nifti(path: Path, frame: int | None = None) -> SpatialImage:
    """Read NIfTI, its header untouched.

    Parameters
    ----------
    path
        The file; of a pair its header.
    frame
        Frame of a 4D file, from 0, which alone is read, as a 3D image.
    """
    name, notes = path.name, list[str]()
    with open_stream(path) as stream:
        kind = cast(Any, find_kind(stream.read(MAGIC_END)))
    with open_stream(path) as stream:
        block = read_exactly(stream, kind.header_class.sizeof_hdr, name)
        header = kind.header_class(block.tobytes(), check=False)
        notes += _mend_dimensions(header)
        frame = _cut_to_frame(header, frame, name)
        shape, dtype = _find_promise(header, name)
        offset = _find_offset(header, name)
        before = (frame or 0) * int(np.prod(shape, dtype=object)) * dtype.itemsize
        if header.is_single:
            lead = read_exactly(stream, offset - len(block), name).tobytes()
            stream.seek(before, os.SEEK_CUR)
            raw = read_voxels(stream, shape, dtype, name)
            notes.append(find_end(stream))
        else:
            lead = stream.read(_MAX_LEAD) or NO_EXTENSIONS
            raw, end = _read_partner(path, offset + before, shape, dtype)
            notes.append(end)
    affine, assumed = _find_affine(header, name)
    notes += [*assumed, find_unit(header, shape, affine)[1]]
    scaling = float(header["scl_slope"]), float(header["scl_inter"])
    _parse_extensions(header, lead)
    header["scl_slope"] = header["scl_inter"] = np.nan  # as nibabel has it: scaling is dataobj's
    header["vox_offset"] = 0
    stored = StoredArray(raw, *scaling, lead, frame=frame, notes=list(filter(None, notes)))
    return make_image(kind, stored, affine, header)


def _read_partner(
    header_path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], str]:
    """Voxels from the other file of a pair, and what lies behind them."""
    path = find_partner(header_path)
    if path is None:
        raise ImageFileError(
            f"{header_path.name}: only the header of a .hdr/.img pair; expected a name that ends "
            "in .hdr, with the .img beside it."
        )
    with open_stream(path) as stream:
        stream.seek(offset)
        raw = read_voxels(stream, shape, dtype, path.name)
        return raw, find_end(stream)


def _mend_dimensions(header: Any) -> list[str]:
    """Take an axis beyond the third without voxels as one of length 1, as ITK and FSL do."""
    axes = range(4, min(int(header["dim"][0]), 7) + 1)
    empty = [axis for axis in axes if header["dim"][axis] < 1]
    notes = [f"dim[{axis}] is {int(header['dim'][axis])}; used as 1" for axis in empty]
    for axis in empty:
        header["dim"][axis] = 1
    return notes


def _cut_to_frame(header: Any, frame: int | None, name: str) -> int | None:
    """Let a 4D header say 3D, if a frame of it is requested; that frame, or None."""
    ndim, *sizes = (int(n) for n in header["dim"])
    count = int(np.prod(sizes[3:ndim], dtype=object))
    if frame is None or not 4 <= ndim <= 7 or count <= 1 or count not in sizes[3:ndim]:
        return None
    check_frame(frame, count, name)
    header["dim"] = [3, *sizes[:3], 1, 1, 1, 1]
    return frame


def _find_promise(header: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the voxels that a header promises."""
    try:
        dtype = header.get_data_dtype()
    except Exception as error:
        raise ImageFileError(
            f"{name}: data type code {int(header['datatype'])}; expected an integer or float type."
        ) from error
    if not 1 <= int(header["dim"][0]) <= 7:
        raise ImageFileError(
            f"{name}: {int(header['dim'][0])} dimensions in its header; expected 3 or 4."
        )
    shape = tuple(int(n) for n in header.get_data_shape())
    check_promise(shape, dtype, name)
    return shape, dtype


def _find_offset(header: Any, name: str) -> int:
    """Byte at which the voxels start."""
    offset = float(header["vox_offset"])
    least = header.single_vox_offset if header.is_single else 0
    if not 0 <= offset <= _MAX_LEAD:
        raise ImageFileError(
            f"{name}: voxels start at byte {offset:g}; expected {least} to {_MAX_LEAD}."
        )
    return max(int(offset), least)


def _find_affine(header: Any, name: str) -> tuple[NDArray[np.float64], list[str]]:
    """Affine, and what was assumed for it.

    By nibabel's rule: sform if coded, else qform if coded, else voxel sizes. A coded sform that is
    no place gives way to a good qform, as in ITK.
    """
    fixed = header.copy()
    fixed.check_fix(logger=SILENT, error_level=1000)
    notes: list[str] = []
    if fixed["sform_code"] != 0:
        sform = np.asarray(fixed.get_sform(), dtype=np.float64)
        if _is_place(sform) or fixed["qform_code"] == 0:
            return sform, []
        try:
            qform = _read_qform(header, fixed, name, notes)
        except GeometryError:
            return sform, []
        if not _is_place(qform):
            return sform, []
        return qform, ["its sform is no valid affine; its qform was used", *notes]
    if fixed["qform_code"] != 0:
        return _read_qform(header, fixed, name, notes), notes
    _check_sizes(header, name, notes)
    affine = np.asarray(fixed.get_base_affine(), dtype=np.float64)
    codes = "".join(nib.orientations.aff2axcodes(affine))
    notes.append(f"no orientation in its header (both codes are 0); axes assumed to be {codes}")
    return affine, notes


def find_unit(
    header: Any, shape: Sequence[int], affine: NDArray[np.float64] | None
) -> tuple[float, str]:
    """Find the unit of an image's affine.

    Its numbers are millimetres, as everywhere in this field, unless they cannot be and the header
    names a unit in which they make sense.

    Parameters
    ----------
    header
        Header of the image in any format; only NIfTI has units other than mm.
    shape
        Number of voxels along each array axis, frames included.
    affine
        Voxel index to space, (4, 4), in the unit that is wanted; None if the image has none.

    Returns
    -------
    tuple
        Millimetres in one unit; and what was assumed, empty if nothing was.

    Examples
    --------
    >>> header = nib.Nifti1Header()
    >>> header.set_xyzt_units("meter")
    >>> find_unit(header, (256, 256, 256), np.diag([0.001, 0.001, 0.001, 1.0]))[0]
    1000.0
    """
    code = int(header["xyzt_units"]) & 7 if isinstance(header, nib.Nifti1Header) else 2
    if code not in _UNITS or affine is None:
        return 1.0, ""
    name, factor = _UNITS[code]
    shape = (*shape, 1, 1)[:3]
    with np.errstate(all="ignore"):
        sizes = [float(size) for size in nib.affines.voxel_sizes(affine)]
    voxel = " x ".join(f"{size:g}" for size in sizes)
    if has_size_of_head(shape, sizes):
        return 1.0, f"its header says {name}, but voxel sizes {voxel} were read as millimetres"
    if has_size_of_head(shape, [factor * size for size in sizes]):
        return factor, f"its header is in {name}: voxel sizes {voxel} were read as {name}"
    return 1.0, ""


def _is_place(affine: NDArray[np.float64]) -> bool:
    try:
        Grid((1, 1, 1), affine)
    except GeometryError:
        return False
    return True


def _check_sizes(header: Any, name: str, notes: list[str]) -> None:
    """Refuse voxels without a size; note those whose size is below zero."""
    sizes = [float(size) for size in header["pixdim"][1:4]]
    if not all(0 < abs(size) < np.inf for size in sizes):
        raise GeometryError(
            f"{name}: voxel size {sizes} in its header; expected numbers above zero. "
            "Repair the header first (pixdim, or a coded sform)."
        )
    if min(sizes) < 0:
        notes.append(f"voxel size {sizes} in its header; the minus sign was ignored")


def _read_qform(header: Any, fixed: Any, name: str, notes: list[str]) -> NDArray[np.float64]:
    """Affine of a qform, of a quaternion slightly too long the nearest rotation."""
    _check_sizes(header, name, notes)
    quaternion = [float(header[f"quatern_{axis}"]) for axis in "bcd"]
    length = float(np.linalg.norm(quaternion))
    if 1 < length < _LONG_QUATERNION:
        for axis in "bcd":
            fixed[f"quatern_{axis}"] /= length
        if length > 1 + _ROUNDING:
            notes.append(f"its qform's quaternion {quaternion} is {length:.4f} long; used as 1")
    try:
        return np.asarray(fixed.get_qform(), dtype=np.float64)
    except Exception as error:
        raise GeometryError(
            f"{name}: qform with quaternion {quaternion} is no rotation ({error}). "
            "Repair the header first (its qform or sform)."
        ) from error


def _parse_extensions(header: Any, lead: bytes) -> None:
    """Let nibabel see the extensions; those that it cannot parse are still kept as bytes."""
    if lead[:1] in (b"", b"\0"):
        return
    swapped = header.endianness != NATIVE_ORDER
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = header.exts_klass.from_fileobj(BytesIO(lead[4:]), len(lead) - 4, swapped)
        except Exception:  # damaged or unknown: they travel as bytes
            return
    header.extensions[:] = parsed
