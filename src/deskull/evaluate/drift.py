"""Whether a cohort resembles the training heads, and whether a difference mattered on test heads.

The heads of a cohort are read from the records of a batch, or measured by stripping. The card of
the weights holds the traits of the training heads, and traits and Dice of test heads
(`store_training`, `store_tested`). A trait differs if more heads lie outside the training range
than chance allows, or if the median lies far outside; whether that mattered is read from the test
heads that lie outside on the same side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from deskull.cohort.search import make_plan
from deskull.cohort.stripped import find_stripped
from deskull.errors import DeskullError, InputError, WeightsError
from deskull.evaluate.masks import Mask, check_one_grid, load_canonical_mask
from deskull.image.grid import to_canonical_array
from deskull.image.volume import load_volume
from deskull.measure.likeness import (
    MIN_HEADS,
    EvaluatedHead,
    Likeness,
    TrainingHeads,
    describe_traits,
    find_chance,
    round_trait,
)
from deskull.measure.metrics import dice
from deskull.measure.traits import TRAITS
from deskull.network.card import CARD, load_card, save_card
from deskull.outputs import RECORD
from deskull.record import Record
from deskull.result import Result
from deskull.stripper import Stripper
from deskull.text_files import TABLES, read_table

GEOMETRY = {
    "voxel_small": "the smallest edge of a voxel in mm",
    "voxel_large": "the largest edge of a voxel in mm",
    "field_x": "the field from left to right in mm",
    "field_y": "the field from back to front in mm",
    "field_z": "the field from below to above in mm",
}
"""Traits of the scan itself, in addition to those of the head."""

IMAGES, MASKS = ("image", "in"), ("mask", "reference")
"""Names of the columns of scans and reference masks in tables of `deskull index` and `batch`."""

DESCRIPTIONS = GEOMETRY | TRAITS
"""What each trait is, for messages and pages."""

CHANCE = 0.01
"""Probability below which a number of heads outside the training range is a difference."""

FAR = 0.5
"""Share of the training range by which the median must lie outside it to be a difference."""

MATTERS = 0.01
"""Loss of Dice on test heads from which on a difference matters."""


@dataclass(frozen=True)
class Head:
    """Measurements of one head.

    Parameters
    ----------
    name
        Name of the scan.
    traits
        Values by the names of `DESCRIPTIONS`.
    score
        Score from 0 (certainly wrong) to 100.
    dice
        Dice of its mask and a reference; None if there is no reference.
    """

    name: str
    traits: Mapping[str, float]
    score: float
    dice: float | None = None


@dataclass(frozen=True)
class Population:
    """Measurements of a cohort.

    Parameters
    ----------
    heads
        Measurements of each head that has a mask.
    failed
        Name and error of each scan that has none.
    weights
        SHA-256 of the weights that made the masks.
    """

    heads: list[Head]
    failed: list[tuple[str, str]]
    weights: set[str]


def load_population(
    source: Path,
    make_stripper: Callable[[], Stripper],
    observe: Callable[[int, int], None] | None = None,
) -> Population:
    """Measure the heads of a cohort.

    Parameters
    ----------
    source
        Path of the output of a batch, whose records are read; or of a folder of scans, or a table
        with the column ``image`` or ``in`` and optionally ``mask`` or ``reference``, which are
        stripped.
    make_stripper
        Function that makes a stripper, called if scans have to be stripped.
    observe
        Function called with the number of scans done, and of all.

    Raises
    ------
    InputError
        If there is no head, or the records come from an older version.
    """
    if source.is_dir() and next(source.rglob(f"*{RECORD}"), None):
        return _read_records(source)
    scans = list(_find_scans(source))
    stripper = make_stripper()
    heads, failed = [], []
    for number, (scan, reference) in enumerate(scans):
        if observe is not None:
            observe(number, len(scans))
        try:
            result = stripper(load_volume(scan))
            heads.append(_make_head(scan.name, result.record, _find_dice(result, reference)))
        except DeskullError as error:
            failed.append((scan.name, str(error)))
    if not heads:
        raise InputError(f"{source}: no head could be measured; {failed[0][1]}")
    return Population(heads, failed, {stripper.weights.digest})


def _read_records(folder: Path) -> Population:
    heads, failed, weights = [], [], set()
    for scan in find_stripped(folder):
        record = scan.record
        if scan.error or not record.traits or record.score is None:
            failed.append((scan.name, scan.error or "its record has no traits"))
            continue
        heads.append(_make_head(scan.name, record, None))
        weights.add(record.weights.sha256 if record.weights else "")
    if not heads:
        raise InputError(
            f"{folder}: no record says what the head is like. Strip the scans again with this "
            "version: deskull batch --force"
        )
    return Population(heads, failed, weights)


def _find_scans(source: Path) -> Iterator[tuple[Path, Path | None]]:
    """Find the scans of a folder or table, and their reference masks."""
    if source.suffix.lower() not in TABLES or source.is_dir():
        for task in make_plan([source], source / ".deskull"):  # nothing is written there
            yield task.scan, None
        return
    found = False
    for _, row in read_table(source, more=MASKS):
        image, mask = (next(filter(None, map(row.get, names)), None) for names in (IMAGES, MASKS))
        if image:
            found = True
            yield source.parent / image, source.parent / mask if mask else None
    if not found:
        raise InputError(f"{source}: no scan in it; expected the column {' or '.join(IMAGES)}.")


def _find_dice(result: Result, path: Path | None) -> float | None:
    """Find the Dice of a result and a reference on the same grid; None without a reference."""
    if path is None:
        return None
    reference, grid = load_canonical_mask(path), result.volume.grid
    mask = Mask(to_canonical_array(result.mask, grid), grid.canonical(), result.volume.name)
    check_one_grid(mask, reference)
    return dice(mask.inside, reference.inside)


def _make_head(name: str, record: Record, overlap: float | None) -> Head:
    scan = record.input
    sizes = scan.voxel_size
    traits = {**record.traits, "voxel_small": min(sizes), "voxel_large": max(sizes)}
    for count, size, code in zip(scan.shape, sizes, scan.orientation, strict=False):
        axis = next(a for a, ends in zip("xyz", ("LR", "PA", "IS"), strict=True) if code in ends)
        traits[f"field_{axis}"] = count * size
    return Head(name, traits, float(record.score or 0), overlap)


# --- comparison


@dataclass(frozen=True)
class Drift:
    """How one trait of a cohort compares with the training heads.

    Parameters
    ----------
    trait
        Name of the trait, one of `DESCRIPTIONS`.
    training
        1st and 99th percentile of the training heads.
    middle, lowest, highest
        Median, minimum and maximum of the cohort.
    outside
        Number of heads of the cohort outside the training range.
    differs
        Whether the cohort differs from the training heads more than chance allows.
    tested
        Test heads that lie outside the range on the same side as most of the cohort.
    values
        Value of each head of the cohort that has the trait.
    """

    trait: str
    training: tuple[float, float]
    middle: float
    lowest: float
    highest: float
    outside: int
    differs: bool
    tested: Sequence[EvaluatedHead]
    values: Sequence[float] = ()


def find_drift(heads: Sequence[Head], likeness: Likeness) -> list[Drift]:
    """Compare a cohort with the training heads, by each trait that both have.

    The traits that differ most come first.

    Parameters
    ----------
    heads
        Heads of the cohort, at least one.
    likeness
        Traits of the training and test heads, from the card of the weights.

    Raises
    ------
    WeightsError
        If the card does not describe enough training heads.
    """
    if likeness.known is None:
        raise WeightsError(
            "the card of the weights does not describe the training heads. Whoever trained them "
            "can add that: deskull drift HEADS --weights FOLDER --keep training"
        )
    found, training = [], likeness.known
    for trait in training.traits:
        values = [round_trait(head.traits[trait]) for head in heads if trait in head.traits]
        if values and trait in DESCRIPTIONS:
            found.append(_compare(trait, values, training, likeness.tested))
    return sorted(found, key=lambda one: (not one.differs, -one.outside))


def _compare(
    trait: str, values: Sequence[float], training: TrainingHeads, tested: Sequence[EvaluatedHead]
) -> Drift:
    low, high = limits = training.traits[trait][0], training.traits[trait][-1]
    below, above = (sum(v < low for v in values), sum(v > high for v in values))
    middle = median(values)
    far = max(low - middle, middle - high) > FAR * (high - low)
    chance = find_chance(below + above, len(values), training.heads)
    sign = 1 if above >= below else -1
    beyond = [
        one
        for one in tested
        if trait in one.traits and sign * (one.traits[trait] - limits[sign > 0]) > 0
    ]
    outer = min(values), max(values), below + above
    return Drift(trait, limits, middle, *outer, far or chance < CHANCE, beyond, values)


def describe_drift(
    drifts: Sequence[Drift], heads: Sequence[Head], likeness: Likeness
) -> Iterator[str]:
    """Describe in lines of text where a cohort differs, and whether that mattered.

    Parameters
    ----------
    drifts
        Result of `find_drift`.
    heads, likeness
        Arguments of `find_drift`.
    """
    tested, count = likeness.tested, likeness.training.heads if likeness.training else 0
    yield f"{len(heads)} heads compared with {count} training heads"
    differing = [drift for drift in drifts if drift.differs]
    for one in differing:
        yield (
            f"differs: {DESCRIPTIONS[one.trait]}: {one.middle:.3g} ({one.lowest:.3g} to "
            f"{one.highest:.3g}), training {one.training[0]:.3g} to {one.training[1]:.3g}; "
            f"{one.outside} of {len(heads)} outside"
        )
        yield f"  {describe_tested(one.tested, tested)}"
    rest = "the other" if differing else "all"
    yield f"no difference: {rest} {len(drifts) - len(differing)} traits"
    scores = [head.score for head in heads]
    line = f"median score {median(scores):.0f}, lowest {min(scores):.0f}"
    if tested:
        test_scores = [one.score for one in tested]
        line += f" (test heads: {median(test_scores):.0f}, {min(test_scores):.0f})"
    yield line


def describe_tested(like: Sequence[EvaluatedHead], tested: Sequence[EvaluatedHead]) -> str:
    """Describe how well those of all test heads that lie outside the range were stripped."""
    if not like:
        return "No test head has this trait: whether it matters is unknown. Look at the masks."
    mean, lowest = fmean(one.dice for one in like), min(one.dice for one in like)
    of_all = fmean(one.dice for one in tested)
    comparison = "worse than" if mean < of_all - MATTERS else "as good as"
    heads = "1 test head" if len(like) == 1 else f"{len(like)} test heads"
    return (
        f"{heads} with this trait: Dice {mean:.3f}, lowest {lowest:.3f}; {comparison} all "
        f"{len(tested)} test heads ({of_all:.3f})."
    )


def store_training(heads: Sequence[Head], folder: Path) -> None:
    """Store the traits of the training heads in the card of the weights.

    Parameters
    ----------
    heads
        Measurements of the training heads, at least `MIN_HEADS` of them.
    folder
        Folder of the weights.

    Raises
    ------
    InputError
        If there are too few heads.
    WeightsError, OutputError
        If the card cannot be read, or written.
    """
    if len(heads) < MIN_HEADS:
        raise InputError(
            f"{len(heads)} heads; expected at least {MIN_HEADS} to describe a training set."
        )
    traits = describe_traits([head.traits for head in heads])
    _change_card(folder, training=TrainingHeads(len(heads), traits))


def store_tested(heads: Sequence[Head], folder: Path) -> None:
    """Store traits, Dice and scores of the test heads in the card of the weights.

    Parameters
    ----------
    heads
        Measurements of the test heads, with their Dice.
    folder
        Folder of the weights.

    Raises
    ------
    InputError
        If a head has no Dice.
    WeightsError, OutputError
        If the card cannot be read, or written.
    """
    missing = [head.name for head in heads if head.dice is None]
    if missing:
        raise InputError(
            f"{missing[0]}: no reference mask. Give a table with the columns image and mask."
        )
    tested = tuple(
        EvaluatedHead(
            round(head.dice or 0.0, 4),
            head.score,
            {name: round_trait(value) for name, value in head.traits.items()},
        )
        for head in heads
    )
    _change_card(folder, tested=tested)


def _change_card(folder: Path, **changes: Any) -> None:
    path = folder / CARD
    card = load_card(path)
    save_card(replace(card, likeness=replace(card.likeness or Likeness(), **changes)), path)
