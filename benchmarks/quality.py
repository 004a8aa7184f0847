"""Does the score find the bad masks: heads as they are and damaged on purpose, and phantoms.

    python benchmarks/quality.py HEADS --out runs/quality

HEADS is a folder as for `compare.py`. Each head is stripped as it is and damaged in some of
`WAYS`; what was measured goes to `cases.jsonl` (what is there is not done again).
The penalties of the score are fitted on half of the data sets (by non-negative least squares to
the Dice that the damage cost) and shown beside those in use, which were rounded from such a fit by
hand; on the other half the score in use is judged: ROC AUC for a Dice below 0.95 and others, with
`quality.png` and a table in Markdown. A reference has its own convention (0.94 to 0.98 for good
masks), which blurs the limit of 0.95: so what the damage cost is judged as well. The distance from
the training heads is left out, because not every card knows them.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import rankdata

from compare import find_pairs
from damaged_heads import (
    Head,
    add_bias,
    add_ghosts,
    add_noise,
    blur,
    change_header,
    cut_field,
    load_head,
    lose_signal,
    rotate,
    strip,
    thicken,
    wrap_round,
)
from deskull import Stripper
from deskull.errors import DeskullError
from deskull.measure.metrics import dice
from deskull.measure.score import COSTS, LOW, TERMS, make_score
from phantoms import make_phantoms

AS_IS, PHANTOM = "as is", "phantom"
LIMITS = {"Dice < 0.95": 0.95, "Dice < 0.90": 0.90}
COST = 0.02
"""Dice that the damage took, above which a mask counts as bad."""

STEEPNESS = 18.0
"""A mask that lost `COST` is to have a score of 70: exp(-18 * 0.02)."""

MOST = 3.0
"""Largest penalty to fit: a score of 5."""


def _add_noise(head: Head, level: float, rng: np.random.Generator) -> Head:
    """Add noise of so many times the brain's brightness, its 75th percentile."""
    return add_noise(head, level * float(np.percentile(head.image[head.reference], 75)), rng)


def _keep_slab(head: Head, mm: float, rng: np.random.Generator) -> Head:
    """Keep no more of the brain than so many mm, from its lower half on."""
    extent = head.reference.any(axis=(0, 1)).sum() * head.grid.voxel_size[2]
    start = rng.uniform(0.3, 0.5)
    return cut_field(head, low=start, high=1 - (start + mm / extent))


def _take_one_axis_for_another(head: Head, rng: np.random.Generator) -> Head:
    orders = [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)]
    return change_header(head, np.eye(3)[list(orders[rng.integers(5)])])


WAYS: dict[str, Callable[[Head, np.random.Generator], Head]] = {
    "bias": lambda head, rng: add_bias(head, None, rng),
    "noise": lambda head, rng: _add_noise(head, 0.3, rng),
    "loud noise": lambda head, rng: _add_noise(head, 0.8, rng),
    "cut top": lambda head, rng: cut_field(head, high=1 - rng.uniform(0.65, 0.85)),
    "cut below": lambda head, rng: cut_field(head, low=rng.uniform(0.25, 0.5)),
    "slab": lambda head, rng: _keep_slab(head, 30, rng),
    "rotated": lambda head, rng: rotate(head, rng.normal(size=3), rng.uniform(30, 60)),
    "thick": lambda head, rng: thicken(head, 9),
    "blurred": lambda head, rng: blur(head, 8),
    "stripped": lambda head, rng: strip(head),
    "upside down": lambda head, rng: change_header(head, np.diag([1, 1, -1])),
    "back to front": lambda head, rng: change_header(head, np.diag([1, -1, 1])),
    "wrong axes": _take_one_axis_for_another,
    "wrong size": lambda head, rng: change_header(head, rng.choice([0.6, 1.6]) * np.eye(3)),
    "wrapped": lambda head, rng: wrap_round(head),
    "hole": lambda head, rng: lose_signal(head, 70, rng),
    "motion": lambda head, rng: add_ghosts(head),
}
"""Ways to damage a head."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--only", default="", help="heads whose name matches this expression")
    parser.add_argument("--each", type=int, default=7, help="ways in which each head is damaged")
    parser.add_argument("--weights", default="default")
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cases.jsonl"
    run_cases(options, path)
    table = read_cases(path)
    print(summarise(table))
    draw(table, options.out / "quality.png")


def run_cases(options: argparse.Namespace, path: Path) -> None:
    """Strip every case that is not yet in the file, and add what was measured."""
    done = {(row["head"], row["case"]) for row in read_rows(path)}
    stripper = Stripper.load(options.weights, threads=options.threads)
    with path.open("a", encoding="utf-8") as stream:
        for head, name, make in plan_cases(options):
            if (head, name) not in done:
                row = {"head": head, "case": name, **run_case(stripper, make())}
                stream.write(json.dumps(row) + "\n")
                stream.flush()
                print(head, name, row.get("dice"), row.get("flags"), file=sys.stderr)


def plan_cases(
    options: argparse.Namespace,
) -> Iterator[tuple[str, str, Callable[[], Head]]]:
    """Name every case, with what makes it; every way to damage gets its share of the heads."""
    for name, phantom in make_phantoms().items():
        yield PHANTOM, name, lambda phantom=phantom: phantom
    names = sorted(WAYS)
    for number, (scan, mask) in enumerate(find_pairs(options.heads, options.only)):
        head = scan.name.removesuffix(".nii.gz")
        first = options.each * number
        chosen = [names[(first + k) % len(names)] for k in range(min(options.each, len(names)))]
        for name in (AS_IS, *chosen):
            yield head, name, lambda paths=(scan, mask), name=name: make_case(*paths, name)


def make_case(scan: Path, reference: Path, name: str) -> Head:
    """Load a head, and damage it, always alike."""
    head = load_head(scan, reference)
    rng = np.random.default_rng(crc32(f"{scan.name.removesuffix('.nii.gz')} {name}".encode()))
    return head if name == AS_IS else WAYS[name](head, rng)


def run_case(stripper: Stripper, case: Head) -> dict[str, object]:
    """Strip a case; no mask at all is a doubt that users cannot miss."""
    try:
        result = stripper(nib.Nifti1Image(case.image, case.grid.affine))
    except DeskullError as error:
        return {"error": str(error)}
    return {
        "dice": dice(result.mask, case.reference),
        "flags": [flag.name for flag in result.flags],
        "traits": result.record.traits,
    }


def read_rows(path: Path) -> list[dict[str, object]]:
    """Read what was measured."""
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if path.exists()
        else []
    )


def read_cases(path: Path) -> pd.DataFrame:
    """Make a table of the cases that got a mask, with their score and what is wrong with them."""
    table = pd.DataFrame([row for row in read_rows(path) if "dice" in row])
    table["score"] = [make_score(t, f) for t, f in zip(table.traits, table["flags"], strict=True)]
    clean = table[table.case == AS_IS].set_index("head").dice
    table["cost"] = table["head"].map(clean) - table.dice
    phantom = table["head"] == PHANTOM
    table.loc[phantom, "cost"] = 1.0
    table["data_set"] = table["head"].map(name_data_set)
    sets = sorted(set(table.data_set[~phantom]))
    numbers = np.arange(len(table))
    table["tuned"] = np.where(phantom, numbers % 2 == 0, table.data_set.isin(sets[::2]))
    for name, limit in LIMITS.items():
        table[name] = table.dice < limit
    table[f"damage cost > {COST}"] = table.cost > COST
    return table


def name_data_set(head: str) -> str:
    """Name the data set of a head by the beginning of its name."""
    return (re.match(r"[A-Za-z]+\d{3}|[A-Za-z]+", head) or [head])[0]


def find_auc(score: pd.Series, bad: pd.Series) -> float:
    """Find the area under the ROC curve: how often a bad mask has the lower score of two."""
    ranks, count = rankdata(-score), int(bad.sum())
    rest = len(bad) - count
    if not (count and rest):
        return float("nan")
    return (ranks[bad.to_numpy()].sum() - count * (count + 1) / 2) / (count * rest)


def fit(table: pd.DataFrame) -> pd.Series:
    """Fit the weights of all terms and the costs of all flags."""
    columns = {
        name: [
            term.find_penalty(traits[name]) / abs(term.weight) if name in traits else 0.0
            for traits in table.traits
        ]
        for name, term in TERMS.items()
    } | {name: [float(name in flags) for flags in table["flags"]] for name in COSTS}
    design = pd.DataFrame(columns, index=table.index)
    spread = design.std() + 1e-9
    few = np.sqrt(0.02 * len(table)) * np.eye(len(spread))  # a little towards zero
    wanted = np.clip(STEEPNESS * table.cost, 0, MOST)
    found, _ = nnls(np.vstack([design / spread, few]), np.r_[wanted, np.zeros(len(spread))])
    return pd.Series(found / spread, index=design.columns)


def summarise(table: pd.DataFrame) -> str:
    """Markdown: how well bad masks are found, what each damage does, and the fit."""
    real = table[table["head"] != PHANTOM]
    parts = {
        "data sets that the score was fitted on": real[real.tuned],
        "other data sets": real[~real.tuned],
        "other data sets, and phantoms not fitted on": table[~table.tuned],
    }
    lines = [
        "| cases | bad is | n | bad | ROC AUC | bad below 70 | good above |",
        "|---|" + "---|" * 6,
    ]
    for name, rows in parts.items():
        for kind in (*LIMITS, f"damage cost > {COST}"):
            bad, low = rows[kind], rows.score < LOW
            lines.append(
                f"| {name} | {kind} | {len(rows)} | {bad.sum()} | {find_auc(rows.score, bad):.3f} "
                f"| {low[bad].mean():.0%} | {(~low)[~bad].mean():.0%} |"
            )
    lines += [
        "",
        "| case | n | Dice mean | least | score mean | least | most flags |",
        "|---|" + "---|" * 6,
    ]
    table = table.assign(case=table.case.where(table["head"] != PHANTOM, PHANTOM))
    for case, rows in table.groupby("case"):
        flags = rows["flags"].explode().value_counts()
        counts = ", ".join(f"{name} {count}" for name, count in flags.head(3).items())
        lines.append(
            f"| {case} | {len(rows)} | {rows.dice.mean():.3f} | {rows.dice.min():.3f} "
            f"| {rows.score.mean():.0f} | {rows.score.min()} | {counts} |"
        )
    used = {name: abs(term.weight) for name, term in TERMS.items()} | COSTS
    lines += ["", "| penalty | fitted | in use |", "|---|---|---|"]
    fitted = fit(table[table.tuned])
    return "\n".join([*lines, *(f"| {n} | {fitted[n]:.2f} | {used[n]:g} |" for n in used)])


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the ROC curves of the data sets not fitted on, and the score against Dice."""
    from matplotlib.figure import Figure

    from figures import COLOURS, look, save_figure

    rows = table[~table.tuned & (table["head"] != PHANTOM)]
    clean, phantom = table.case == AS_IS, table["head"] == PHANTOM
    kinds = {"damaged": ~(clean | phantom), "as they are": clean, "phantoms": phantom}

    def make() -> Figure:
        figure = Figure(figsize=(10, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, kind in enumerate((*LIMITS, f"damage cost > {COST}")):
            bad = rows[kind]
            levels = np.arange(-1, 101)
            hit = [(rows.score[bad] <= level).mean() for level in levels]
            false = [(rows.score[~bad] <= level).mean() for level in levels]
            label = f"{kind}: AUC {find_auc(rows.score, bad):.2f} ({bad.sum()} bad)"
            left.plot(false, hit, label=label, color=COLOURS[number])
        left.plot([0, 1], [0, 1], color="0.6", lw=0.8, label="chance")
        left.set(xlabel="share of good masks flagged", ylabel="share of bad masks found")
        left.set_title("data sets not fitted on")
        for number, (name, chosen) in enumerate(kinds.items()):
            colour, mark = look(number)
            dots = {"s": 14, "alpha": 0.6, "lw": 0, "color": colour, "marker": mark}
            right.scatter(table.dice[chosen], table.score[chosen], label=name, **dots)
        right.axhline(LOW, color="0.6", lw=0.8)
        right.axvline(0.95, color="0.6", lw=0.8)
        right.set(xlabel="Dice against the reference", ylabel="score (0 to 100)")
        right.set_title(f"all cases; lines: score {LOW:g}, Dice 0.95")
        for axis in (left, right):  # below, off all dots and lines
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
        return figure

    save_figure(make, path)


if __name__ == "__main__":
    main()
