"""Where two masks of a brain differ: false voxels by region of the reference's box.

The regions are simple on purpose: parts of the box that holds the reference, told apart by
height and by depth alone. They name what usually goes wrong there, not anatomy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid, find_box, to_canonical_array

REGIONS = ("neck", "eyes", "vertex", "cerebellum", "frontal", "elsewhere")
"""In the order of `find_regions`."""

NECK_TOP = 0.08
"""Height below which there is nothing but the end of the brain stem, and the neck."""

FACE_TOP, FACE_BACK = 0.45, 0.70
"""Eyes, orbits and nose lie below the one and before the other."""

VERTEX_BOTTOM = 0.80
"""Height above which all is vertex."""

CEREBELLUM_TOP, CEREBELLUM_FRONT = 0.40, 0.50
"""The cerebellum lies below the one and behind the other."""


def find_regions(height: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.intp]:
    """Tell the region of each place.

    Parameters
    ----------
    height
        0 at the lower and 1 at the upper edge of the reference's box; any shape.
    depth
        0 at the back and 1 at the front edge of the box; of the same shape.

    Returns
    -------
    NDArray
        Indices into `REGIONS`, the first that fits: the neck is below `NECK_TOP`, the eyes
        (with the rest of the face) below `FACE_TOP` and before `FACE_BACK`, the vertex above
        `VERTEX_BOTTOM`, the cerebellum below `CEREBELLUM_TOP` and behind `CEREBELLUM_FRONT`,
        and frontal is what is left before `FACE_BACK`.
    """
    front = depth > FACE_BACK
    conditions = [
        height < NECK_TOP,
        front & (height < FACE_TOP),
        height > VERTEX_BOTTOM,
        (height < CEREBELLUM_TOP) & (depth < CEREBELLUM_FRONT),
        front,
    ]
    return np.asarray(np.select(conditions, range(5), 5), np.intp)


def share_by_region(wrong: NDArray[Any], reference: NDArray[Any], grid: Grid) -> dict[str, float]:
    """Share of the wrong voxels that lies in each region.

    Parameters
    ----------
    wrong
        (X, Y, Z), nonzero where the masks differ.
    reference
        (X, Y, Z), nonzero inside; its box is what regions are parts of.
    grid
        Of both. Its axes nearest to RAS+ are up and front: a head that lies in the scanner in
        another way than its header says is cut into the wrong regions.

    Returns
    -------
    dict
        By the names of `REGIONS`, sum 1; all nan if nothing is wrong or the reference is empty.
    """
    box = find_box(to_canonical_array(reference, grid))
    by_place = np.count_nonzero(to_canonical_array(wrong, grid), axis=0)  # (Y, Z)
    if not by_place.any() or box[0].stop == box[0].start:
        return dict.fromkeys(REGIONS, float("nan"))
    depth, height = (
        (np.arange(count) + 0.5 - part.start) / (part.stop - part.start)
        for count, part in zip(by_place.shape, box[1:], strict=True)
    )
    regions = find_regions(*np.broadcast_arrays(height[None, :], depth[:, None]))
    counts = np.bincount(regions.ravel(), by_place.ravel(), minlength=len(REGIONS))
    return dict(zip(REGIONS, (counts / by_place.sum()).tolist(), strict=True))
