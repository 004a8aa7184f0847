"""One number for how far a mask can be trusted, from what was measured and what was flagged.

    score = 100 * exp(-sum of penalties)

Each penalty is a weight times how far a trait lies beyond what good masks have, or the fixed
cost of a flag; so nothing that gets worse can raise the score. The weights were rounded from a
fit by `benchmarks/quality.py` to heads that were damaged on purpose, so that masks with a Dice
below 0.95 mostly fall below `LOW`; costs of flags that no case had are by judgement.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deskull.image.volume import Volume
from deskull.measure.likeness import Likeness, find_unlike, sum_up
from deskull.measure.quality import Flag, find_flags, find_trait_flags

LOW = 70
"""Below it a user should look."""


@dataclass(frozen=True)
class Term:
    """Penalty of a trait: the weight times how far it is beyond the limit.

    Parameters
    ----------
    limit
        Limit on the good side of which good masks stay.
    weight
        Per unit of the trait; a negative one penalises what is below the limit.

    Examples
    --------
    >>> Term(limit=2.0, weight=0.5).find_penalty(3.0)
    0.5
    """

    limit: float
    weight: float

    def find_penalty(self, value: float) -> float:
        """Penalty of a value, 0 or more."""
        return max(0.0, (value - self.limit) * self.weight)


TERMS = {
    "rim_mm": Term(1.79, 0.25),
    "sure_in": Term(6.0, -0.1),
    "sure_out": Term(-0.53, 2.0),
    "second": Term(0.0, 2.0),
    "mirror": Term(0.08, 2.0),
}

UNLIKE_WEIGHT = 0.2
"""Per range of a trait that a head lies off the training heads."""

COSTS = {
    "looks-like-ct": 0.7,
    "looks-like-phantom": 3.0,
    "already-stripped": 0.7,
    "volume": 0.5,
    "field-cuts-brain": 0.05,
    "beyond-mask": 0.5,
    "orientation": 0.2,
    "misplaced": 0.7,
    "not-finite": 0.05,
}
"""Of each flag that says more than the traits do."""


@dataclass(frozen=True)
class Quality:
    """How far a mask can be trusted.

    Parameters
    ----------
    score
        Trust in the mask, from 0 (surely wrong) to 100; below `LOW` a user should look at it.
    flags
        Doubts about the scan and its mask.
    traits
        Traits by name, from `measure_traits`, to four digits.
    """

    score: int
    flags: list[Flag]
    traits: dict[str, float]


def judge(
    volume: Volume,
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    traits: Mapping[str, float],
    likeness: Likeness | None = None,
    others: Iterable[Flag] = (),
) -> Quality:
    """Find the doubts about a mask, and sum them up.

    Parameters
    ----------
    volume
        Scan, as loaded.
    mask, probability
        Final mask and probability on the scan's grid, as for `find_flags`.
    traits
        Traits by name, from `measure_traits`.
    likeness
        Traits of the heads that the weights were trained on; None if unknown.
    others
        Doubts that were found elsewhere.
    """
    unlike = find_unlike(traits, likeness)
    padded = volume.padding.voxels if volume.padding else 0
    flags = find_flags(volume.data, mask, probability, volume.grid.voxel_size, padded)
    flags += find_trait_flags(traits, unlike, any(f.name == "field-cuts-brain" for f in flags))
    flags += others
    score = make_score(traits, [flag.name for flag in flags], unlike)
    return Quality(score, flags, {name: float(f"{v:.4g}") for name, v in traits.items()})


def make_score(
    traits: Mapping[str, float], flags: Iterable[str], unlike: Mapping[str, float] | None = None
) -> int:
    """Sum up traits and flags.

    Parameters
    ----------
    traits
        Traits by name, from `measure_traits` or `measure_mask_traits`: what was not measured costs
        nothing.
    flags
        Names of the doubts.
    unlike
        Distance of each trait from the training heads, from `find_unlike`; None costs nothing.

    Returns
    -------
    int
        0 to 100; 0 without any traits.

    Examples
    --------
    >>> make_score({"rim_mm": 1.7}, flags=[]), make_score({"rim_mm": 1.7}, flags=["volume"])
    (100, 61)
    """
    if not traits:
        return 0
    penalties = [term.find_penalty(traits[name]) for name, term in TERMS.items() if name in traits]
    penalties += [COSTS.get(flag, 0.0) for flag in flags]
    penalties.append(UNLIKE_WEIGHT * sum_up(unlike or {}))
    return round(100 * math.exp(-math.fsum(penalties)))
