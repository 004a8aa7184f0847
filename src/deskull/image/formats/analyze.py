"""Analyze 7.5 and SPM pairs, with nibabel."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from deskull.errors import GeometryError, ImageFileError
from deskull.image.file_names import find_stem
from deskull.image.lookup import find_partner
from deskull.image.stored import SILENT, StoredArray, check_promise, make_nifti
from deskull.image.streams import find_end, open_stream, read_exactly, read_voxels

_MAX_MAT = 1024**2
_UNPLACED = "Analyze has no orientation, and there is no .mat file beside it; axes assumed to be"

_MINUS = "a voxel size is negative; the minus sign was ignored:"


class _AnalyzeHeader(nib.Spm2AnalyzeHeader):
    """A header that nibabel mends without a word."""

    def check_fix(self, *_: Any, **__: Any) -> None:
        mend: Any = super().check_fix
        mend(logger=SILENT, error_level=1000)


class _AnalyzeImage(nib.Spm2AnalyzeImage):
    header_class = _AnalyzeHeader


def read_analyze(path: Path) -> SpatialImage:
    """Read an Analyze 7.5 or SPM pair by its header; a .mat beside it gives the affine."""
    name, voxels = path.name, find_partner(path)
    assert voxels is not None  # its reader was chosen by its suffix
    with open_stream(path) as stream:
        block = read_exactly(stream, _AnalyzeHeader.sizeof_hdr, name).tobytes()
    kind: Any = _AnalyzeImage
    sizes = [float(size) for size in kind.header_class(block, check=False)["pixdim"][1:4]]
    mat = voxels.with_name(find_stem(voxels) + ".mat")
    if not mat.is_file() and not all(0 < abs(size) < np.inf for size in sizes):
        raise GeometryError(f"{name}: voxel size {sizes}; expected numbers above zero.")
    files = {"header": BytesIO(block), "image": BytesIO(), "mat": BytesIO(_read_mat(mat))}
    held = {key: nib.FileHolder(fileobj=file) for key, file in files.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scipy only warns of a .mat in numbers that it cannot read
        image: Any = kind.from_file_map(held)
    dtype = image.header.get_data_dtype()
    check_promise(image.shape, dtype, name)
    with open_stream(voxels) as stream:
        stream.seek(image.dataobj.offset)
        raw = read_voxels(stream, image.shape, dtype, name)
        end = find_end(stream)
    codes = "".join(nib.orientations.aff2axcodes(image.affine))
    placed = "" if mat.is_file() else f"{_UNPLACED} {codes}"
    minus = "" if mat.is_file() or min(sizes) > 0 else f"{_MINUS} {sizes}"
    notes = filter(None, [end, placed, minus])
    stored = StoredArray(raw, image.dataobj.slope, image.dataobj.inter, notes=list(notes))
    return make_nifti(stored, image.affine, name)


def _read_mat(path: Path) -> bytes:
    if not path.is_file():
        return b""
    if path.stat().st_size > _MAX_MAT:
        raise ImageFileError(f"{path.name}: {path.stat().st_size} bytes; expected one matrix.")
    return path.read_bytes()
