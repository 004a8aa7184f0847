"""Scans and masks as a page sees them, their axes nearest to RAS+, and as it sends them back."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from deskull.errors import EmptyMaskError, GeometryError, InputError
from deskull.image.derived import make_mask_image
from deskull.image.grid import from_canonical_array, to_canonical_array
from deskull.image.volume import Volume
from deskull.image.writing import save_image


def encode_scan(volume: Volume) -> bytes:
    """Encode the scan as the NIfTI file that a page shows: axes nearest to RAS+, 16 bits.

    An oblique scan is shown in its own planes, so that the voxels of a drawing are its own.
    """
    data = to_canonical_array(volume.data, volume.grid)
    finite = data[np.isfinite(data)]
    low, high = float(finite.min()), float(finite.max())
    slope = (high - low) / 65534 or 1.0
    scaled = np.nan_to_num((data - low) / slope, nan=0, posinf=65534, neginf=0) - 32767
    affine = np.diag([*volume.grid.canonical().voxel_size, 1.0])
    affine[:3, 3] = -np.diag(affine)[:3] * (np.array(data.shape) - 1) / 2
    image = nib.Nifti1Image(np.round(scaled).astype(np.int16), affine)
    image.header.set_slope_inter(slope, low + 32767 * slope)
    content: bytes = image.to_bytes()
    return content


def encode_mask(mask: NDArray[np.bool_], volume: Volume) -> bytes:
    """Encode a mask for the page: one byte per voxel, x fastest, axes nearest to RAS+."""
    return to_canonical_array(mask.astype(np.uint8), volume.grid).tobytes(order="F")


def decode_mask(content: bytes, volume: Volume) -> NDArray[np.bool_]:
    """Decode a mask that a page sends, onto the scan's grid.

    Raises
    ------
    GeometryError
        If its number of voxels is not that of the scan.
    EmptyMaskError
        If the mask is empty.
    InputError
        If the mask fills the whole scan.
    """
    shape = volume.grid.canonical().shape
    if len(content) != math.prod(shape):
        raise GeometryError(
            f"{volume.name}: a mask of {len(content)} voxels; expected {math.prod(shape)}."
        )
    drawn = np.frombuffer(content, np.uint8).reshape(shape, order="F") > 0
    if not drawn.any():
        raise EmptyMaskError(f"{volume.name}: the mask is empty. Draw the brain first.")
    if drawn.all():
        raise InputError(f"{volume.name}: the mask fills the whole scan; expected a brain.")
    return from_canonical_array(drawn, volume.grid)


def encode_file(mask: NDArray[np.bool_], volume: Volume) -> bytes:
    """Encode a mask as a ``.nii.gz`` file with the header of the scan."""
    with TemporaryDirectory(prefix="deskull-") as folder:
        path = Path(folder) / "mask.nii.gz"
        save_image(make_mask_image(mask, volume.source), path)
        return path.read_bytes()
