"""Real pairs: a scan and its reference mask, prepared once, posed and damaged many times."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from deskull.errors import ImageFileError
from deskull.image.geometry import Grid, make_ras_grid
from deskull.image.resample import resample
from deskull.image.volume import Volume
from deskull.learn.augment import (
    AugmentSettings,
    corrupt,
    cut_field,
    make_points,
    remove_face,
    sample,
    uniform,
)
from deskull.learn.recipe import Recipe
from deskull.learn.synthesis import Example
from deskull.prepare.bias import BiasSettings, correct_bias
from deskull.prepare.conform import find_head_centres, make_window
from deskull.prepare.intensity import make_finite

FIELD_MM = 300.0  # of a head kept about its brain, enough for any pose of a window
FINE = 0.75  # voxels of a head that will be posed, in those of the window
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
        Image (brain about 1) and share of brain, (2, X, Y, Z) float32; the window's middle is
        the array's.
    voxel_size
        Millimetres, isotropic.
    """

    person: str
    name: str
    channels: NDArray[np.float32]
    voxel_size: float


def make_channels(image: Volume, mask: Volume, recipe: Recipe) -> NDArray[np.float32]:
    """Prepare a pair as a recipe asks for: bias, grid, scaling.

    Parameters
    ----------
    image, mask
        In one space; grids may differ.
    recipe
        Whose window the pair is prepared for.

    Returns
    -------
    NDArray
        As `RealHead.channels`.

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
    grid = _choose_grid(data, image.grid, inside, mask.grid, recipe)
    soft = recipe.preparation.soft_masks
    brain = resample(inside.astype(np.float32), mask.grid, grid, order=1 if soft else 0)
    intensities = resample(data - np.float32(air), image.grid, grid)
    top = float(np.percentile(intensities[brain > 0.5], 95)) if (brain > 0.5).any() else 1.0
    return np.stack([np.clip(intensities / (top or 1.0), 0, 10), brain])


def _choose_grid(
    data: NDArray[np.float32],
    grid: Grid,
    inside: NDArray[np.bool_],
    mask_grid: Grid,
    recipe: Recipe,
) -> Grid:
    """Choose the window itself where nothing will move, else a finer, larger field about it."""
    window = recipe.window
    if recipe.preparation.centre == "head":
        reach = window.voxel_size * min(window.shape)
        centre = np.mean(find_head_centres(data, grid, reach), axis=0)
    else:
        index = np.argwhere(inside)
        centre = mask_grid.to_mm((index.min(0) + index.max(0)) / 2)
    if recipe.augment.moves_nothing:
        return make_window(centre, grid, window.shape, window.voxel_size)
    fine = FINE * window.voxel_size
    n = int(max(FIELD_MM, 1.1 * window.voxel_size * max(window.shape)) / fine)
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
    window = recipe.window
    points = make_points(window.shape, window.voxel_size, augment, generator)
    index = points / head.voxel_size + (torch.tensor(head.channels.shape[1:]) - 1) / 2
    image, brain = sample(torch.from_numpy(head.channels), index)
    image = remove_face(image, points, augment, generator)
    strength = augment.corruption * uniform(0, WORST_SCAN, generator)
    if augment.corruption:
        image = corrupt(image, window.voxel_size, generator, strength)
    image, field = cut_field(image, augment, generator)
    target = torch.stack([brain.clamp(0, 1) * field, torch.zeros_like(brain)])
    return Example(image, target, torch.tensor([1.0, 0.0]))
