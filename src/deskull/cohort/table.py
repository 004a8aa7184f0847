"""The table of a run: a row for each scan, with what became of it."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deskull import __version__
from deskull.cohort.plan import Gap, Task
from deskull.cohort.records import read_record
from deskull.image.writing import save_bytes
from deskull.record import FAILED, Record
from deskull.text_files import make_tsv

logger = logging.getLogger(__name__)
COLUMNS = ("input", "status", "volume_ml", "mask", "score", "flags", "seconds", "error")
WAITING, LEFT_OUT = "waiting", "left out"
CORRECTED = "corrected"
"""Value of the column `mask`: brain and volume are those of a mask corrected by hand."""


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: its row in the table.

    Parameters
    ----------
    name
        Name of the task.
    status
        ``"done"``, ``"failed"``, ``"waiting"`` or ``"left out"``.
    volume_ml
        Volume of the final mask in millilitres; None if there is no mask.
    mask
        ``"automatic"``, or ``"corrected"`` if brain and volume are those of a mask that was
        corrected by hand; empty if there is none.
    score
        How far the mask can be trusted, 0 to 100; None if it was not judged.
    flags
        Names of the doubts.
    seconds
        Seconds from reading to writing.
    error
        Why it failed or was left out; else empty.
    version
        Version of deskull that stripped it; empty if nothing was done.
    earlier
        Whether an earlier run stripped it, so that nothing was left to do in this one.
    orientation
        Orientation of the grid of the outputs, such as ``"LPS"``; empty if there is none.
    """

    name: str
    status: str
    volume_ml: float | None = None
    mask: str = ""
    score: int | None = None
    flags: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    version: str = ""
    earlier: bool = False
    orientation: str = ""


def make_outcome(task: Task, record: Record | None) -> Outcome:
    """Summarise a record; None gives the outcome of a scan that waits."""
    if record is None:
        return Outcome(task.name, WAITING)
    return Outcome(
        task.name,
        record.status or FAILED,
        record.final_ml,
        record.mask_kind,
        record.score,
        tuple(flag.name for flag in record.flags),
        round(math.fsum(record.seconds.values()), 3),
        record.error,
        record.deskull,
        orientation=record.input.orientation,
    )


def find_outcome(task: Task, found: Mapping[Path, Outcome]) -> Outcome:
    """Find the outcome of a scan; its record decides if the mask is that of another scan."""
    outcome = found.get(task.record)
    if outcome is None or outcome.name != task.name:
        outcome = make_outcome(task, read_record(task))
        if outcome.error:
            logger.warning("%s: failed: %s", outcome.name, outcome.error)
    return outcome


def make_gap_outcome(gap: Gap) -> Outcome:
    """Make the outcome of what is not stripped."""
    return Outcome(gap.name, FAILED if gap.failed else LEFT_OUT, error=gap.reason)


def warn_of_versions(outcomes: Sequence[Outcome], out: Path) -> None:
    """Warn of scans that keep the outputs of another version of deskull."""
    kept = Counter(outcome.version for outcome in outcomes if outcome.earlier)
    for version, count in sorted(kept.items()):
        if version != __version__:
            logger.warning(
                "%s: %d scans keep outputs of deskull %s with the same weights and "
                "settings; this is %s. --force strips them again",
                out,
                count,
                version,
                __version__,
            )


def name_table(label: str = "") -> str:
    """Name the table of a run; `label` tells shards apart, such as ``"_1-of-5"``."""
    return f"deskull_batch{label}.tsv"


def save_table(outcomes: Iterable[Outcome], path: Path) -> None:
    """Write a TSV with one row for each outcome.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    rows: list[list[object]] = []
    for row in outcomes:
        volume = "" if row.volume_ml is None else f"{row.volume_ml:.3f}"
        score = "" if row.score is None else row.score
        judged = [volume, row.mask, score, ",".join(row.flags)]
        rows.append([row.name, row.status, *judged, f"{row.seconds:.2f}", row.error])
    save_bytes(make_tsv(COLUMNS, rows).encode("utf-8", "surrogateescape"), path)
