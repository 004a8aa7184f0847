"""How like a head is to those that the weights learned from.

A card of weights may hold, under `KEY`, quantiles of each trait over its training heads, and
what became of heads that it was tested on. The distance is per trait and simple, so that it
can be said in words which trait is unusual; it knows nothing of traits that are unusual only
together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KEY = "likeness"
"""Of the card: ``{"training": {"heads": N, "traits": {name: [...]}}, "tested": [...]}``."""

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
"""Percentiles of each trait that a card holds, in this order."""

LEAST_HEADS = 20
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


def describe_traits(heads: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Quantiles of each trait over heads, for a card.

    Parameters
    ----------
    heads
        As `measure_traits` gives them; a trait that one lacks is taken from the others.

    Returns
    -------
    dict
        Name to the values at `QUANTILES`.
    """
    names = sorted({name for head in heads for name in head})
    return {
        name: [
            float(f"{value:.4g}")
            for value in np.percentile([head[name] for head in heads if name in head], QUANTILES)
        ]
        for name in names
    }


def find_unlike(traits: Mapping[str, float], card: Mapping[str, Any]) -> dict[str, float] | None:
    """Find which of the traits `CHOSEN` lie beyond what the training heads had, and how far.

    Parameters
    ----------
    traits
        Of one head.
    card
        Of the weights.

    Returns
    -------
    dict or None
        Name to the distance from the nearest of the 1st and 99th percentile, in units of the
        distance between them: 0 is within, 1 a whole range off. None if the card does not say,
        or says it of too few heads.
    """
    training = card.get(KEY, {}).get("training", {})
    if training.get("heads", 0) < LEAST_HEADS:
        return None
    known = training["traits"]
    found = {}
    for name in CHOSEN:
        if name in traits and name in known:
            low, high = known[name][0], known[name][-1]
            beyond = max(low - traits[name], traits[name] - high, 0.0)
            found[name] = beyond / max(high - low, 1e-6)
    return found


def sum_up(unlike: Mapping[str, float]) -> float:
    """Distance from the training heads: the root of the sum of the squares."""
    return float(np.sqrt(sum(value**2 for value in unlike.values())))
