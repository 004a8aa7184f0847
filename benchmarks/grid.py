"""What a grid can hold: exact masks averaged onto coarser voxels and brought back again.

    python benchmarks/grid.py truth --only plain

HEADS holds scans beside their references, as `compare.py` and `truth.py` have them. No network
takes part: the table is the most that one could reach on a grid of such voxels. Prints Markdown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from compare import find_pairs
from deskull.evaluate import load_canonical_mask
from deskull.image.grid import Grid, make_ras_grid
from deskull.image.resample import resample
from deskull.measure.metrics import dice, iou, surface_distances

VOXELS = (1.0, 1.5, 2.0, 3.0, 4.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every mask on every grid, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("--only", default="", metavar="PATTERN", help="of names")
    options = parser.parse_args(arguments)
    rows = []
    for _, path in find_pairs(options.heads, options.only):
        mask = load_canonical_mask(path)
        for voxel in VOXELS:
            held = hold(mask.inside, mask.grid, voxel)
            surface = surface_distances(held, mask.inside, mask.grid.voxel_size)
            rows.append(
                {
                    "voxels, mm": voxel,
                    "Dice": dice(held, mask.inside),
                    "IoU": iou(held, mask.inside),
                    "HD95, mm": surface.hd95,
                }
            )
    table = pd.DataFrame(rows).groupby("voxels, mm").mean()
    print(table.round(4).reset_index().to_markdown(index=False))


def hold(mask: NDArray[np.bool_], grid: Grid, voxel: float) -> NDArray[np.bool_]:
    """Average a mask onto voxels of so many millimetres over the same field, and bring it back."""
    shape = np.array(grid.shape)
    x, y, z = (int(count) for count in np.ceil(shape * grid.voxel_size / voxel))
    window = make_ras_grid(grid.to_mm((shape - 1) / 2), (x, y, z), voxel)
    share = resample(mask.astype(np.float32), grid, window)
    return np.asarray(resample(share, window, grid) > 0.5)


if __name__ == "__main__":
    main()
