"""One scan of a cohort run: read it, strip it, save its outputs and its record.

With one mask for a session, the mask is then put on the other scans of the session, or another of
them is stripped if the field of view of the first cuts the brain. Which process does this is
decided in `workers.py`. An error on a scan ends in its record and nowhere else.
"""

import json
import logging
import math
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.apply import find_brain, judge_mask
from deskull.cohort.plan import Task
from deskull.cohort.records import explain_error, make_record, record_no_mask
from deskull.cohort.table import Outcome, make_outcome
from deskull.errors import ImageFileError, SeriesError
from deskull.image.derived import check_fill, turn_to_ras
from deskull.image.fingerprint import Fingerprint, make_fingerprint
from deskull.image.formats import open_image
from deskull.image.grid import Grid
from deskull.image.volume import (
    Volume,
    has_contrast,
    make_first_volume,
    make_mean_volume,
    make_volume,
)
from deskull.image.writing import Transaction, make_folder, save_bytes
from deskull.measure.metrics import volume_ml
from deskull.measure.quality import CUT_MM2, Flag
from deskull.measure.score import COSTS, LOW, Quality
from deskull.outputs import find_output
from deskull.record import Record, Request, describe_scan, save_records
from deskull.result import MaskedScan, Result, save_output, save_results
from deskull.settings import Settings
from deskull.stripper import Stripper

logger = logging.getLogger(__name__)

BEYOND = "beyond-mask"
BEYOND_MM = 5.0
"""Distance in mm beyond the field of view of a mask at which another field is looked at."""

MORE = 1.05
"""Ratio of the volumes of two masks from which on the larger is the more complete one."""

_OF_FIELD = ("field-cuts-brain", "volume")  # doubts about a field of view, not about the mask
_OF_NETWORK = ("pieces",)  # the mask may well have several pieces in a slab


@dataclass(frozen=True)
class Job:
    """How every scan of a run is stripped.

    Parameters
    ----------
    settings
        Threshold, border, fill value and the other settings of a mask.
    weights, device, threads
        Arguments of `Stripper.load`; several workers share the threads.
    load
        Function that makes the stripper, with the arguments of `Stripper.load`; with several
        workers it must be a function of a module.
    frame
        Frame of 4D scans, from 0; None records 4D scans as failed, with advice to choose one.
    memory_gb
        Memory limit in GB (1e9 bytes) of all processes of this machine; None for no limit.
    orientation
        ``"native"`` writes on the scan's own grid; ``"ras"`` turns the scan to the nearest RAS+
        first.
    """

    settings: Settings = field(default_factory=Settings)
    weights: str | Path = "default"
    device: str = "auto"
    threads: int | None = None
    load: Callable[..., Stripper] = Stripper.load
    frame: int | None = None
    memory_gb: float | None = None
    orientation: str = "native"

    def make_stripper(self) -> Stripper:
        """Make the stripper."""
        return self.load(self.weights, self.device, self.threads)


def run_task(task: Task, stripper: Stripper, job: Job, request: Request) -> Outcome:
    """Strip one scan, and write its outputs and record, also for the scans that share its mask.

    Parameters
    ----------
    task
        Task of the scan.
    stripper
        Stripper that `job` makes.
    job
        How the scan is stripped.
    request
        Request that the record stores, from `records.make_request`.

    Raises
    ------
    OutputError
        If the record cannot be written; every other error is stored in the record.
    """
    scan = read_scan(task, job)
    strip_scan(scan, stripper, job)
    return save_scan(scan, job, request)


@dataclass
class Scan:
    """A scan between the steps; after an error the following steps do nothing."""

    task: Task
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    volume: Volume | None = None
    result: Result | None = None
    error: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and keep its error."""
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.error = explain_error(error)
            logger.debug("%s", self.task.name, exc_info=True)
        self.seconds[name] = round(time.perf_counter() - began, 4)

    def take_fingerprint(self) -> None:
        """Take the fingerprint of the file, unless it cannot be read."""
        with suppress(ImageFileError):  # its reader explains better what is wrong
            self.fingerprint = make_fingerprint(self.task.scan)


def read_scan(task: Task, job: Job) -> Scan:
    """Read a scan, and take its fingerprint."""
    scan = Scan(task)
    with scan.step("read"):
        scan.take_fingerprint()
        image, name = _open(task, job, job.frame), task.scan.name
        if job.frame is None and task.frames is not None:
            scan.volume = make_mean_volume(image, name, task.frames)
        else:
            scan.volume = make_volume(image, name, job.frame)
    return scan


def _open(task: Task, job: Job, frame: int | None = None) -> SpatialImage:
    try:
        image = open_image(task.scan, frame=frame)
    except SeriesError as error:
        raise SeriesError(
            f"{error} For several scans there is no such option: strip this one with `deskull "
            f"{shlex.quote(str(task.scan))} --series N`, or keep each series in its own folder."
        ) from error
    return turn_to_ras(image) if job.orientation == "ras" else image


def strip_scan(scan: Scan, stripper: Stripper, job: Job) -> None:
    """Strip a scan that was read."""
    if scan.volume is not None:
        with scan.step("strip"):
            if "brain" in scan.task.outputs:
                check_fill(job.settings.fill, scan.volume.source)
            scan.result = stripper(scan.volume, job.settings)
    scan.volume = None
    if scan.task.others:
        with scan.step("compare"):
            _find_better(scan, stripper, job)


def _find_better(scan: Scan, stripper: Stripper, job: Job) -> None:
    """If the field of view cuts the brain, take a scan of the session that shows more of it."""
    task, first = scan.task, scan.result
    if first is None or not any(flag.name == "field-cuts-brain" for flag in first.flags):
        return
    best = first
    for other in task.others:
        found = read_scan(other, job)
        if found.volume is None:
            continue
        if goes_beyond(first.mask, first.volume.grid, found.volume.grid):
            strip_scan(found, stripper, job)
        if found.result is not None and _shows_more(found.result, best):
            best = scan.result = found.result
            scan.task, scan.fingerprint = task.with_source(other), found.fingerprint


def _shows_more(one: Result, other: Result) -> bool:
    """Whether one scan shows more of the brain than another, with a mask that is no worse."""
    return one.volume_ml > MORE * other.volume_ml and one.score >= min(other.score, LOW)


def save_scan(scan: Scan, job: Job, request: Request) -> Outcome:
    """Write the outputs and then the record; then put the mask on the scans that share it."""
    task, result = scan.task, scan.result
    make_folder(task.record.parent)
    stripped: Record | None = None
    if result is not None:
        with scan.step("save"), _save_outputs(task) as transaction:
            save_results([result], task.outputs, transaction=transaction)
        stripped = replace(result.record, steps=result.record.seconds)
    record = make_record(task, request, scan.fingerprint, stripped, scan.seconds, scan.error)
    save_records([record], task.record)
    if result is None or scan.error is not None:
        record_no_mask(task, request)
    else:
        for other in task.others:
            shared = replace(request, mask_of=task.name)
            _share_mask(other.as_recipient(task), result, job, shared)
    return make_outcome(task, record)


@contextmanager
def _save_outputs(task: Task) -> Iterator[Transaction]:
    """Write outputs together with the sidecars of a task: all of them, or none."""
    for path in task.outputs.values():
        make_folder(path.parent)
    with Transaction() as transaction:
        yield transaction
        for name, fields in task.sidecars.items():
            content = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
            save_bytes(content.encode(), task.files[f"{name}.json"], transaction)


# --- the mask of one scan on the others of its session


def _share_mask(task: Task, result: Result, job: Job, request: Request) -> None:
    """Put the mask of a stripped scan on another scan of the session, and record it."""
    scan, record = Scan(task), None
    make_folder(task.record.parent)
    with scan.step("apply"):
        scan.take_fingerprint()
        record = _apply(task, result, job)
    record = make_record(task, request, scan.fingerprint, record, scan.seconds, scan.error)
    save_records([record], task.record)


def _apply(task: Task, result: Result, job: Job) -> Record:
    """Write the outputs of a scan with the mask of another, and describe them in a record."""
    image, name = _open(task, job), task.scan.name
    volume = make_first_volume(image, name)
    source = result.volume
    mask = Volume(result.mask.astype(np.float32), source.grid, source.source, source.name)
    brain = find_brain(mask, volume.grid, name)
    score, flags = _judge_shared(result, volume, brain)
    every = replace(volume, frame=None)  # the mask is for all frames
    masked = MaskedScan(every, brain, fill=job.settings.fill, threads=result.threads)
    with _save_outputs(task) as transaction:
        for output, path in task.outputs.items():
            save_output(masked, find_output(output), path, transaction)
    return Record(
        deskull=result.record.deskull,
        weights=result.record.weights,
        settings=result.record.settings,
        input=describe_scan(volume),
        mask_of=source.name,
        volume_ml=round(volume_ml(brain, volume.grid.voxel_volume), 3),
        score=score,
        flags=tuple(flags),
    )


def _judge_shared(
    result: Result, volume: Volume, brain: NDArray[np.bool_]
) -> tuple[int, list[Flag]]:
    """Judge the mask of one scan on another scan of the session.

    Parameters
    ----------
    result
        Result of the scan that was stripped.
    volume
        The other scan; one without contrast, such as an empty map, tells nothing itself.
    brain
        The mask on the grid of `volume`, (X, Y, Z) bool.

    Returns
    -------
    tuple
        Score from 0 to 100, and the doubts.
    """
    source = result.volume
    no_doubt = Quality(result.score, [], {})
    quality = judge_mask(volume, brain) if has_contrast(volume.data) else no_doubt
    flags = [flag for flag in quality.flags if flag.name not in _OF_NETWORK]
    cost = 0.0
    if goes_beyond(result.mask, source.grid, volume.grid):
        sentence = (
            f"The field of {source.name}, whose mask is used, cuts the brain where this scan "
            "continues: a part of the mask is missing."
        )
        flags.append(Flag(BEYOND, sentence))
        cost = COSTS[BEYOND]
    names = {flag.name for flag in flags}
    for flag in result.flags:
        if flag.name not in (*names, *_OF_FIELD):
            sentence = f"Of the mask, made from {source.name}: {flag.sentence}"
            flags.append(Flag(flag.name, sentence))
    return round(min(result.score, quality.score) * math.exp(-cost)), flags


def goes_beyond(mask: NDArray[np.bool_], grid: Grid, other: Grid) -> bool:
    """Whether another field of view continues where that of a mask cuts the brain.

    Parameters
    ----------
    mask
        Mask of the brain, (X, Y, Z) bool on `grid`.
    grid
        Grid of the mask.
    other
        Grid of a co-registered scan.
    """
    area = 0.0  # mm2
    for axis, size in enumerate(grid.voxel_size):
        for plane, step in ((0, -1), (grid.shape[axis] - 1, 1)):
            face = np.argwhere(mask.take(plane, axis=axis))
            index = np.insert(face.astype(float), axis, plane + step * BEYOND_MM / size, axis=1)
            seen = other.to_index(grid.to_mm(index))
            inside = ((seen > -0.5) & (seen < np.array(other.shape) - 0.5)).all(axis=1)
            area += np.count_nonzero(inside) * grid.voxel_volume / size
    return area > CUT_MM2
