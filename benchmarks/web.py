"""The page in headless Chromium beside the command line: same masks, seconds, memory.

    python benchmarks/web.py HEADS... [--threads N] [--out DIR]

HEADS are scans, or folders of them. The page must be built (`make web`, or `npm ci && npm run
build` in `web/`). Prints Markdown: Dice of the page's mask with the command line's, voxels that
differ, whether the headers of the two files are equal, seconds of the work itself and from the
dropped file to the mask on the screen (drawn without a graphics card here, which takes most of
the difference), and the peak of memory of the page's process.
"""

import argparse
import gzip
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deskull import Stripper, load_volume
from deskull.image.file_names import MASK_ENDINGS
from deskull.measure.metrics import dice
from processes import describe_machine

WEB = Path(__file__).resolve().parents[1] / "web"
HEADER = 352  # bytes of a NIfTI-1 file before its voxels, where it has no extensions


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="of the page (default: all)")
    parser.add_argument("--out", type=Path, help="keep the masks here")
    options = parser.parse_args()
    scans = [scan for path in options.heads for scan in find_scans(path)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{describe_machine()}; headless Chromium\n")
        print("| scan | voxels | Dice | differ | header equal | work s | all s | threads | MB |")
        print("|---|---|---|---|---|---|---|---|---|")
        stripper = Stripper.load()
        query = f"?threads={options.threads}" if options.threads else ""
        rows = [compare(found, stripper, folder) for found in strip_in_page(scans, query, folder)]
    worst = min(rows, default=float("nan"))
    print(f"\n{len(rows)} heads, Dice at least {worst:.5f}")


def find_scans(path: Path) -> list[Path]:
    """List the scans of a folder, without the masks beside them, or the one that is given."""
    if path.is_file():
        return [path]
    names = sorted(path.glob("*.nii.gz"))
    return [p for p in names if not p.name.removesuffix(".nii.gz").endswith(MASK_ENDINGS)]


def strip_in_page(scans: list[Path], query: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Let the page strip scans one by one; yields what was measured of each."""
    command = ["node", "e2e/run.mjs", "e2e/benchmark.ts", query, str(folder.resolve())]
    command += [str(scan.resolve()) for scan in scans]
    with subprocess.Popen(command, cwd=WEB, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("{"):
                yield json.loads(line)


def compare(found: dict[str, Any], stripper: Stripper, folder: Path) -> float:
    """Print a row of the table, and give the Dice."""
    scan = Path(found["scan"])
    if "error" in found:
        print(f"| {scan.name} | {found['error']} | | | | | | | |", flush=True)
        return 0.0
    volume = load_volume(scan)
    mine = folder / f"{scan.name}.cli.nii.gz"
    stripper(volume).save(mask=mine)
    page = folder / f"{scan.name}.mask.nii.gz"
    one, other = (np.asarray(load_volume(path).data > 0.5) for path in (mine, page))
    equal = read_header(mine) == read_header(page)
    score = float(dice(one, other))
    shape = " x ".join(map(str, volume.grid.shape))
    row = [scan.name, shape, f"{score:.5f}", np.count_nonzero(one != other), equal]
    computing = sum(found["steps"].values())
    row += [
        f"{computing:.1f}",
        f"{found['seconds']:.1f}",
        found["threads"],
        f"{found['peakMb']:.0f}",
    ]
    print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return score


def read_header(path: Path) -> bytes:
    """Read what stands before the voxels."""
    with gzip.open(path) as file:
        return file.read(HEADER)


if __name__ == "__main__":
    main()
