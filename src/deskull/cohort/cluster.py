"""A cohort on many machines: scans are stripped by the workers of a Dask cluster.

The cluster is given by the address of a running scheduler, or by a TOML file from which
`queues.py` requests jobs from SLURM, PBS or SGE. All machines see inputs and outputs at the same
paths. If a worker is lost, another one strips its scan.
"""

import logging
import os
import platform
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from deskull import __version__
from deskull.cohort.plan import Task
from deskull.cohort.queues import JobQueue, import_library, make_cluster, read_job_file
from deskull.cohort.records import record_failure
from deskull.cohort.steps import Job, run_task
from deskull.cohort.table import Outcome, make_outcome
from deskull.cohort.workers import Stream
from deskull.errors import DeskullError, InputError, WeightsError
from deskull.network.weights import bundled_folder, load_weights
from deskull.record import Request
from deskull.stripper import Stripper

logger = logging.getLogger(__name__)
ADDRESSES = ("tcp://", "tls://")
CONNECT_SECONDS = 5
"""Seconds in which a scheduler must answer: one that runs does so in milliseconds."""
POLL_SECONDS = 10.0
"""Seconds without a result after which the workers are counted, the queue is queried for its jobs,
and lost jobs are requested again."""
MAX_SUBMITTED = 1000
"""Scans that the scheduler knows of at a time: enough for any cluster, and memory is bounded."""

LOST = (
    "every worker that tried it was lost, perhaps because memory ran out. Give each worker more "
    "memory, or fewer threads."
)


@dataclass(frozen=True)
class _Order:
    """What a worker must know, and check, before its first scan.

    Parameters
    ----------
    job
        How the scans are stripped.
    request
        Request of the run, with the hash of the client's weights.
    marker
        Path of the marker that exists during the run in the folder of the outputs: a worker that
        does not see it shares no disk with the client.
    """

    job: Job
    request: Request
    marker: Path


# --- on the client


def strip_on_cluster(
    tasks: Sequence[Task], job: Job, request: Request, where: str | Path, marker: Path
) -> Stream:
    """Strip on the workers of a Dask cluster; each of their threads strips one scan at a time.

    Parameters
    ----------
    tasks
        Tasks of scans at paths that all machines share.
    job
        How the scans are stripped; `threads` is the number of cores of one scan, by default 1.
    request
        Request of the run, from `records.make_request`.
    where
        Address of a Dask scheduler, or path of a TOML file for dask-jobqueue.
    marker
        Path of the marker of the run in the folder of the outputs.

    Yields
    ------
    tuple
        Each task, in the order in which they are finished, and its outcome.

    Raises
    ------
    InputError
        If the cluster cannot be reached, or its file is wrong.
    DeskullError
        If the workers cannot do the job, or the scheduler is lost.
    """
    job = replace(job, threads=job.threads or 1, weights=_to_absolute(job.weights))
    order = _Order(job, request, marker.absolute())
    with _connect(os.fspath(where), job) as (client, check_jobs):
        submitter = _Submitter(client, check_jobs, order, str(where))
        lost = []
        for task, outcome in submitter.run(tasks, MAX_SUBMITTED):
            if outcome is None:
                lost.append(task)
            else:
                yield task, outcome
        for task, outcome in submitter.run(lost, 1):  # alone, so that no neighbour is to blame
            yield task, outcome or make_outcome(task, record_failure(task, request, LOST))


def _to_absolute(weights: str | Path) -> str | Path:
    bundled = (bundled_folder() / str(weights)).is_dir()
    return weights if bundled else Path(weights).absolute()


@dataclass
class _Submitter:
    """Submits tasks to a scheduler, a limited number at a time, and collects the outcomes.

    Parameters
    ----------
    client
        Dask client of the scheduler.
    check_jobs
        Function that checks the jobs of the cluster, given the number of workers.
    order
        What every worker must know.
    where
        Name of the cluster, for messages.
    """

    client: Any
    check_jobs: Callable[[int], None]
    order: _Order
    where: str

    def run(
        self, tasks: Sequence[Task], limit: int
    ) -> Generator[tuple[Task, Outcome | None], None, None]:
        """Yield each task and its outcome; None if Dask lost it with several workers."""
        from distributed.protocol.pickle import dumps

        waiting, running, done = list(tasks), dict[str, Task](), SimpleQueue[Any]()
        strip, size = _make_remote_function(), max(1, limit // 2)  # batches cost Dask far less
        while waiting or running:
            while waiting and len(running) + size <= limit:
                batch, waiting = waiting[:size], waiting[size:]
                payloads = [dumps((task, self.order)) for task in batch]
                versions = [__version__] * len(batch)
                futures = self.client.map(strip, versions, payloads, pure=False)
                for task, future in zip(batch, futures, strict=True):
                    running[future.key] = task
                    future.add_done_callback(done.put)
                del futures, future  # the cluster keeps results as long as futures exist
            future = self._wait(done)
            yield running.pop(future.key), self._take_outcome(future)

    def _wait(self, done: "SimpleQueue[Any]") -> Any:
        """Wait for a finished future, and meanwhile check that there are workers."""
        warned = False
        while True:
            try:
                return done.get(timeout=POLL_SECONDS)
            except Empty:
                workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
                self.check_jobs(workers)
                if not warned and not workers:
                    logger.warning("%s: no worker there; waiting for one", self.where)
                    warned = True

    def _take_outcome(self, future: Any) -> Outcome | None:
        from distributed import KilledWorker

        if future.cancelled():
            raise DeskullError(
                f"{self.where}: the scheduler was lost. Finished scans are kept; run the "
                "same command again to continue."
            )
        try:
            outcome: Outcome = future.result()
        except KilledWorker:  # also if it had answered, and died before the answer was fetched
            return None
        except DeskullError:
            raise
        except Exception as error:
            raise DeskullError(
                f"{self.where}: a worker cannot strip ({type(error).__name__}: {error}). Is "
                f"deskull {__version__} installed where the workers run?"
            ) from error
        return outcome


@contextmanager
def _connect(where: str, job: Job) -> Iterator[tuple[Any, Callable[[int], None]]]:
    """Yield a client, and a function that checks the jobs, given the number of workers."""
    import_library("distributed")
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # deskull reports these errors itself
    if where.startswith(ADDRESSES):
        with _reach(Client, where) as client:
            yield client, lambda workers: None
        return
    fields = read_job_file(where)
    with make_cluster(fields, job.threads or 1) as cluster, _reach(Client, cluster) as client:
        queue = JobQueue(cluster, fields)
        queue.request_jobs()
        yield client, queue.renew


def _reach(make_client: Callable[..., Any], target: Any) -> Any:
    try:
        return make_client(target, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{target}: no Dask scheduler answers there within {CONNECT_SECONDS} s. Start one "
            "with `dask scheduler`, and give the address that it prints."
        ) from error


# --- on a worker

_lock = threading.Lock()


def _make_remote_function() -> Callable[[str, bytes], Any]:
    """Make the function that Dask sends to the workers by value, without importing deskull.

    What Dask cannot unpack ends a worker without a message; this function reports what is wrong.
    """

    def strip_payload(version: str, payload: bytes) -> Any:
        import platform

        from distributed.protocol.pickle import loads

        import deskull
        from deskull.errors import InputError

        if deskull.__version__ != version:
            raise InputError(
                f"worker on {platform.node()}: deskull {deskull.__version__}; the run was started "
                f"with {version}. Install the same version on both."
            )
        from deskull.cohort.cluster import strip_on_worker

        return strip_on_worker(*loads(payload))

    return strip_payload


def strip_on_worker(task: Task, order: _Order) -> Outcome:
    """Strip one scan on the worker that runs this, with a stripper that is made once.

    Raises
    ------
    InputError, WeightsError
        If this worker cannot do the job as the client would.
    OutputError
        If the record cannot be written.
    """
    with _lock:  # several threads may start with their first scan at the same time
        stripper = _make_stripper(order)
    return run_task(task, stripper, order.job, order.request)


@lru_cache(maxsize=1)
def _make_stripper(order: _Order) -> Stripper:
    """Make the stripper, after a check that this worker agrees with the client."""
    here = f"worker on {platform.node()}"
    if not order.marker.exists():
        raise InputError(
            f"{here}: {order.marker.parent} is not the output folder of the run. "
            "Inputs and outputs must lie on a disk that all machines share, at the same path."
        )
    if load_weights(order.job.weights).digest != order.request.weights:
        raise WeightsError(
            f"{here}: weights {str(order.job.weights)!r} are not those of the run. "
            "Install the same deskull, or name a folder that all machines share."
        )
    return order.job.make_stripper()
