"""deskull and any peers side by side on the same heads, in alternation.

    python benchmarks/compare.py HEADS --out runs/compare \
        --peer deepbet --peer 'mine: my_tool {in} {mask}'

A peer is a name that `peers.py` knows, or a name and a command with {in}, {out} and {mask}.

`--masks` keeps the masks, from which `borders.py` finds the border at which two tools agree best.

HEADS is a folder of `<id>_<contrast>.nii.gz` with `<id>_<contrast>_reference.nii.gz` (or
`_majority`, a convenience and no truth). Writes one row per head and method to
`compare.tsv`, a figure to `compare.png`, and prints two tables in Markdown, by contrast and by
data set: Dice at defaults with the 95 % interval of its mean, Dice at the best single border of
each data set and method (conventions differ in how much CSF they take), HD95, seconds of the
clock and of the cores, peak memory, failures, and by how much Dice lies above or below that of
deskull on the same heads. A data set is what a name begins with (`fs01_T1w`: fs; IXI is one, and
of `truth.py` each kind is one). A mask on another grid than its reference is a failure; failures
are counted, not averaged.

Where a head has `_tissues` (see `truth.py`), a third table measures what no convention about CSF
hides: millilitres of grey and white matter lost and of non-brain tissue kept, at defaults and,
with the border moved, the tissue lost where `KEPT_ML` of non-brain are kept.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deskull.errors import InputError
from deskull.evaluate import Mask, check_one_grid, estimate, load_canonical_mask
from deskull.image.grid import to_canonical_array
from deskull.image.volume import Volume, load_volume
from deskull.measure.metrics import dice, surface_distances
from deskull.prepare.postprocess import make_signed_distance
from peers import find_peer
from processes import DESKULL, Command, describe_machine, measure

BORDERS = np.arange(-3, 3.01, 0.5)  # mm
FINE_BORDERS = np.arange(-5, 8.01, 0.25)  # mm, where tissues are known
KEPT_ML = (5, 10, 20, 40)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("--peer", action="append", default=[], type=find_peer)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--only", default="", help="heads whose name matches this expression")
    parser.add_argument("--masks", type=Path, help="folder to keep the masks of every method in")
    parser.add_argument("--trained", help="heads of participants that the weights were trained on")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = find_pairs(options.heads.absolute(), options.only)
    rows = []
    for scan, reference in pairs:
        trained = bool(options.trained and re.search(options.trained, scan.name))
        for command in (DESKULL, *options.peer):
            rows.append({"trained": trained} | run_method(command, scan, reference, options.masks))
            pd.DataFrame(rows).to_csv(options.out / "compare.tsv", sep="\t", index=False)
            print(f"{rows[-1]['head']} {command.name} {rows[-1]['dice']:.4f}", file=sys.stderr)
    table = pd.DataFrame(rows)
    print(f"{describe_machine()}\n")
    print(summarise(table))
    print(f"\n{summarise(table, by_data_set=True)}")
    if "lost_ml" in table:
        print(f"\n{summarise_tissues(table)}")
    draw(table, options.out / "compare.png")


def find_pairs(folder: Path, pattern: str) -> list[tuple[Path, Path]]:
    """Pair scans with their reference masks; ends the program where there is none."""
    found = []
    for scan in sorted(folder.glob("*.nii.gz")):
        stem = scan.name.removesuffix(".nii.gz")
        for kind in ("reference", "majority"):
            mask = folder / f"{stem}_{kind}.nii.gz"
            if mask.exists() and re.search(pattern, stem):
                found.append((scan, mask))
                break
    if not found:
        raise SystemExit(f"{folder}: no head with a reference")
    return found


def run_method(
    command: Command, scan: Path, reference: Path, masks: Path | None = None
) -> dict[str, object]:
    """Run one method on one head and measure its mask; `masks` is a folder to keep it in."""
    stem = scan.name.removesuffix(".nii.gz")
    participant, _, contrast = stem.rpartition("_")
    row: dict[str, object] = {
        "head": stem,
        "data_set": find_data_set(participant),
        "contrast": contrast,
        "reference": "majority" if "majority" in reference.name else "reference",
        "method": command.name,
        "dice": np.nan,
        "hd95": np.nan,
        "failed": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        out, mask = Path(folder) / "out.nii.gz", Path(folder) / "mask.nii.gz"
        run = measure(command.fill(scan, out, mask), Path(folder) / "log.txt")
        row |= {"wall": run.wall, "cpu": run.cpu, "peak_mb": run.peak_mb}
        row["error"] = "" if run.code == 0 else f"exit code {run.code}"
        if masks is not None and mask.exists():
            kept = masks / command.name
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mask, kept / f"{stem}_mask.nii.gz")
        if run.code == 0:
            try:
                ours, wanted = load_canonical_mask(mask), load_canonical_mask(reference)
                row |= judge(ours, wanted) | {"failed": False}
                tissues = scan.with_name(f"{stem}_tissues.nii.gz")
                if tissues.exists():
                    row |= judge_tissues(ours, load_volume(tissues))
            except InputError as error:
                row["error"] = str(error)
    return row


def find_data_set(participant: str) -> str:
    """Name the data set of a participant: what the name begins with."""
    found = re.match(r"truth-[a-z]+|IXI|[A-Za-z]+\d{3}|[A-Za-z]+", participant)
    return found[0] if found else participant


def judge(mask: Mask, reference: Mask) -> dict[str, float]:
    """Agreement of a mask with its reference, as it is and with its surface moved."""
    check_one_grid(mask, reference)
    size, truth = reference.grid.voxel_size, reference.inside
    distance = make_signed_distance(mask.inside, size)
    moved = {f"border {mm:+.1f}": dice(distance < mm, truth) for mm in BORDERS}
    surface = surface_distances(mask.inside, truth, size)
    return {
        "dice": dice(mask.inside, truth),
        "hd95": surface.hd95,
        "mean_mm": surface.mean,
    } | moved


def judge_tissues(mask: Mask, tissues: Volume) -> dict[str, float]:
    """Measure brain tissue lost and other tissue kept in ml, also with the mask's border moved."""
    groups = to_canonical_array(tissues.data, tissues.grid)
    ml = np.prod(mask.grid.voxel_size) / 1000
    distance = make_signed_distance(mask.inside, mask.grid.voxel_size)
    curve = [measure_tissues(distance < mm, groups, ml) for mm in FINE_BORDERS]
    lost, kept = np.array(curve).T
    at_kept = np.interp(KEPT_ML, kept, lost)  # more is kept the further the border moves out
    here = measure_tissues(mask.inside, groups, ml)
    names = [f"lost at {n} kept" for n in KEPT_ML]
    found = dict(zip(names, at_kept.tolist(), strict=True))
    return {"lost_ml": here[0], "kept_ml": here[1], "least_sum": (lost + kept).min()} | found


def measure_tissues(
    inside: np.ndarray, groups: np.ndarray, voxel_ml: float
) -> tuple[float, float]:
    """Measure ml of brain tissue outside of a mask, and of non-brain inside."""
    lost = np.count_nonzero((groups == 1) & ~inside)
    return lost * voxel_ml, np.count_nonzero((groups == 2) & inside) * voxel_ml


def summarise_tissues(table: pd.DataFrame) -> str:
    """Markdown: a line per method, means over the heads whose tissues are known."""
    columns = ["lost_ml", "kept_ml", "least_sum", *(f"lost at {n} kept" for n in KEPT_ML)]
    lines = ["| ml | method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    known = table[table["lost_ml"].notna()]
    for (name, method), rows in known.groupby(["data_set", "method"], sort=False):
        cells = " | ".join(f"{rows[column].mean():.1f}" for column in columns)
        lines.append(f"| {name} ({len(rows)}) | {method} | {cells} |")
    return "\n".join(lines)


def summarise(table: pd.DataFrame, by_data_set: bool = False) -> str:
    """Markdown: a line per method for each contrast, and for each data set if requested.

    Majority masks stand apart from references, and participants trained on from others.
    """
    table = table.assign(best=take_best_border(table))
    lines = [
        "| heads | method | Dice mean (95 %) | worst | at best border | worst | HD95 mm (95 %) "
        f"| above {DESKULL.name} (95 %) | wall s | CPU s | peak MB | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    table = table.sort_values(["trained", "reference"], ascending=[True, False], kind="stable")
    keys = ["trained", "reference", "contrast"] + ["data_set"] * by_data_set
    for (trained, kind, *names), heads in table.groupby(keys, sort=False):
        first = heads[heads.method == DESKULL.name].set_index("head").dice
        for method, rows in heads.groupby("method", sort=False):
            title = " ".join(reversed(names)) + f", {kind}" + ", trained on" * trained
            gain = None if method == DESKULL.name else rows.set_index("head").dice - first
            lines.append(f"| {title} ({len(rows)}) | {method} | {describe(rows, gain)} |")
    return "\n".join(lines)


def describe(rows: pd.DataFrame, gain: pd.Series | None) -> str:
    """Cells of a line: of one method on some heads, and its Dice less that of deskull."""
    cells = [
        _tell(rows.dice, 4),
        f"{rows.dice.min():.4f}",
        f"{rows.best.mean():.4f}",
        f"{rows.best.min():.4f}",
        _tell(rows.hd95, 2),
        "" if gain is None else _tell(gain, 4, "+"),
        f"{rows.wall.median():.2f}",
        f"{rows.cpu.median():.2f}",
        f"{rows.peak_mb.max():.0f}",
        f"{int(rows.failed.sum())}",
    ]
    return " | ".join(cells)


def _tell(values: pd.Series, digits: int, sign: str = "") -> str:
    """Tell a mean and its interval; of one scan there is none."""
    mean = estimate(values.tolist(), high_is_good=True)
    form = f"{sign}.{digits}f"
    interval = f" ({mean.low:{form}} to {mean.high:{form}})" if mean.count > 1 else ""
    return f"{mean.mean:{form}}{interval}"


def take_best_border(table: pd.DataFrame) -> pd.Series:
    """Dice of each row at the border that is best on average for its method and data set."""
    borders = [column for column in table if column.startswith("border")]
    best = pd.Series(np.nan, table.index)
    for _, rows in table.groupby(["method", "data_set"]):
        if borders and rows[borders].notna().any(axis=None):
            best[rows.index] = rows[rows[borders].mean().idxmax()]
    return best


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracy against CPU time: a dot per head, a large one for mean Dice and median time.

    The seconds are those of the processor, because other work on the machine hardly changes them.

    Where heads have references, those with a mere majority are left out, and where participants
    were not trained on, those that were.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from figures import label_above, look, save_figure

    for column, wanted in (("reference", "reference"), ("trained", False)):
        chosen = table[table[column] == wanted]
        table = table if chosen.empty else chosen

    def make() -> Figure:
        figure = Figure(figsize=(6, 4.2), layout="constrained")
        axis, names = figure.subplots(), {}
        for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
            colour, mark = look(number)
            cpu = rows.cpu.clip(lower=0.01)  # for the logarithm
            seconds, dice = cpu.median(), rows.dice.mean()
            axis.scatter(cpu, rows.dice, s=14, alpha=0.6, color=colour, marker=mark, lw=0)
            axis.scatter(seconds, dice, s=110, edgecolor="black", color=colour, marker=mark)
            names[f"{method}\n{dice:.3f}, {seconds:.2g} s"] = seconds, colour
        axis.set(xscale="log", ylabel="Dice (one dot a head; large: mean Dice, median time)")
        axis.set_xlabel("CPU seconds for one scan, whole process (logarithmic axis)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        label_above(axis, names)
        return figure

    save_figure(make, path)


if __name__ == "__main__":
    main()
