"""Is a cohort like the heads that the weights learned from, and did it matter where it is not.

The card of the weights holds what its training heads were like, and what became of heads that
it was tested on, each with its traits (`keep_training`, `keep_tested`). A trait differs where
more heads lie beyond the training heads' range than chance allows, or the middle one lies far
beyond; whether that mattered is read from tested heads that lie beyond on the same side.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from deskull.assess.population import GEOMETRY, Head
from deskull.errors import InputError, WeightsError
from deskull.image.writing import save_bytes
from deskull.measure.likeness import KEY, LEAST_HEADS, describe_traits
from deskull.measure.traits import TRAITS
from deskull.network.weights import CARD

WORDS = GEOMETRY | TRAITS

CHANCE = 0.01
"""Probability below which so many heads beyond the range are no chance."""

FAR = 0.5
"""Of the training heads' range: a middle head so far beyond it is no chance either."""

MATTERS = 0.01
"""Dice that tested heads must be worse by, for a difference to have mattered."""


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
        How many of its heads are beyond the training heads' range.
    differs
        Whether that is more than chance.
    tested
        Tested heads that are beyond on the same side as most.
    """

    trait: str
    training: tuple[float, float]
    middle: float
    lowest: float
    highest: float
    outside: int
    differs: bool
    tested: Sequence[Mapping[str, Any]]


def find_drift(heads: Sequence[Head], card: Mapping[str, Any]) -> list[Drift]:
    """Compare a cohort with the training heads, trait by trait.

    Parameters
    ----------
    heads
        At least one.
    card
        Of the weights.

    Returns
    -------
    list
        One for each trait that both have; those that differ most first.

    Raises
    ------
    WeightsError
        If the card does not say what the training heads were like.
    """
    known = card.get(KEY, {})
    training = known.get("training", {})
    if training.get("heads", 0) < LEAST_HEADS:
        raise WeightsError(
            "the card of the weights does not say what the heads they learned from were like. "
            "Who trained them can add it: deskull drift HEADS --weights FOLDER --keep training"
        )
    found = []
    for trait, values in training["traits"].items():
        ours = [head.traits[trait] for head in heads if trait in head.traits]
        if ours and trait in WORDS:
            limits = values[0], values[-1]
            tested = known.get("tested", [])
            found.append(_compare(trait, ours, limits, training["heads"], tested))
    return sorted(found, key=lambda one: (not one.differs, -one.outside))


def _compare(
    trait: str,
    ours: Sequence[float],
    limits: tuple[float, float],
    count: int,
    tested: Sequence[Mapping[str, Any]],
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
        if trait in one["traits"] and sign * (one["traits"][trait] - limits[sign > 0]) > 0
    ]
    differs = far or chance < CHANCE
    return Drift(trait, limits, middle, min(ours), max(ours), below + above, differs, beyond)


def _find_chance(outside: int, count: int, share: float) -> float:
    """Probability of so many or more heads beyond a range that holds all but a share."""
    return math.fsum(
        math.comb(count, k) * share**k * (1 - share) ** (count - k)
        for k in range(outside, count + 1)
    )


def tell_drift(
    drifts: Sequence[Drift], heads: Sequence[Head], card: Mapping[str, Any]
) -> Iterator[str]:
    """Say in lines of text where a cohort differs, and whether that mattered.

    Parameters
    ----------
    drifts
        As `find_drift` gives them.
    heads, card
        Of which they are.
    """
    tested = card[KEY].get("tested", [])
    count = card[KEY]["training"]["heads"]
    yield f"{len(heads)} heads against {count} that the weights learned from"
    differing = [drift for drift in drifts if drift.differs]
    for one in differing:
        yield (
            f"differs: {WORDS[one.trait]}: {one.middle:.3g} ({one.lowest:.3g} to "
            f"{one.highest:.3g}), training {one.training[0]:.3g} to {one.training[1]:.3g}; "
            f"{one.outside} of {len(heads)} beyond"
        )
        yield f"  {_tell_tested(one.tested, tested)}"
    rest = "the other" if differing else "all"
    yield f"alike: {rest} {len(drifts) - len(differing)} traits"
    scores = [head.score for head in heads]
    line = f"score: {median(scores):.0f} in the middle, {min(scores):.0f} at least"
    if tested:
        theirs = [one["score"] for one in tested]
        line += f"; tested heads {median(theirs):.0f} and {min(theirs):.0f}"
    yield line


def _tell_tested(like: Sequence[Mapping[str, Any]], tested: Sequence[Mapping[str, Any]]) -> str:
    """Say what became of tested heads that were beyond the range as well."""
    if not like:
        return "No tested head was like these: whether it matters is not known. Look at the masks."
    overlap, lowest = fmean(one["dice"] for one in like), min(one["dice"] for one in like)
    whole = fmean(one["dice"] for one in tested)
    verdict = "It mattered" if overlap < whole - MATTERS else "It did not matter"
    heads = "1 tested head" if len(like) == 1 else f"{len(like)} tested heads"
    return (
        f"{verdict} on {heads} like these: Dice {overlap:.3f} ({lowest:.3f} at least), on all "
        f"{len(tested)} {whole:.3f}."
    )


def keep_training(heads: Sequence[Head], folder: Path) -> None:
    """Write into the card of weights what their training heads are like.

    Parameters
    ----------
    heads
        At least `LEAST_HEADS`.
    folder
        Of the weights.

    Raises
    ------
    InputError
        If there are too few heads.
    WeightsError
        If the card cannot be read.
    OutputError
        If the card cannot be written.
    """
    if len(heads) < LEAST_HEADS:
        raise InputError(
            f"{len(heads)} heads; expected at least {LEAST_HEADS} to say what is usual."
        )
    traits = describe_traits([head.traits for head in heads])
    _change_card(folder, {"training": {"heads": len(heads), "traits": traits}})


def keep_tested(heads: Sequence[Head], folder: Path) -> None:
    """Write into the card of weights what became of heads that they were tested on.

    Parameters
    ----------
    heads
        With their Dice.
    folder
        Of the weights.

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
            f"{bare[0]}: no mask to compare with. Give a table with the columns image and mask."
        )
    tested = [
        {
            "dice": round(head.dice or 0.0, 4),
            "score": head.score,
            "traits": {name: float(f"{value:.4g}") for name, value in head.traits.items()},
        }
        for head in heads
    ]
    _change_card(folder, {"tested": tested})


def _change_card(folder: Path, fields: Mapping[str, Any]) -> None:
    path = folder / CARD
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable card of weights ({error}).") from error
    card[KEY] = {**card.get(KEY, {}), **fields}
    save_bytes((json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode(), path)
