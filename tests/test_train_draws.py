"""Examples are made where they are asked for: numbers on the CPU, voxels on the device.

No GPU is needed: torch's device "meta" computes shapes alone, and refuses what lies elsewhere, as
a GPU does.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deskull.image.volume import make_volume
from deskull.train.draws import Draws
from deskull.train.examples import make_phantom, make_real_example
from deskull.train.pairs import make_real_head
from deskull.train.recipe import AugmentSettings
from deskull.train.synthesis import synthesise
from train_heads import labelled, make_label_map, recipe

__all__ = ["labelled", "recipe"]

ALL = AugmentSettings(  # all that does not choose a voxel by its value
    **{"lesion": 0.0, "electrodes": 0.0, "field_cut": 0.7, "deface": 0.7, "stripped": 0.5}
)


class Elsewhere(Draws):
    """Draws for a device that this machine may lack."""

    def __init__(self, seed):
        super().__init__(seed)
        self.device = torch.device("meta")

    def noise(self, shape):
        return torch.empty(tuple(shape), device=self.device)


@pytest.mark.parametrize("seed", range(25))
def test_every_voxel_of_an_example_is_made_on_the_device(labelled, recipe, seed):
    scan = make_volume(make_label_map(), "scan")
    mask = replace(scan, data=(scan.data < 5).astype(np.float32) * (scan.data > 0))
    pair = make_real_head(scan, mask, recipe)
    for example in (
        synthesise(labelled, recipe.window, ALL, Elsewhere(seed)),
        make_real_example(pair, recipe, ALL, Elsewhere(seed)),
        make_phantom(recipe.window, ALL, Elsewhere(seed)),
    ):
        assert example.image.is_meta
        assert example.target.is_meta
        assert example.image.shape == recipe.window.shape
