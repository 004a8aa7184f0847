"""The way of one scan of a cohort run: read, strip, save; and what its record says of it.

In which process each step happens is `runners.py`. What goes wrong with a scan ends in its
record and nowhere else.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deskull.apply import find_brain
from deskull.cohort.plan import Task
from deskull.cohort.records import (
    Outcome,
    explain,
    make_outcome,
    make_record,
    record_no_mask,
)
from deskull.cohort.sessions import goes_beyond, holds_more, judge_given
from deskull.errors import ImageFileError
from deskull.image.derived import turn_to_ras
from deskull.image.fingerprint import Fingerprint, make_fingerprint
from deskull.image.formats import open_image
from deskull.image.volume import (
    Volume,
    count_frames,
    make_mean_volume,
    make_volume,
)
from deskull.image.writing import Batch, make_folder, save_bytes
from deskull.measure.metrics import volume_ml
from deskull.outputs import find_output
from deskull.record import Record, Request, describe_scan, save_records
from deskull.result import MaskedScan, Result, save_output, save_results
from deskull.settings import Settings
from deskull.stripper import Stripper

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """How every scan of a run is stripped.

    Parameters
    ----------
    settings
        Threshold, border, fill value and the like.
    weights, device, threads
        As for `Stripper.load`; several workers share the threads.
    load
        What makes the stripper, `Stripper.load` or one with its arguments; for several workers
        a function of a module.
    frame
        Which frame of 4D scans, from 0; None records them as failed, with a word on this.
    memory_gb
        For all processes of this machine together; None for no limit.
    orientation
        ``"native"`` writes on the scan's own grid; ``"ras"`` turns it to the nearest RAS+ first.
    """

    settings: Settings = field(default_factory=Settings)
    weights: str | Path = "default"
    device: str = "auto"
    threads: int | None = None
    load: Callable[..., Stripper] = Stripper.load
    frame: int | None = None
    memory_gb: float | None = None
    orientation: str = "native"

    def start(self) -> Stripper:
        """Make the stripper."""
        return self.load(self.weights, self.device, self.threads)


def run_task(task: Task, stripper: Stripper, job: Job, request: Request) -> Outcome:
    """Strip one scan, and leave its outputs and record, and those of its others.

    Parameters
    ----------
    task
        The scan.
    stripper, job
        How.
    request
        As `records.make_request` gives it.

    Raises
    ------
    OutputError
        If even a record cannot be written; whatever else goes wrong is in the record.
    """
    scan = read_scan(task, job)
    strip_scan(scan, stripper, job)
    return save_scan(scan, job, request)


@dataclass
class Scan:
    """One scan on its way; after an error the further steps do nothing."""

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
            self.error = explain(error)
            logger.debug("%s", self.task.name, exc_info=True)
        self.seconds[name] = round(time.perf_counter() - began, 4)


def read_scan(task: Task, job: Job) -> Scan:
    """Read a scan, and take its fingerprint."""
    scan = Scan(task)
    with scan.step("read"):
        _take_fingerprint(scan)
        scan.volume = _load(task, job)
    return scan


def _load(task: Task, job: Job) -> Volume:
    """Read a scan, turned if asked for; of a 4D one the frame asked for, or the mean."""
    image, name = open_image(task.scan, frame=job.frame), task.scan.name
    if job.orientation == "ras":
        image = turn_to_ras(image)
    if job.frame is None and task.frames is not None:
        return make_mean_volume(image, name, task.frames)
    return make_volume(image, name, job.frame)


def _take_fingerprint(scan: Scan) -> None:
    with suppress(ImageFileError):  # what is wrong with a file is said better by its reader
        scan.fingerprint = make_fingerprint(scan.task.scan)


def strip_scan(scan: Scan, stripper: Stripper, job: Job) -> None:
    """Strip a scan that was read."""
    if scan.volume is not None:
        with scan.step("strip"):
            scan.result = stripper(scan.volume, job.settings)
    scan.volume = None
    if scan.task.others:
        with scan.step("compare"):
            _find_better(scan, stripper, job)


def _find_better(scan: Scan, stripper: Stripper, job: Job) -> None:
    """Where the field cuts the brain, take another scan of the session that holds more of it."""
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
        if found.result is not None and holds_more(found.result, best):
            best = scan.result = found.result
            scan.task, scan.fingerprint = task.lead(other), found.fingerprint


def save_scan(scan: Scan, job: Job, request: Request) -> Outcome:
    """Write the outputs, then the record; then put the mask on the others."""
    task, result = scan.task, scan.result
    make_folder(task.record.parent)
    stripped: Record | None = None
    if result is not None:
        with scan.step("save"):
            _make_folders(task)
            with Batch() as batch:
                save_results([result], task.outputs, batch=batch)
                _save_sidecars(task, batch)
        stripped = replace(result.record, steps=result.record.seconds)
    record = make_record(task, request, scan.fingerprint, stripped, scan.seconds, scan.error)
    save_records([record], task.record)
    if result is None or scan.error is not None:
        record_no_mask(task, request)
    else:
        for other in task.others:
            given = replace(request, mask_of=task.name)
            _save_other(other.given(task), result, job, given)
    return make_outcome(task, record)


def _make_folders(task: Task) -> None:
    for path in task.outputs.values():
        make_folder(path.parent)


def _save_sidecars(task: Task, batch: Batch) -> None:
    for name, fields in task.sidecars.items():
        content = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
        save_bytes(content.encode(), task.files[f"{name}.json"], batch)


# --- one mask for several scans


def _save_other(task: Task, result: Result, job: Job, request: Request) -> None:
    """Put the mask of a stripped scan on another one of the same session, and record it."""
    scan, facts = Scan(task), None
    make_folder(task.record.parent)
    with scan.step("apply"):
        _take_fingerprint(scan)
        facts = _apply(task, result, job)
    record = make_record(task, request, scan.fingerprint, facts, scan.seconds, scan.error)
    save_records([record], task.record)


def _apply(task: Task, result: Result, job: Job) -> Record:
    """Write the outputs of a scan that gets its mask from another; say in a record what is so."""
    image, name = open_image(task.scan), task.scan.name
    if job.orientation == "ras":
        image = turn_to_ras(image)
    volume = make_volume(image, name, 0 if count_frames(image) > 1 else None)
    mask = Volume(
        result.mask.astype(np.float32),
        result.volume.grid,
        result.volume.source,
        result.volume.name,
    )
    grid = volume.grid
    brain = find_brain(mask, grid, name)
    score, flags = judge_given(result, volume, brain)
    every = replace(volume, frame=None)  # the mask is for all frames
    given = MaskedScan(every, brain, fill=job.settings.fill, threads=result.threads)
    _make_folders(task)
    with Batch() as batch:
        for output, path in task.outputs.items():
            save_output(given, find_output(output), path, batch)
        _save_sidecars(task, batch)
    return Record(
        deskull=result.record.deskull,
        weights=result.record.weights,
        settings=result.record.settings,
        input=describe_scan(volume),
        mask_of=result.volume.name,
        volume_ml=round(volume_ml(brain, grid.voxel_volume), 3),
        score=score,
        flags=tuple(flags),
    )
