"""MINC 1 and 2, with nibabel."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from deskull.errors import ImageFileError, explain_missing
from deskull.image.stored import UNSIZED, StoredArray, check_promise, make_nifti


def read_minc(path: Path) -> SpatialImage:
    """Read MINC 1 or 2 with nibabel, as float32 since every slice may have its own scaling."""
    with path.open("rb") as file:
        is_hdf5 = file.read(4) == b"\x89HDF"
    if is_hdf5:
        _check_hdf5(path.name)
        with warnings.catch_warnings():  # some writers garble the word for even spacing
            warnings.filterwarnings("ignore", "Invalid spacing declaration")
            holder = nib.FileHolder(filename=str(path))
            image: Any = nib.Minc2Image.from_file_map({"image": holder})
    else:  # from memory, or a damaged header has nibabel ask for any number of bytes
        holder = nib.FileHolder(fileobj=BytesIO(path.read_bytes()))
        image = nib.Minc1Image.from_file_map({"image": holder})
    held = path.stat().st_size
    check_promise(image.shape, image.get_data_dtype(), path.name, held)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite
        values = np.asarray(image.dataobj).astype(np.float32)
    minc = image.dataobj.minc_file
    names: Sequence[str] = minc._dim_names
    sized = [hasattr(dim, "step") for dim in minc._dims]
    if is_hdf5:
        minc._mincfile.close()
    axes = [axis for axis, name in enumerate(names) if str(name).endswith("space")]
    frames = [axis for axis in range(values.ndim) if axis not in axes]
    notes = [] if all(sized[axis] for axis in axes) else [UNSIZED]
    stored = StoredArray(values.transpose(*axes, *frames), notes=notes)
    return make_nifti(stored, image.affine, path.name)


def _check_hdf5(name: str) -> None:
    """Check for what nibabel needs to read MINC 2, and does not name."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise ImageFileError(f"{name}: MINC 2 is HDF5, and {explain_missing('h5py')}") from error
