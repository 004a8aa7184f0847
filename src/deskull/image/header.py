"""What the header of an image file promises, without a look at its voxels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from deskull.image.units import find_unit


@dataclass(frozen=True)
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
    """

    shape: tuple[int, ...]
    itemsize: int
    voxel_size: tuple[float, float, float]


def peek(path: str | os.PathLike[str]) -> Header | None:
    """Read the header of a NIfTI, MGH or MINC file.

    Returns
    -------
    Header or None
        None of another format or a file that cannot be read: its reader says why, later.
    """
    try:
        image: Any = nib.load(Path(path))
        factor = find_unit(image)[0]
        x, y, z = (factor * float(n) for n in nib.affines.voxel_sizes(image.affine)[:3])
        return Header(tuple(image.shape), np.dtype(image.get_data_dtype()).itemsize, (x, y, z))
    except Exception:  # whatever a format's own library raises
        return None
