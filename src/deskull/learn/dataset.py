"""What there is to learn from: label maps and (image, mask) pairs, loaded and kept in memory."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Generator

from deskull.errors import DeskullError, InputError
from deskull.image.volume import load_volume
from deskull.learn.augment import AugmentSettings, uniform
from deskull.learn.cache import Arrays, cached, describe_file
from deskull.learn.index import load_index
from deskull.learn.labels import LabelledHead, make_labelled_head
from deskull.learn.pairs import FINE, RealHead, make_channels, pose_real
from deskull.learn.recipe import Recipe
from deskull.learn.split import split_persons
from deskull.learn.synthesis import Example, synthesise
from deskull.prepare.intensity import normalise

logger = logging.getLogger(__name__)
IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh")
BLOCK = 2  # voxels of a label map over which its truth is averaged
STILL = AugmentSettings(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
Show = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """Heads to learn from, or to be kept apart."""

    labelled: list[LabelledHead]
    real: list[RealHead]

    @property
    def persons(self) -> list[str]:
        """Whose heads they are, each once, sorted."""
        labelled = {head.person for head in self.labelled}
        return sorted(labelled | {head.person for head in self.real})


def load_sources(
    paths: Sequence[Path],
    recipe: Recipe,
    cache: Path | None = None,
    table: Mapping[str, list[int]] | None = None,
    show: Show = lambda line: None,
) -> Sources:
    """Load folders of label maps and tables of pairs.

    A head that cannot be read is named in the log and left out.

    Parameters
    ----------
    paths
        Folders of label maps, or tables as `index.load_index` reads them.
    recipe
        Whose window the heads are prepared for.
    cache
        Folder that keeps prepared heads for the next run.
    table
        Labels of each tissue in the label maps, see `labels.load_label_table`.
    show
        Called with a line about each head.

    Raises
    ------
    InputError
        If a path is neither, or nothing is found.
    """
    labelled: list[LabelledHead] = []
    real: list[RealHead] = []
    heads = pd.concat([_list_heads(path) for path in paths], ignore_index=True)
    for number, row in enumerate(heads.to_dict("records"), start=1):
        show(f"preparing head {number} of {len(heads)}")
        try:
            if row["label_map"]:
                labelled.append(
                    _load_label_map(row["person"], Path(row["label_map"]), table, cache)
                )
            if row["mask"]:
                real.append(_load_pair(row["person"], row["image"], row["mask"], recipe, cache))
        except DeskullError as error:
            logger.warning("left out: %s", error)
    if not labelled and not real:
        raise InputError(f"{', '.join(map(str, paths))}: no label map and no pair found.")
    return Sources(labelled, real)


def _list_heads(path: Path) -> pd.DataFrame:
    """List heads by person, image, mask and label_map, each "" where there is none."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith(IMAGE_SUFFIXES))
        rows = [(p.name.split(".")[0], "", "", str(p)) for p in files]
        return pd.DataFrame(rows, columns=["person", "image", "mask", "label_map"])
    if path.suffix not in (".tsv", ".csv"):
        raise InputError(
            f"{path}: neither a folder of label maps nor a .tsv or .csv table of pairs."
        )
    return load_index(path)


def _load_label_map(
    person: str, path: Path, table: Mapping[str, list[int]] | None, cache: Path | None
) -> LabelledHead:
    def make() -> Arrays:
        head = make_labelled_head(load_volume(path), BLOCK, table)
        size = np.array([head.voxel_size])
        return {
            "tissue": head.tissue,
            "fractions": head.fractions,
            "centre": head.centre,
            "voxel_size": size,
        }

    key = {"label_map": describe_file(path), "block": BLOCK, "table": table}
    arrays = cached(cache, key, make)
    return LabelledHead(
        person,
        arrays["tissue"],
        arrays["fractions"],
        arrays["centre"],
        float(arrays["voxel_size"][0]),
        BLOCK,
    )


def _load_pair(person: str, image: str, mask: str, recipe: Recipe, cache: Path | None) -> RealHead:
    def make() -> Arrays:
        return {"channels": make_channels(load_volume(image), load_volume(mask), recipe)}

    key = {
        "image": describe_file(Path(image)),
        "mask": describe_file(Path(mask)),
        "window": asdict(recipe.window),
        "preparation": asdict(recipe.preparation),
        "still": recipe.augment.moves_nothing,
    }
    channels = cached(cache, key, make)["channels"]
    still = recipe.augment.moves_nothing
    size = recipe.window.voxel_size * (1.0 if still else FINE)
    return RealHead(person, Path(image).name, channels, size)


def split_sources(sources: Sources, share: float, seed: int) -> tuple[Sources, Sources]:
    """Keep persons apart for validation: never one head of a person here, another there.

    Parameters
    ----------
    sources
        All heads.
    share
        Of the persons, to be kept apart.
    seed
        Of the draw.

    Returns
    -------
    tuple
        Heads to learn from, and heads kept apart.
    """
    parts = split_persons(sources.persons, {"train": 1 - share, "validation": share}, seed)

    def take(part: str) -> Sources:
        return Sources(
            [head for head in sources.labelled if parts[head.person] == part],
            [head for head in sources.real if parts[head.person] == part],
        )

    return take("train"), take("validation")


def make_example(sources: Sources, recipe: Recipe, generator: Generator) -> Example:
    """Draw a head, pose it, damage it, and normalise it as the network will see it."""
    real_share = recipe.training.real_share if sources.labelled else 1.0
    if sources.real and uniform(0, 1, generator) < real_share:
        number = int(torch.randint(len(sources.real), (), generator=generator))
        example = pose_real(sources.real[number], recipe, recipe.augment, generator)
    else:
        number = int(torch.randint(len(sources.labelled), (), generator=generator))
        example = _paint(sources.labelled[number], recipe, generator)
    return _finish(example, recipe)


def make_plain_examples(sources: Sources, recipe: Recipe) -> list[Example]:
    """Make one example of each head, always the same: scans as they are, painted heads seeded."""
    examples = [
        pose_real(head, recipe, STILL, Generator().manual_seed(number))
        for number, head in enumerate(sources.real)
    ]
    examples += [
        _paint(head, recipe, Generator().manual_seed(number))
        for number, head in enumerate(sources.labelled)
    ]
    return [_finish(example, recipe) for example in examples]


def _paint(head: LabelledHead, recipe: Recipe, generator: Generator) -> Example:
    window = recipe.window
    return synthesise(head, window.shape, window.voxel_size, recipe.augment, generator)


def _finish(example: Example, recipe: Recipe) -> Example:
    image = torch.from_numpy(normalise(example.image.numpy()))
    outputs = len(recipe.network.outputs)
    return replace(
        example, image=image, target=example.target[:outputs], known=example.known[:outputs]
    )
