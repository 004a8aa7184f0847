"""Label maps of geometry, nested balls with FreeSurfer's codes, and a recipe small enough."""

import nibabel as nib
import numpy as np
import pytest

from deskull.image.volume import make_volume
from deskull.train.labels import make_labelled_head

TOY = {  # a recipe that trains in milliseconds
    "window": {"shape": [16, 16, 16], "voxel_size": 12.0},
    "network": {"outputs": ["brain", "tissue"], "filters": [4, 8], "patch": 2},
    "training": {
        "horizon": 100,
        "warmup": 2,
        "learning_rate": 5e-3,
        "ema": 0.9,
        "validate_every": 2,
    },
    "augment": {"shift": 5, "rotation": 5},
}


TOY_FILE = """
[window]
shape = [16, 16, 16]
voxel_size = 12.0
[network]
filters = [4, 8]
patch = 2
[training]
horizon = {}
warmup = 2
validate_every = {}
"""


def write_toy_recipe(path, horizon, validate_every):
    """Write a recipe as a user has it, for runs of a few steps."""
    path.write_text(TOY_FILE.format(horizon, validate_every), "utf-8")


def make_label_map(size=64, voxel_size=3.0):
    """A head of balls: white matter, cortex with a sulcus, CSF, skull, soft tissue."""
    axis = (np.arange(size) - (size - 1) / 2) * voxel_size
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    labels = np.zeros((size,) * 3, np.int16)
    for limit, label in [(88, 258), (80, 165), (74, 24), (68, 3), (50, 2), (15, 4)]:
        labels[radius < limit] = label
    labels[(np.abs(x) < voxel_size) & (radius > 55) & (radius < 68)] = 24  # a sulcus
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = axis[0]
    return nib.Nifti1Image(labels, affine)


@pytest.fixture(scope="module")
def labelled():
    return make_labelled_head(make_volume(make_label_map()))


@pytest.fixture(scope="module")
def recipe():
    from deskull.train.recipe import make_recipe

    return make_recipe(TOY, name="toy")
