"""Real pairs: a scan and its reference mask, prepared once, posed and damaged many times."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from deskull.errors import ImageFileError
from deskull.image.geometry import Grid, make_ras_grid, to_canonical_array
from deskull.image.resample import resample
from deskull.image.volume import Volume
from deskull.learn.augment import (
    AugmentSettings,
    corrupt,
    cut_field,
    draw_pose,
    draw_voxel_size,
    make_points,
    remove_face,
    sample,
    uniform,
)
from deskull.learn.recipe import Recipe
from deskull.learn.synthesis import Example
from deskull.prepare.bias import BiasSettings, correct_bias
from deskull.prepare.conform import find_head_centres, make_window, measure_extent
from deskull.prepare.intensity import make_finite

FIELD_MM = 300.0  # of a head kept about its brain, enough for any pose of a window
FINE = 0.75  # voxels of a head that will be posed, in those of the window
FITTED_FINE_MM, FITTED_FIELD_MM = 1.25, 256.0  # the same where the window is fitted
WORST_SCAN = 0.6  # real scans have had their own bad day: damage them less than painted ones


@dataclass(frozen=True, eq=False)
class RealHead:
    """A scan with its reference mask on the grid that training needs.

    Parameters
    ----------
    person
        Whose head.
    name
        File name of the scan.
    channels
        Image (brain about 1) and share of brain, (2, X, Y, Z) float32, or float16 if it will be
        posed; the window's middle is the array's.
    extent
        Length of the brain along x, y, z in mm, (3,), see `measure_extent`.
    voxel_size
        Millimetres, isotropic.
    """

    person: str
    name: str
    channels: NDArray[np.floating[Any]]
    extent: NDArray[np.float64]
    voxel_size: float


def make_real_head(image: Volume, mask: Volume, recipe: Recipe, person: str = "") -> RealHead:
    """Prepare a pair as a recipe asks for: bias, grid, scaling.

    Parameters
    ----------
    image, mask
        In one space; grids may differ.
    recipe
        Whose window the pair is prepared for.
    person
        Whose head.

    Raises
    ------
    ImageFileError
        If the mask is empty.
    """
    inside = np.asarray(mask.data > 0.5)
    if not inside.any():
        raise ImageFileError(f"{mask.name}: an empty mask; expected the brain.")
    data, air = make_finite(image.data, image.grid)
    bias = recipe.preparation.n4
    if bias is not None:
        settings = BiasSettings(bias["shrink"], tuple(bias["iterations"]))
        data = correct_bias(data, image.grid.voxel_size, settings)[0]
    brain_ras = to_canonical_array(inside, mask.grid)
    extent = measure_extent(brain_ras, mask.grid.canonical())[1]
    grid = _choose_grid(data, image.grid, inside, mask.grid, recipe, extent)
    soft = recipe.preparation.soft_masks
    brain = resample(inside.astype(np.float32), mask.grid, grid, order=1 if soft else 0)
    intensities = resample(data - np.float32(air), image.grid, grid)
    top = float(np.percentile(intensities[brain > 0.5], 95)) if (brain > 0.5).any() else 1.0
    channels = np.stack([np.clip(intensities / (top or 1.0), 0, 10), brain])
    if not recipe.augment.moves_nothing:
        channels = channels.astype(np.float16)
    return RealHead(person, image.name, channels, extent, grid.voxel_size[0])


def _choose_grid(
    data: NDArray[np.float32],
    grid: Grid,
    inside: NDArray[np.bool_],
    mask_grid: Grid,
    recipe: Recipe,
    extent: NDArray[np.float64],
) -> Grid:
    """Choose the window itself where nothing will move, else a finer, larger field about it."""
    window = recipe.window
    size = window.choose_voxel_size(extent)
    if recipe.preparation.centre == "head":
        centre = np.mean(find_head_centres(data, grid, size * min(window.shape)), axis=0)
    else:
        index = np.argwhere(inside)
        centre = mask_grid.to_mm((index.min(0) + index.max(0)) / 2)
    if recipe.augment.moves_nothing:
        return make_window(centre, grid, window.shape, size)
    fine, field = FINE * size, max(FIELD_MM, 1.1 * size * max(window.shape))
    if window.is_fitted:
        fine, field = FITTED_FINE_MM, FITTED_FIELD_MM
    n = int(field / fine)
    return make_ras_grid(centre, (n, n, n), fine)


def pose_real(
    head: RealHead, recipe: Recipe, augment: AugmentSettings, generator: Generator
) -> Example:
    """Make an example of a real head: posed, its field cut, its scanner worse.

    Parameters
    ----------
    head
        Whose head.
    recipe
        Whose window.
    augment
        How far to go.
    generator
        The source of chance.
    """
    window, pose = recipe.window, draw_pose(augment, generator)
    extent = torch.from_numpy(head.extent).float()
    voxel_size = draw_voxel_size(window, extent, pose, augment, generator)
    points = make_points(window.shape, voxel_size, pose, augment, generator)
    index = points / head.voxel_size + (torch.tensor(head.channels.shape[1:]) - 1) / 2
    image, brain = sample(torch.from_numpy(head.channels).float(), index)
    image = remove_face(image, points, augment, generator)
    strength = augment.corruption * uniform(0, WORST_SCAN, generator)
    if augment.corruption:
        image = corrupt(image, voxel_size, generator, strength)
    image, field = cut_field(image, augment, generator)
    target = torch.stack([brain.clamp(0, 1) * field, torch.zeros_like(brain)])
    return Example(image, target, torch.tensor([1.0, 0.0]), voxel_size)
