"""Readers for formats without a NIfTI or MGH header: Analyze, NRRD, MetaImage, MINC.

Each turns its file into a NIfTI-1 image made from the voxels and the affine in RAS+ mm.
Called by `formats.py`, which also wraps what the libraries used here raise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.stored import StoredArray, check_promise, make_nifti

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_NRRD_SPACES = {
    "right-anterior-superior": np.eye(3),
    "ras": np.eye(3),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0]),
}
"""To RAS+; a space that is not named here is taken as LPS, as ITK does."""

_NRRD_COLOURS = ("complex", "color", "quaternion", "vector", "matrix", "normal", "gradient")


def read_analyze(path: Path) -> SpatialImage:
    """Read an Analyze 7.5 or SPM pair with nibabel; a .mat beside it gives the affine."""
    image: Any = nib.Spm2AnalyzeImage.from_filename(path)
    dtype = image.header.get_data_dtype()
    check_promise(image.shape, dtype, path.name)
    raw = np.array(image.dataobj.get_unscaled())
    stored = StoredArray(raw, image.dataobj.slope, image.dataobj.inter)
    return make_nifti(stored, image.affine, path.name)


def read_nrrd(path: Path) -> SpatialImage:
    """Read NRRD, data attached or beside it; the axes of space come first, frames last."""
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(file)
        sizes = tuple(int(n) for n in header["sizes"])
        check_promise(sizes, np.dtype(np.uint8), path.name)
        raw = nrrd.read_data(header, file, str(path))
    kinds = [str(kind).lower() for kind in header.get("kinds", ())]
    colours = [kind for kind in kinds if any(word in kind for word in _NRRD_COLOURS)]
    if colours:
        raise ImageFileError(
            f"{path.name}: an axis of kind {colours[0]}; expected one real number a voxel. "
            "Convert it to a scalar image first."
        )
    check_promise(raw.shape, raw.dtype, path.name)
    axes, affine = _nrrd_affine(header, raw.ndim, path.name)
    frames = [axis for axis in range(raw.ndim) if axis not in axes]
    return make_nifti(StoredArray(raw.transpose(*axes, *frames)), affine, path.name)


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
    """Read MetaImage with SimpleITK, from LPS to RAS."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    types = ("UInt8", "Int8", "UInt16", "Int16", "UInt32", "Int32", "UInt64", "Int64")
    known = {getattr(sitk, f"sitk{t}"): t.lower() for t in (*types, "Float32", "Float64")}
    if reader.GetPixelID() not in known:
        what = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise ImageFileError(
            f"{path.name}: voxels of type {what}; expected one real number each. "
            "Convert it to a scalar image first."
        )
    ndim = reader.GetDimension()
    if ndim < 3:
        raise ImageFileError(f"{path.name}: {ndim} dimensions {reader.GetSize()}; expected 3.")
    check_promise(tuple(reader.GetSize()), np.dtype(known[reader.GetPixelID()]), path.name)
    image = reader.Execute()
    return make_nifti(StoredArray(sitk.GetArrayFromImage(image).T), _itk_affine(image), path.name)


def _itk_affine(image: Any) -> NDArray[np.float64]:
    ndim = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (ndim, ndim))[:3, :3]
    columns = direction * np.asarray(image.GetSpacing()[:3])
    origin = np.asarray(image.GetOrigin()[:3])
    return _make_affine(_LPS_TO_RAS @ columns, _LPS_TO_RAS @ origin)


def _make_affine(columns: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = origin
    return affine


def read_minc(path: Path) -> SpatialImage:
    """Read MINC 1 or 2 with nibabel, as float32 since every slice may have its own scaling."""
    with path.open("rb") as file:
        is_hdf5 = file.read(4) == b"\x89HDF"
    kind: Any = nib.Minc2Image if is_hdf5 else nib.Minc1Image
    image = kind.from_filename(path)
    check_promise(image.shape, image.get_data_dtype(), path.name)
    values = np.asarray(image.dataobj).astype(np.float32)
    names: Sequence[str] = image.dataobj.minc_file._dim_names
    if is_hdf5:
        image.dataobj.minc_file._mincfile.close()
    axes = [axis for axis, name in enumerate(names) if str(name).endswith("space")]
    frames = [axis for axis in range(values.ndim) if axis not in axes]
    return make_nifti(StoredArray(values.transpose(*axes, *frames)), image.affine, path.name)
