r"""Make the table of accuracy of the docs from what `compare.py` wrote.

    python benchmarks/accuracy.py runs/heads/compare.tsv --apart IXI=runs/ixi/compare.tsv \
        --exact runs/truth/compare.tsv --exact newborn=runs/newborn/compare.tsv \
        --figure docs/images/compare.png

writes docs/background/accuracy.tsv: a row for each method and kind of heads, with the mean Dice
and its interval; and the figure of accuracy and time on the T1w heads. Seconds are those of the
cores, which other work on a machine hardly changes. `--apart` is a data set
with rows of its own, `--exact` a comparison on synthetic heads. Each may be given several times,
such as where a peer ran later: what a method did on a head counts once, as in the first. The
numbers of sentences in docs/numbers.toml and the table of the README are changed by hand; a test
says where they differ.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from compare import draw, take_best_border
from deskull.evaluate import estimate
from processes import DESKULL

OUT = Path(__file__).parents[1] / "docs" / "background" / "accuracy.tsv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the comparisons and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compared", type=Path, nargs="+", help="compare.tsv on real heads")
    parser.add_argument("--apart", action="append", default=[], help="NAME=compare.tsv")
    parser.add_argument("--exact", action="append", default=[], help="[NAME=]compare.tsv")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    real = _load(*options.compared)
    rows = [*make_rows(real, "summary"), *make_rows(real, "data set")]
    for name, paths in _group(options.apart).items():
        rows += make_rows(_load(*paths).assign(data_set=name), "summary")
    for name, paths in _group(options.exact).items():
        rows += make_rows(_load(*paths).assign(data_set=name, reference="exact"), "summary")
    pd.DataFrame(rows).to_csv(options.out, sep="\t", index=False, na_rep="n/a")
    if options.figure:
        draw(real[real.contrast == "T1w"], options.figure)


def _group(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Group comparisons by the data set that is named before ``=``."""
    groups: dict[str, list[Path]] = {}
    for text in texts:
        name, _, path = text.rpartition("=")
        groups.setdefault(name, []).append(Path(path))
    return groups


def _load(*paths: Path) -> pd.DataFrame:
    """Load comparisons of the same heads; what ran in several counts as in the first."""
    table = pd.concat([pd.read_csv(path, sep="\t") for path in paths])
    return table.drop_duplicates(["head", "method"])


def make_rows(table: pd.DataFrame, level: str) -> Iterator[dict[str, object]]:
    """Make a row for each method on each kind of heads, or on each data set."""
    table = table.reset_index(drop=True)
    table["method"] = table.method.str.replace(r" \d[\d.]*$", "", regex=True)  # its version
    table = table.assign(best=take_best_border(table)).sort_values(
        ["trained", "reference"], ascending=[True, False], kind="stable"
    )
    apart = level == "data set" or table.data_set.nunique() == 1
    keys = ["trained", "reference", "contrast"] + ["data_set"] * apart
    for (trained, truth, contrast, *names), heads in table.groupby(keys, sort=False):
        first = heads[heads.method == DESKULL.name].set_index("head").dice
        for method, rows in heads.groupby("method", sort=False):
            gain = rows.set_index("head").dice - first
            yield {
                "level": level,
                "data_set": names[0] if names else "",
                "contrast": contrast,
                "truth": truth,
                "trained_on": "yes" if trained else "no",
                "scans": len(rows),
                "method": method,
                **describe(rows.dice, "dice", 4),
                "dice_worst": round(rows.dice.min(), 4),
                "dice_best_border": round(rows.best.mean(), 4),
                "dice_best_border_worst": round(rows.best.min(), 4),
                **describe(rows.hd95, "hd95", 2),
                **describe(gain if method != DESKULL.name else gain[:0], "dice_gain", 4),
                "cpu_s": round(rows.cpu.median(), 2),
                "peak_mb": round(rows.peak_mb.max()),
                "failed": int(rows.failed.sum()),
            }


def describe(values: pd.Series, name: str, digits: int) -> dict[str, float]:
    """Give a mean and the ends of its interval; of a single scan there is none."""
    known = values.dropna().tolist()
    unit = "_mm" if name == "hd95" else ""
    if not known:
        return {f"{name}{unit}": float("nan")} | dict.fromkeys(
            (f"{name}_low", f"{name}_high"), float("nan")
        )
    found = estimate(known, high_is_good=True)
    low, high = (found.low, found.high) if found.count > 1 else (float("nan"), float("nan"))
    numbers = (found.mean, low, high)
    names = (f"{name}{unit}", f"{name}_low", f"{name}_high")
    return {key: round(number, digits) for key, number in zip(names, numbers, strict=True)}


if __name__ == "__main__":
    main()
