"""How fast, how large: deskull and any peers on one scan, whole processes, in alternation.

    python benchmarks/speed.py [SCAN] [--peer NAME] ...

Without SCAN the bundled head is brought to 256 x 256 x 256 voxels of 1 mm. Prints Markdown:
medians of whole processes and ratios, then a second scan in a warm process by stage.
"""

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from deskull import Stripper, load_volume
from deskull.demo import load_demo
from deskull.image.grid import make_ras_grid
from deskull.image.resample import resample
from deskull.image.writing import save_image
from peers import find_peer
from processes import DESKULL, Command, Run, describe_machine, measure, summarise


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--peer", action="append", default=[], type=find_peer)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = options.scan or make_scan(Path(folder))
        print(f"{describe_machine()}; {load_volume(scan).grid.shape}, medians of {options.runs}\n")
        print_cold(time_all([DESKULL, *options.peer], scan, Path(folder), options.runs))
        print_warm(scan, Path(folder), options.runs)


def make_scan(folder: Path) -> Path:
    """Write the bundled head as 256^3 voxels of 1 mm, int16 with a little noise."""
    head, _ = load_demo()
    grid = make_ras_grid(head.grid.centre, (256, 256, 256), 1.0)
    data = resample(head.data, head.grid, grid)
    data += np.abs(np.random.default_rng(0).normal(0, 4, grid.shape)).astype(np.float32)
    path = folder / "head.nii.gz"
    save_image(nib.Nifti1Image((4 * data).astype(np.int16), grid.affine), path)
    return path


def time_all(commands: list[Command], scan: Path, folder: Path, runs: int) -> dict[str, Run]:
    """Run each command once unmeasured, then all in turn."""
    found: dict[str, list[Run]] = {command.name: [] for command in commands}
    for number in range(runs + 1):
        for command in commands:
            out, mask = folder / f"{command.name}.nii.gz", folder / f"{command.name}_m.nii.gz"
            run = measure(command.fill(scan, out, mask), folder / "log.txt")
            if run.code:
                raise SystemExit(f"{command.name} failed:\n{(folder / 'log.txt').read_text()}")
            if number:
                found[command.name].append(run)
    return {name: summarise(all_runs) for name, all_runs in found.items()}


def print_cold(results: dict[str, Run]) -> None:
    """Table of whole processes."""
    ours = results["deskull"]
    print("| whole process | wall s | CPU s | peak MB | wall, deskull = 1 |")
    print("|---|---|---|---|---|")
    for name, run in results.items():
        ratio = run.wall / ours.wall
        print(f"| {name} | {run.wall:.2f} | {run.cpu:.2f} | {run.peak_mb:.0f} | {ratio:.2f} |")


def print_warm(scan: Path, folder: Path, runs: int) -> None:
    """Table of stages of a further scan in one process."""
    stripper = Stripper.load(device="cpu")
    rows: list[dict[str, float]] = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        volume = load_volume(scan)
        loaded = time.perf_counter()
        result = stripper(volume)
        stripped = time.perf_counter()
        result.save(brain=folder / "b.nii.gz", mask=folder / "m.nii.gz")
        ended = time.perf_counter()
        stages = {"load": loaded - began, **result.record.seconds, "save": ended - stripped}
        rows.append(stages | {"whole scan": ended - began})
    print("\n| warm process | s |\n|---|---|")
    for name in rows[0]:
        print(f"| {name} | {np.median([row[name] for row in rows[1:]]):.3f} |")


if __name__ == "__main__":
    main()
