"""The worker pool of this machine: scans stripped in this process, or in several.

A single process reads the next scan and writes the last one while the network runs; several
processes strip one scan each. How many fit into memory is decided in `memory.py`; what is done
with one scan is in `steps.py`; the workers of a cluster are in `cluster.py`.
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
from deskull.cohort.records import record_failure
from deskull.cohort.steps import Job, Scan, read_scan, run_task, save_scan, strip_scan
from deskull.cohort.table import Outcome, make_outcome
from deskull.record import Request

logger = logging.getLogger(__name__)
Stream = Generator[tuple[Task, Outcome], None, None]


# --- one process: at most three scans are in memory, one read, one stripped, one written


def strip_in_process(
    tasks: Sequence[Task], job: Job, request: Request, overlap: bool = True
) -> Stream:
    """Strip in this process: one scan is read, one stripped and one written at a time.

    Parameters
    ----------
    tasks
        Tasks of the scans.
    job, request
        As for `run_task`.
    overlap
        Whether the next scan is read and the last one written while the network runs; otherwise
        the scans follow each other, which takes less memory and more time.

    Yields
    ------
    tuple
        Each task, in order, and its outcome.
    """
    stripper = job.make_stripper()
    if not overlap:
        for task in tasks:
            yield task, run_task(task, stripper, job, request)
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        saving: tuple[Task, Future[Outcome]] | None = None
        for scan in _read_ahead(tasks, job, reader):
            strip_scan(scan, stripper, job)
            if saving is not None:
                yield saving[0], saving[1].result()
            saving = scan.task, writer.submit(save_scan, scan, job, request)
            del scan
        if saving is not None:
            yield saving[0], saving[1].result()


def _read_ahead(tasks: Iterable[Task], job: Job, reader: ThreadPoolExecutor) -> Iterator[Scan]:
    """Yield scans in order; the next one is read while the caller works on the last one."""
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
    """A child process, the connection to it, and the task that it works on."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    task: Task | None = None

    def send(self, task: Task) -> None:
        """Send a task; if the process is dead, the next `wait` reports its connection."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            logger.debug("a worker died before its next scan")

    def stop(self) -> None:
        """Stop the process; if it works on a task, at once."""
        if self.task is not None:
            self.process.terminate()
        self.connection.close()
        self.process.join()
        self.process.close()


def _start_worker(job: Job, request: Request) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_worker, args=(theirs, job, request), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _run_worker(connection: Connection, job: Job, request: Request) -> None:
    """Strip the tasks that arrive on a connection until it closes; runs in the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and stops its workers
    signal.signal(signal.SIGTERM, _exit)
    sys.unraisablehook = _ignore_exit
    logging.getLogger("deskull").addHandler(logging.NullHandler())
    try:
        stripper = job.make_stripper()
        while True:
            connection.send(run_task(connection.recv(), stripper, job, request))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done, or gone
    except Exception as error:
        connection.send(error)


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(0)


def _ignore_exit(unraisable: Any) -> None:
    """Report nothing if SIGTERM arrives in a finalizer, where SystemExit is lost.

    The scan is finished, and then the connection is closed.
    """
    if not issubclass(unraisable.exc_type, SystemExit):
        sys.__unraisablehook__(unraisable)


def strip_in_workers(tasks: Sequence[Task], job: Job, request: Request, count: int) -> Stream:
    """Strip in several processes.

    Parameters
    ----------
    tasks
        Tasks of the scans.
    job, request
        As for `run_task`.
    count
        Number of processes.

    Yields
    ------
    tuple
        Each task, in the order in which they are finished, and its outcome.

    Raises
    ------
    Exception
        If a worker cannot make the stripper, or write a record.
    """
    coming = iter(tasks)
    pool: list[_Worker] = []
    try:
        for task in islice(coming, count):
            pool.append(_start_worker(job, request))
            pool[-1].send(task)
        while pool:
            ready = wait([worker.connection for worker in pool])
            for worker in [worker for worker in pool if worker.connection in ready]:
                task, outcome = _receive(worker, request)
                yield task, outcome
                following = next(coming, None)
                if following is None or worker.process.exitcode is not None:
                    pool.remove(worker)
                    worker.stop()
                    if following is None:
                        continue
                    worker = _start_worker(job, request)
                    pool.append(worker)
                worker.send(following)
    finally:
        for worker in pool:
            worker.stop()


def _receive(worker: _Worker, request: Request) -> tuple[Task, Outcome]:
    """Receive the outcome of a worker's task; if the worker died, record the task as failed."""
    task, worker.task = worker.task, None
    assert task is not None
    try:
        answer = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        error = _explain_exit(worker.process.exitcode)
        return task, make_outcome(task, record_failure(task, request, error))
    if isinstance(answer, Exception):
        raise answer
    return task, answer


def _explain_exit(code: int | None) -> str:
    """Explain why a process ended without an outcome."""
    if code is not None and code == -getattr(signal, "SIGKILL", 9):
        return (
            "its process was killed, perhaps because memory ran out. Use fewer --workers, or a "
            "machine with more memory."
        )
    return f"its process ended without a message (exit code {code}). Please report it."
