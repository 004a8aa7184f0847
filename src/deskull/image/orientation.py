"""An image turned to the axes nearest to RAS+, with all that its header says of them."""

from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.image.stored import make_image, to_stored
from deskull.image.volume import to_writable


def turn_to_ras(image: SpatialImage) -> SpatialImage:
    """Turn an image to the axes nearest to RAS+, as nibabel's ``as_closest_canonical`` does.

    Stored values stay bit for bit; what a header says of axes and places is turned with them.
    """
    image = to_writable(image)
    source: Any = image
    transform = nib.orientations.io_orientation(source.affine)
    if (transform == [[0, 1], [1, 1], [2, 1]]).all():
        return image
    stored = to_stored(image)
    raw = np.asarray(nib.orientations.apply_orientation(stored.raw, transform))
    turn = nib.orientations.inv_ornt_aff(transform, stored.shape[:3])
    affine = source.affine @ turn
    if isinstance(image, nib.MGHImage):
        header = nib.MGHImage(raw, affine, source.header).header
    else:
        header = _turn_header(source.header, transform[:, 0].astype(int), turn, affine, raw.shape)
    return make_image(type(image), stored.with_raw(raw), affine, header)


def _turn_header(
    old: Any,
    targets: NDArray[np.int64],
    turn: NDArray[np.float64],
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
) -> Any:
    """Turn a NIfTI header: shape, sizes, its affines, and the axes that its scanner names.

    Parameters
    ----------
    old
        The header.
    targets
        New axis of each old one.
    turn
        New voxel index to old one, (4, 4).
    affine
        That the header shall have; one without any gets it as its sform.
    shape
        Shape of the reoriented array.
    """
    header, zooms = old.copy(), old.get_zooms()
    header.set_data_shape(shape)
    header.set_zooms([*(zooms[axis] for axis in np.argsort(targets)), *zooms[3:]])
    qform, sform = int(old["qform_code"]), int(old["sform_code"])
    try:
        if qform:
            header.set_qform(old.get_qform() @ turn, qform)
    except ValueError:  # no rotation; the sform said where voxels lie
        header["qform_code"] = qform = 0
    if sform or not qform:
        header.set_sform(old.get_sform() @ turn if sform else affine, sform or "aligned")
    named = old.get_dim_info()
    header.set_dim_info(*(None if axis is None else int(targets[axis]) for axis in named))
    return header
