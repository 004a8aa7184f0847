"""A cohort on many machines: the same scans and records, stripped by the workers of Dask.

Where the workers are says the address of a scheduler that runs, or a TOML file from which
dask-jobqueue asks SLURM, PBS or SGE for jobs. All machines see the inputs and the outputs at
the same paths. A worker that is lost costs time and no scan: another one strips it.
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
from deskull.cohort.queues import Queue, import_library, make_queue, read_queue
from deskull.cohort.records import Outcome, record_failure
from deskull.cohort.runners import Stream
from deskull.cohort.steps import Job, run_task
from deskull.errors import DeskullError, InputError, WeightsError
from deskull.network.weights import bundled_folder, load_weights
from deskull.record import Request
from deskull.stripper import Stripper

logger = logging.getLogger(__name__)
ADDRESSES = ("tcp://", "tls://")
REACH_SECONDS = 5
"""For a scheduler to answer: one that runs does so in milliseconds."""
LOOK_SECONDS = 10.0
"""Without news after which the workers are counted, the queue is asked, and lost jobs asked for
again."""
AHEAD = 1000
"""Scans that the scheduler knows of at a time: enough for any cluster, and memory is bounded."""

LOST = (
    "every worker that tried it was lost, perhaps because memory ran out. Give each worker more "
    "memory, or fewer threads."
)
# --- on the client


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster.

    Parameters
    ----------
    where
        Address of a Dask scheduler, or a TOML file for dask-jobqueue.
    witness
        A file in the folder of the outputs that exists while they work: one that does not see
        it shares no disk with the client.
    """

    where: str | Path
    witness: Path


@dataclass(frozen=True)
class _Order:
    """What every worker must know and agree with before its first scan.

    Parameters
    ----------
    job
        How to strip.
    digest
        Of the client's weights.
    witness
        As of the crew.
    """

    job: Job
    digest: str
    witness: Path


def strip_on_cluster(tasks: Sequence[Task], job: Job, request: Request, crew: Crew) -> Stream:
    """Strip on the workers of a Dask cluster; each of their threads strips one scan at a time.

    Parameters
    ----------
    tasks
        Scans, at paths that all machines share.
    job
        How; `threads` are the cores of one scan, 1 if not given.
    request
        As `records.make_request` gives it.
    crew
        Who strips.

    Yields
    ------
    tuple
        Each task, as it is finished, and what became of it.

    Raises
    ------
    InputError
        If the cluster cannot be reached or its file is wrong.
    DeskullError
        If the workers cannot do the job, or the scheduler is lost.
    """
    job = replace(job, threads=job.threads or 1, weights=_to_absolute(job.weights))
    order = _Order(job, request.weights, crew.witness.absolute())
    with _connect(os.fspath(crew.where), job) as (client, keep):
        pump = _Pump(client, keep, order, request, str(crew.where))
        killed = []
        for task, outcome in pump.run(tasks, AHEAD):
            if outcome is None:
                killed.append(task)
            else:
                yield task, outcome
        for task, outcome in pump.run(killed, 1):  # alone, so that no neighbour is to blame
            yield task, outcome or record_failure(task, request, LOST)


def _to_absolute(weights: str | Path) -> str | Path:
    bundled = (bundled_folder() / str(weights)).is_dir()
    return weights if bundled else Path(weights).absolute()


@dataclass
class _Pump:
    """Sends scans to a scheduler, a bounded number ahead, and takes what comes back."""

    client: Any
    keep: Callable[[int], None]
    order: _Order
    request: Request
    where: str

    def run(
        self, tasks: Sequence[Task], ahead: int
    ) -> Generator[tuple[Task, Outcome | None], None, None]:
        """Give each task and its outcome; None if Dask lost it with several workers."""
        from distributed.protocol.pickle import dumps

        waiting, going, done = list(tasks), dict[str, Task](), SimpleQueue[Any]()
        errand, many = _make_errand(), max(1, ahead // 2)  # many at once cost Dask far less
        while waiting or going:
            while waiting and len(going) + many <= ahead:
                batch, waiting = waiting[:many], waiting[many:]
                parcels = [dumps((task, self.order, self.request)) for task in batch]
                versions = [__version__] * len(batch)
                futures = self.client.map(errand, versions, parcels, pure=False)
                for task, future in zip(batch, futures, strict=True):
                    going[future.key] = task
                    future.add_done_callback(done.put)
                del futures, future  # what is kept of a future is kept by the cluster
            future = self._wait(done)
            yield going.pop(future.key), self._take(future)

    def _wait(self, done: "SimpleQueue[Any]") -> Any:
        """Wait for a finished future; meanwhile look whether there is anyone to wait for."""
        told = False
        while True:
            try:
                return done.get(timeout=LOOK_SECONDS)
            except Empty:
                workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
                self.keep(workers)
                if not told and not workers:
                    logger.warning("%s: no worker there; waiting for one", self.where)
                    told = True

    def _take(self, future: Any) -> Outcome | None:
        from distributed import KilledWorker

        if future.cancelled():
            raise DeskullError(
                f"{self.where}: the scheduler was lost. Finished scans are kept; run the "
                "same command again to continue."
            )
        try:
            outcome: Outcome = future.result()
        except KilledWorker:  # also where it had answered, and its worker died with the answer
            return None
        except DeskullError:
            raise
        except Exception as error:
            raise DeskullError(
                f"{self.where}: a worker cannot strip ({type(error).__name__}: {error}). Is "
                f"deskull {__version__} installed where the workers run?"
            ) from error
        return outcome


# --- on a worker

_gate = threading.Lock()


def _make_errand() -> Callable[[str, bytes], Any]:
    """Make the function that goes to the workers by value, and needs no deskull to arrive.

    What Dask cannot unpack ends a worker without a word; this can say what is wrong.
    """

    def strip_parcel(version: str, parcel: bytes) -> Any:
        import platform

        from distributed.protocol.pickle import loads

        import deskull
        from deskull.errors import InputError

        if deskull.__version__ != version:
            raise InputError(
                f"worker on {platform.node()}: deskull {deskull.__version__}; the run was started "
                f"with {version}. Install the same version on both."
            )
        from deskull.cohort.cluster import strip_there

        return strip_there(*loads(parcel))

    return strip_parcel


def strip_there(task: Task, order: _Order, request: Request) -> Outcome:
    """Strip one scan on the worker that this runs on, with a stripper made once.

    Raises
    ------
    InputError, WeightsError
        If this worker cannot do the job as the client would.
    OutputError
        If even the record cannot be written.
    """
    with _gate:  # several scans may be the first one at the same time
        stripper = _make_stripper(order)
    return run_task(task, stripper, order.job, request)


@lru_cache(maxsize=1)
def _make_stripper(order: _Order) -> Stripper:
    """Make the stripper, after a look whether this worker is like the client."""
    here = f"worker on {platform.node()}"
    if not order.witness.exists():
        raise InputError(
            f"{here}: {order.witness.parent} is not the output folder of the run. "
            "Inputs and outputs must lie on a disk that all machines share, at the same path."
        )
    if load_weights(order.job.weights).digest != order.digest:
        raise WeightsError(
            f"{here}: weights {str(order.job.weights)!r} are not those of the run. "
            "Install the same deskull, or name a folder that all machines share."
        )
    return order.job.start()


# --- where the workers are


@contextmanager
def _connect(where: str, job: Job) -> Iterator[tuple[Any, Callable[[int], None]]]:
    """Give a client, and what looks after the jobs, told how many workers there are."""
    import_library("distributed")
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we say it ourselves
    if where.startswith(ADDRESSES):
        with _reach(Client, where) as client:
            yield client, lambda workers: None
        return
    fields = read_queue(where)
    with make_queue(fields, job.threads or 1) as cluster, _reach(Client, cluster) as client:
        queue = Queue(cluster, fields)

        def keep(workers: int) -> None:
            queue.check(workers)
            queue.ask()

        queue.ask()
        yield client, keep


def _reach(make_client: Callable[..., Any], target: Any) -> Any:
    try:
        return make_client(target, timeout=REACH_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{target}: no Dask scheduler answers there within {REACH_SECONDS} s. Start one with "
            "`dask scheduler`, and give the address that it prints."
        ) from error
