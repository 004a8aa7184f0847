"""Find the border at which deskull agrees best with the masks of other tools.

    python benchmarks/compare.py HEADS --masks runs/masks --peer deepbet --peer robex
    python benchmarks/borders.py runs/masks

The folder has the masks of each tool in a folder of its own, as `compare.py --masks` keeps them.
The border of deskull's masks is moved in steps of 0.1 mm; a tool's border is the one with the
highest mean Dice over all heads that both stripped. Prints a table in Markdown, with the range of
the borders that are best head by head, and Dice at defaults and at the border. Where the range is
wide, the tool's masks do not follow one convention.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deskull.errors import InputError
from deskull.evaluate import check_one_grid, load_canonical_mask
from deskull.prepare.postprocess import make_signed_distance
from processes import DESKULL

BORDERS = np.arange(-40, 41, dtype=np.float32) / 10  # mm


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of borders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("masks", type=Path)
    options = parser.parse_args(arguments)
    ours = options.masks / DESKULL.name
    others = sorted(path for path in options.masks.iterdir() if path.is_dir() and path != ours)
    if not ours.is_dir() or not others:
        raise SystemExit(f"{options.masks}: expected the folder {DESKULL.name} and one of a peer")
    columns = ["tool", "heads", "border mm", "head by head", "Dice at it", "lowest", "Dice at 0"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for other in others:
        print(f"| {other.name} | {' | '.join(describe(measure_curves(ours, other)))} |")


def measure_curves(ours: Path, other: Path) -> np.ndarray:
    """Measure Dice with each mask of another tool at each border, (heads, borders)."""
    curves = []
    for path in sorted(other.glob("*.nii.gz")):
        if not (ours / path.name).exists():
            continue
        try:
            mask, wanted = load_canonical_mask(ours / path.name), load_canonical_mask(path)
            check_one_grid(mask, wanted)
        except InputError as error:
            print(f"left out: {error}")
            continue
        distance = make_signed_distance(mask.inside, mask.grid.voxel_size, reach=5)
        curves.append(measure_dice(distance, wanted.inside))
    if not curves:
        raise SystemExit(f"{other}: no mask of a head that is in {ours}")
    return np.array(curves)


def measure_dice(distance: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure Dice at each border, from the counts of voxels up to it."""
    near = np.abs(distance) < 5
    moved, shared = (
        np.count_nonzero((distance <= -5) & part)
        + np.searchsorted(np.sort(distance[near & part]), BORDERS, side="right")
        for part in (True, reference)
    )
    return 2 * shared / (moved + np.count_nonzero(reference))


def describe(curves: np.ndarray) -> list[str]:
    """Cells of a tool's line."""
    best = find_best(curves.mean(axis=0))
    each = BORDERS[[find_best(curve) for curve in curves]]
    at_best, at_zero = curves[:, best], curves[:, BORDERS == 0]
    return [
        str(len(curves)),
        f"{BORDERS[best]:.1f}",
        f"{each.min():.1f} to {each.max():.1f}",
        f"{at_best.mean():.3f}",
        f"{at_best.min():.3f}",
        f"{at_zero.mean():.3f}",
    ]


def find_best(curve: np.ndarray) -> int:
    """Find the highest value of a curve; of equal ones the one in the middle."""
    highest = np.flatnonzero(curve == curve.max())
    return int(highest[len(highest) // 2])


if __name__ == "__main__":
    main()
