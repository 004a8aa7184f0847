"""What is doubted about a mask, as lines on stderr; the doubts themselves are data elsewhere."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from deskull.image.writing import STDIN
from deskull.measure.quality import Flag
from deskull.measure.score import LOW

logger = logging.getLogger("deskull")


def name_scan(scan: Path) -> str:
    """Name of a scan in messages."""
    return "standard input" if str(scan) == STDIN else scan.name or str(scan)


def tell_score(scan: Path, mask: Path | None, scores: Sequence[int]) -> None:
    """Say that a score is low, whether a doubt explains it or not.

    Parameters
    ----------
    scan
        What was stripped.
    mask
        Where its mask is, if it was written.
    scores
        Of each frame.
    """
    score = min(scores)
    if score >= LOW:
        return
    where = f" (frame {scores.index(score)})" if len(scores) > 1 else ""
    look = "look at the mask before you use it"
    if mask is not None and str(scan) != STDIN:
        look += f": {shlex.join(['deskull', 'view', str(scan), str(mask)])}"
    words = "%s: low score: %d of 100%s; %s"
    logger.warning(words, name_scan(scan), score, where, look)


def tell_doubts(name: str, doubts: Sequence[Sequence[Flag]]) -> None:
    """Say each doubt once, and of several frames which have it.

    Parameters
    ----------
    name
        Of the scan.
    doubts
        Of each frame.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for number, flags in enumerate(doubts):
        for flag in flags:
            found.setdefault(flag.name, []).append((number, flag.sentence))
    for doubt, cases in found.items():
        _, sentence = cases[0]
        frames = ", ".join(str(frame) for frame, _ in cases[:5]) + ", ..." * (len(cases) > 5)
        frames = f"frame{'s' * (len(cases) > 1)} {frames}"
        where = f" ({frames}; {len(cases)} of {len(doubts)} frames)"
        logger.warning("%s: %s: %s%s", name, doubt, sentence, where if len(doubts) > 1 else "")
