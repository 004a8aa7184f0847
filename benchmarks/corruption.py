"""How much it takes to break a tool: Dice against bias, noise, rotation, slices and cut fields.

    python benchmarks/corruption.py HEADS --out runs/corruption \
        --peer deepbet

HEADS as `compare.py` reads it: real heads with references, or those of `truth.py`. Every head
is damaged in five ways at three levels, and once left as it is; all tools run on the same files
in alternation. Writes `corruption.tsv` and `corruption.png`, prints a table in Markdown.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from compare import find_pairs, run_method
from damaged_heads import (
    Head,
    add_bias,
    add_noise,
    cut_field,
    load_head,
    rotate,
    save_head,
    scan_upright,
    start_at_zero,
    thicken,
)
from peers import find_peer
from processes import DESKULL, describe_machine

SIDES = ((2, "high"), (2, "low"), (1, "high"))  # top, bottom, front: one for each head in turn


@dataclass(frozen=True)
class Corruption:
    """A way to damage heads: what its levels are, how it is done, and what it is of a head."""

    label: str
    untouched: float
    levels: tuple[float, float, float]
    apply: Callable[[Head, float, int], Head]


def _random(
    damage: Callable[[Head, float, np.random.Generator], Head],
) -> Callable[[Head, float, int], Head]:
    """Give a damage by chance the number of the head as seed: one field, one axis for each."""
    return lambda head, level, number: damage(head, level, np.random.default_rng(number))


def _add_noise(head: Head, level: float, rng: np.random.Generator) -> Head:
    return add_noise(head, level * float(head.image[head.reference].mean()), rng)


def _rotate(head: Head, degrees: float, rng: np.random.Generator) -> Head:
    return scan_upright(rotate(head, rng.normal(size=3), degrees))


def _cut(head: Head, share: float, number: int) -> Head:
    axis, end = SIDES[number % len(SIDES)]
    return cut_field(head, axis, **{end: share})


CORRUPTIONS = {
    "bias": Corruption("bias field (brightest : darkest)", 1, (2, 4, 8), _random(add_bias)),
    "noise": Corruption("noise (SD / brain's mean)", 0, (0.05, 0.1, 0.2), _random(_add_noise)),
    "rotation": Corruption("rotation (degrees)", 0, (30, 60, 90), _random(_rotate)),
    "slices": Corruption(
        "slice thickness (mm; 1: as they are)", 1, (3, 5, 7), lambda head, mm, _: thicken(head, mm)
    ),
    "field cut": Corruption("share of the brain cut off", 0, (0.1, 0.25, 0.4), _cut),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all tools on all damaged heads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("--peer", action="append", default=[], type=find_peer)
    parser.add_argument("--out", type=Path, default=Path("runs/corruption"))
    parser.add_argument("--only", default="", help="heads whose name matches this expression")
    parser.add_argument("--count", type=int, default=10, help="heads, spread over all")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = [
        pair for pair in find_pairs(options.heads, options.only) if "majority" not in pair[1].name
    ]
    if not pairs:
        raise SystemExit(f"{options.heads}: no head with a reference")
    chosen = np.unique(np.linspace(0, len(pairs) - 1, options.count).round().astype(int))
    rows = []
    for number, (scan, reference) in enumerate(pairs[i] for i in chosen):
        for kind, level, head in damage(start_at_zero(load_head(scan, reference)), number):
            with tempfile.TemporaryDirectory() as folder:
                files = save_head(head, Path(folder), scan.name.removesuffix(".nii.gz"))
                for command in (DESKULL, *options.peer):
                    row = run_method(command, *files)
                    rows.append({"corruption": kind, "level": level} | row)
                    print(
                        f"{row['head']} {kind} {level:g} {command.name} {row['dice']:.4f}",
                        file=sys.stderr,
                    )
            pd.DataFrame(rows).to_csv(options.out / "corruption.tsv", sep="\t", index=False)
    table = repeat_untouched(pd.DataFrame(rows))
    print(f"{describe_machine()}; Dice, mean (worst) of {len(chosen)} heads\n")
    print(summarise(table))
    draw(table, options.out / "corruption.png")


def damage(head: Head, number: int) -> Iterator[tuple[str, float, Head]]:
    """Give the head as it is, and in all its damaged states, with kind and level."""
    yield "none", 0.0, head
    for kind, corruption in CORRUPTIONS.items():
        for level in corruption.levels:
            yield kind, level, corruption.apply(head, level, number)


def repeat_untouched(table: pd.DataFrame) -> pd.DataFrame:
    """Give every corruption the untouched heads as its least level."""
    whole = table[table.corruption == "none"]
    parts = [table[table.corruption != "none"]]
    for kind, corruption in CORRUPTIONS.items():
        parts.append(whole.assign(corruption=kind, level=corruption.untouched))
    return pd.concat(parts, ignore_index=True)


def summarise(table: pd.DataFrame) -> str:
    """Markdown: a line for each level, a column for each tool."""
    methods = list(dict.fromkeys(table.method))
    lines = [
        "| corruption | level | " + " | ".join(methods) + " |",
        "|---|---|" + "---|" * len(methods),
    ]
    for kind, corruption in CORRUPTIONS.items():
        for level in (corruption.untouched, *corruption.levels):
            rows = table[(table.corruption == kind) & (table.level == level)]
            cells = [_summarise(rows[rows.method == method]) for method in methods]
            lines.append(f"| {corruption.label} | {level:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _summarise(rows: pd.DataFrame) -> str:
    failed = int(rows.failed.sum())
    text = f"{rows.dice.mean():.4f} ({rows.dice.min():.4f})"
    return text + (f", {failed} failed" if failed else "")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw a panel for each corruption: mean Dice of each tool, its worst head dotted."""
    from matplotlib.figure import Figure

    from figures import label_ends, look, save_figure

    def make() -> Figure:
        figure = Figure(figsize=(13, 3.2), layout="constrained")
        axes = figure.subplots(1, len(CORRUPTIONS), sharey=True)
        ends: dict[str, tuple[float, str]] = {}
        for axis, (kind, corruption) in zip(axes, CORRUPTIONS.items(), strict=True):
            rows = table[table.corruption == kind]
            for number, (method, mine) in enumerate(rows.groupby("method", sort=False)):
                colour, mark = look(number)
                mean, worst = mine.groupby("level").dice.mean(), mine.groupby("level").dice.min()
                axis.plot(mean, marker=mark, color=colour)
                axis.plot(worst, ":", color=colour)
                ends[f"{method}, mean"] = mean.iloc[-1], colour
                ends[f"{method}, worst head"] = worst.iloc[-1], colour
            axis.set_xticks((corruption.untouched, *corruption.levels))
            axis.set_xlabel(corruption.label)
        axes[0].set_ylabel("Dice")
        label_ends(axes[-1], ends)
        return figure

    save_figure(make, path)


if __name__ == "__main__":
    main()
