"""How like a head is to those that the weights learned from.

A card of weights may hold quantiles of each trait over its training heads, and what became of
heads that it was tested on. The distance is per trait and simple, so that it can be said
which trait is unusual; it knows nothing of traits that are unusual only together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
"""Percentiles of each trait that a card holds, in this order."""

MIN_HEADS = 20
"""Fewer heads say too little about what is usual."""

CHOSEN = (
    "core_10",
    "core_50",
    "core_90",
    "rim_50",
    "shell_10",
    "shell_50",
    "shell_90",
    "structure",
    "length_x",
    "length_y",
    "length_z",
    "skew_y",
    "skew_z",
    "compact",
)
"""Traits of the head and of the mask's form; what the network itself doubts, and
what is wrong at any size such as an uneven mask, is counted apart."""


@dataclass(frozen=True)
class TrainingHeads:
    """What the training heads of a set of weights were like.

    Parameters
    ----------
    heads
        Number of training heads.
    traits
        Values of each trait at the percentiles `QUANTILES`, by its name.
    """

    heads: int
    traits: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class EvaluatedHead:
    """What a test head was like, and how well it was stripped.

    Parameters
    ----------
    dice
        Dice of its mask against the reference.
    score
        Score of its mask, 0 to 100.
    traits
        Value of each trait, by its name.
    """

    dice: float
    score: float
    traits: Mapping[str, float]


@dataclass(frozen=True)
class Likeness:
    """What the training and test heads of a set of weights were like.

    Parameters
    ----------
    training
        The training heads; null if unknown.
    tested
        Heads that the weights were tested on, none of which they were trained on.
    """

    training: TrainingHeads | None = None
    tested: tuple[EvaluatedHead, ...] = ()

    @property
    def known(self) -> TrainingHeads | None:
        """The training heads, if there are enough of them to say what is usual."""
        training = self.training
        return training if training is not None and training.heads >= MIN_HEADS else None


def round_trait(value: float) -> float:
    """Round the value of a trait as it is kept on a card: to four digits.

    Examples
    --------
    >>> round_trait(249.99936)
    250.0
    """
    return float(f"{value:.4g}")


def describe_traits(heads: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Quantiles of each trait over heads, for a card.

    Parameters
    ----------
    heads
        Traits of each head by name, from `measure_traits`; a trait that one head lacks is taken
        from the others.

    Returns
    -------
    dict
        Name to the values at `QUANTILES`.

    Examples
    --------
    >>> describe_traits([{"mirror": 0.02}, {"mirror": 0.04}])["mirror"][3]
    0.03
    """
    names = sorted({name for head in heads for name in head})
    return {
        name: tuple(
            round_trait(value)
            for value in np.percentile([head[name] for head in heads if name in head], QUANTILES)
        )
        for name in names
    }


def find_chance(outside: int, count: int, heads: int) -> float:
    """Find the probability that so many heads, or more, lie outside the training range by chance.

    The 1st and 99th percentile of few heads are uncertain themselves: the share of a population
    outside of them has a beta distribution, and the number of its heads a beta-binomial one.

    Parameters
    ----------
    outside, count
        Heads outside the range of the percentiles, and all heads, of a cohort.
    heads
        Training heads, by which the percentiles were found.

    Examples
    --------
    >>> round(find_chance(3, 5, heads=30), 3), round(find_chance(3, 5, heads=3000), 6)
    (0.01, 8.9e-05)
    """
    a = 2 * (1 + 0.01 * (heads - 1))
    b = heads + 1 - a

    def log_term(k: int) -> float:
        ways = -math.log(count + 1) - _log_beta(k + 1, count - k + 1)
        return ways + _log_beta(k + a, count - k + b) - _log_beta(a, b)

    return math.fsum(math.exp(log_term(k)) for k in range(outside, count + 1))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def find_unlike(traits: Mapping[str, float], likeness: Likeness | None) -> dict[str, float] | None:
    """Find which of the traits `CHOSEN` lie beyond what the training heads had, and how far.

    Parameters
    ----------
    traits
        Traits of one head by name.
    likeness
        Traits of the heads that the weights were trained on; None if unknown.

    Returns
    -------
    dict or None
        Name to the distance from the nearest of the 1st and 99th percentile, in units of the
        distance between them: 0 is within, 1 a whole range off. None if that is unknown, or
        known of too few heads.

    Examples
    --------
    >>> usual = TrainingHeads(30, {"structure": (0.1, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3)})
    >>> unlike = find_unlike({"structure": 0.4}, Likeness(usual))
    >>> round(unlike["structure"], 2)
    0.5
    """
    if likeness is None or likeness.known is None:
        return None
    known = likeness.known.traits
    found = {}
    for name in CHOSEN:
        if name in traits and name in known:
            low, high = known[name][0], known[name][-1]
            beyond = max(low - traits[name], traits[name] - high, 0.0)
            found[name] = beyond / max(high - low, 1e-6)
    return found


def sum_up(unlike: Mapping[str, float]) -> float:
    """Distance from the training heads: the root of the sum of the squares.

    Examples
    --------
    >>> sum_up({"length_x": 3.0, "length_y": 4.0})
    5.0
    """
    return float(np.sqrt(sum(value**2 for value in unlike.values())))
