"""How much memory a large scan takes: the bundled head at any number of voxels.

python benchmarks/large.py --size 512 -- -m {mask}
"""

import argparse
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from deskull.demo import load_demo
from deskull.image.grid import make_ras_grid
from deskull.image.resample import resample
from deskull.image.writing import save_image
from processes import Command, describe_machine, measure

FIELD_MM = 256.0


def write_head(path: Path, size: int) -> None:
    """Write the bundled head on a cube of `size` voxels along each edge, int16."""
    head = load_demo()[0]
    grid = make_ras_grid(head.grid.centre, (size, size, size), FIELD_MM / size)
    data = np.round(resample(head.data, head.grid, grid)).astype(np.int16)
    save_image(nib.Nifti1Image(data, grid.affine), path)


def main() -> None:
    """Read the command line, run, and say what it took."""
    parser = argparse.ArgumentParser(description="Measure memory on a large scan.")
    parser.add_argument("--size", type=int, default=512, help="voxels along each edge")
    parser.add_argument(
        "arguments", nargs="*", help="further arguments of deskull, such as -m {mask}"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan, out, mask = (Path(folder) / name for name in ("scan.nii", "out.nii", "mask.nii"))
        write_head(scan, options.size)
        template = f"{sys.executable} -m deskull {{in}} {{out}} {' '.join(options.arguments)}"
        log = Path(folder) / "log"
        run = measure(Command("deskull", template).fill(scan, out, mask), log)
        print(log.read_text("utf-8"), end="")
    bytes_a_voxel = run.peak_mb * 2**20 / options.size**3
    print(describe_machine())
    print(
        f"{options.size}^3 int16, {' '.join(options.arguments) or 'brain only'}: exit {run.code}, "
        f"{run.wall:.1f} s, peak {run.peak_mb:.0f} MB, {bytes_a_voxel:.1f} bytes a voxel"
    )


if __name__ == "__main__":
    main()
