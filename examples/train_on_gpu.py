"""Train on a machine that is rented by the minute, from its first second to its last.

    deskull pack label_maps/ index.tsv -o heads.npz                           # at home
    python train_on_gpu.py heads.npz --start default --minutes 15 --out run   # there
    deskull export run --about about.json --out weights                       # at home again

Heads come prepared, in one file; examples are made on the GPU; the learning rate ends when the
time does, for the first steps tell how many there will be. The same command goes on with a run;
`--start run` begins another one with its weights. Files of a run stay below 16 MB.
"""

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from deskull.errors import DeskullError, InputError
from deskull.network.engine import find_device
from deskull.train.data import load_sources
from deskull.train.finetune import compute_start_digest, load_start, settle_start
from deskull.train.loop import Limits, Start, train
from deskull.train.processes import count_processes
from deskull.train.recipe import Recipe, load_recipe
from deskull.train.run_folder import RECIPE
from deskull.train.sources import Sources
from deskull.train.split import SplitPlan, settle_split

PROBE = 20
"""Steps that measure the machine, of which the first half only warms it up."""

RESERVE = 0.5
"""Minutes kept for preparing what is held out, and for the last checkpoint, validation and
pictures; hundreds of held-out heads need more."""

VALIDATIONS = 8


def main() -> None:
    """Read the command line, and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path, help="heads.npz of deskull pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, required=True, help="of this call")
    parser.add_argument("--recipe", default="segment")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--start", help="weights, or a run, that a new run begins with")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    if count_processes() > 1:
        parser.error("one process alone can measure the machine; with torchrun use deskull train")
    try:
        train_for(options)
    except DeskullError as error:
        parser.error(str(error))


def train_for(options: argparse.Namespace) -> None:
    """Train until the time is over."""
    began = time.monotonic()
    device = find_device(options.device)
    recipe = change(load_recipe(options.recipe), batch=options.batch)
    start = Start(load_start(options.start, recipe)) if options.start else None
    sources = load_sources([options.pack], recipe)

    def count_minutes_left() -> float:
        return options.minutes - RESERVE - (time.monotonic() - began) / 60

    split = settle_split(options.out, sources, SplitPlan(0.1), recipe.seed)
    if not settle_start(options.out, compute_start_digest(start.network) if start else ""):
        print(f"{options.out}: goes on with its own weights; another --start changes nothing")
    if (options.out / RECIPE).exists():
        horizon = json.loads((options.out / RECIPE).read_text("utf-8"))["training"]["horizon"]
    else:
        seconds = measure(split.train, recipe, start, device)
        horizon = max(1, int(60 * count_minutes_left() / seconds))
    if count_minutes_left() <= 0:
        raise InputError(f"--minutes {options.minutes:g}: over before the first step; give more")
    recipe = change(recipe, horizon=horizon, validate_every=max(1, horizon // VALIDATIONS))
    train(
        split.train,
        recipe,
        options.out,
        limits=Limits(minutes=count_minutes_left()),
        validation=split.validation,
        start=start,
        device=device,
    )
    steps = pd.read_csv(options.out / "steps.tsv", sep="\t")
    print(
        f"{options.out}: {len(steps)} of {horizon} steps of batch {options.batch} on "
        f"{name_device(device)}, torch {torch.__version__}; "
        f"{steps['seconds_per_step'].median():.3f} s a step"
    )


def change(recipe: Recipe, **training: int) -> Recipe:
    """Change settings of the training."""
    return replace(recipe, training=replace(recipe.training, **training))


def measure(sources: Sources, recipe: Recipe, start: Start | None, device: str) -> float:
    """Return the seconds of a step on this machine."""
    with TemporaryDirectory() as folder:
        train(sources, recipe, Path(folder), limits=Limits(PROBE), start=start, device=device)
        steps = pd.read_csv(Path(folder, "steps.tsv"), sep="\t")
    return float(median(steps["seconds_per_step"][PROBE // 2 :]))


def name_device(device: str) -> str:
    """Return the name of a GPU, or ``"cpu"``."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    main()
