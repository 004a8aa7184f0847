"""Networks on synthetic heads of held-out participants: Dice of each network on its own grid.

    python benchmarks/synthetic.py LABELS runs/one runs/two default --participants head-a head-b

LABELS is a folder of whole-head label maps `<participant>.nii.gz`; a network is the folder of a
training run, or weights as `deskull --weights` takes them (the network that draws the surface).
Each participant is synthesised in each kind, always the same for the same grid, and judged in
the network's window, without the resampling of `truth.py` and `compare.py`: quick enough to choose
between networks. `--pairs index.tsv` judges real heads as well.
Prints Markdown; leaves `synthetic.tsv`.

Networks on one grid see the same heads; Dice on grids of different voxels is not to be compared.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from deskull import load_volume
from deskull.network.unet import UNet
from deskull.prepare.conform import WindowSettings
from deskull.prepare.intensity import normalise
from deskull.train.data import load_sources
from deskull.train.draws import Draws
from deskull.train.finetune import load_trained
from deskull.train.labels import LabelledHead, make_labelled_head
from deskull.train.loop import evaluate
from deskull.train.losses import hard_dice
from deskull.train.recipe import AugmentSettings, Recipe
from deskull.train.synthesis import synthesise
from truth import find_maps

ORDINARY = AugmentSettings(any_pose=0, field_cut=0, stripped=0, phantom=0, corruption=0.5)

KINDS: dict[str, tuple[str | None, AugmentSettings]] = {
    "T1w": ("T1w", ORDINARY),
    "T2w": ("T2w", ORDINARY),
    "T1w with contrast": ("T1c", ORDINARY),
    "free": (None, ORDINARY),  # drawn as in training, often such as no scanner makes
    "no face": ("T1w", replace(ORDINARY, deface=1)),
    "cut": ("T1w", replace(ORDINARY, field_cut=1)),
}
REAL = "real"

Network = tuple[Recipe, UNet]


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge all networks on all heads, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("networks", nargs="+", metavar="RUN_OR_WEIGHTS")
    parser.add_argument(
        "--participants", nargs="+", metavar="NAME", help="of files (default: all)"
    )
    parser.add_argument("--heads", type=int, default=1, help="of each participant and kind")
    parser.add_argument("--pairs", type=Path, help="index of real heads with masks")
    parser.add_argument("--out", type=Path, default=Path("runs/synthetic"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    networks = {name: load_trained(name)[0] for name in options.networks}
    rows = []
    for participant, path in find_maps(options.labels, options.participants).items():
        labelled = make_labelled_head(load_volume(path))
        rows += score_participant(labelled, participant, networks, options.heads)
        print(participant, file=sys.stderr)
    if options.pairs:
        for name, (recipe, network) in networks.items():
            pairs = load_sources([options.pairs], recipe, cache=options.out / "cache")
            rows += [(name, v.head, REAL, 0, v.dice) for v in evaluate(network, pairs, recipe)]
    table = pd.DataFrame(rows, columns=["network", "participant", "kind", "seed", "dice"])
    table.to_csv(options.out / "synthetic.tsv", sep="\t", index=False, float_format="%.4f")
    print(summarise(table))


def score_participant(
    labelled: LabelledHead, participant: str, networks: dict[str, Network], heads: int
) -> list[tuple[str, str, str, int, float]]:
    """Dice of each network on each head of one participant."""
    rows = []
    for number in range(heads):
        for order, kind in enumerate(KINDS):
            seed = order + number * len(KINDS)
            see = cache(partial(make_scan, labelled, kind, seed))
            for name, (recipe, network) in networks.items():
                rows.append((name, participant, kind, seed, measure(network, *see(recipe.window))))
    return rows


def make_scan(
    labelled: LabelledHead, kind: str, seed: int, window: WindowSettings
) -> tuple[Tensor, Tensor]:
    """Make a synthetic head as a network sees it: image and share of brain, (1, 1, X, Y, Z)."""
    contrast, settings = KINDS[kind]
    example = synthesise(labelled, window, settings, Draws(seed), contrast)
    image = torch.from_numpy(normalise(example.image.numpy()))
    return image[None, None], example.target[None, :1]


@torch.no_grad()
def measure(network: UNet, image: Tensor, target: Tensor) -> float:
    """Dice of the brain."""
    brain = network.spec.outputs.index("brain")
    return float(hard_dice(network(image)[:, brain : brain + 1], target))


def summarise(table: pd.DataFrame) -> str:
    """Markdown: mean Dice of each network by kind, over all synthetic heads, and its worst one."""
    columns = [kind for kind in (*KINDS, REAL) if (table["kind"] == kind).any()]
    synthetic = table["kind"] != REAL
    lines = [f"| {synthetic.sum() // table['network'].nunique()} synthetic heads | "]
    lines[0] += " | ".join([*columns, "all synthetic", "worst"]) + " |"
    lines.append("|---" * (len(columns) + 3) + "|")
    for name, rows in table.groupby("network", sort=False):
        means = rows.groupby("kind")["dice"].mean()
        dice = rows["dice"][synthetic[rows.index]]
        cells = [*means[columns], dice.mean(), dice.min()]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
