"""Bytes on disk to a nibabel image, for every format deskull reads.

The only file that knows formats: which are readable and writable, how each is recognised
(by content first, then by name) and what can be wrong with a file. What an image must be
to count as a head is `volume.py`; how outputs are written is `writing.py`.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import DeskullError, GeometryError, ImageFileError
from deskull.image.described import read_metaimage, read_nrrd
from deskull.image.dicom import convert_dicom
from deskull.image.foreign import read_analyze, read_minc
from deskull.image.stored import (
    NATIVE_ORDER,
    NO_EXTENSIONS,
    SILENT,
    StoredArray,
    check_promise,
    make_image,
)
from deskull.image.streams import open_stream, read_exactly, read_voxels

WRITABLE = (".nii.gz", ".nii", ".hdr", ".img", ".mgz", ".mgh")
_NOT_DICOM = (".hdr.gz", ".img.gz", *WRITABLE, ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
READABLE = (*_NOT_DICOM, ".dcm", ".ima", ".zip")
_MAX_LEAD = 64 * 1024**2
_NIFTI_KINDS = {
    b"n+1\0": nib.Nifti1Image,
    b"ni1\0": nib.Nifti1Pair,
    b"n+2\0": nib.Nifti2Image,
    b"ni2\0": nib.Nifti2Pair,
}
_MGH_START = 284
_EXPECTED = "expected NIfTI, MGH/MGZ, NRRD, MetaImage, MINC or DICOM"


def find_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix that names the format, in lower case, such as ``".nii.gz"``; else ``""``."""
    name = Path(path).name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix)), "")


def find_stem(path: PurePath) -> str:
    """Name of a file without the suffix of its format."""
    return path.name[: len(path.name) - len(find_suffix(path))]


def find_partner(path: Path) -> Path | None:
    """Other file of a .hdr/.img pair, whether it exists or not; None for single files."""
    swaps = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}
    suffix = find_suffix(path)
    if suffix not in swaps:
        return None
    stem, old = path.name[: -len(suffix)], path.name[-len(suffix) :]
    new = swaps[suffix].upper() if old.isupper() else swaps[suffix]
    return path.with_name(stem + new)


def open_image(
    path: str | os.PathLike[str], series: str | int | None = None, frame: int | None = None
) -> SpatialImage:
    """Read an image of any readable format into memory.

    Parameters
    ----------
    path
        File, or folder of DICOM.
    series
        Number of a DICOM series, where there are several.
    frame
        Of a 4D NIfTI file read only this frame, from 0, as a 3D image; of others all are read.

    Returns
    -------
    SpatialImage
        NIfTI and MGH as they are, header untouched; other formats as NIfTI-1 made from their
        affine. ``dataobj`` is a `StoredArray`.

    Raises
    ------
    ImageFileError
        If the file is missing, damaged, truncated, too large or of no readable format.
    GeometryError
        If the header gives voxels no size or no place.
    """
    path = Path(path)
    name = path.name or str(path)
    try:
        _check_exists(path)
        reader = _find_reader(path)
        if reader is _read_dicom:
            return _read_dicom(path, series)
        if series is not None:
            raise ImageFileError(f"{name}: no DICOM, so it has no series {series}. Omit --series.")
        with np.errstate(all="ignore"):  # a damaged header may hold any number
            return _read_nifti(path, frame) if reader is _read_nifti else reader(path)
    except DeskullError:
        raise
    except PermissionError as error:
        raise ImageFileError(f"{path}: no permission to read it.") from error
    except MemoryError as error:
        raise ImageFileError(f"{name}: not enough memory to read it.") from error
    except Exception as error:  # whatever a format's own library raises
        reason = " ".join(str(error).split())
        raise ImageFileError(
            f"{name}: cannot be read ({type(error).__name__}: {reason}); {_EXPECTED}."
        ) from error


def _check_exists(path: Path) -> None:
    if path.exists():
        return
    if path.is_symlink():
        raise ImageFileError(
            f"{path}: a link whose content is not here: {os.readlink(path)}. "
            "Get it with `git annex get` or `datalad get`."
        )
    raise ImageFileError(f"{path}: no such file.")


def _find_reader(path: Path) -> Callable[..., SpatialImage]:
    """Reader for a path: by the first bytes where they tell, else by the name."""
    if path.is_dir():
        return _read_dicom
    suffix = find_suffix(path)
    head = _read_head(_find_header(path))
    if _find_nifti_kind(head) is not None:
        return _read_nifti
    for known, reader in _READERS_BY_CONTENT:
        if head.startswith(known):
            return reader
    if head[128:132] == b"DICM":
        return _read_dicom
    if suffix in _READERS_BY_SUFFIX:
        return _READERS_BY_SUFFIX[suffix]
    raise ImageFileError(f"{path.name}: not an image, it starts with {head[:12]!r}; {_EXPECTED}.")


def _find_header(path: Path) -> Path:
    """File that holds the header: the .hdr of a pair, else the file itself."""
    partner = find_partner(path)
    if partner is None:
        return path
    if not partner.exists():
        raise ImageFileError(
            f"{path.name}: {partner.name} is missing beside it; expected both files of the pair."
        )
    return partner if find_suffix(path).startswith(".img") else path


def _read_head(path: Path) -> bytes:
    """First bytes of a file, decompressed."""
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path.name}: empty file (0 bytes); {_EXPECTED}.")
    with open_stream(path) as stream:
        return stream.read(540)


def check_frame(frame: int, count: int, name: str) -> None:
    """Refuse a frame that an image does not have.

    Raises
    ------
    ImageFileError
        If `frame` is not one of 0 to `count` - 1.
    """
    if not 0 <= frame < count:
        raise ImageFileError(f"{name}: no frame {frame}; expected 0 to {count - 1}.")


def _find_nifti_kind(head: bytes) -> type[Any] | None:
    return _NIFTI_KINDS.get(head[344:348]) or _NIFTI_KINDS.get(head[4:8])


def _read_nifti(path: Path, frame: int | None = None) -> SpatialImage:
    """NIfTI-1 or -2, single file or pair, either byte order, gzip or not."""
    name = path.name
    header_path = _find_header(path)
    kind = cast(Any, _find_nifti_kind(_read_head(header_path)))
    with open_stream(header_path) as stream:
        block = read_exactly(stream, kind.header_class.sizeof_hdr, name)
        header = kind.header_class(block.tobytes(), check=False)
        frame = _cut_to_frame(header, frame, name)
        shape, dtype = _nifti_promise(header, name)
        offset = _nifti_offset(header, name)
        before = (frame or 0) * int(np.prod(shape, dtype=object)) * dtype.itemsize
        if header.is_single:
            lead = read_exactly(stream, offset - len(block), name).tobytes()
            stream.seek(before, os.SEEK_CUR)
            raw = read_voxels(stream, shape, dtype, name)
            stream.read(1)  # gzip checks its sum at the end
        else:
            lead = stream.read(_MAX_LEAD) or NO_EXTENSIONS
            raw = _read_nifti_partner(header_path, offset + before, shape, dtype)
    affine = _nifti_affine(header, name)
    scaling = float(header["scl_slope"]), float(header["scl_inter"])
    stored = StoredArray(raw, *scaling, lead, frame=frame)
    _parse_extensions(header, lead)
    header["scl_slope"] = header["scl_inter"] = np.nan  # as nibabel has it: scaling is dataobj's
    header["vox_offset"] = 0
    return make_image(kind, stored, affine, header)


def _read_nifti_partner(
    header_path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    path = find_partner(header_path)
    if path is None:
        raise ImageFileError(
            f"{header_path.name}: only the header of a .hdr/.img pair; expected a name that ends "
            "in .hdr, with the .img beside it."
        )
    with open_stream(path) as stream:
        stream.seek(offset)
        raw = read_voxels(stream, shape, dtype, path.name)
        stream.read(1)
    return raw


def _cut_to_frame(header: Any, frame: int | None, name: str) -> int | None:
    """Let a 4D header say 3D, if a frame of it is asked for; that frame, or None."""
    ndim, *sizes = (int(n) for n in header["dim"])
    count = int(np.prod(sizes[3:ndim], dtype=object))
    if frame is None or not 4 <= ndim <= 7 or count <= 1 or count not in sizes[3:ndim]:
        return None
    check_frame(frame, count, name)
    header["dim"] = [3, *sizes[:3], 1, 1, 1, 1]
    return frame


def _nifti_promise(header: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
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


def _nifti_offset(header: Any, name: str) -> int:
    """Byte at which the voxels start."""
    offset = float(header["vox_offset"])
    least = header.single_vox_offset if header.is_single else 0
    if not 0 <= offset <= _MAX_LEAD:
        raise ImageFileError(
            f"{name}: voxels start at byte {offset:g}; expected {least} to {_MAX_LEAD}."
        )
    return max(int(offset), least)


def _nifti_affine(header: Any, name: str) -> NDArray[np.float64]:
    """Affine by nibabel's rule: sform if coded, else qform if coded, else voxel sizes."""
    fixed = header.copy()
    fixed.check_fix(logger=SILENT, error_level=1000)
    sizes = [float(size) for size in header["pixdim"][1:4]]
    if fixed["sform_code"] == 0 and not all(0 < size < np.inf for size in sizes):
        raise GeometryError(
            f"{name}: voxel size {sizes} in its header; expected numbers above zero. "
            "Repair the header first (pixdim, or a coded sform)."
        )
    try:
        return np.asarray(fixed.get_best_affine(), dtype=np.float64)
    except Exception as error:
        quaternion = [float(header[f"quatern_{axis}"]) for axis in "bcd"]
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


def _read_mgh(path: Path) -> SpatialImage:
    """MGH or MGZ."""
    name = path.name
    kind: Any = nib.MGHImage.header_class
    with open_stream(path) as stream:
        block = read_exactly(stream, _MGH_START, name).tobytes()
        fields = kind(block[:90], check=False)
        if int(fields["version"]) != 1 or int(fields["type"]) not in kind._data_type_codes.code:
            raise ImageFileError(
                f"{name}: version {int(fields['version'])} with data type {int(fields['type'])} "
                "is no MGH file; expected version 1 with type 0, 1, 3, 4 or 10."
            )
        shape = tuple(int(n) for n in fields.get_data_shape())
        check_promise(tuple(int(n) for n in fields["dims"]), fields.get_data_dtype(), name)
        raw = read_voxels(stream, shape, fields.get_data_dtype(), name)
        footer = stream.read(kind._ftrdtype.itemsize)
        tail = stream.read(_MAX_LEAD)
    header = kind(block[:90] + footer, check=False)
    sizes = [float(size) for size in header["delta"]]
    if not all(0 < size < np.inf for size in sizes):
        raise GeometryError(f"{name}: voxel size {sizes}; expected numbers above zero.")
    return make_image(nib.MGHImage, StoredArray(raw, tail=tail), header.get_affine(), header)


def _read_dicom(path: Path, series: str | int | None = None) -> SpatialImage:
    """Read a DICOM folder, file or zip; what its header says about person or time is blanked."""
    with tempfile.TemporaryDirectory(prefix="deskull-") as folder:
        converted = convert_dicom(path, Path(folder), series)
        if converted is None:
            raise ImageFileError(_explain_no_dicom(path))
        image = _read_nifti(converted)
    header: Any = image.header
    for field in ("descrip", "aux_file", "db_name", "intent_name", "data_type"):
        header[field] = b""
    return image


def _explain_no_dicom(path: Path) -> str:
    """Say what a path holds instead of DICOM."""
    name = path.name or str(path)
    if not path.is_dir():
        return f"{name}: no DICOM image in it; {_EXPECTED}."
    images = [p.name for p in sorted(path.iterdir()) if find_suffix(p) in _NOT_DICOM]
    if images:
        return (
            f"{name}: a folder with {len(images)} images ({images[0]}) and no DICOM; expected "
            f"one scan. For many scans run: deskull batch {path}"
        )
    links = [p.name for p in path.rglob("*") if p.is_symlink() and not p.exists()]
    if links:
        return (
            f"{name}: no DICOM found, but {len(links)} links whose content is not here "
            f"({links[0]}). Get it with `git annex get` or `datalad get`."
        )
    return f"{name}: a folder with no DICOM found in it; expected the DICOM files of one scan."


_READERS_BY_CONTENT: tuple[tuple[bytes, Callable[..., SpatialImage]], ...] = (
    (b"NRRD0", read_nrrd),
    (b"PK\x03\x04", _read_dicom),
    (b"CDF\x01", read_minc),
    (b"\x89HDF\r\n", read_minc),
)
_READERS_BY_SUFFIX: dict[str, Callable[..., SpatialImage]] = {
    **dict.fromkeys((".mgh", ".mgz"), _read_mgh),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
    **dict.fromkeys((".hdr", ".img"), read_analyze),
    **dict.fromkeys((".dcm", ".ima"), _read_dicom),
}
