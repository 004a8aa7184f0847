"""Readers for Analyze and MINC, with nibabel.

Each turns its file into a NIfTI-1 image made from the voxels and the affine in RAS+ mm.
Called by `formats.py`, which also wraps what the libraries used here raise.
"""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from deskull.image.stored import SILENT, StoredArray, check_promise, make_nifti


class _AnalyzeHeader(nib.Spm2AnalyzeHeader):
    """A header that nibabel mends without a word."""

    def check_fix(self, *_: Any, **__: Any) -> None:
        mend: Any = super().check_fix
        mend(logger=SILENT, error_level=1000)


class _AnalyzeImage(nib.Spm2AnalyzeImage):
    header_class = _AnalyzeHeader


def read_analyze(path: Path) -> SpatialImage:
    """Read an Analyze 7.5 or SPM pair with nibabel; a .mat beside it gives the affine."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scipy only warns of a .mat in numbers that it cannot read
        image: Any = _AnalyzeImage.from_filename(path)
    dtype = image.header.get_data_dtype()
    held = Path(image.file_map["image"].filename).stat().st_size
    check_promise(image.shape, dtype, path.name, held)
    raw = np.array(image.dataobj.get_unscaled())
    stored = StoredArray(raw, image.dataobj.slope, image.dataobj.inter)
    return make_nifti(stored, image.affine, path.name)


def read_minc(path: Path) -> SpatialImage:
    """Read MINC 1 or 2 with nibabel, as float32 since every slice may have its own scaling."""
    with path.open("rb") as file:
        is_hdf5 = file.read(4) == b"\x89HDF"
    if is_hdf5:
        with warnings.catch_warnings():  # some writers garble the word for even spacing
            warnings.filterwarnings("ignore", "Invalid spacing declaration")
            image: Any = nib.Minc2Image.from_filename(path)
    else:  # from memory, or a damaged header has nibabel ask for any number of bytes
        holder = nib.FileHolder(fileobj=BytesIO(path.read_bytes()))
        image = nib.Minc1Image.from_file_map({"image": holder})
    held = path.stat().st_size
    check_promise(image.shape, image.get_data_dtype(), path.name, held)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite
        values = np.asarray(image.dataobj).astype(np.float32)
    names: Sequence[str] = image.dataobj.minc_file._dim_names
    if is_hdf5:
        image.dataobj.minc_file._mincfile.close()
    axes = [axis for axis, name in enumerate(names) if str(name).endswith("space")]
    frames = [axis for axis in range(values.ndim) if axis not in axes]
    return make_nifti(StoredArray(values.transpose(*axes, *frames)), image.affine, path.name)
