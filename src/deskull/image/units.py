"""Millimetres, and what a header in other units means by its numbers."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

VOXEL_MM = (0.02, 50.0)  # from microscopy of specimens to a localiser's slabs
FIELD_MM = 3000.0  # a body from head to foot, and more
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # NIfTI's codes, and mm in one


def has_size_of_head(shape: Sequence[int], voxel_size: Sequence[float]) -> bool:
    """Whether voxels of so many millimetres, and a field of so many, can hold a head."""
    low, high = VOXEL_MM
    field = max(n * size for n, size in zip(shape, voxel_size, strict=True))
    return low <= min(voxel_size) and max(voxel_size) <= high and field <= FIELD_MM


def find_unit(image: SpatialImage) -> tuple[float, str]:
    """Find out in what unit an image has its affine.

    Its numbers are millimetres, as everywhere in this field, unless they can be none and its
    header names a unit in which they make sense.

    Returns
    -------
    tuple
        Millimetres in one unit; and what was assumed, empty if nothing was.
    """
    header = image.header
    code = int(header["xyzt_units"]) & 7 if isinstance(header, nib.Nifti1Header) else 2
    if code not in _UNITS or image.affine is None:
        return 1.0, ""
    name, factor = _UNITS[code]
    shape = (*image.shape, 1, 1)[:3]
    with np.errstate(all="ignore"):
        sizes = [float(size) for size in nib.affines.voxel_sizes(image.affine)]
    voxel = " x ".join(f"{size:g}" for size in sizes)
    if has_size_of_head(shape, sizes):
        return 1.0, f"its header says {name}, but voxel sizes {voxel} were read as millimetres"
    if has_size_of_head(shape, [factor * size for size in sizes]):
        return factor, f"its header is in {name}: voxel sizes {voxel} were read as {name}"
    return 1.0, ""
