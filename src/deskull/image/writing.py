"""Writing files so that no half file is ever seen and no input is ever replaced.

Everything goes to a temporary name in the same folder and is renamed when whole. Which
bytes an image becomes is decided here by the output's extension; what is in the image was
decided in `volume.py`.
"""

import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import InputError, OutputError
from deskull.image.file_names import WRITABLE, find_stem, find_suffix
from deskull.image.formats import find_voxel_files
from deskull.image.formats.dicom_header import is_dicom as is_dicom_head
from deskull.image.formats.nifti import find_unit
from deskull.image.lookup import STDIN, find_partner, is_pipe, name_partner, resolve
from deskull.image.stored import NO_EXTENSIONS, StoredArray, make_nifti, to_stored

Parts = Sequence[bytes | memoryview]

_GZIP_LEVEL = 1
_MGH_TYPES = ("uint8", "int16", "uint16", "int32", "float32")


def check_output_path(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    suffixes: Sequence[str] = WRITABLE,
) -> None:
    """Check before any work that a file can be saved at `path` without harm.

    Parameters
    ----------
    path
        Path of the file to be written; its folder is made when it is.
    inputs
        Files that must stay, under whatever name, with what belongs to them: the other file of a
        .hdr/.img pair, files that a header names for its voxels, and the JSON sidecar.
    suffixes
        Endings that the name may have; by default those of the writable image formats.

    Raises
    ------
    OutputError
        If the extension is unknown, no file can be made there, or there is an input, or a DICOM
        file, which is never an output of ours.
    """
    path = Path(path)
    try:
        _check_folder(path)
        _check_suffix(path, suffixes)
        kept = {p for given in inputs for p in _find_input_files(resolve(given)) if p.exists()}
        for target in find_files(path):
            if not target.exists():
                continue
            if any(os.path.samefile(target, p) for p in kept):
                raise OutputError(
                    f"{path}: it is an input, and an input is never replaced. Choose another name."
                )
            if is_dicom(target):
                raise OutputError(
                    f"{path}: a DICOM file, which is never replaced. Choose another name."
                )
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"{path}: cannot be written ({error.strerror}).") from error


def _find_input_files(path: Path) -> list[Path]:
    """Files that a scan is read from, and its sidecar."""
    sidecar = path.with_name(f"{find_stem(path)}.json") if path.name else path
    own = [] if _is_record(sidecar) else [sidecar]
    return [*find_files(path), *find_voxel_files(path), *own]


def _is_record(path: Path) -> bool:
    """Whether a JSON file is a record that was written here, and no sidecar of a scan."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and "deskull" in first


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, with or without the preamble."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return is_dicom_head(file.read(540))


def _check_suffix(path: Path, suffixes: Sequence[str] = WRITABLE) -> None:
    name = path.name.lower()
    if not name.endswith(tuple(suffixes)) or name in suffixes:
        near = "" if path.suffix else f" Did you mean {path.name}{suffixes[0]}?"
        raise OutputError(
            f"{path}: cannot write this kind of file; expected a name that ends in "
            f"{', '.join(suffixes)}.{near}"
        )


def _check_folder(path: Path) -> None:
    folder = path.absolute().parent
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected a file name.")
    above = next(p for p in (folder, *folder.parents) if p.exists())
    if not above.is_dir():
        raise OutputError(f"{path}: {above} is a file, and no folder. Choose another folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write in {above}. Choose another folder.")


def find_start(scan: Path) -> Path:
    """Path that the usual names of a scan's outputs begin with.

    Beside the scan; of a folder of DICOM beside the folder, or in it where beside would be outside
    of the working folder.

    Raises
    ------
    InputError
        If the scan has no name of its own.
    """
    if is_pipe(scan):
        where = "standard input" if str(scan) == STDIN else scan
        raise InputError(
            f"{where}: has no name to derive output names from; expected -o FILE or -m FILE."
        )
    if not scan.is_dir():
        return scan.with_name(find_stem(scan))
    folder = Path(os.path.abspath(scan))
    if not folder.name:
        raise InputError(f"{scan}: no folder of one scan. Name the folder of its DICOM files.")
    inside = Path(os.path.realpath(folder.parent)).is_relative_to(os.path.realpath("."))
    return folder if inside else folder / folder.name


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}). Check its name, and the space and "
            "permissions of the folder above it."
        ) from error


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """Files that an image of this name is made of: two for a .hdr/.img pair, else one."""
    path = Path(path)
    partner = find_partner(path)
    return [path] if partner is None else [path, partner]


class Transaction:
    """Files that appear under their names together, at the end of a ``with``, or not at all.

    They are written under temporary names in the same folders and renamed when all are whole.
    Folders that are missing are made, and taken away again if nothing comes of it.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Path, Path]] = []
        self._made: list[Path] = []

    def write(self, path: Path, parts: Parts, compress: bool) -> None:
        """Write a file under its temporary name.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self._make_folder(path.parent)
        part = path.with_name(f".deskull-{os.getpid()}-{secrets.token_hex(8)}.part")
        self._pending.append((part, path))
        try:
            _write(part, parts, compress)
        except OSError as error:
            raise _explain(error, path) from error

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            above = (folder, *folder.parents)
            self._made = [p for p in above if not p.exists()] + self._made
            make_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            for part, path in self._pending if kind is None else ():
                try:
                    part.replace(path)
                except OSError as error:
                    raise _explain(error, path) from error
        finally:
            for part, _ in self._pending:
                with suppress(OSError):
                    part.unlink()
            for folder in self._made:
                with suppress(OSError):  # it holds the outputs
                    folder.rmdir()


def _explain(error: OSError, path: Path) -> OutputError:
    return OutputError(
        f"{path}: not written ({error.strerror or error}). "
        "Check space and permissions of its folder."
    )


def save_image(
    image: SpatialImage, path: str | os.PathLike[str], transaction: Transaction | None = None
) -> None:
    """Write an image, NIfTI or MGH by the extension of `path`, whole or not at all.

    Equal images give equal bytes. The headers of NIfTI and MGH images are written as they
    are; from one format to the other, and from others, a header is made from the affine.

    Parameters
    ----------
    image
        Image to write.
    path
        Path of the file.
    transaction
        Open transaction of files that appear together with this one; None for a file by itself.

    Raises
    ------
    OutputError
        If the extension is unknown or the file cannot be written; an older file then stays.
    """
    path = Path(path)
    _check_suffix(path)
    with nullcontext(transaction) if transaction else Transaction() as together:
        for file, parts in _encode(image, path):
            together.write(file, parts, file.name.lower().endswith((".gz", ".mgz")))


def save_bytes(
    data: bytes, path: str | os.PathLike[str], transaction: Transaction | None = None
) -> None:
    """Write bytes, such as JSON or PNG, whole or not at all.

    Parameters
    ----------
    data
        Content of the file.
    path
        Path of the file.
    transaction
        Open transaction of files that appear together with this one; None for a file by itself.

    Raises
    ------
    OutputError
        If the file cannot be written; an older file then stays.
    """
    path = Path(path)
    _check_folder(path)
    with nullcontext(transaction) if transaction else Transaction() as together:
        together.write(path, [data], compress=False)


def _encode(image: SpatialImage, path: Path) -> list[tuple[Path, Parts]]:
    """Files that an image becomes, and their bytes; of a pair the header comes last."""
    suffix = find_suffix(path)
    if suffix in (".mgh", ".mgz"):
        return [(path, _encode_mgh(image))]
    if not isinstance(image, nib.Nifti1Pair):
        image = make_nifti(to_stored(image), image.affine)
    partner = name_partner(path)
    head, voxels = _encode_nifti(image, is_pair=partner is not None)
    if partner is None:
        return [(path, [head, voxels])]
    files = [path, partner] if suffix == ".img" else [partner, path]
    return list(zip(files, ([voxels], [head]), strict=True))


def _encode_nifti(image: SpatialImage, is_pair: bool) -> tuple[bytes, memoryview]:
    """Header with extensions, and voxels."""
    stored = to_stored(image)
    header: Any = image.header.copy()
    if header.get_data_dtype().newbyteorder("=") != stored.dtype.newbyteorder("="):
        header.set_data_dtype(stored.dtype.newbyteorder("="))
    lead = stored.lead or NO_EXTENSIONS
    header["magic"] = header.pair_magic if is_pair else header.single_magic
    header["vox_offset"] = 0 if is_pair else len(header.binaryblock) + len(lead)
    header["scl_slope"], header["scl_inter"] = stored.slope, stored.inter
    voxels = stored.raw.astype(header.get_data_dtype(), copy=False)
    return header.binaryblock + lead, _to_bytes(voxels)


def _encode_mgh(image: SpatialImage) -> Parts:
    """Header, voxels, and footer with tags."""
    stored = to_stored(image)
    raw = _to_mgh_type(stored)
    kind: Any = nib.MGHImage
    tail = b""
    if isinstance(image, kind):
        header, tail = image.header.copy(), stored.tail
        header.set_data_dtype(raw.dtype)
    else:
        affine = np.array(image.affine, dtype=np.float64)
        affine[:3] *= find_unit(image.header, image.shape, affine)[0]  # MGH knows mm alone
        header = kind(raw, affine).header
    file = BytesIO()
    header.writehdr_to(file)
    head = file.getvalue().ljust(header.get_data_offset(), b"\0")
    footer = header.binaryblock[-header._ftrdtype.itemsize :]
    return [head, _to_bytes(raw.astype(raw.dtype.newbyteorder(">"), copy=False)), footer + tail]


def _to_mgh_type(stored: StoredArray) -> NDArray[Any]:
    """Voxels in a type that MGH has, the nearest without loss if there is one."""
    raw = stored.raw
    if stored.scaling != (1.0, 0.0):
        return _to_float32(np.asarray(stored))
    if raw.dtype.name in _MGH_TYPES:
        return raw
    if raw.dtype == np.int8:
        return raw.astype(np.int16)
    limits = np.iinfo(np.int32)
    if raw.dtype.kind in "iu" and raw.min() >= limits.min and raw.max() <= limits.max:
        return raw.astype(np.int32)
    return _to_float32(raw)


def _to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Cast; what float32 cannot hold becomes Inf."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _to_bytes(voxels: NDArray[Any]) -> memoryview:
    """Bytes in the order of the file: the first axis runs fastest."""
    return np.ascontiguousarray(voxels.reshape(-1, order="F")).view(np.uint8).data


def _write(path: Path, parts: Parts, compress: bool) -> None:
    """Write parts one after the other; gzip carries neither time nor name."""
    with path.open("xb") as file:
        if not compress:
            file.writelines(parts)
            return
        with _open_gzip()("", "wb", _GZIP_LEVEL, fileobj=file, mtime=0) as zipped:
            for part in parts:
                zipped.write(part)


def _open_gzip() -> Callable[..., Any]:
    """Class that writes gzip: isal's, or the slower one of the standard library."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.GzipFile
    kind: Callable[..., Any] = igzip.IGzipFile
    return kind
