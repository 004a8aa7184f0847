"""Trains three steps of batches of four, alone or by torchrun, for test_learn_processes.py."""

import sys
from pathlib import Path

from deskull.image.volume import make_volume
from deskull.learn.dataset import Sources
from deskull.learn.labels import make_labelled_head
from deskull.learn.recipe import make_recipe
from deskull.learn.training import Limits, train
from learn_heads import make_label_map

RECIPE = {
    "window": {"shape": [16, 16, 16], "voxel_size": 12.0},
    "network": {"outputs": ["brain", "tissue"], "filters": [4, 8], "patch": 2},
    "training": {"horizon": 10, "batch": 4, "warmup": 1, "ema": 0.0},
}

if __name__ == "__main__":
    head = make_labelled_head(make_volume(make_label_map()))
    recipe = make_recipe(RECIPE, "toy")
    train(Sources([head], []), recipe, Path(sys.argv[1]), limits=Limits(3))
