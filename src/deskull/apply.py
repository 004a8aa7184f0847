"""One mask put on other images of the same person, lying in the same space."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import EmptyMaskError, ImageFileError
from deskull.image.formats import open_image
from deskull.image.geometry import Grid
from deskull.image.resample import resample
from deskull.image.volume import Volume, count_frames, make_brain_image, make_grid, make_volume
from deskull.prepare.postprocess import make_signed_distance

FAR = 1e3  # mm; what lies outside of the mask's field is outside of the brain


def load_mask(path: str | Path) -> Volume:
    """Load a mask, or a probability.

    Raises
    ------
    ImageFileError
        If its values are neither 0 and one other nor about 0 to 1, or it has several frames.
    """
    image, name = open_image(path), Path(path).name
    frames = count_frames(image)
    if frames > 1:
        raise ImageFileError(f"{name}: a mask of {frames} frames; expected a 3D mask.")
    mask = make_volume(image, name)
    values = mask.data[np.isfinite(mask.data)]
    low, high = float(values.min()), float(values.max())
    if low >= -0.5 and high <= 1.5:  # a mask brought here by a spline overshoots
        return mask
    if low == 0 and ((values == low) | (values == high)).all():
        return replace(mask, data=(mask.data == high).astype(np.float32))
    raise ImageFileError(
        f"{name}: no mask, its values go from {low:g} to {high:g}; expected 0 and 1, or a "
        "probability. The mask comes first: deskull apply MASK IMAGE..."
    )


def apply_mask(mask: Volume, image: SpatialImage, name: str, fill: float = 0.0) -> SpatialImage:
    """Strip an image with the mask of another scan that it is co-registered with.

    On another grid the mask's signed distance is interpolated, never the mask.

    Parameters
    ----------
    mask
        Brain where above one half.
    image
        3D or 4D, any grid; all frames get the same mask.
    name
        What messages call it.
    fill
        Intensity outside of the brain.

    Raises
    ------
    EmptyMaskError
        If no voxel of the image is brain.
    """
    brain = find_brain(mask, make_grid(image, name), name)
    frame = None if count_frames(image) > 1 else 0
    return make_brain_image(brain, image, fill, frame)


def find_brain(mask: Volume, grid: Grid, name: str) -> NDArray[np.bool_]:
    """Bring a mask onto another grid.

    Returns
    -------
    NDArray
        ``grid.shape``, bool.
    """
    inside = np.nan_to_num(mask.data) > 0.5
    if inside.any() and not mask.grid.matches(grid):
        distance = make_signed_distance(inside, mask.grid.voxel_size)
        inside = resample(distance, mask.grid, grid, fill=FAR) < 0
    if not inside.any():
        raise EmptyMaskError(
            f"{mask.name}: no brain within the field of {name}. Are the two co-registered? Their "
            f"middles lie {np.linalg.norm(mask.grid.centre - grid.centre):.0f} mm apart."
        )
    return inside
