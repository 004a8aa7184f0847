"""Networks on painted heads of persons kept apart: Dice straight from each, on its own grid.

    python benchmarks/painted.py LABELS runs/one runs/two default --persons head-a head-b

LABELS is a folder of whole-head label maps `<person>.nii.gz`; a network is the folder of a
training run, or weights as `deskull --weights` takes them (the network that draws the surface).
Each person is painted in each kind, always the same way for the same grid, and judged without
the way there and back that `truth.py` and `compare.py` take: quick enough to choose between
networks, and nothing but the network in it. `--pairs index.tsv` judges real heads as well.
Prints Markdown; leaves `painted.tsv`.

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
from deskull.learn.augment import AugmentSettings
from deskull.learn.dataset import load_sources
from deskull.learn.judging import judge
from deskull.learn.labels import LabelledHead, make_labelled_head
from deskull.learn.losses import hard_dice
from deskull.learn.recipe import Recipe
from deskull.learn.start import load_trained
from deskull.learn.synthesis import synthesise
from deskull.network.unet import UNet
from deskull.prepare.conform import WindowSettings
from deskull.prepare.intensity import normalise
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
    parser.add_argument("--persons", nargs="+", metavar="NAME", help="of files (default: all)")
    parser.add_argument("--heads", type=int, default=1, help="of each person and kind")
    parser.add_argument("--pairs", type=Path, help="index of real heads with masks")
    parser.add_argument("--out", type=Path, default=Path("runs/painted"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    networks = {name: load_trained(name)[0] for name in options.networks}
    rows = []
    for person, path in find_maps(options.labels, options.persons).items():
        labelled = make_labelled_head(load_volume(path))
        rows += judge_person(labelled, person, networks, options.heads)
        print(person, file=sys.stderr)
    if options.pairs:
        for name, (recipe, network) in networks.items():
            pairs = load_sources([options.pairs], recipe, cache=options.out / "cache")
            rows += [(name, v.head, REAL, 0, v.dice) for v in judge(network, pairs, recipe)]
    table = pd.DataFrame(rows, columns=["network", "person", "kind", "seed", "dice"])
    table.to_csv(options.out / "painted.tsv", sep="\t", index=False, float_format="%.4f")
    print(summarise(table))


def judge_person(
    labelled: LabelledHead, person: str, networks: dict[str, Network], heads: int
) -> list[tuple[str, str, str, int, float]]:
    """Dice of each network on each head of one person."""
    rows = []
    for number in range(heads):
        for order, kind in enumerate(KINDS):
            seed = order + number * len(KINDS)
            see = cache(partial(paint, labelled, kind, seed))
            for name, (recipe, network) in networks.items():
                rows.append((name, person, kind, seed, measure(network, *see(recipe.window))))
    return rows


def paint(
    labelled: LabelledHead, kind: str, seed: int, window: WindowSettings
) -> tuple[Tensor, Tensor]:
    """Paint a head as a network sees it: image and share of brain, (1, 1, X, Y, Z)."""
    contrast, settings = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    example = synthesise(labelled, window, settings, generator, contrast)
    image = torch.from_numpy(normalise(example.image.numpy()))
    return image[None, None], example.target[None, :1]


@torch.no_grad()
def measure(network: UNet, image: Tensor, target: Tensor) -> float:
    """Dice of the brain."""
    brain = network.spec.outputs.index("brain")
    return float(hard_dice(network(image)[:, brain : brain + 1], target))


def summarise(table: pd.DataFrame) -> str:
    """Markdown: mean Dice of each network by kind, over all painted heads, and its worst one."""
    columns = [kind for kind in (*KINDS, REAL) if (table["kind"] == kind).any()]
    painted = table["kind"] != REAL
    lines = [f"| {painted.sum() // table['network'].nunique()} painted heads | "]
    lines[0] += " | ".join([*columns, "all painted", "worst"]) + " |"
    lines.append("|---" * (len(columns) + 3) + "|")
    for name, rows in table.groupby("network", sort=False):
        means = rows.groupby("kind")["dice"].mean()
        dice = rows["dice"][painted[rows.index]]
        cells = [*means[columns], dice.mean(), dice.min()]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
