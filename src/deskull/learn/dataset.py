"""What there is to learn from: label maps and (image, mask) pairs, loaded and kept in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator

from deskull.errors import ImageFileError, InputError
from deskull.image.geometry import make_ras_grid
from deskull.image.resample import resample
from deskull.image.volume import Volume, load_volume
from deskull.learn.augment import (
    corrupt,
    draw_field,
    make_points,
    remove_face,
    sample,
    uniform,
)
from deskull.learn.labels import LabelledHead, make_labelled_head
from deskull.learn.recipe import Recipe
from deskull.learn.synthesis import Example, synthesise
from deskull.prepare.intensity import normalise

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh")
REAL_FIELD_MM = 300.0  # of a real head kept about its brain, enough for any pose of a window


@dataclass(frozen=True, eq=False)
class RealHead:
    """A scan with its reference mask, brought to an isotropic RAS+ grid about the brain.

    Parameters
    ----------
    name
        File name of the scan.
    channels
        Image and share of brain, (2, X, Y, Z) float32, the brain's middle in its middle.
    voxel_size
        Millimetres.
    """

    name: str
    channels: NDArray[np.float32]
    voxel_size: float


@dataclass(frozen=True)
class Sources:
    """All heads of a run."""

    labelled: list[LabelledHead]
    real: list[RealHead]


def load_sources(paths: list[Path], recipe: Recipe) -> Sources:
    """Load folders of label maps and tables of pairs.

    Parameters
    ----------
    paths
        Folders of label maps, or TSV/CSV tables with columns ``image`` and ``mask`` (paths,
        relative ones from the table's folder).
    recipe
        Whose window the heads are prepared for.

    Raises
    ------
    InputError
        If a path is neither, or nothing is found.
    """
    labelled: list[LabelledHead] = []
    real: list[RealHead] = []
    for path in paths:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.name.endswith(IMAGE_SUFFIXES))
            labelled += [load_label_map(file) for file in files]
        elif path.suffix in (".tsv", ".csv"):
            real += load_pairs(path, recipe.window.voxel_size)
        else:
            raise InputError(
                f"{path}: neither a folder of label maps nor a .tsv or .csv table of pairs."
            )
    if not labelled and not real:
        raise InputError(f"{', '.join(map(str, paths))}: no label map and no pair found.")
    return Sources(labelled, real)


def load_label_map(path: Path) -> LabelledHead:
    """Load one whole-head label map of about 1 mm."""
    return make_labelled_head(load_volume(path), block=2)


def load_pairs(table: Path, voxel_size: float) -> list[RealHead]:
    """Load the pairs that a table names."""
    frame = pd.read_csv(table, sep="\t" if table.suffix == ".tsv" else ",")
    missing = {"image", "mask"} - set(frame.columns)
    if missing:
        raise InputError(f"{table}: no column {sorted(missing)}; found {list(frame.columns)}.")
    folder = table.parent
    return [
        make_real_head(load_volume(folder / image), load_volume(folder / mask), voxel_size)
        for image, mask in zip(frame["image"], frame["mask"], strict=True)
    ]


def make_real_head(image: Volume, mask: Volume, voxel_size: float) -> RealHead:
    """Bring a pair to a grid a quarter finer than the network's, centred on the brain."""
    inside = np.argwhere(mask.data > 0.5)
    if len(inside) == 0:
        raise ImageFileError(f"{mask.name}: an empty mask; expected the brain.")
    fine = 0.75 * voxel_size
    middle = mask.grid.to_mm((inside.min(0) + inside.max(0)) / 2)
    n = int(REAL_FIELD_MM / fine)
    grid = make_ras_grid(middle, (n, n, n), fine)
    data = np.nan_to_num(image.data, nan=0.0, posinf=0.0, neginf=0.0)
    low = float(np.percentile(data, 0.5))
    channels = [
        resample(data - low, image.grid, grid),
        resample((mask.data > 0.5).astype(np.float32), mask.grid, grid),
    ]
    top = float(np.percentile(channels[0][channels[1] > 0.5], 95)) or 1.0
    channels[0] = np.clip(channels[0] / top, 0, 10)
    return RealHead(image.name, np.stack(channels), fine)


def make_example(sources: Sources, recipe: Recipe, generator: Generator) -> Example:
    """Draw a head, pose it, damage it, and normalise it as the network will see it."""
    window, training = recipe.window, recipe.training
    real_share = training.real_share if sources.labelled else 1.0
    if sources.real and uniform(0, 1, generator) < real_share:
        head = sources.real[int(torch.randint(len(sources.real), (), generator=generator))]
        example = _pose_real(head, recipe, generator)
    else:
        person = int(torch.randint(len(sources.labelled), (), generator=generator))
        example = synthesise(
            sources.labelled[person], window.shape, window.voxel_size, recipe.augment, generator
        )
    image = torch.from_numpy(normalise(example.image.numpy()))
    outputs = len(recipe.network.outputs)
    return Example(image, example.target[:outputs], example.known[:outputs])


def _pose_real(head: RealHead, recipe: Recipe, generator: Generator) -> Example:
    window = recipe.window
    points = make_points(window.shape, window.voxel_size, recipe.augment, generator)
    index = points / head.voxel_size + (torch.tensor(head.channels.shape[1:]) - 1) / 2
    image, brain = sample(torch.from_numpy(head.channels), index)
    image = remove_face(image, points, recipe.augment, generator)
    image = corrupt(image, window.voxel_size, generator, uniform(0, 0.6, generator))
    field = draw_field(window.shape, recipe.augment, generator)
    target = torch.stack([brain.clamp(0, 1) * field, torch.zeros_like(brain)])
    return Example(image * field, target, torch.tensor([1.0, 0.0]))
