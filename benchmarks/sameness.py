"""Whether runtimes and numbers of threads give one mask, on a folder of heads.

Run as ``python benchmarks/sameness.py HEADS --pattern '*_T1w.nii.gz'``. The first way in the
list is what the others are compared with. An exit code of 1 says that a Dice fell below 0.998,
or that OpenVINO's mask changed with the number of threads.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull import Stripper
from deskull.image.volume import Volume, load_volume
from deskull.measure.metrics import dice
from deskull.network.engine import RUNTIMES

MIN_DICE = 0.998
Way = Callable[[Volume], NDArray[np.bool_]]


def make_ways(threads: list[int]) -> dict[str, Way]:
    """Strippers by name: OpenVINO on each number of threads, then the other runtimes."""
    ways = {}
    for runtime in RUNTIMES:
        if importlib.util.find_spec(runtime) is None:
            continue
        for count in threads if runtime == "openvino" else threads[:1]:
            stripper = Stripper.load(device="cpu", threads=count, runtime=runtime)
            ways[f"{runtime}, {count} threads"] = make_way(stripper)
    return ways


def make_way(stripper: Stripper) -> Way:
    """Mask of a volume, nothing else."""
    return lambda volume: stripper(volume).mask


def main() -> int:
    """Read the command line, strip every head in every way, and print what differs."""
    parser = argparse.ArgumentParser(description="Compare runtimes and numbers of threads.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="*.nii.gz")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    ways = make_ways(options.threads)
    first, *others = ways
    worst = dict.fromkeys(others, 1.0)
    equal = dict.fromkeys(others, 0)
    heads = sorted(options.folder.glob(options.pattern))
    for path in heads:
        volume = load_volume(path)
        masks = {name: way(volume) for name, way in ways.items()}
        for name in others:
            worst[name] = min(worst[name], dice(masks[name], masks[first]))
            equal[name] += int(np.array_equal(masks[name], masks[first]))
        print(
            path.name, *(f"{dice(masks[name], masks[first]):.5f}" for name in others), flush=True
        )
    print(f"{len(heads)} heads, compared with {first}:")
    for name in others:
        print(f"  {name:26} least Dice {worst[name]:.5f}, equal masks {equal[name]}")
    changed = [name for name in others if name.startswith(RUNTIMES[0]) and worst[name] < 1]
    return int(min(worst.values(), default=1.0) < MIN_DICE or bool(changed))


if __name__ == "__main__":
    sys.exit(main())
