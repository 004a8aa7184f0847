"""The published recipe and ours on the same data set and split, for as many steps or minutes.

    python examples/make_dataset.py label_maps/ --out heads
    python examples/make_dataset.py other_participants/ --out others --heads 2
    deskull index heads -o learn.tsv && deskull index others -o test.tsv
    python benchmarks/recipes.py learn.tsv --test test.tsv --steps 200 --out runs/recipes

Each recipe is trained by `deskull train` in turns of a few minutes; the one that has had less
goes next, so that whatever else the machine does hits both. Stopped, the same command goes on,
and so does one with more steps. `--minutes 60` instead of steps gives each as long. The best
weights by validation are released, strip every head held out, and are judged on the scan's own
grid. Prints Markdown; leaves `turns.tsv` and `heads.tsv`.

Ours finds the brain by the bundled `locate` network; choose test participants
on whom that network was not trained either. Without AMX or a GPU both train in float32.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from safetensors import safe_open

from deskull import Stripper, load_volume
from deskull.measure.metrics import dice, iou
from deskull.train.index import load_index
from processes import describe_machine, measure

RECIPES = {"article": "article", "ours": "segment"}
ABOUT = {
    "licence": "none: a benchmark",
    "population": "the heads of the benchmark",
    "convention": "that of the heads' masks",
    "data": "the heads of the benchmark",
}


def main() -> None:
    """Train both, judge both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path, help="heads to train and to validate on")
    parser.add_argument("--test", type=Path, required=True, help="index of other participants")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, help="of each, from the first")
    budget.add_argument("--minutes", type=float, help="of each, from the first")
    parser.add_argument("--turn", type=float, default=5.0, help="minutes of a turn")
    parser.add_argument("--validation", type=float, default=0.2, help="share of the participants")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--recipe", action="append", default=[], metavar="NAME=TOML")
    options = parser.parse_args()
    recipes = RECIPES | dict(text.split("=", 1) for text in options.recipe)
    check_participants(options.index, options.test)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, recipe in recipes.items():
        take_turn(options, name, recipe, "--steps", "0")  # prepares the heads, if they are not
    turns = train_in_turns(options, recipes)
    heads = pd.concat([evaluate(options, name) for name in recipes])
    heads.to_csv(options.out / "heads.tsv", sep="\t", index=False)
    print(f"{describe_machine()}, {options.threads} threads\n")
    print(summarise(options.out, list(recipes), turns, heads))


def check_participants(index: Path, test: Path) -> None:
    """Refuse test participants that are in the training index."""
    both = set(load_index(index)["participant"]) & set(load_index(test)["participant"])
    if both:
        raise SystemExit(f"{test}: {', '.join(sorted(both))} are in {index} as well")


def train_in_turns(options: argparse.Namespace, recipes: dict[str, str]) -> pd.DataFrame:
    """Give each turn to the recipe that has had least, until all have had theirs."""
    path = options.out / "turns.tsv"
    columns = ["recipe", "steps", "wall", "cpu", "peak_mb"]
    turns = pd.read_csv(path, sep="\t") if path.exists() else pd.DataFrame(columns=columns)
    budget, left = options.steps or options.minutes, set(recipes)
    while left:
        spent, name = min((spend(options, name, turns), name) for name in left)
        if spent >= budget:
            break
        if options.steps:
            limits = ["--steps", str(options.steps), "--minutes", str(options.turn)]
        else:
            limits = ["--minutes", str(min(options.turn, budget - spent))]
        before = read_step(options.out / name)
        run = take_turn(options, name, recipes[name], *limits)
        steps = read_step(options.out / name) - before
        if steps == 0:  # its schedule has come to an end
            left.remove(name)
            continue
        turns.loc[len(turns)] = [name, steps, *run]
        turns.to_csv(path, sep="\t", index=False)
    return turns


def spend(options: argparse.Namespace, name: str, turns: pd.DataFrame) -> float:
    """Count the steps that a recipe has taken, or the minutes."""
    steps = read_step(options.out / name)
    return steps if options.steps else steps * find_pace(turns, name) / 60


def find_pace(turns: pd.DataFrame, name: str) -> float:
    """Seconds a step, over the turns that left a row: one cut short leaves its steps alone."""
    had = turns[turns["recipe"] == name]
    return float(had["wall"].sum() / max(had["steps"].sum(), 1))


def take_turn(
    options: argparse.Namespace, name: str, recipe: str, *limit: str
) -> tuple[float, float, float]:
    """Run `deskull train`; return seconds of the clock, of the cores, and peak memory in MB."""
    command = [
        *(sys.executable, "-m", "deskull", "train", str(options.index), "--recipe", recipe),
        *("--out", str(options.out / name), "--cache", str(options.out / "cache")),
        *("--validation", str(options.validation), "--threads", str(options.threads), *limit),
    ]
    log = options.out / f"{name}.log"
    run = measure(command, log)
    if run.code:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text('utf-8')[-2000:]}")
    return run.wall, run.cpu, run.peak_mb


def evaluate(options: argparse.Namespace, name: str) -> pd.DataFrame:
    """Release a recipe's weights, and strip all held-out heads."""
    run, rows = options.out / name, []
    with TemporaryDirectory() as folder:
        about, weights = Path(folder) / "about.json", Path(folder) / "weights"
        about.write_text(json.dumps(ABOUT), "utf-8")
        command = [sys.executable, "-m", "deskull", "export", str(run)]
        command += ["--about", str(about), "--out", str(weights)]
        code = measure(command, options.out / f"{name}.log").code
        if code:
            raise SystemExit(f"the weights of {run} cannot be released; see {name}.log")
        stripper = Stripper.load(weights, device="cpu", threads=options.threads)
        known = json.loads((run / "split.json").read_text("utf-8"))["validation"]
        index = load_index(options.index)
        parts = {
            "validation": index[index["participant"].isin(known)],
            "test": load_index(options.test),
        }
        for part, heads in parts.items():
            for image, mask in zip(heads["image"], heads["mask"], strict=True):
                found, truth = stripper(load_volume(image)).mask, load_volume(mask).data > 0.5
                rows.append((name, part, Path(image).name, dice(found, truth), iou(found, truth)))
                print(*rows[-1], file=sys.stderr)
    return pd.DataFrame(rows, columns=["recipe", "part", "head", "dice", "iou"])


def summarise(out: Path, names: list[str], turns: pd.DataFrame, heads: pd.DataFrame) -> str:
    """Markdown: a column for each recipe."""
    table: dict[str, list[str]] = {}
    for name in names:
        had = turns[turns["recipe"] == name]
        steps, seconds = read_step(out / name), find_pace(turns, name)
        cells = {
            "minutes": f"{seconds * steps / 60:.1f}",
            "steps": f"{steps}",
            "seconds a step": f"{seconds:.2f}",
            "peak memory, GB": f"{had['peak_mb'].max() / 1024:.1f}",
            "weights of step": f"{read_best_step(out / name)}",
        }
        for part in ("validation", "test"):
            here = heads[(heads["recipe"] == name) & (heads["part"] == part)]
            for column, word in (("dice", "Dice"), ("iou", "IoU")):
                values = here[column]
                row = f"{part} {word}, mean (worst) of {len(values)}"
                cells[row] = f"{values.mean():.4f} ({values.min():.4f})"
        for row, cell in cells.items():
            table.setdefault(row, []).append(cell)
    head = f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n"
    return head + "\n".join(f"| {row} | {' | '.join(cells)} |" for row, cells in table.items())


def read_step(run: Path, file: str = "last.safetensors") -> int:
    """Step at which a checkpoint of a run was written."""
    with safe_open(run / file, "np") as checkpoint:
        return int(checkpoint.metadata()["step"])


def read_best_step(run: Path) -> int:
    """Step of the weights that are released: the best, or the last where none were judged."""
    best = "best.safetensors"
    return read_step(run, best if (run / best).exists() else "last.safetensors")


if __name__ == "__main__":
    main()
