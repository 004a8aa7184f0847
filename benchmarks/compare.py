"""deskull and any peers side by side on the same heads, in alternation.

    python benchmarks/compare.py HEADS --out runs/compare \
        --peer 'deepbet: deepbet-cli -i {in} -o {out} -m {mask} -g'

HEADS is a folder of `<id>_<contrast>.nii.gz` with `<id>_<contrast>_reference.nii.gz` (or
`_majority`, a convenience and no truth). Writes one row per head and method to
`compare.tsv`, a figure to `compare.png`, and prints a table in Markdown: Dice at defaults,
Dice at the best single border of each data set (conventions differ in how much CSF they
take), HD95, seconds of the clock and of the cores, peak memory, failures.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from deskull import load_volume
from deskull.measure.metrics import dice, surface_distances
from deskull.prepare.postprocess import make_signed_distance
from processes import Command, describe_machine, measure, parse_peer

BORDERS = np.arange(-3, 3.01, 0.5)  # mm


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("--peer", action="append", default=[], type=parse_peer)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--only", default="", help="heads whose name matches this expression")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ours = Command("deskull", f"{sys.executable} -m deskull {{in}} {{out}} -m {{mask}}")
    rows = []
    for scan, reference in find_pairs(options.heads, options.only):
        for command in (ours, *options.peer):
            rows.append(compare(command, scan, reference))
            pd.DataFrame(rows).to_csv(options.out / "compare.tsv", sep="\t", index=False)
            print(f"{rows[-1]['head']} {command.name} {rows[-1]['dice']:.4f}", file=sys.stderr)
    table = pd.DataFrame(rows)
    print(f"{describe_machine()}\n")
    print(summarise(table))
    draw(table, options.out / "compare.png")


def find_pairs(folder: Path, pattern: str) -> list[tuple[Path, Path]]:
    """Pair scans with their reference masks."""
    found = []
    for scan in sorted(folder.glob("*.nii.gz")):
        stem = scan.name.removesuffix(".nii.gz")
        for kind in ("reference", "majority"):
            mask = folder / f"{stem}_{kind}.nii.gz"
            if mask.exists() and re.search(pattern, stem):
                found.append((scan, mask))
                break
    return found


def compare(command: Command, scan: Path, reference: Path) -> dict[str, object]:
    """Run one method on one head and measure its mask."""
    stem = scan.name.removesuffix(".nii.gz")
    person, _, contrast = stem.rpartition("_")
    row: dict[str, object] = {
        "head": stem,
        "data_set": (re.match(r"[A-Za-z]+\d{3}|[A-Za-z]+", person) or [person])[0],
        "contrast": contrast,
        "reference": "majority" if "majority" in reference.name else "reference",
        "method": command.name,
        "dice": np.nan,
        "failed": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        out, mask = Path(folder) / "out.nii.gz", Path(folder) / "mask.nii.gz"
        run = measure(command.fill(scan, out, mask), Path(folder) / "log.txt")
        row |= {"wall": run.wall, "cpu": run.cpu, "peak_mb": run.peak_mb}
        if run.code == 0 and mask.exists():
            row |= judge(load_volume(mask).data > 0.5, reference) | {"failed": False}
    return row


def judge(mask: np.ndarray, reference: Path) -> dict[str, float]:
    """Agreement of a mask with its reference, as it is and with its surface moved."""
    wanted = load_volume(reference)
    truth = wanted.data > 0.5
    distance = make_signed_distance(mask, wanted.grid.voxel_size)
    moved = {f"border {mm:+.1f}": dice(distance < mm, truth) for mm in BORDERS}
    surface = surface_distances(mask, truth, wanted.grid.voxel_size)
    return {"dice": dice(mask, truth), "hd95": surface.hd95, "mean_mm": surface.mean} | moved


def summarise(table: pd.DataFrame) -> str:
    """Markdown: a line per method for T1w, other contrasts, and heads without a reference."""
    borders = [column for column in table if column.startswith("border")]
    best = table.groupby(["method", "data_set"])[borders].transform("mean").idxmax(axis=1)
    table = table.assign(best=[table.at[i, b] for i, b in best.items()])
    t1w, truth = table["contrast"] == "T1w", table["reference"] == "reference"
    groups = {
        "T1w with a reference": t1w & truth,
        "T2w and FLAIR with a reference": ~t1w & truth,
        "against the majority of four tools": ~truth,
    }
    lines = [
        "| heads | method | Dice mean | worst | at best border | worst | HD95 mm | wall s | CPU s "
        "| peak MB | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, chosen in groups.items():
        for method, rows in table[chosen].groupby("method", sort=False):
            lines.append(
                f"| {name} ({len(rows)}) | {method}"
                f" | {rows.dice.mean():.4f} | {rows.dice.min():.4f}"
                f" | {rows.best.mean():.4f} | {rows.best.min():.4f} | {rows.hd95.mean():.2f}"
                f" | {rows.wall.median():.2f} | {rows.cpu.median():.2f} | {rows.peak_mb.max():.0f}"
                f" | {int(rows.failed.sum())} |"
            )
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracy against time, a dot per head and method."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for method, rows in table.groupby("method", sort=False):
        axis.scatter(rows.wall, rows.dice, s=14, alpha=0.6, label=method)
    axis.set(xscale="log", xlabel="seconds for one scan, whole process", ylabel="Dice")
    axis.legend()
    pyplot.savefig(path, dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
