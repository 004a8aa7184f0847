"""How scans are stripped one after the other: in this process, or in several of ours.

One process reads the next scan and writes the last one while the network runs; several
processes take one scan each. Which scans, and what is told of them, is `cohort.py`.
"""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from deskull.cohort.plan import Task
from deskull.cohort.records import (
    Outcome,
    explain,
    make_fingerprint,
    make_folder,
    make_outcome,
    make_record,
    save_record,
)
from deskull.errors import ImageFileError
from deskull.image.volume import Volume, load_volume
from deskull.result import Result, save_results
from deskull.stripper import Settings, Stripper

logger = logging.getLogger(__name__)
Stream = Generator[tuple[Task, Outcome], None, None]


@dataclass(frozen=True)
class Job:
    """How every scan of a run is stripped.

    Parameters
    ----------
    settings
        Threshold, border and the like.
    fill
        Intensity outside of the brain.
    weights, device, threads
        As for `Stripper.load`; several workers share the threads.
    load
        What makes the stripper, `Stripper.load` or one with its arguments; for several workers
        a function of a module.
    """

    settings: Settings = field(default_factory=Settings)
    fill: float = 0.0
    weights: str | Path = "default"
    device: str = "auto"
    threads: int | None = None
    load: Callable[..., Stripper] = Stripper.load

    def start(self) -> Stripper:
        """Make the stripper."""
        return self.load(self.weights, self.device, self.threads)


def run_task(task: Task, stripper: Stripper, job: Job, request: dict[str, Any]) -> Outcome:
    """Strip one scan, and leave its outputs and record.

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
        If even the record cannot be written; whatever else goes wrong is in the record.
    """
    scan = _read(task)
    _strip(scan, stripper, job)
    return _save(scan, job, request)


# --- the way of one scan


@dataclass
class _Scan:
    """One scan on its way; after an error the further steps do nothing."""

    task: Task
    fingerprint: dict[str, Any] = field(default_factory=dict)
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


def _read(task: Task) -> _Scan:
    scan = _Scan(task)
    with scan.step("read"):
        with suppress(ImageFileError):  # what is wrong with a file is said better below
            scan.fingerprint = make_fingerprint(task.scan)
        scan.volume = load_volume(task.scan)
    return scan


def _strip(scan: _Scan, stripper: Stripper, job: Job) -> None:
    if scan.volume is not None:
        with scan.step("strip"):
            scan.result = stripper(scan.volume, job.settings)
    scan.volume = None


def _save(scan: _Scan, job: Job, request: dict[str, Any]) -> Outcome:
    """Write the outputs, then the record."""
    task, result = scan.task, scan.result
    make_folder(task.record.parent)
    stripped: dict[str, Any] = {}
    if result is not None:
        with scan.step("save"):
            for path in task.outputs.values():
                make_folder(path.parent)
            save_results([result], task.outputs, job.fill)
        stripped = dict(result.record)
        stripped["steps"] = stripped.pop("seconds")
    record = make_record(task, request, scan.fingerprint, stripped, scan.error)
    record["seconds"] = scan.seconds
    save_record(task, record)
    return make_outcome(task, record)


# --- one process: three scans are in memory at most, one read, one stripped, one written


def strip_here(tasks: Sequence[Task], job: Job, request: dict[str, Any]) -> Stream:
    """Strip in this process: one scan is read, one stripped and one written at a time.

    Yields
    ------
    tuple
        Each task, in order, and what became of it.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = _read_ahead(tasks, reader)
        stripper = job.start()
        saving: tuple[Task, Future[Outcome]] | None = None
        for scan in coming:
            _strip(scan, stripper, job)
            if saving is not None:
                yield saving[0], saving[1].result()
            saving = scan.task, writer.submit(_save, scan, job, request)
            del scan
        if saving is not None:
            yield saving[0], saving[1].result()


def _read_ahead(tasks: Iterable[Task], reader: ThreadPoolExecutor) -> Iterator[_Scan]:
    """Give scans in order, the next one being read while the last one given is worked on."""
    coming: Future[_Scan] | None = None
    for task in tasks:
        ready, coming = coming, reader.submit(_read, task)
        if ready is not None:
            yield ready.result()
    if coming is not None:
        yield coming.result()


# --- several processes: each has one scan at a time, so that one that dies loses no other


@dataclass
class _Worker:
    """A process of ours, the line to it, and what it works on."""

    process: multiprocessing.process.BaseProcess
    line: Connection
    task: Task | None = None

    def give(self, task: Task) -> None:
        """Send a task; if the process is dead, its line says so at the next look."""
        self.task = task
        try:
            self.line.send(task)
        except OSError:
            logger.debug("a worker died before its next scan")

    def end(self) -> None:
        """Let the process end, at once if it works."""
        if self.task is not None:
            self.process.terminate()
        self.line.close()
        self.process.join()
        self.process.close()


def _start_worker(job: Job, request: dict[str, Any]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job, request), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(line: Connection, job: Job, request: dict[str, Any]) -> None:
    """Be a worker: strip what comes down the line until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    signal.signal(signal.SIGTERM, _leave)
    logging.getLogger("deskull").addHandler(logging.NullHandler())
    try:
        stripper = job.start()
        while True:
            line.send(run_task(line.recv(), stripper, job, request))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done, or gone
    except Exception as error:
        line.send(error)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(0)


def strip_in_workers(
    tasks: Sequence[Task], job: Job, request: dict[str, Any], count: int
) -> Stream:
    """Strip in several processes.

    Yields
    ------
    tuple
        Each task, as it is finished, and what became of it.

    Raises
    ------
    Exception
        What a worker could not go on from.
    """
    coming = iter(tasks)
    crew: list[_Worker] = []
    try:
        for task in islice(coming, count):
            crew.append(_start_worker(job, request))
            crew[-1].give(task)
        while crew:
            lines = wait([worker.line for worker in crew])
            for worker in [worker for worker in crew if worker.line in lines]:
                task, outcome = _hear(worker, request)
                yield task, outcome
                following = next(coming, None)
                if following is None or worker.process.exitcode is not None:
                    crew.remove(worker)
                    worker.end()
                    if following is None:
                        continue
                    worker = _start_worker(job, request)
                    crew.append(worker)
                worker.give(following)
    finally:
        for worker in crew:
            worker.end()


def _hear(worker: _Worker, request: dict[str, Any]) -> tuple[Task, Outcome]:
    """Take a worker's word, or its death, on its task."""
    task, worker.task = worker.task, None
    assert task is not None
    try:
        said = worker.line.recv()
    except (EOFError, OSError):
        worker.process.join()
        record = make_record(task, request, {}, {}, _explain_death(worker.process.exitcode))
        make_folder(task.record.parent)
        save_record(task, record)
        return task, make_outcome(task, record)
    if isinstance(said, Exception):
        raise said
    return task, said


def _explain_death(code: int | None) -> str:
    """Words on a process that went without a word."""
    if code is not None and code == -getattr(signal, "SIGKILL", 9):
        return (
            "its process was killed, perhaps because memory ran out. Use fewer --workers, or a "
            "machine with more memory."
        )
    return f"its process ended without a word (exit code {code}). Please report it."
