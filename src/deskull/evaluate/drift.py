"""Does a cohort resemble the training heads, and did a difference matter on test heads.

The card of the weights holds the traits of its training heads, and traits and Dice of test heads
(`keep_training`, `keep_tested`). A trait differs if more heads lie outside the training range
than chance allows, or if the median lies far outside; whether that mattered is read from the test
heads that lie outside on the same side.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from deskull.errors import InputError, WeightsError
from deskull.evaluate.population import GEOMETRY, Head, Population
from deskull.measure.likeness import (
    MIN_HEADS,
    EvaluatedHead,
    Likeness,
    TrainingHeads,
    describe_traits,
)
from deskull.measure.traits import TRAITS
from deskull.network.card import CARD, load_card, save_card
from deskull.picture.page import make_page
from deskull.picture.plot import Point, draw_over_range

WORDS = GEOMETRY | TRAITS

CHANCE = 0.01
"""A number of heads outside the range that is less probable than this is a difference."""

FAR = 0.5
"""Share of the training range: a median that far outside it is a difference too."""

MATTERS = 0.01
"""Loss of Dice on test heads from which on a difference mattered."""


@dataclass(frozen=True)
class Drift:
    """How one trait of a cohort compares with the training heads.

    Parameters
    ----------
    trait
        One of `WORDS`.
    training
        1st and 99th percentile of the training heads.
    middle, lowest, highest
        Median, minimum and maximum of the cohort.
    outside
        Number of heads of the cohort outside the training range.
    differs
        Whether that is more than chance.
    tested
        Test heads that lie outside on the same side as most of the cohort.
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
    """Compare a cohort with the training heads, trait by trait.

    Parameters
    ----------
    heads
        Heads of the cohort, at least one.
    likeness
        What the training and test heads of the weights were like.

    Returns
    -------
    list
        One entry for each trait that both have; those that differ most come first.

    Raises
    ------
    WeightsError
        If it is not known what enough training heads were like.
    """
    if likeness.known is None:
        raise WeightsError(
            "the card of the weights does not describe the training heads. Whoever trained them "
            "can add that: deskull drift HEADS --weights FOLDER --keep training"
        )
    found, training = [], likeness.known
    for trait, values in training.traits.items():
        ours = [head.traits[trait] for head in heads if trait in head.traits]
        if ours and trait in WORDS:
            limits = values[0], values[-1]
            found.append(_compare(trait, ours, limits, training.heads, likeness.tested))
    return sorted(found, key=lambda one: (not one.differs, -one.outside))


def _compare(
    trait: str,
    ours: Sequence[float],
    limits: tuple[float, float],
    count: int,
    tested: Sequence[EvaluatedHead],
) -> Drift:
    low, high = limits
    below, above = (sum(v < low for v in ours), sum(v > high for v in ours))
    middle = median(ours)
    far = max(low - middle, middle - high) > FAR * (high - low)
    chance = _find_chance(below + above, len(ours), max(0.02, 2 / (count + 1)))
    sign = 1 if above >= below else -1
    beyond = [
        one
        for one in tested
        if trait in one.traits and sign * (one.traits[trait] - limits[sign > 0]) > 0
    ]
    differs = far or chance < CHANCE
    outer = min(ours), max(ours), below + above
    return Drift(trait, limits, middle, *outer, differs, beyond, ours)


def _find_chance(outside: int, count: int, share: float) -> float:
    """Probability that so many heads or more lie outside a range that holds all but a share."""
    return math.fsum(
        math.comb(count, k) * share**k * (1 - share) ** (count - k)
        for k in range(outside, count + 1)
    )


def tell_drift(
    drifts: Sequence[Drift], heads: Sequence[Head], likeness: Likeness
) -> Iterator[str]:
    """Write in lines of text where a cohort differs, and whether that mattered.

    Parameters
    ----------
    drifts
        Result of `find_drift`.
    heads, likeness
        What it was made from.
    """
    tested, count = likeness.tested, likeness.training.heads if likeness.training else 0
    yield f"{len(heads)} heads compared with {count} training heads"
    differing = [drift for drift in drifts if drift.differs]
    for one in differing:
        yield (
            f"differs: {WORDS[one.trait]}: {one.middle:.3g} ({one.lowest:.3g} to "
            f"{one.highest:.3g}), training {one.training[0]:.3g} to {one.training[1]:.3g}; "
            f"{one.outside} of {len(heads)} outside"
        )
        yield f"  {tell_tested(one.tested, tested)}"
    rest = "the other" if differing else "all"
    yield f"no difference: {rest} {len(drifts) - len(differing)} traits"
    scores = [head.score for head in heads]
    line = f"median score {median(scores):.0f}, lowest {min(scores):.0f}"
    if tested:
        theirs = [one.score for one in tested]
        line += f" (test heads: {median(theirs):.0f}, {min(theirs):.0f})"
    yield line


def tell_tested(like: Sequence[EvaluatedHead], tested: Sequence[EvaluatedHead]) -> str:
    """Say how well test heads that lie outside the range as well were stripped."""
    if not like:
        return "No test head has this trait: whether it matters is unknown. Look at the masks."
    overlap, lowest = fmean(one.dice for one in like), min(one.dice for one in like)
    whole = fmean(one.dice for one in tested)
    verdict = "worse than" if overlap < whole - MATTERS else "as good as"
    heads = "1 test head" if len(like) == 1 else f"{len(like)} test heads"
    return (
        f"{heads} with this trait: Dice {overlap:.3f}, lowest {lowest:.3f}; {verdict} all "
        f"{len(tested)} test heads ({whole:.3f})."
    )


def make_drift_page(
    drifts: Sequence[Drift], population: Population, likeness: Likeness, weights: str
) -> str:
    """Make the page of a comparison: each trait of the cohort over the training range.

    Parameters
    ----------
    drifts
        Result of `find_drift`.
    population, likeness
        What it was made from.
    weights
        Name of the weights.
    """
    heads, tested = population.heads, likeness.tested
    traits = [_show_trait(drift, heads, tested) for drift in drifts]
    scores = [head.score for head in heads]
    theirs = [one.score for one in tested]
    return make_page(
        "deskull.evaluate",
        "drift.html",
        title="A cohort against the training heads",
        heads=heads,
        training=likeness.training.heads if likeness.training else 0,
        weights=weights,
        count=len(drifts),
        differing=[trait for trait in traits if trait["drift"].differs],
        alike=[trait for trait in traits if not trait["drift"].differs],
        failed=population.failed,
        scores={
            "middle": median(scores),
            "lowest": min(scores),
            "tested": (median(theirs), min(theirs)) if theirs else None,
        },
    )


def _show_trait(
    drift: Drift, heads: Sequence[Head], tested: Sequence[EvaluatedHead]
) -> dict[str, Any]:
    words = WORDS[drift.trait]
    points = [
        Point(head.name, head.traits[drift.trait]) for head in heads if drift.trait in head.traits
    ]
    return {
        "drift": drift,
        "words": words,
        "plot": draw_over_range(points, drift.training, words, "training"),
        "tested": tell_tested(drift.tested, tested),
    }


def keep_training(heads: Sequence[Head], folder: Path) -> None:
    """Write the traits of the training heads into the card of the weights.

    Parameters
    ----------
    heads
        The training heads, at least `MIN_HEADS`.
    folder
        Folder of the weights.

    Raises
    ------
    InputError
        If there are too few heads.
    WeightsError
        If the card cannot be read.
    OutputError
        If the card cannot be written.
    """
    if len(heads) < MIN_HEADS:
        raise InputError(
            f"{len(heads)} heads; expected at least {MIN_HEADS} to describe a training set."
        )
    traits = describe_traits([head.traits for head in heads])
    _change_card(folder, lambda known: replace(known, training=TrainingHeads(len(heads), traits)))


def keep_tested(heads: Sequence[Head], folder: Path) -> None:
    """Write traits, Dice and scores of the test heads into the card of the weights.

    Parameters
    ----------
    heads
        The test heads, with their Dice.
    folder
        Folder of the weights.

    Raises
    ------
    InputError
        If a head has no Dice.
    WeightsError
        If the card cannot be read.
    OutputError
        If the card cannot be written.
    """
    bare = [head.name for head in heads if head.dice is None]
    if bare:
        raise InputError(
            f"{bare[0]}: no reference mask. Give a table with the columns image and mask."
        )
    tested = tuple(
        EvaluatedHead(
            round(head.dice or 0.0, 4),
            head.score,
            {name: float(f"{value:.4g}") for name, value in head.traits.items()},
        )
        for head in heads
    )
    _change_card(folder, lambda known: replace(known, tested=tested))


def _change_card(folder: Path, change: Callable[[Likeness], Likeness]) -> None:
    path = folder / CARD
    card = load_card(path)
    save_card(replace(card, likeness=change(card.likeness or Likeness())), path)
