"""One mask put on other images of the same participant, lying in the same space."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull.errors import EmptyMaskError, ImageFileError, MaskFileError
from deskull.image.formats import open_image
from deskull.image.grid import (
    Grid,
    Shape,
    find_box,
    from_canonical_array,
    make_ras_grid,
    to_canonical_array,
)
from deskull.image.resample import resample
from deskull.image.volume import Volume, count_frames, make_volume
from deskull.measure.placement import find_displacement, find_misplaced
from deskull.measure.score import Quality, judge
from deskull.measure.traits import measure_mask_traits
from deskull.prepare.conform import conform
from deskull.prepare.intensity import make_finite, normalise
from deskull.prepare.postprocess import make_signed_distance

FAR = 1e3  # mm; what lies outside of the mask's field is outside of the brain
WINDOW: Shape = (96, 112, 96)
WINDOW_MM = 2.0
"""Where a mask is judged: voxels and their edge, as in the window of the default weights."""


def load_mask(path: str | Path, grid: Grid | None = None) -> Volume:
    """Load a mask, or a probability.

    Parameters
    ----------
    path
        Path of the mask.
    grid
        Grid to the axes of which it is turned, as `turn_mask` does.

    Raises
    ------
    MaskFileError
        If its values are neither 0 and one other nor about 0 to 1.
    ImageFileError
        If it cannot be read, or has several frames.
    """
    image, name = open_image(path), Path(path).name
    frames = count_frames(image)
    if frames > 1:
        raise ImageFileError(f"{name}: a mask of {frames} frames; expected a 3D mask.")
    mask = make_volume(image, name, checked=False)
    mask = replace(mask, data=np.nan_to_num(mask.data, posinf=0.0, neginf=0.0))
    values = mask.data
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise MaskFileError(f"{name}: every voxel is {low:g}; expected a mask, 1 in the brain.")
    if low >= -0.5 and high <= 1.5:  # a mask brought here by a spline overshoots
        return mask if grid is None else turn_mask(mask, grid)
    if low == 0 and ((values == low) | (values == high)).all():
        mask = replace(mask, data=(mask.data == high).astype(np.float32))
        return mask if grid is None else turn_mask(mask, grid)
    raise MaskFileError(
        f"{name}: not a mask, its values range from {low:g} to {high:g}; expected 0 and 1, or a "
        "probability."
    )


def turn_mask(mask: Volume, grid: Grid) -> Volume:
    """Turn a mask to the axes of a grid with the same voxels; on others it stays as it is.

    A mask made before its scan was turned to RAS+, or after, thus fits voxel by voxel.

    Examples
    --------
    >>> from deskull.demo import load_demo
    >>> head, truth = load_demo()
    >>> turn_mask(truth, head.grid) is truth
    True
    """
    canonical = mask.grid.canonical()
    if mask.grid.matches(grid) or not canonical.matches(grid.canonical()):
        return mask
    data = from_canonical_array(to_canonical_array(mask.data, mask.grid), grid)
    return replace(mask, data=data, grid=grid)


def find_brain(mask: Volume, grid: Grid, name: str) -> NDArray[np.bool_]:
    """Bring a mask onto the grid of another image that it is co-registered with.

    On another grid the mask's signed distance is interpolated, never the mask.

    Parameters
    ----------
    mask
        Brain where above one half.
    grid
        Grid of the image onto which the mask is brought.
    name
        Name of the image in messages.

    Returns
    -------
    NDArray
        ``grid.shape``, bool.

    Raises
    ------
    EmptyMaskError
        If no voxel of the image is brain.

    Examples
    --------
    >>> from deskull.demo import load_demo
    >>> head, truth = load_demo()
    >>> brain = find_brain(truth, head.grid, head.name)
    >>> brain.shape == head.grid.shape
    True
    """
    inside = np.nan_to_num(mask.data) > 0.5
    if inside.any() and not mask.grid.matches(grid):
        distance = make_signed_distance(inside, mask.grid.voxel_size).clip(-FAR, FAR)
        inside = resample(distance, mask.grid, grid, fill=FAR) < 0
    if not inside.any():
        raise EmptyMaskError(
            f"{mask.name}: no brain within the field of {name}. Check that the two are "
            "co-registered: their "
            f"centres lie {np.linalg.norm(mask.grid.centre - grid.centre):.0f} mm apart."
        )
    return inside


def judge_mask(volume: Volume, mask: NDArray[np.bool_]) -> Quality:
    """Judge a mask that no network drew on this scan, such as that of another contrast.

    Brightness, form and field are judged as for a stripped scan, and whether the mask lies on
    this scan's brain; how sure a network is cannot be, so a score of 100 says less here.

    Parameters
    ----------
    volume
        Scan, as loaded.
    mask
        Mask on the scan's grid, (X, Y, Z) bool, with at least one voxel inside; `find_brain`
        brings it there.

    Examples
    --------
    >>> from deskull.demo import load_demo
    >>> head, truth = load_demo()
    >>> judge_mask(head, truth.data > 0.5).flags
    []
    """
    data, air = make_finite(volume.data, volume.grid)
    box = find_box(mask)
    middle = volume.grid.to_mm([(edge.start + edge.stop - 1) / 2 for edge in box])
    window = make_ras_grid(middle, WINDOW, WINDOW_MM)
    image = normalise(conform(data, volume.grid, window, fill=air))
    share = mask.astype(np.float32)
    inside = resample(share, volume.grid, window, fill=0.0) > 0.5
    traits = measure_mask_traits(image, inside, WINDOW_MM)
    misplaced = find_misplaced(find_displacement(image, inside, WINDOW_MM))
    others = [misplaced] if misplaced else []
    return judge(volume, mask, share, traits, others=others)
