"""Pairs: a scan and its reference mask, prepared once for a recipe, and used many times.

The mask's surface may be moved by a border, so that masks of another convention teach the same
one. Examples are made from prepared heads in `examples.py`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.grid import Grid, find_box, make_ras_grid, to_canonical_array
from deskull.image.resample import resample
from deskull.image.volume import Volume
from deskull.prepare.bias import correct_bias
from deskull.prepare.conform import find_head_centres, make_window, measure_extent
from deskull.prepare.intensity import make_finite
from deskull.prepare.postprocess import make_signed_distance, move_border
from deskull.train.recipe import Recipe

FIELD_MM = 300.0
"""Edge of the field kept about the brain: enough for any pose of a window."""

FINE = 0.75
"""Voxel size of a head that will be posed, relative to that of the window."""

MIN_WITHIN = 0.1
"""Smallest share of a mask that lies in the scan's field of view: a slab shows part of a brain."""

FITTED_FINE_MM, FITTED_FIELD_MM = 1.25, 256.0
"""Smallest voxel size, and field, of a head that will be posed where the window is fitted."""


@dataclass(frozen=True, eq=False)
class RealHead:
    """A scan with its reference mask, on the grid that training needs.

    Parameters
    ----------
    participant
        Name of the participant.
    name
        File name of the scan.
    channels
        Intensities (brain about 1) and share of brain, (2, X, Y, Z), float32, or float16 if the
        head will be posed; the centre of the array is that of the window, or the voxel nearest
        to it where the scan's own voxels are kept.
    extent
        Extent of the brain along x, y, z in mm, (3,), as from `measure_extent`.
    voxel_size
        Isotropic voxel size in mm.
    """

    participant: str
    name: str
    channels: NDArray[np.floating[Any]]
    extent: NDArray[np.float64]
    voxel_size: float


def make_real_head(
    image: Volume, mask: Volume, recipe: Recipe, participant: str = "", border: float = 0.0
) -> RealHead:
    """Prepare a pair as a recipe asks for: bias correction, grid, scaling.

    Parameters
    ----------
    image, mask
        Scan and mask in the same space; their grids may differ.
    recipe
        Recipe with the window and the preparation.
    participant
        Name of the participant.
    border
        Distance in mm by which the mask's surface is moved; plus grows, 0 leaves it.

    Raises
    ------
    ImageFileError
        If the mask is empty, nothing of it is left by the border, or it lies elsewhere than the
        scan.
    """
    given = np.asarray(mask.data > 0.5)
    if not given.any():
        raise ImageFileError(f"{mask.name}: an empty mask; expected the brain.")
    inside = move_border(given, mask.grid.voxel_size, border)
    if not inside.any():
        raise ImageFileError(f"{mask.name}: empty with a border of {border:g} mm.")
    data, air = make_finite(image.data, image.grid)
    bias = recipe.preparation.n4
    if bias is not None:
        data = correct_bias(data, image.grid.voxel_size, bias)[0]
    brain_ras = to_canonical_array(inside, mask.grid)
    _check_place(inside, mask, image)
    extent = measure_extent(brain_ras, mask.grid.canonical())[1]
    grid = _choose_grid(data, image.grid, inside, mask.grid, recipe, extent)
    soft = recipe.preparation.soft_masks
    if border:
        brain = _resample_moved(given, mask.grid, grid, border, soft)
    else:
        brain = resample(given.astype(np.float32), mask.grid, grid, order=1 if soft else 0)
    intensities = resample(data - np.float32(air), image.grid, grid)
    top = float(np.percentile(intensities[brain > 0.5], 95)) if (brain > 0.5).any() else 1.0
    channels = np.stack([np.clip(intensities / (top or 1.0), 0, 10), brain])
    if not recipe.augment.keeps_pose:
        channels = channels.astype(np.float16)
    return RealHead(participant, image.name, channels, extent, grid.voxel_size[0])


def describe_preparation(recipe: Recipe) -> dict[str, Any]:
    """Return all that a prepared head depends on besides its files, ready for JSON."""
    return {
        "window": asdict(recipe.window),
        "preparation": asdict(recipe.preparation),
        "keeps_pose": recipe.augment.keeps_pose,
        "fine": [FINE, FITTED_FINE_MM],
        "field_mm": [FIELD_MM, FITTED_FIELD_MM],
    }


def _check_place(inside: NDArray[np.bool_], mask: Volume, image: Volume) -> None:
    """Check that a mask lies in the field of view of its scan, at least in part."""
    points = np.argwhere(inside)
    points = points[:: max(1, len(points) // 1000)]
    index = image.grid.to_index(mask.grid.to_mm(points))
    within = ((index > -0.5) & (index < np.array(image.grid.shape) - 0.5)).all(axis=1)
    if within.mean() < MIN_WITHIN:
        raise ImageFileError(
            f"{mask.name}: does not lie on {image.name} ({within.mean():.0%} of it in the field "
            "of view); expected the mask of this scan, in its space."
        )


def _resample_moved(
    mask: NDArray[np.bool_], source: Grid, grid: Grid, border: float, soft: bool
) -> NDArray[np.float32]:
    """Move a mask's surface by a border, and resample it by its signed distance.

    The share of brain falls from 1 to 0 over one voxel of the mask, as where a mask is
    resampled linearly; so borders of a fraction of a voxel count as well.
    """
    width = float(np.mean(source.voxel_size))
    reach = abs(border) + 2 * max(source.voxel_size)
    box = find_box(mask, margin=int(np.ceil(reach / min(source.voxel_size))) + 1)
    distance = make_signed_distance(mask[box], source.voxel_size).clip(-reach, reach)
    distance = resample(distance, source.crop(box), grid, fill=reach)
    share = find_share(distance, border, width)
    return np.asarray(share if soft else share > 0.5, np.float32)


def find_share(distance: NDArray[np.float32], border: float, width: float) -> NDArray[np.float32]:
    """Find the share of each voxel that lies inside a surface moved by a border.

    Parameters
    ----------
    distance
        Signed distance of each voxel's centre to the surface in mm, negative inside; any shape.
    border
        Distance in mm by which the surface is moved; plus grows.
    width
        Edge of a voxel in mm, over which the share falls from 1 to 0.

    Examples
    --------
    >>> find_share(np.array([-2.0, 0.0, 0.5], np.float32), border=0.0, width=1.0).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.asarray(np.clip(0.5 - (distance - border) / width, 0, 1))


def _choose_grid(
    data: NDArray[np.float32],
    grid: Grid,
    inside: NDArray[np.bool_],
    mask_grid: Grid,
    recipe: Recipe,
    extent: NDArray[np.float64],
) -> Grid:
    """Choose the window itself if heads keep their pose, else a finer, larger field about it.

    Where the window is fitted, masks are soft, and the scan's voxels are upright cubes of
    `FITTED_FINE_MM` or more, they are kept as they are: an example is then resampled once, as a
    scan to be stripped is.
    """
    window = recipe.window
    size = window.choose_voxel_size(extent)
    if recipe.preparation.centre == "head":
        centre = np.mean(find_head_centres(data, grid, size * min(window.shape)), axis=0)
    else:
        index = np.argwhere(inside)
        centre = mask_grid.to_mm((index.min(0) + index.max(0)) / 2)
    if recipe.augment.keeps_pose:
        return make_window(centre, grid, window.shape, size)
    fine, field = FINE * size, max(FIELD_MM, 1.1 * size * max(window.shape))
    if window.is_fitted:
        fine, field = FITTED_FINE_MM, FITTED_FIELD_MM
        affine = grid.canonical().affine
        own, origin = float(affine[0, 0]), affine[:3, 3]
        upright = np.allclose(affine[:3, :3], own * np.eye(3), atol=1e-3 * own)
        if recipe.preparation.soft_masks and upright and own >= fine:
            n = int(field / own) | 1  # odd: the centre is that of a voxel
            return make_ras_grid(origin + own * np.round((centre - origin) / own), (n, n, n), own)
    n = int(field / fine)
    return make_ras_grid(centre, (n, n, n), fine)
