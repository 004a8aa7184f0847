"""The heads to learn from, or to judge by, grouped by participant."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from deskull.errors import InputError
from deskull.train.labels import LabelledHead
from deskull.train.pairs import RealHead

logger = logging.getLogger(__name__)
Head = TypeVar("Head", LabelledHead, RealHead)


@dataclass(frozen=True)
class Sources:
    """A set of heads: to learn from, or held out.

    Parameters
    ----------
    labelled
        Heads made from label maps.
    real
        Scans with their masks.
    fixed
        Part of each participant whose part is fixed by a table.
    """

    labelled: list[LabelledHead]
    real: list[RealHead]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def participants(self) -> list[str]:
        """Names of the participants, each once, sorted."""
        labelled = {head.participant for head in self.labelled}
        return sorted(labelled | {head.participant for head in self.real})

    @cached_property
    def labelled_by_participant(self) -> list[list[LabelledHead]]:
        """Label maps of each participant: one with more maps is not drawn more often."""
        return _group(self.labelled)

    @cached_property
    def real_by_participant(self) -> list[list[RealHead]]:
        """Scans of each participant."""
        return _group(self.real)

    @property
    def for_evaluation(self) -> "Sources":
        """Heads that weights are evaluated on: scans if there are any, else synthetic heads."""
        return Sources([], self.real) if self.real else self

    def select(self, participants: Collection[str]) -> "Sources":
        """Return the heads of some participants."""
        return Sources(
            [head for head in self.labelled if head.participant in participants],
            [head for head in self.real if head.participant in participants],
            self.fixed,
        )


def join_sources(sources: Sequence[Sources]) -> Sources:
    """Join sets of heads.

    Raises
    ------
    InputError
        If a participant is fixed in two parts.
    """
    held = Counter(key for one in sources for key in {_name(h) for h in one.labelled + one.real})
    for participant, scan in sorted(key for key in held if held[key] > 1):
        what = scan or "a label map"
        logger.warning("%s of participant %s is in several sources", what, participant)
    fixed: dict[str, str] = {}
    for name, part in (item for one in sources for item in one.fixed.items()):
        if fixed.setdefault(name, part) != part:
            raise InputError(
                f"participant {name}: part {fixed[name]} in one table or pack, {part} in another; "
                "expected the same."
            )
    return Sources(
        [head for one in sources for head in one.labelled],
        [head for one in sources for head in one.real],
        fixed,
    )


def _name(head: LabelledHead | RealHead) -> tuple[str, str]:
    return head.participant, head.name if isinstance(head, RealHead) else ""


def _group(heads: Iterable[Head]) -> list[list[Head]]:
    groups: dict[str, list[Head]] = {}
    for head in heads:
        groups.setdefault(head.participant, []).append(head)
    return list(groups.values())
