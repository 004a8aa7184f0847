"""Many scans: each is stripped once, with a record, whatever happens to the others.

The work list is made by `search.py`, or for a BIDS data set by `bids.py`. One scan is stripped
by `steps.py`, in the worker pool of this machine (`workers.py`) or of a cluster (`cluster.py`);
records are in `records.py`, the table is in `table.py`.

>>> from deskull.cohort import Job, make_plan, strip_cohort
>>> plan = make_plan(["study"], "brains")  # doctest: +SKIP
>>> outcomes = strip_cohort(plan, "brains", Job())  # doctest: +SKIP
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from deskull.cohort.cluster import strip_on_cluster
from deskull.cohort.earlier import (
    apply_corrections,
    find_kept,
    load_earlier,
    settle_leftovers,
)
from deskull.cohort.memory import fit_memory
from deskull.cohort.plan import Gap, Plan, Task
from deskull.cohort.records import (
    MARKER,
    is_done,
    make_request,
    mark_run,
    record_failure,
    remove_stale_files,
)
from deskull.cohort.search import make_plan
from deskull.cohort.steps import Job
from deskull.cohort.table import (
    Outcome,
    find_outcome,
    make_gap_outcome,
    make_outcome,
    name_table,
    save_table,
    warn_of_versions,
)
from deskull.cohort.workers import Stream, strip_in_process, strip_in_workers
from deskull.errors import OptionError
from deskull.image.writing import make_folder
from deskull.network.engine import count_threads, find_device, find_runtime
from deskull.network.weights import find_channel, load_weights
from deskull.outputs import check_packages
from deskull.prepare.bias import check_n4
from deskull.record import FAILED, Request

__all__ = [
    "Gap",
    "Job",
    "Outcome",
    "Plan",
    "Progress",
    "Task",
    "is_done",
    "make_plan",
    "strip_cohort",
]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    total
        Number of scans of the run, including those skipped.
    skipped
        Number of scans that an earlier run finished.
    finished
        Number of scans that were stripped or failed in this run.
    failed
        Number of scans that failed in this run.
    seconds
        Seconds since the first scan of this run began.
    """

    total: int
    skipped: int = 0
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0


def strip_cohort(
    plan: Plan | Sequence[Task],
    out_dir: str | Path,
    job: Job | None = None,
    *,
    workers: int = 1,
    cluster: str | Path | None = None,
    force: bool = False,
    label: str = "",
    observe: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Strip the scans that are not yet done, and write the table of all.

    A scan that fails is recorded, and the run continues. With several workers, call this under
    ``if __name__ == "__main__":``, as all of Python's multiprocessing requires.

    Parameters
    ----------
    plan
        Plan from `make_plan` or `Plan.take_shard`, or only its tasks.
    out_dir
        Folder of the outputs, where the table is written.
    job
        How the scans are stripped; by default with the default settings.
    workers
        Number of processes. 1 is this process, which reads, strips and writes in three threads;
        of several, one that dies costs only its scan.
    cluster
        Address of a Dask scheduler, or path of a TOML file for dask-jobqueue, to strip on the
        workers of a cluster instead.
    force
        Whether finished scans are stripped again.
    label
        Ending of the table's name, for shards that run at the same time.
    observe
        Function called with the progress, at the start and after each scan.

    Returns
    -------
    list
        Outcome of each scan, in the order of the tasks; then those of the gaps.

    Raises
    ------
    InputError, WeightsError
        If the job cannot be done on any scan.
    OutputError
        If a record cannot be written.
    """
    job, out, observe = job or Job(), Path(out_dir), observe or (lambda _: None)
    tasks, gaps = (plan.tasks, plan.gaps) if isinstance(plan, Plan) else (list(plan), [])
    job, request = _check_job(job, tasks, workers, cluster is not None)
    make_folder(out)
    marker = out / f"{MARKER}{label}"
    was_killed = marker.exists()  # or another run works there
    with mark_run(marker) as other_run:
        if other_run:
            logger.warning(
                "%s: another run (%s) works there, or was killed there; no file is damaged, "
                "but scans may be stripped twice",
                out,
                other_run,
            )
        remove_stale_files(tasks, marker)
        for gap in gaps:
            if gap.failed:
                logger.warning("%s: failed: %s", gap.name, gap.reason)
        waiting = [task for task in tasks if force or not is_done(task, request)]
        kept = {} if force else find_kept(waiting, was_killed)
        waiting = [task for task in waiting if task.record not in kept]
        earlier = load_earlier(waiting)
        now = {task.record for task in waiting} | set(kept)
        if cluster is None or not waiting:
            stream = _strip_here(waiting, job, request, workers)
        else:
            stream = strip_on_cluster(waiting, job, request, cluster, marker)
        found = _watch(stream, Progress(len(tasks), len(tasks) - len(waiting)), observe)
        for record in apply_corrections(member for task in tasks for member in task.members):
            found.pop(record, None)
        found |= kept
        outcomes = [
            replace(find_outcome(member, found), earlier=task.record not in now)
            for task in tasks
            for member in task.members
        ]
        settle_leftovers(earlier, waiting, out)
        warn_of_versions(outcomes, out)
        outcomes += map(make_gap_outcome, gaps)
        save_table(outcomes, out / name_table(label))
    return outcomes


def _check_job(
    job: Job, tasks: Sequence[Task], workers: int, on_cluster: bool
) -> tuple[Job, Request]:
    """Raise what would fail on every scan; choose the device, and make the request."""
    if not 1 <= workers <= 1024:
        raise OptionError(f"workers {workers}; expected 1 to 1024.")
    if on_cluster and workers != 1:
        raise OptionError(
            f"workers {workers} with --cluster; expected one of them: the cluster has its own "
            "workers."
        )
    if on_cluster and job.memory_gb is not None:
        raise OptionError(
            "--mem-gb with --cluster; expected one of them: the cluster has its own memory."
        )
    if job.threads is not None and not 1 <= job.threads <= 1024:
        raise OptionError(f"threads {job.threads}; expected 1 to 1024.")
    if not on_cluster:  # each worker of a cluster finds its own device
        job = replace(job, device=find_device(job.device))
        find_runtime(job.device)
    check_packages({name for task in tasks for name in task.outputs})
    if job.settings.n4:
        check_n4()
    weights = load_weights(job.weights)
    find_channel(weights, job.settings)
    return job, make_request(job.settings, weights.digest, job.frame, job.orientation)


def _strip_here(tasks: Sequence[Task], job: Job, request: Request, workers: int) -> Stream:
    """Strip the scans that fit into memory on this machine; record the others as failed."""
    fit = fit_memory(tasks, min(workers, len(tasks)), job.memory_gb, bool(job.settings.n4))
    for task, reason in fit.refused:
        yield task, make_outcome(task, record_failure(task, request, reason))
    refused = {task.record for task, _ in fit.refused}
    fitting = [task for task in tasks if task.record not in refused]
    if fitting and fit.workers == 1:
        yield from strip_in_process(fitting, job, request, fit.overlap)
    elif fitting:
        threads = max(1, (job.threads or count_threads()) // fit.workers)
        yield from strip_in_workers(fitting, replace(job, threads=threads), request, fit.workers)


def _watch(
    stream: Stream, progress: Progress, observe: Callable[[Progress], None]
) -> dict[Path, Outcome]:
    """Collect outcomes by their record as they arrive; report progress and failures."""
    began = time.perf_counter()
    found: dict[Path, Outcome] = {}
    observe(progress)
    with closing(stream):
        for task, outcome in stream:
            found[task.record] = outcome
            progress = replace(
                progress,
                finished=progress.finished + 1,
                failed=progress.failed + (outcome.status == FAILED),
                seconds=time.perf_counter() - began,
            )
            if outcome.error:
                logger.warning("%s: failed: %s", outcome.name, outcome.error)
            observe(progress)
    return found
