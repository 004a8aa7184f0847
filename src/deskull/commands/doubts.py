"""Doubts about a mask and low scores, as lines on stderr."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from deskull.image.lookup import STDIN
from deskull.measure.quality import Flag
from deskull.measure.score import LOW

logger = logging.getLogger("deskull")


def name_scan(scan: Path) -> str:
    """Name of a scan in messages."""
    return "standard input" if str(scan) == STDIN else scan.name or str(scan)


def tell_score(scan: Path, mask: Path | None, scores: Sequence[int]) -> None:
    """Warn of a low score, whether a doubt explains it or not.

    Parameters
    ----------
    scan
        Path of the scan.
    mask
        Path of its mask, if it was written.
    scores
        Score of each frame.
    """
    score = min(scores)
    if score >= LOW:
        return
    where = f" (frame {scores.index(score)})" if len(scores) > 1 else ""
    look = "check the mask before you use it"
    if mask is not None and str(scan) != STDIN:
        look += f": {shlex.join(['deskull', 'view', str(scan), str(mask)])}"
    message = "%s: low score: %d of 100%s; %s"
    logger.warning(message, name_scan(scan), score, where, look)


def tell_doubts(name: str, doubts: Sequence[Sequence[Flag]]) -> None:
    """Report each doubt once, with the frames that have it.

    Parameters
    ----------
    name
        Name of the scan.
    doubts
        Doubts of each frame.
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
