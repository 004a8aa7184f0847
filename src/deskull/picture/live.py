"""A scan and its mask as a live widget for notebooks, drawn by ipyniivue (extra ``notebook``)."""

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError, explain_missing

OPACITY = 0.4
"""Of the mask over the scan."""


def make_widget(
    data: NDArray[np.float32], mask: NDArray[np.bool_], affine: NDArray[np.float64]
) -> object:
    """Make the widget: three planes and 3D, the mask in red over the scan.

    Parameters
    ----------
    data, mask
        Intensities and mask on one grid, (X, Y, Z).
    affine
        Affine of that grid, (4, 4).

    Raises
    ------
    InputError
        If ipyniivue is missing.
    """
    try:
        from ipyniivue import NiiVue
    except ImportError as error:
        raise InputError(explain_missing("ipyniivue")) from error
    low, high = np.nanpercentile(data, (2, 99.5))
    scan = {"name": "scan.nii", "data": _encode(data, affine)}
    over = {"name": "mask.nii", "data": _encode(mask.astype(np.uint8), affine)}
    widget = NiiVue(back_color=(0, 0, 0, 1))
    widget.load_volumes(
        [
            {**scan, "cal_min": float(low), "cal_max": float(high), "colorbar_visible": False},
            {**over, "colormap": "red", "opacity": OPACITY, "colorbar_visible": False},
        ]
    )
    return widget


def _encode(data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    content: bytes = nib.Nifti1Image(data, affine).to_bytes()
    return content
