"""Who trains, who validates, who tests: by person, never by slice, session or contrast.

The order of persons is drawn from a hash of seed and name, so that a split depends on neither
the order of a table nor the version of a library, and JSON can keep it beside the weights.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from deskull.errors import InputError, OptionError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitPlan:
    """How persons are divided between learning, choosing the weights, and the last judgement.

    Parameters
    ----------
    validation
        Share of the persons, by whom the best weights are chosen; with folds, of those who are
        not in the fold.
    test
        Share of the persons who are left alone until the end.
    folds
        Test on one of so many folds instead; 0 for none.
    fold
        Which one, from 0.

    Raises
    ------
    OptionError
        If nobody would be left to learn from, or there is no such fold.
    """

    validation: float = 0.2
    test: float = 0.0
    folds: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 <= share < 1:
                raise OptionError(f"{name} {share:g}; expected a share below 1, such as 0.2.")
        if self.validation + self.test >= 1:
            raise OptionError(
                f"validation {self.validation:g} and test {self.test:g}; expected less than 1 "
                "together, for somebody has to learn."
            )
        if self.folds and self.test:
            raise OptionError(f"test {self.test:g} and {self.folds} folds; expected one of them.")
        if (self.folds or self.fold) and not 0 <= self.fold < self.folds:
            raise OptionError(
                f"fold {self.fold} of {self.folds}; expected one from 0 to folds - 1, and 2 folds "
                "at least."
            )

    @property
    def fewest(self) -> int:
        """Persons needed at least."""
        parts = 1 + (self.validation > 0) + (self.test > 0 or self.folds > 0)
        return max(parts, self.folds)

    def draw(self, persons: Collection[str], seed: int) -> dict[str, str]:
        """Give each person one of `PARTS`.

        Raises
        ------
        InputError
            If there are too few.
        """
        shares = {"train": 1 - self.validation - self.test, "validation": self.validation}
        if not self.folds:
            return split_persons(persons, shares | {"test": self.test}, seed)
        folds = make_folds(persons, self.folds, seed)
        parts = dict.fromkeys((p for p in folds if folds[p] == self.fold), "test")
        parts |= split_persons((p for p in folds if folds[p] != self.fold), shares, seed)
        return dict(sorted(parts.items()))


def split_persons(
    persons: Iterable[str], shares: Mapping[str, float], seed: int = 0
) -> dict[str, str]:
    """Give each person one part.

    Parameters
    ----------
    persons
        Names, in any order and as often as they occur: such as the column of an index.
    shares
        Weight of each part, such as ``{"train": 0.8, "validation": 0.2}``; they need not add
        up to 1. A part without weight stays empty, every other has a person at least.
    seed
        Of the draw.

    Returns
    -------
    dict
        Part of each person, sorted by person. Sizes are the nearest whole numbers to the
        shares that add up to all: 100 and 25 of 125.

    Raises
    ------
    InputError
        If a share is negative, all are zero, or there are fewer persons than parts.
    """
    drawn = _draw(persons, seed)
    sizes = _find_sizes(len(drawn), shares)
    parts = [part for part, size in sizes.items() for _ in range(size)]
    return dict(sorted(zip(drawn, parts, strict=True)))


def make_folds(persons: Iterable[str], count: int, seed: int = 0) -> dict[str, int]:
    """Give each person one of `count` folds, numbered from 0, their sizes one apart at most.

    Raises
    ------
    InputError
        If there are fewer than two folds, or fewer persons than folds.
    """
    if count < 2:
        raise InputError(f"{count} folds; expected 2 at least.")
    drawn = _draw(persons, seed)
    if len(drawn) < count:
        raise InputError(f"{len(drawn)} persons in {count} folds; expected one in each at least.")
    return dict(sorted((person, number % count) for number, person in enumerate(drawn)))


def _draw(persons: Iterable[str], seed: int) -> list[str]:
    """Shuffle the different persons."""

    def lot(person: str) -> bytes:
        return hashlib.sha256(f"{seed}/{person}".encode()).digest()

    return sorted(set(persons), key=lot)


def _find_sizes(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that add up to `count`, by largest remainder; no wanted part is empty."""
    if not any(shares.values()) or not all(0 <= share < math.inf for share in shares.values()):
        raise InputError(f"shares {dict(shares)}; expected numbers above zero.")
    wanted = {part: Fraction(share).limit_denominator(10**6) for part, share in shares.items()}
    total = sum(wanted.values())
    needed = [part for part, share in wanted.items() if share > 0]
    if count < len(needed):
        raise InputError(
            f"{count} persons for {len(needed)} parts ({', '.join(needed)}); expected one for "
            "each at least. Add heads of other persons."
        )
    exact = {part: count * share / total for part, share in wanted.items()}
    sizes = {part: int(value) for part, value in exact.items()}
    by_remainder = sorted(sizes, key=lambda part: sizes[part] - exact[part])
    for part in by_remainder[: count - sum(sizes.values())]:
        sizes[part] += 1
    for part in needed:
        if sizes[part] == 0:
            sizes[max(sizes, key=sizes.__getitem__)] -= 1
            sizes[part] = 1
    return sizes
