"""What there is to learn from: label maps and (image, mask) pairs, loaded and kept in memory."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Generator

from deskull.errors import InputError
from deskull.image.names import HEADS, find_suffix, name_head
from deskull.image.volume import Volume, load_volume
from deskull.learn.augment import AugmentSettings, chance, uniform
from deskull.learn.cache import Arrays, cached, describe_file
from deskull.learn.checking import is_label_map
from deskull.learn.index import load_index
from deskull.learn.labels import (
    CLOSING_MM,
    MAY_CLOSE,
    RIM_MM,
    TISSUE,
    LabelledHead,
    load_label_table,
    load_tissues,
    make_labelled_head,
)
from deskull.learn.losses import to_distance
from deskull.learn.pairs import (
    FIELD_MM,
    FINE,
    FITTED_FIELD_MM,
    FITTED_FINE_MM,
    RealHead,
    make_real_head,
    pose_real,
)
from deskull.learn.recipe import CHANNELS, Recipe
from deskull.learn.split import SplitPlan
from deskull.learn.synthesis import Example, make_phantom, synthesise
from deskull.prepare.intensity import normalise
from deskull.tables import TABLES

logger = logging.getLogger(__name__)
LABEL_TABLE = "labels.toml"  # in a folder of label maps: the labels of each tissue there
STILL = AugmentSettings(**{setting.name: 0.0 for setting in fields(AugmentSettings)})
Show = Callable[[str], None]
Head = TypeVar("Head", LabelledHead, RealHead)
Drawn = TypeVar("Drawn")


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

    @cached_property
    def painted_by_person(self) -> list[list[LabelledHead]]:
        """Label maps of each person: who has more of them is drawn no more often."""
        return _group(self.labelled)

    @cached_property
    def scanned_by_person(self) -> list[list[RealHead]]:
        """Scans of each person."""
        return _group(self.real)

    @property
    def judges(self) -> "Sources":
        """Those that tell how good weights are: scans where there are any, else painted heads."""
        return Sources([], self.real) if self.real else self

    def take(self, persons: Collection[str]) -> "Sources":
        """Heads of some persons."""
        return Sources(
            [head for head in self.labelled if head.person in persons],
            [head for head in self.real if head.person in persons],
        )


def _group(heads: Iterable[Head]) -> list[list[Head]]:
    groups: dict[str, list[Head]] = {}
    for head in heads:
        groups.setdefault(head.person, []).append(head)
    return list(groups.values())


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
    tables = {str(p): load_label_table(p / LABEL_TABLE) for p in paths if _has_table(p)}
    for number, row in enumerate(heads.to_dict("records"), start=1):
        show(f"preparing head {number} of {len(heads)}")
        try:
            if row["label_map"]:
                path = Path(row["label_map"])
                own = tables.get(str(path.parent), table)
                labelled.append(_load_label_map(row["person"], path, own, cache))
            if row["mask"]:
                real.append(_load_pair(row["person"], row["image"], row["mask"], recipe, cache))
        except InputError as error:
            logger.warning("left out: %s", error)
    if not labelled and not real:
        raise InputError(f"{', '.join(map(str, paths))}: no label map and no pair found.")
    return Sources(labelled, real)


def _has_table(path: Path) -> bool:
    return (path / LABEL_TABLE).is_file()


def _list_heads(path: Path) -> pd.DataFrame:
    """List heads by person, image, mask and label_map, each "" where there is none."""
    if path.is_dir():
        names = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        names = [p for p in names if p.name != LABEL_TABLE]
        files = [p for p in names if p.is_file() and find_suffix(p) in HEADS]
        rows = [(name_head(p).person, "", "", str(p)) for p in files]
        return pd.DataFrame(rows, columns=["person", "image", "mask", "label_map"])
    if path.suffix.lower() not in TABLES:
        raise InputError(
            f"{path}: neither a folder of label maps nor a .tsv or .csv table of pairs."
        )
    return load_index(path)


def _load_label_map(
    person: str, path: Path, table: Mapping[str, list[int]] | None, cache: Path | None
) -> LabelledHead:
    def make() -> Arrays:
        head = make_labelled_head(_check_label_map(load_volume(path), path), table)
        size = np.array([head.voxel_size])
        return {
            "tissue": head.tissue,
            "truth": head.truth,
            "centre": head.centre,
            "extent": head.extent,
            "voxel_size": size,
        }

    key = {
        "label_map": describe_file(path),
        "table": load_tissues()["labels"] if table is None else table,
        "closing_mm": CLOSING_MM,
        "may_close": MAY_CLOSE,
        "rim_mm": RIM_MM,
        "tissue": TISSUE,
    }
    arrays = cached(cache, key, make)
    return LabelledHead(
        person,
        arrays["tissue"],
        arrays["truth"],
        arrays["centre"],
        arrays["extent"],
        float(arrays["voxel_size"][0]),
    )


def _check_label_map(volume: Volume, path: Path) -> Volume:
    """Refuse scans, which a folder of label maps may hold as well."""
    if np.isfinite(volume.data).all() and not is_label_map(volume.data):
        raise InputError(
            f"{path}: a scan, not a label map; expected few whole numbers in large pieces. Give "
            "scans with their masks as a table: see deskull index."
        )
    return volume


def _load_pair(person: str, image: str, mask: str, recipe: Recipe, cache: Path | None) -> RealHead:
    def make() -> Arrays:
        head = make_real_head(load_volume(image), load_volume(mask), recipe)
        size = np.array([head.voxel_size])
        return {"channels": head.channels, "extent": head.extent, "voxel_size": size}

    key = {
        "image": describe_file(Path(image)),
        "mask": describe_file(Path(mask)),
        "window": asdict(recipe.window),
        "preparation": asdict(recipe.preparation),
        "still": recipe.augment.moves_nothing,
        "fine": [FINE, FITTED_FINE_MM],
        "field_mm": [FIELD_MM, FITTED_FIELD_MM],
    }
    arrays = cached(cache, key, make)
    size = float(arrays["voxel_size"][0])
    return RealHead(person, Path(image).name, arrays["channels"], arrays["extent"], size)


def draw_parts(sources: Sources, plan: SplitPlan, seed: int) -> dict[str, str]:
    """Draw who is kept apart: of the persons with scans, and of those with label maps alone.

    Parameters
    ----------
    sources
        All heads.
    plan
        How persons are divided.
    seed
        Of the draw.

    Returns
    -------
    dict
        One of `split.PARTS` by person. Persons of a kind that has too few of them learn,
        unless nobody would be kept apart.

    Raises
    ------
    InputError
        If there are too few persons.
    """
    scanned = {head.person for head in sources.real}
    kinds = [scanned, set(sources.persons) - scanned]
    enough = [kind for kind in kinds if len(kind) >= plan.fewest]
    if not enough:
        return plan.draw(sources.persons, seed)
    parts = dict.fromkeys(sources.persons, "train")
    for kind in enough:
        parts |= plan.draw(kind, seed)
    return parts


def make_example(sources: Sources, recipe: Recipe, generator: Generator) -> Example:
    """Draw a person, one of the heads, pose it, damage it, and normalise it for the network."""
    real_share = recipe.training.real_share if sources.labelled else 1.0
    if sources.real and uniform(0, 1, generator) < real_share:
        head = _draw(_draw(sources.scanned_by_person, generator), generator)
        example = pose_real(head, recipe, recipe.augment, generator)
    elif chance(recipe.augment.phantom, generator):
        example = make_phantom(recipe.window, recipe.augment, generator)
    else:
        person = _draw(sources.painted_by_person, generator)
        example = _paint(_draw(person, generator), recipe, generator)
    return _finish(example, recipe)


def _draw(things: Sequence[Drawn], generator: Generator) -> Drawn:
    return things[int(torch.randint(len(things), (), generator=generator))]


def make_plain_examples(sources: Sources, recipe: Recipe) -> Iterator[tuple[str, Example]]:
    """Make one example of each head, always the same: scans as they are, painted heads seeded.

    Yields
    ------
    tuple
        Name of the head, and the example.
    """
    for number, scan in enumerate(sources.real):
        draw = Generator().manual_seed(number)
        yield scan.name, _finish(pose_real(scan, recipe, STILL, draw), recipe)
    for number, head in enumerate(sources.labelled):
        draw = Generator().manual_seed(number)
        yield head.person, _finish(_paint(head, recipe, draw), recipe)


def _paint(head: LabelledHead, recipe: Recipe, generator: Generator) -> Example:
    return synthesise(head, recipe.window, recipe.augment, generator)


def _finish(example: Example, recipe: Recipe) -> Example:
    """Normalise the image, choose the outputs, and turn shares into what the loss compares."""
    image = torch.from_numpy(normalise(example.image.numpy()))
    channels = [CHANNELS.index(name) for name in recipe.network.outputs]
    target = example.target[channels]
    if recipe.training.loss == "distance":
        target = to_distance(target, example.voxel_size).sigmoid()
    return replace(example, image=image, target=target, known=example.known[channels])
