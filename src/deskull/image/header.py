"""What the header of an image file promises, without a look at its voxels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from deskull.image.formats.nifti import find_unit


@dataclass(frozen=True, eq=False)
class Header:
    """Size of an image before it is read.

    Parameters
    ----------
    shape
        Voxels along each axis, frames included.
    itemsize
        Bytes of one stored voxel.
    voxel_size
        Millimetres along the first three axes.
    affine
        Voxel index to RAS+ mm, (4, 4).
    """

    shape: tuple[int, ...]
    itemsize: int
    voxel_size: tuple[float, float, float]
    affine: NDArray[np.float64]


def peek(path: str | os.PathLike[str]) -> Header | None:
    """Read the header of a NIfTI, MGH or MINC file.

    Returns
    -------
    Header or None
        None of another format or a file that cannot be read: its reader says why, later.
    """
    try:
        image: Any = nib.load(Path(path))
        factor = find_unit(image.header, image.shape, image.affine)[0]
        x, y, z = (factor * float(n) for n in nib.affines.voxel_sizes(image.affine)[:3])
        affine = np.array(image.affine, dtype=np.float64)
        affine[:3] *= factor
        size = np.dtype(image.get_data_dtype()).itemsize
        return Header(tuple(image.shape), size, (x, y, z), affine)
    except Exception:  # whatever a format's own library raises
        return None
