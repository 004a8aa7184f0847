"""How much memory scans take, from their headers; and how many fit into memory at once.

The numbers are measured: the peak of a process that strips scans of 128^3 to 320^3 voxels, of 2
and 4 bytes, rounded up.
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
"""Memory in GB of a process with its libraries and networks; measured 0.26 with one thread."""
PARENT_GB = 0.15
"""Memory in GB of the process that sends the scans to the workers."""
ALONE_BYTES = 12
"""Bytes per voxel of a scan that is read, stripped and saved alone; measured 11.6."""
OVERLAP_BYTES = 17
"""Bytes per voxel while the next scan is read and the last one saved."""
OVERLAP_COPIES = 2.5
"""Number of scans, as stored, that are then in memory."""
MAP_BYTES = 14
"""Further bytes per voxel if an output that is a map is written or bias is corrected. It is twice
that with a shared mask: two scans of a session are compared if the field of one cuts the brain."""
TYPICAL_VOXELS = 256**3
"""Voxels of a scan whose header cannot be read ahead, unless its file is larger."""


@dataclass(frozen=True)
class Fit:
    """How a run stays within its memory limit.

    Parameters
    ----------
    workers
        Number of processes.
    overlap
        Whether a single process reads and saves other scans while it strips one.
    refused
        Tasks whose scans do not fit, each with the reason.
    """

    workers: int
    overlap: bool
    refused: tuple[tuple[Task, str], ...] = ()


@dataclass(frozen=True)
class _Need:
    """Memory that a scan needs.

    Parameters
    ----------
    voxels
        Voxels of one frame.
    stored
        Bytes of all frames as stored.
    size
        Phrase for both, for messages.
    maps
        How many times `MAP_BYTES` are needed.
    """

    voxels: int
    stored: int
    size: str
    maps: int

    @property
    def alone_gb(self) -> float:
        return PROCESS_GB + (self.voxels * self.alone_bytes + self.stored) / 1e9

    @property
    def alone_bytes(self) -> int:
        return ALONE_BYTES + self.maps * MAP_BYTES

    @property
    def overlap_gb(self) -> float:
        voxels = self.voxels * (OVERLAP_BYTES + 2 * self.maps * MAP_BYTES)
        return PROCESS_GB + (voxels + OVERLAP_COPIES * self.stored) / 1e9


def fit_memory(tasks: Sequence[Task], workers: int, limit_gb: float | None, n4: bool) -> Fit:
    """Decide how many scans are stripped at once.

    Parameters
    ----------
    tasks
        Tasks of the run.
    workers
        Number of processes requested; there are never more.
    limit_gb
        Memory limit of all processes together, in GB (1e9 bytes); None for no limit.
    n4
        Whether bias is corrected.

    Raises
    ------
    OptionError
        If the limit is too small for a scan of any size.
    """
    if limit_gb is None or not tasks:
        return Fit(workers, overlap=True)
    if not limit_gb > PROCESS_GB:
        raise OptionError(
            f"mem-gb {limit_gb:g}; expected more than {PROCESS_GB}, which the program itself "
            "needs. A scan of 256 x 256 x 256 needs 0.6 in all."
        )
    needs = [(task, _find_largest(task, n4)) for task in tasks]
    fitting = [need for _, need in needs if need.alone_gb <= limit_gb]
    refused = [(t, _refuse(need, limit_gb)) for t, need in needs if need.alone_gb > limit_gb]
    if not fitting:
        return Fit(workers, overlap=True, refused=tuple(refused))
    largest = max(need.alone_gb for need in fitting)
    possible = max(1, int((limit_gb - PARENT_GB) / largest))
    if possible < workers:
        logger.warning(
            "mem-gb %g: %d of %d workers, since the largest scan needs %.2f GB",
            limit_gb,
            possible,
            workers,
            largest,
        )
    overlap = all(need.overlap_gb <= limit_gb for need in fitting)
    return Fit(min(workers, possible), overlap, tuple(refused))


def _find_largest(task: Task, n4: bool) -> _Need:
    """Find the need of the largest scan of a task."""
    maps = 2 if task.others else int(n4 or need_maps(task.outputs))
    return max((_find_need(m, maps) for m in task.members), key=lambda need: need.alone_gb)


def _find_need(task: Task, maps: int) -> _Need:
    header = peek(task.scan)
    if header is None:
        stored = max(_count_bytes(task), 2 * TYPICAL_VOXELS)
        return _Need(stored // 2, stored, f"{stored / 1e6:.0f} MB", maps)
    shape = " x ".join(str(n) for n in header.shape)
    size = f"{shape} voxels of {header.itemsize} bytes"
    return _Need(prod(header.shape[:3]), prod(header.shape) * header.itemsize, size, maps)


def _count_bytes(task: Task) -> int:
    """Count the bytes of a scan on disk; a missing file counts 0, since its reader reports it."""
    scan = task.scan
    files = scan.rglob("*") if scan.is_dir() else find_files(scan)
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse(need: _Need, limit_gb: float) -> str:
    return (
        f"{need.size} need about {need.alone_gb:.2f} GB ({PROCESS_GB} for the program, "
        f"{need.stored / 1e9:.2f} as stored and {need.alone_bytes} bytes for each voxel of a "
        f"frame); --mem-gb is {limit_gb:g}. Raise the limit."
    )
