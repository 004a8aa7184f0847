"""How much memory scans take, before they are read; and how many fit at once.

The numbers are measured: the peak of a process that strips scans of 128^3 to 320^3
voxels, of 2 and 4 bytes, rounded up.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from deskull.cohort.plan import Task
from deskull.errors import OptionError
from deskull.image.header import peek
from deskull.image.writing import find_files
from deskull.outputs import need_maps

logger = logging.getLogger(__name__)

PROCESS_GB = 0.35
"""Of a process with libraries and networks; measured 0.26 with one thread."""
PARENT_GB = 0.15
"""Of the process that hands scans to others."""
ALONE_BYTES = 12
"""For each voxel of a scan that is read, stripped and saved alone; measured 11.6."""
OVERLAP_BYTES = 17
"""The same while the next scan is read and the last one saved."""
OVERLAP_COPIES = 2.5
"""Scans as stored that are then in memory."""
MAP_BYTES = 14
"""More for each voxel where an output that is a map is written or bias corrected; twice that
where a mask is shared, for two scans of a session are compared where the field of one cuts the
brain."""
TYPICAL_VOXELS = 256**3
"""Taken for formats whose header is not read beforehand, if the file is not larger."""


@dataclass(frozen=True)
class Fit:
    """How a run keeps within its memory.

    Parameters
    ----------
    workers
        Processes.
    overlap
        Whether a single process reads and saves other scans while it strips one.
    refused
        Scans that do not fit, each with the words of why.
    """

    workers: int
    overlap: bool
    refused: tuple[tuple[Task, str], ...] = ()


@dataclass(frozen=True)
class _Need:
    """Voxels of one frame, bytes of the whole as stored, and words for both."""

    voxels: int
    stored: int
    words: str
    maps: int

    @property
    def alone_gb(self) -> float:
        return PROCESS_GB + (self.voxels * (ALONE_BYTES + self._more) + self.stored) / 1e9

    @property
    def overlap_gb(self) -> float:
        stored = OVERLAP_COPIES * self.stored
        return PROCESS_GB + (self.voxels * (OVERLAP_BYTES + 2 * self._more) + stored) / 1e9

    @property
    def _more(self) -> int:
        return MAP_BYTES * self.maps


def fit_memory(tasks: Sequence[Task], workers: int, limit_gb: float | None, n4: bool) -> Fit:
    """Settle how many scans are worked on at once.

    Parameters
    ----------
    tasks
        Tasks of the run.
    workers
        Processes that were asked for; there are never more.
    limit_gb
        Memory for all of them together, 1e9 bytes each; None for no limit.
    n4
        Whether bias is corrected.

    Raises
    ------
    OptionError
        If the limit leaves no room for a scan of any size.
    """
    if limit_gb is None or not tasks:
        return Fit(workers, overlap=True)
    if not limit_gb > PROCESS_GB:
        raise OptionError(
            f"mem-gb {limit_gb:g}; expected more than {PROCESS_GB}, which the program itself "
            "needs. A scan of 256 x 256 x 256 needs 0.6 in all."
        )
    needs = [(task, _find_most(task, n4)) for task in tasks]
    fitting = [need for _, need in needs if need.alone_gb <= limit_gb]
    refused = [(t, _refuse(need, limit_gb)) for t, need in needs if need.alone_gb > limit_gb]
    if not fitting:
        return Fit(workers, overlap=True, refused=tuple(refused))
    largest = max(need.alone_gb for need in fitting)
    most = max(1, int((limit_gb - PARENT_GB) / largest))
    if most < workers:
        logger.warning(
            "mem-gb %g: %d of %d workers, since the largest scan needs %.2f GB",
            limit_gb,
            most,
            workers,
            largest,
        )
    overlap = all(need.overlap_gb <= limit_gb for need in fitting)
    return Fit(min(workers, most), overlap, tuple(refused))


def _find_most(task: Task, n4: bool) -> _Need:
    """Need of a task; of one whose mask others get, that of its largest scan."""
    maps = 2 if task.others else int(n4 or need_maps(task.outputs))
    return max((_find_need(m, maps) for m in task.members), key=lambda need: need.alone_gb)


def _find_need(task: Task, maps: int) -> _Need:
    header = peek(task.scan)
    if header is None:
        stored = max(_count_bytes(task), 2 * TYPICAL_VOXELS)
        return _Need(stored // 2, stored, f"{stored / 1e6:.0f} MB", maps)
    count = prod(header.shape)
    words = " x ".join(str(n) for n in header.shape)
    words = f"{words} voxels of {header.itemsize} bytes"
    return _Need(prod(header.shape[:3]), count * header.itemsize, words, maps)


def _count_bytes(task: Task) -> int:
    """Bytes of a scan on disk; 0 of what cannot be read, which its reader says later."""
    scan = task.scan
    files = scan.rglob("*") if scan.is_dir() else find_files(scan)
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse(need: _Need, limit_gb: float) -> str:
    each = ALONE_BYTES + need._more
    return (
        f"{need.words} need about {need.alone_gb:.2f} GB ({PROCESS_GB} for the program, "
        f"{need.stored / 1e9:.2f} as stored and {each} bytes for each voxel of a frame); "
        f"--mem-gb is {limit_gb:g}. Raise the limit."
    )
