"""Heads whose truth is exact, made from label maps of participants held out from training.

    python benchmarks/truth.py LABELS --participants head-a head-b --out runs/truth
    python benchmarks/compare.py runs/truth --peer ...

LABELS is a folder of whole-head label maps `<participant>.nii.gz`, with a `labels.toml` where
their labels are not FreeSurfer's. Writes
`truth-<kind>-<participant>_<contrast>.nii.gz` and the same with `_reference`, as `compare.py`
reads them (`--kinds plain` makes one kind, `--kinds hard` the simulations of what is hard for any
tool), and where voxels stay as they were made `_tissues`: 1 where there is grey or white matter,
2 where there is bone, dura, fat, muscle, skin or another tissue that is no brain, 0 for CSF,
vessels and air, which count for nobody. The mask of a head is laid down by its labels before the
image is made, so it owes nothing to any tool; anatomy is real, intensities are not.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from damaged_heads import (
    Head,
    add_bias,
    add_frame,
    add_noise,
    blur,
    coarsen,
    cut_field,
    lose_signal,
    make_uni,
    save_head,
    scan_by_epi,
    thicken,
)
from deskull import load_volume
from deskull.image.grid import Grid, make_ras_grid
from deskull.image.writing import Transaction, save_image
from deskull.prepare.conform import WindowSettings
from deskull.train.data import LABEL_TABLE
from deskull.train.draws import Draws
from deskull.train.labels import (
    LabelledHead,
    load_label_table,
    make_labelled_head,
    tissue_codes,
)
from deskull.train.recipe import AugmentSettings
from deskull.train.synthesis import synthesise

SHAPE, VOXEL_MM = (192, 232, 224), 1.0
"""Field of the heads: face and neck are in it."""

CALM = {
    "any_pose": 0,
    "rotation": 10,
    "scale": 0.1,
    "field_cut": 0,
    "deface": 0,
    "lesion": 0,
    "electrodes": 0,
    "stripped": 0,
    "phantom": 0,
    "corruption": 0,
    "tight": 0,
}
ANY = "any"
"""A contrast drawn as in training: often one that no scanner makes."""

KINDS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    # name -> contrasts, and how far heads stray: the rest as in training
    "plain": (("T1w",), CALM),
    "full": (("T1w", "T2w", "FLAIR", "PD", ANY), {"stripped": 0, "phantom": 0}),
    "faceless": (("T1w",), CALM | {"deface": 1}),
    "turned": (("T1w",), CALM | {"any_pose": 1}),
    "cut": (("T1w", "T2w"), CALM),
    "thick": (("T1w", "T2w", "FLAIR"), CALM),
    "lesion": (("T1w", "T2w"), CALM | {"lesion": 1}),
    "tight": (("T1w",), CALM | {"tight": 1}),
    # simulations of what is hard for any tool
    "uni": (("T1w",), CALM),
    "bias": (("T1w",), CALM),
    "epi": (("T2w",), CALM),
    "perfusion": (("PD",), CALM),
    "frame": (("T1c",), CALM),
    "void": (("T1w",), CALM),
    "tumour": (("T1w", "FLAIR"), CALM),
    "ventricles": (("T1w",), CALM),
}
HARD = ("uni", "bias", "epi", "perfusion", "frame", "void", "tumour", "ventricles")
"""Kinds that ``hard`` stands for on the command line."""

THICK_MM = 6.0

BRAIN_TISSUE = {
    "white_matter",
    "cortex",
    "deep_grey",
    "cerebellum_white",
    "cerebellum_grey",
    "brain_stem",
    "lesion",
}
NON_BRAIN = {"bone", "marrow", "soft", "skin", "muscle", "eye", "mucosa", "dura", "fat", "flesh"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the heads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument(
        "--participants",
        nargs="+",
        metavar="NAME",
        help="stems of the label maps to use (default: all)",
    )
    parser.add_argument(
        "--kinds", nargs="+", default=[k for k in KINDS if k not in HARD], choices=[*KINDS, "hard"]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/truth"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    own = options.labels / LABEL_TABLE
    table = load_label_table(own) if own.exists() else None
    for participant, path in find_maps(options.labels, options.participants).items():
        head = make_labelled_head(load_volume(path), table)
        for kind in [k for given in options.kinds for k in (HARD if given == "hard" else [given])]:
            for contrast in KINDS[kind][0]:
                name = f"truth-{kind}-{participant}_{contrast}"
                made, tissues = make_head(head, kind, contrast, name)
                save_head(made, options.out, name)
                if made.image.shape == tissues.shape:
                    save_tissues(tissues, made.grid, options.out / f"{name}_tissues.nii.gz")
                print(name, file=sys.stderr)


def find_maps(folder: Path, participants: Sequence[str] | None) -> dict[str, Path]:
    """Label maps of some participants, or of all in a folder."""
    maps = {path.name.split(".")[0]: path for path in sorted(folder.glob("*.nii.gz"))}
    participants = participants or list(maps)
    missing = [participant for participant in participants if participant not in maps]
    if missing or not participants:
        raise SystemExit(f"{folder}: no label map of {', '.join(missing) or 'anybody'}")
    return {participant: maps[participant] for participant in participants}


def make_head(
    labelled: LabelledHead, kind: str, contrast: str, name: str
) -> tuple[Head, np.ndarray]:
    """Paint one head, and say what its voxels are; its name alone decides about chance."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    rng = np.random.default_rng(seed)
    settings = AugmentSettings(**KINDS[kind][1])
    drawn = None if contrast == ANY else contrast
    if kind in ANATOMY:
        labelled = ANATOMY[kind](labelled, rng)
    example = synthesise(labelled, WindowSettings(SHAPE, VOXEL_MM), settings, Draws(seed), drawn)
    grid = make_ras_grid((0, 0, 0), SHAPE, VOXEL_MM)
    head = Head(example.image.numpy(), example.target[0].numpy() >= 0.5, grid)
    if not settings.corruption:  # an ordinary scanner in place of the generator's bad days
        head = add_bias(head, 1.5, rng)
        head = add_noise(head, 0.03 * float(head.image[head.reference].mean()), rng)
    return FINISH[kind](head, rng) if kind in FINISH else head, group_tissues(example.tissue)


def group_tissues(tissue: torch.Tensor) -> np.ndarray:
    """Tell grey and white matter (1) from what is no brain (2) and what counts for nobody (0)."""
    groups = np.zeros(256, np.uint8)
    for name, code in tissue_codes().items():
        groups[code] = 1 if name in BRAIN_TISSUE else 2 if name in NON_BRAIN else 0
    return groups[tissue.numpy()]


def save_tissues(tissues: np.ndarray, grid: Grid, path: Path) -> None:
    """Write the groups of tissues beside their head."""
    with Transaction() as transaction:
        save_image(nib.Nifti1Image(tissues, grid.affine), path, transaction)


def _cut(head: Head, rng: np.random.Generator) -> Head:
    """Cut the field on one to three sides, each through at most a quarter of the brain."""
    sides = [(2, "high"), (2, "low"), (1, "high"), (1, "low"), (0, "high")]
    for number in rng.permutation(len(sides))[: rng.integers(1, 4)]:
        axis, end = sides[number]
        head = cut_field(head, axis, **{end: rng.uniform(0.05, 0.25)})
    return head


def _thicken(head: Head, rng: np.random.Generator) -> Head:
    return thicken(head, THICK_MM, int(rng.integers(3)))


def _scan_perfusion(head: Head, rng: np.random.Generator) -> Head:
    """Scan as for arterial spin labelling: 4 mm, slices of 6 mm, noise of 15 %."""
    coarse = coarsen(blur(head, 4), (4, 4, 6))
    return add_noise(coarse, 0.15 * float(coarse.image[coarse.reference].mean()), rng)


FINISH: dict[str, Callable[[Head, np.random.Generator], Head]] = {
    "cut": _cut,
    "thick": _thicken,
    "uni": make_uni,
    "bias": lambda head, rng: add_bias(head, 8.0, rng),
    "epi": lambda head, rng: scan_by_epi(head),
    "perfusion": _scan_perfusion,
    "frame": lambda head, rng: add_frame(head),
    "void": lambda head, rng: lose_signal(head, 50, rng),
}
"""What is done to an image."""


def _grow_tumour(head: LabelledHead, rng: np.random.Generator) -> LabelledHead:
    """Turn a ball of 70 mm about a place in the brain into a lesion, as far as it is brain."""
    core = head.truth[1] > 0
    centre = np.argwhere(core)[rng.integers(core.sum())]
    away = np.indices(core.shape) - centre[:, None, None, None]
    ball = (away**2).sum(axis=0) < (35 / head.voxel_size) ** 2
    return replace(head, tissue=_put(head.tissue, core & ball, "lesion"))


def _widen_ventricles(head: LabelledHead, rng: np.random.Generator) -> LabelledHead:
    """Widen the ventricles by 6 mm into the white matter, as in old age."""
    codes = tissue_codes()
    away = ndimage.distance_transform_edt(head.tissue != codes["ventricle"]) * head.voxel_size
    near = (away <= 6) & (head.tissue == codes["white_matter"])
    return replace(head, tissue=_put(head.tissue, near, "ventricle"))


def _put(tissue: NDArray[np.uint8], where: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
    return np.where(where, np.uint8(tissue_codes()[name]), tissue)


ANATOMY: dict[str, Callable[[LabelledHead, np.random.Generator], LabelledHead]] = {
    "tumour": _grow_tumour,
    "ventricles": _widen_ventricles,
}
"""What is done to a label map."""


if __name__ == "__main__":
    main()
