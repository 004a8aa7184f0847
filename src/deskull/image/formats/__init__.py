"""Bytes on disk to a nibabel image, for every format that deskull reads.

Which format a file has is decided here, by its content first and then by its name; each format
is a file of this package. What an image must be to count as a head is `volume.py`.
"""

import errno
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage

from deskull.errors import DeskullError, ImageFileError
from deskull.image.archives import is_archive, save_pipe, unpack_file
from deskull.image.file_names import FOREIGN, PACKED, find_suffix
from deskull.image.formats.analyze import read_analyze
from deskull.image.formats.dicom import read_archive, read_dicom
from deskull.image.formats.dicom_header import is_dicom
from deskull.image.formats.metaimage import find_metaimage_files, read_metaimage
from deskull.image.formats.mgh import is_mgh, read_mgh
from deskull.image.formats.minc import read_minc
from deskull.image.formats.nifti import find_kind, read_nifti
from deskull.image.formats.nrrd import find_nrrd_files, read_nrrd
from deskull.image.lookup import find_image, find_partner, find_pointer, is_pipe
from deskull.image.stored import to_stored
from deskull.image.streams import find_packing, open_stream

Reader = Callable[..., SpatialImage]

EXPECTED = "expected NIfTI, MGH/MGZ, NRRD, MetaImage, MINC or DICOM"
_HEAD = 540  # bytes that identify every format
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PACKAGES = {"nrrd": ("NRRD", "pynrrd"), "h5py": ("MINC 2", "h5py")}

_log = logging.getLogger(__name__)


def open_image(
    path: str | os.PathLike[str], series: str | int | None = None, frame: int | None = None
) -> SpatialImage:
    """Read an image of any readable format into memory.

    What had to be assumed, or was left out, is logged as a warning and kept in ``dataobj.notes``.

    Parameters
    ----------
    path
        File, folder or archive of DICOM, name without its suffix, or ``-`` for standard input.
    series
        DICOM series to read, where there are several: the first word of its line in the list.
    frame
        Frame of a 4D NIfTI file, from 0, which alone is read, as a 3D image; of other formats all
        are read.

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
        path = find_image(path)
        name = path.name or str(path)
        image = _read(path, series, frame)
    except DeskullError:
        raise
    except PermissionError as error:
        raise ImageFileError(f"{path}: no permission to read it.") from error
    except MemoryError as error:
        raise ImageFileError(f"{name}: not enough memory to read it.") from error
    except ModuleNotFoundError as error:
        kind, package = _PACKAGES.get(error.name or "", ("this format", str(error.name)))
        raise ImageFileError(
            f"{name}: {kind} needs {package}, which is not installed. Run: pip install {package}"
        ) from error
    except Exception as error:  # whatever a format's own library raises
        raise ImageFileError(f"{name}: {_explain(error)}") from error
    for note in to_stored(image).notes:
        _log.warning("%s: %s.", name, note)
    return image


def _explain(error: Exception) -> str:
    """Say why a file cannot be read, by what a library or the system raised."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return (
            f"no space in {tempfile.gettempdir()} to unpack it. Free some, or set TMPDIR to a "
            "larger folder."
        )
    reason = " ".join(str(error).split())
    return f"cannot be read ({type(error).__name__}: {reason}); {EXPECTED}."


def _read(path: Path, series: str | int | None, frame: int | None) -> SpatialImage:
    with _make_seekable(path) as file:
        if file.is_dir():
            return read_dicom(file, series)
        header = _find_header(file)
        reader = _find_reader(header)
        with _make_plain(header, reader) as plain:
            if reader in (read_dicom, read_archive):
                return reader(plain, series)
            if series is not None:
                raise ImageFileError(
                    f"{path.name}: no DICOM, so it has no series {series}. Omit --series."
                )
            with np.errstate(all="ignore"):  # a damaged header may hold any number
                return read_nifti(plain, frame) if reader is read_nifti else reader(plain)


@contextmanager
def _make_seekable(path: Path) -> Iterator[Path]:
    """Give a file or folder that can be read more than once: of a pipe a private copy."""
    if not is_pipe(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="deskull-") as folder:
        copy = Path(folder, path.name)
        save_pipe(path, copy)
        yield copy


@contextmanager
def _make_plain(path: Path, reader: Reader) -> Iterator[Path]:
    """Give a file as its reader needs it: an unpacked private copy, if it does not unpack."""
    if reader in _UNPACKING or not _is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="deskull-") as folder:
        copy = Path(folder, path.name)
        unpack_file(path, copy)
        yield copy


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return find_packing(file.read(6)) is not None


def find_voxel_files(path: Path) -> Sequence[Path]:
    """Files that the header of an NRRD or MetaImage names for its voxels; none of other files."""
    find = _FILES_BY_SUFFIX.get(find_suffix(path))
    try:
        return [] if find is None else find(path)
    except Exception:  # what is wrong with it, its reader says
        return []


def _find_reader(path: Path) -> Reader:
    """Reader for a file: by the first bytes where they identify it, else by the name."""
    head = _read_head(path)
    if find_kind(head) is not None:
        return read_nifti
    for known, reader in _READERS_BY_CONTENT:
        if head.startswith(known):
            return reader
    if is_archive(head, path.name):
        return read_archive
    if is_dicom(head):
        return read_dicom
    if is_mgh(head):
        return read_mgh
    suffix = find_suffix(path)
    for packed in PACKED:
        suffix = suffix.removesuffix(packed)
    if suffix in _READERS_BY_SUFFIX:
        return _READERS_BY_SUFFIX[suffix]
    if path.name.lower().endswith(FOREIGN):
        raise ImageFileError(
            f"{path.name}: a format that deskull does not read; {EXPECTED}. Convert it first, "
            "with 3dAFNItoNIFTI, dcm2niix (PAR/REC) or mrconvert."
        )
    raise ImageFileError(f"{path.name}: not an image, it starts with {head[:12]!r}; {EXPECTED}.")


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
    """First bytes of a file, unpacked."""
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path.name}: empty file (0 bytes); {EXPECTED}.")
    with open_stream(path) as stream:
        head = stream.read(_HEAD)
    pointer = find_pointer(path, head)
    if pointer is not None:
        raise ImageFileError(f"{path}: {pointer}")
    return head


_UNPACKING = (read_nifti, read_mgh, read_analyze, read_archive)
"""Readers that unpack on the way."""

_READERS_BY_CONTENT: tuple[tuple[bytes, Reader], ...] = (
    (b"NRRD0", read_nrrd),
    (b"CDF\x01", read_minc),
    (b"\x89HDF\r\n", read_minc),
    (b"ObjectType", read_metaimage),
    (b"NDims", read_metaimage),
)
_FILES_BY_SUFFIX: dict[str, Callable[[Path], Sequence[Path]]] = {
    **dict.fromkeys((".nrrd", ".nhdr"), find_nrrd_files),
    **dict.fromkeys((".mha", ".mhd"), find_metaimage_files),
}
_READERS_BY_SUFFIX: dict[str, Reader] = {
    **dict.fromkeys((".mgh", ".mgz"), read_mgh),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
    **dict.fromkeys((".hdr", ".img"), read_analyze),
    **dict.fromkeys((".dcm", ".ima"), read_dicom),
}
