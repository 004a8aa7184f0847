"""How scans are stripped one after the other: in this process, or in several of ours.

One process reads the next scan and writes the last one while the network runs; several
processes take one scan each. Which scans, and what is told of them, is `__init__.py`; the way
of one is `steps.py`.
"""

import logging
import multiprocessing
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from deskull.cohort.plan import Task
from deskull.cohort.records import Outcome, record_failure
from deskull.cohort.steps import Job, Scan, read_scan, run_task, save_scan, strip_scan
from deskull.record import Request

logger = logging.getLogger(__name__)
Stream = Generator[tuple[Task, Outcome], None, None]


# --- one process: three scans are in memory at most, one read, one stripped, one written


def strip_here(tasks: Sequence[Task], job: Job, request: Request, overlap: bool = True) -> Stream:
    """Strip in this process: one scan is read, one stripped and one written at a time.

    Parameters
    ----------
    tasks, job, request
        As for `run_task`.
    overlap
        False does one after the other, which takes less memory and more time.

    Yields
    ------
    tuple
        Each task, in order, and what became of it.
    """
    if not overlap:
        stripper = job.start()
        for task in tasks:
            yield task, run_task(task, stripper, job, request)
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = _read_ahead(tasks, job, reader)
        stripper = job.start()
        saving: tuple[Task, Future[Outcome]] | None = None
        for scan in coming:
            strip_scan(scan, stripper, job)
            if saving is not None:
                yield saving[0], saving[1].result()
            saving = scan.task, writer.submit(save_scan, scan, job, request)
            del scan
        if saving is not None:
            yield saving[0], saving[1].result()


def _read_ahead(tasks: Iterable[Task], job: Job, reader: ThreadPoolExecutor) -> Iterator[Scan]:
    """Give scans in order, the next one being read while the last one given is worked on."""
    coming: Future[Scan] | None = None
    for task in tasks:
        ready, coming = coming, reader.submit(read_scan, task, job)
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


def _start_worker(job: Job, request: Request) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job, request), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(line: Connection, job: Job, request: Request) -> None:
    """Be a worker: strip what comes down the line until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    signal.signal(signal.SIGTERM, _leave)
    sys.unraisablehook = _pass_over_leaving
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


def _pass_over_leaving(lost: Any) -> None:
    """Say nothing of an exit that was lost in a finalizer: the scan is ended, then its line is."""
    if not issubclass(lost.exc_type, SystemExit):
        sys.__unraisablehook__(lost)


def strip_in_workers(tasks: Sequence[Task], job: Job, request: Request, count: int) -> Stream:
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


def _hear(worker: _Worker, request: Request) -> tuple[Task, Outcome]:
    """Take a worker's word, or its death, on its task."""
    task, worker.task = worker.task, None
    assert task is not None
    try:
        said = worker.line.recv()
    except (EOFError, OSError):
        worker.process.join()
        return task, record_failure(task, request, _explain_death(worker.process.exitcode))
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
    return f"its process ended without a message (exit code {code}). Please report it."
