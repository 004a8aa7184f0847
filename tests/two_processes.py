"""Trains three steps of batches of four, alone or by torchrun, for test_train_processes.py."""

import sys
from pathlib import Path

from deskull.image.volume import make_volume
from deskull.train.labels import make_labelled_head
from deskull.train.loop import Limits, train
from deskull.train.recipe import make_recipe
from deskull.train.sources import Sources
from train_heads import make_label_map

RECIPE = {
    "window": {"shape": [16, 16, 16], "voxel_size": 12.0},
    "network": {"outputs": ["brain", "tissue"], "filters": [4, 8], "patch": 2},
    "training": {"horizon": 10, "batch": 4, "warmup": 1, "ema": 0.0},
}

if __name__ == "__main__":
    head = make_labelled_head(make_volume(make_label_map()))
    recipe = make_recipe(RECIPE, "toy")
    train(Sources([head], []), recipe, Path(sys.argv[1]), limits=Limits(3))
