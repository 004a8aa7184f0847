"""How fast and how large training is: both recipes, float32 and bfloat16, CPU and GPU.

    python benchmarks/training_speed.py [--steps N] [--threads N] [--recipe NAME|TOML] ...

Each configuration runs in a process of its own, on heads made from the bundled one, so that no
data is needed. Prints Markdown: steps per second as `deskull train` takes them (the next batches
are made beside the step), what a step and a batch cost alone, and peak memory: of the process
on a CPU, of torch on a GPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from deskull.demo import load_demo
from deskull.train import loop as train_loop
from deskull.train.examples import Batches
from deskull.train.labels import make_labelled_head
from deskull.train.pairs import make_real_head
from deskull.train.processes import Group
from deskull.train.recipe import Recipe, load_recipe
from deskull.train.run_folder import Run
from deskull.train.sources import Sources
from processes import describe_machine

PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Run each configuration and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", action="append", metavar="NAME|TOML")
    parser.add_argument("--steps", type=int, default=5, help="of each, after one to warm up")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("RECIPE", "DEVICE", "PRECISION"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.steps, options.threads)))
        return
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"{describe_machine()}, {options.threads} threads, medians of {options.steps} steps\n")
    print(
        "| recipe | on | steps per second | s a step | s a step alone | s a batch made "
        "| generator's share | peak GB |\n|---|---|---|---|---|---|---|---|"
    )
    for recipe in options.recipe or ["article", "segment"]:
        for device in devices:
            for precision in PRECISIONS:
                arguments = ["--one", recipe, device, precision, "--steps", str(options.steps)]
                print_row(
                    recipe, f"{device} {precision}", [*arguments, "-t", str(options.threads)]
                )


def print_row(recipe: str, where: str, arguments: list[str]) -> None:
    """Measure one configuration in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True
    )
    found = json.loads(done.stdout)
    print(
        f"| {Path(recipe).stem} | {where} | {1 / found['step']:.2f} | {found['step']:.2f} "
        f"| {found['alone']:.2f} | {found['batch']:.2f} | {found['batch'] / found['alone']:.0%} "
        f"| {found['peak_gb']:.1f} |",
        flush=True,
    )


def measure(name: str, device: str, precision: str, steps: int, threads: int) -> dict[str, float]:
    """Seconds of a step as trained, of a step and a batch alone, and peak memory in GB."""
    torch.set_num_threads(threads)
    train_loop._has_fast_bfloat16 = lambda device: precision == "bf16"
    recipe = load_recipe(name)
    sources = make_sources(recipe)
    with TemporaryDirectory() as folder:
        group = Group(0, 1, device)
        loop = train_loop._Loop(group, Run(Path(folder), recipe), sources, None)
        loop.take_step(loop.make(0))
        made, alone, whole = [], [], []
        for step in range(steps):
            began = time.perf_counter()
            batch = loop.make(step)
            ready = time.perf_counter()
            loop.take_step(batch)
            made.append(ready - began)
            alone.append(time.perf_counter() - ready)
        coming = Batches(loop.make, loop.makers, loop.place)
        coming.take(0)
        for step in range(steps):
            began = time.perf_counter()
            loop.take_step(coming.take(step + 1))
            whole.append(time.perf_counter() - began)
        coming.close()
    return {
        "step": median(whole),
        "alone": median(alone),
        "batch": median(made),
        "peak_gb": find_peak(device),
    }


def find_peak(device: str) -> float:
    """Most memory held so far, GB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def make_sources(recipe: Recipe) -> Sources:
    """Make a pair and a label map of the bundled head: where time goes depends on neither."""
    head, truth = load_demo()
    tissue = np.where(head.data > 100, 2, 3)  # as FreeSurfer names white matter and cortex
    labels = np.where(truth.data > 0.5, tissue, np.where(head.data > 20, 258, 0))
    labelled = make_labelled_head(replace(head, data=labels.astype(np.float32)))
    real = make_real_head(head, truth, recipe, "participant")
    return Sources([] if recipe.training.real_share == 1 else [labelled], [real])


if __name__ == "__main__":
    main()
