"""The split of a run: who trains, who validates, who tests.

By participant, never by slice, session or contrast. A part that a table fixes is kept; the others
are drawn by a hash of seed and name, so that a split depends on neither the order of a table nor
the version of a library. A run keeps its split in `split.json`.
"""

import hashlib
import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from deskull.errors import InputError, OptionError
from deskull.image.writing import make_folder, save_bytes
from deskull.train.index import PARTS
from deskull.train.sources import Sources

logger = logging.getLogger(__name__)

SPLIT = "split.json"
"""Name of the file in the folder of a run."""


@dataclass(frozen=True)
class SplitPlan:
    """How participants are divided into training, validation and test.

    Parameters
    ----------
    validation
        Share of the participants by whom the best weights are chosen; with folds, of those who
        are not in the fold.
    test
        Share of the participants who are held out until the end.
    folds
        Number of folds, one of which is the test instead; 0 for none.
    fold
        Number of the fold that is the test, from 0.

    Raises
    ------
    OptionError
        If nobody would be left to train on, or there is no such fold.

    Examples
    --------
    >>> SplitPlan(validation=0.25).draw("abcd", seed=0)
    {'a': 'validation', 'b': 'train', 'c': 'train', 'd': 'train'}
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
                "together, or nobody is left to train on."
            )
        if self.folds and self.test:
            raise OptionError(f"test {self.test:g} and {self.folds} folds; expected one of them.")
        if (self.folds or self.fold) and not 0 <= self.fold < self.folds:
            raise OptionError(
                f"fold {self.fold} of {self.folds}; expected a fold from 0 to folds - 1, and at "
                "least 2 folds."
            )

    @property
    def min_participants(self) -> int:
        """Smallest number of participants that can be divided so."""
        parts = 1 + (self.validation > 0) + (self.test > 0 or self.folds > 0)
        return max(parts, self.folds)

    def draw(self, participants: Collection[str], seed: int) -> dict[str, str]:
        """Give each participant one of the parts.

        Raises
        ------
        InputError
            If there are too few participants.
        """
        shares = {"train": 1 - self.validation - self.test, "validation": self.validation}
        if not self.folds:
            return split_participants(participants, shares | {"test": self.test}, seed)
        folds = make_folds(participants, self.folds, seed)
        parts = dict.fromkeys((p for p in folds if folds[p] == self.fold), "test")
        parts |= split_participants((p for p in folds if folds[p] != self.fold), shares, seed)
        return dict(sorted(parts.items()))


@dataclass(frozen=True)
class Split:
    """Heads to train on, to choose the best weights by, and to judge them by at the end."""

    train: Sources
    validation: Sources
    test: Sources


def settle_split(
    folder: Path,
    sources: Sources,
    plan: SplitPlan,
    seed: int,
    writes: bool = True,
    complete_at: int | None = None,
) -> Split:
    """Draw the split of a new run, or go on with that of a run.

    Participants of the run keep their parts; new ones train unless a table fixes their part: who
    has been trained on may not judge.

    Parameters
    ----------
    folder
        Folder of the run.
    sources
        Heads of all participants.
    plan
        Plan by which participants whose part is not fixed are divided when the run begins.
    seed
        Seed of the draw.
    writes
        Whether this process writes the split.
    complete_at
        Number of steps of a run that is complete, so that new participants come too late.

    Raises
    ------
    InputError
        If nobody is left to train on or, where participants were held out, to validate on; if
        the run was begun with another fold; if a table fixes another part than the run's; or if
        participants join a run that is complete.
    """
    known = _read_split(folder / SPLIT)
    if known:
        _check_plan(folder, known, plan)
        parts = _continue_split(folder, known, sources, complete_at)
    else:
        parts = draw_split(sources, plan, seed)
    split = Split(*(sources.select({p for p in parts if parts[p] == part}) for part in PARTS))
    if not split.train.participants:
        raise InputError(
            f"{folder}: no training participant; expected at least one. Add participants, or "
            "choose another --out."
        )
    if known.get("validation") and not split.validation.participants:
        raise InputError(
            f"{folder}: none of the run's validation participants is in the sources any more. "
            "Give them again, or choose another --out."
        )
    if writes:
        fields = known or _describe_plan(plan, seed)
        for part in PARTS:
            here = [name for name in parts if parts[name] == part]
            fields[part] = sorted({*known.get(part, ()), *here})
        make_folder(folder)
        save_bytes((json.dumps(fields, indent=1) + "\n").encode(), folder / SPLIT)
    counts = [len(part.participants) for part in (split.train, split.validation, split.test)]
    logger.warning("%d training, %d validation, %d test participants", *counts)
    return split


def draw_split(sources: Sources, plan: SplitPlan, seed: int) -> dict[str, str]:
    """Draw the parts of the participants with scans, and of those with label maps alone.

    Parameters
    ----------
    sources
        All heads, with the parts that are fixed.
    plan
        Plan by which the other participants are divided.
    seed
        Seed of the draw.

    Returns
    -------
    dict
        One of `PARTS` by participant. Where too few participants of a kind are not fixed, these
        train, unless nobody would be held out.

    Raises
    ------
    InputError
        If there are too few participants.
    """
    names = set(sources.participants)
    fixed = {name: part for name, part in sources.fixed.items() if name in names}
    scanned = {head.participant for head in sources.real} - set(fixed)
    kinds = [scanned, names - scanned - set(fixed)]
    large = [kind for kind in kinds if len(kind) >= plan.min_participants]
    if not large and not fixed:
        return plan.draw(sources.participants, seed)
    parts = dict.fromkeys(sources.participants, "train")
    for kind in large:
        parts |= plan.draw(kind, seed)
    return parts | fixed


def _continue_split(
    folder: Path, known: dict[str, Any], sources: Sources, complete_at: int | None
) -> dict[str, str]:
    """Return the part of each participant of a run that goes on."""
    parts = {name: part for part in PARTS for name in known.get(part, ())}
    here = set(sources.participants)
    for name in sorted(here & set(parts) & set(sources.fixed)):
        if parts[name] != sources.fixed[name]:
            raise InputError(
                f"{folder}: the run began with participant {name} in {parts[name]}; the table "
                f"says {sources.fixed[name]}. Choose another --out."
            )
    gone, new = sorted(set(parts) - here), sorted(here - set(parts))
    late = [name for name in new if sources.fixed.get(name) != "test"]
    if late and complete_at is not None:
        raise InputError(
            f"{folder}: the run is complete at step {complete_at}; {len(late)} new participants "
            f"would change nothing: {', '.join(late[:10])}. Choose another --out; it can begin "
            f"with the weights of this run: deskull train --start {folder}, or deskull finetune "
            f"--weights {folder / 'weights'}"
        )
    if gone:
        logger.warning(
            "%s: %d participants of this run are missing from the sources: %s; going on without "
            "them",
            folder,
            len(gone),
            ", ".join(gone[:10]),
        )
    if new:
        logger.warning(
            "%s: %d participants are new; they train, unless a table says otherwise",
            folder,
            len(new),
        )
    return {name: parts.get(name, sources.fixed.get(name, "train")) for name in sorted(here)}


def count_split(folder: Path) -> dict[str, Any]:
    """Describe the split of a run without names: seed, shares, and the size of each part."""
    split = _read_split(folder / SPLIT)
    return {k: len(v) if isinstance(v, list) else v for k, v in split.items()}


def _describe_plan(plan: SplitPlan, seed: int) -> dict[str, Any]:
    """Describe how the split was drawn, by the keys of older runs."""
    fields: dict[str, Any] = {"share": plan.validation, "seed": seed}
    if plan.folds:
        return fields | {"folds": plan.folds, "fold": plan.fold}
    return fields | ({"test_share": plan.test} if plan.test else {})


def _check_plan(folder: Path, known: dict[str, Any], plan: SplitPlan) -> None:
    """Refuse to go on with another fold than that of the run; warn of other shares."""
    shares = known.get("share", plan.validation), known.get("test_share", 0.0)
    if shares != (plan.validation, plan.test):
        logger.warning(
            "%s: the run keeps its split, drawn with --validation %g --test %g; %g and %g change "
            "nothing. Choose another --out to draw another split",
            folder,
            *shares,
            plan.validation,
            plan.test,
        )
    begun = known.get("fold", 0), known.get("folds", 0)
    if begun != (plan.fold, plan.folds):
        raise InputError(
            f"{folder}: begun with fold {begun[0]} of {begun[1]} (0 of 0: none), not "
            f"{plan.fold} of {plan.folds}. Choose another --out."
        )


def _read_split(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        split = json.loads(path.read_text("utf-8"))
        if all(isinstance(split[part], list) for part in ("train", "validation")):
            return dict(split)
        problem = "train and validation are not lists"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    raise InputError(f"{path}: not a readable split ({problem}). Choose another --out.")


def split_participants(
    participants: Iterable[str], shares: Mapping[str, float], seed: int = 0
) -> dict[str, str]:
    """Give each participant one part of a split.

    Parameters
    ----------
    participants
        Names, in any order and with repetitions, such as the column of an index.
    shares
        Weight of each part, such as ``{"train": 0.8, "validation": 0.2}``; they need not add
        up to 1. A part without weight stays empty; every other has at least one participant.
    seed
        Seed of the draw.

    Returns
    -------
    dict
        Part of each participant, sorted by participant. Sizes are the nearest whole numbers to the
        shares that add up to all: 100 and 25 of 125.

    Raises
    ------
    InputError
        If a share is negative, all are zero, or there are fewer participants than parts.

    Examples
    --------
    >>> split_participants("abcde", {"train": 3, "test": 2}, seed=7)
    {'a': 'train', 'b': 'train', 'c': 'train', 'd': 'test', 'e': 'test'}
    """
    drawn = _draw(participants, seed)
    sizes = _find_sizes(len(drawn), shares)
    parts = [part for part, size in sizes.items() for _ in range(size)]
    return dict(sorted(zip(drawn, parts, strict=True)))


def make_folds(participants: Iterable[str], count: int, seed: int = 0) -> dict[str, int]:
    """Give each participant one of `count` folds, numbered from 0, of nearly equal size.

    Raises
    ------
    InputError
        If there are fewer than two folds, or fewer participants than folds.

    Examples
    --------
    >>> sorted(make_folds("abcd", 2).values())
    [0, 0, 1, 1]
    """
    if count < 2:
        raise InputError(f"{count} folds; expected at least 2.")
    drawn = _draw(participants, seed)
    if len(drawn) < count:
        raise InputError(
            f"{len(drawn)} participants in {count} folds; expected at least one in each."
        )
    return dict(sorted((participant, number % count) for number, participant in enumerate(drawn)))


def _draw(participants: Iterable[str], seed: int) -> list[str]:
    """Shuffle the participants, each once, by a hash of seed and name."""

    def lot(participant: str) -> bytes:
        return hashlib.sha256(f"{seed}/{participant}".encode()).digest()

    return sorted(set(participants), key=lot)


def _find_sizes(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Round shares to sizes that add up to `count`; no wanted part is empty."""
    if not any(shares.values()) or not all(0 <= share < math.inf for share in shares.values()):
        raise InputError(f"shares {dict(shares)}; expected numbers above zero.")
    wanted = {part: Fraction(share).limit_denominator(10**6) for part, share in shares.items()}
    total = sum(wanted.values())
    needed = [part for part, share in wanted.items() if share > 0]
    if count < len(needed):
        raise InputError(
            f"{count} participants for {len(needed)} parts ({', '.join(needed)}); expected at "
            "least one for each. Add heads of other participants."
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
