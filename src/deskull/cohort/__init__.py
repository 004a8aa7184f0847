"""Many scans: each stripped once, with a record, whatever happens to the others.

What is to be done is `plan.py`, found by `search.py` or in a BIDS data set by `bids.py`; the way
of one scan `steps.py`; who walks it `runners.py` and `cluster.py`; what is left `records.py`.

>>> from deskull.cohort import Job, make_plan, strip_cohort
>>> plan = make_plan(["study"], "brains")  # doctest: +SKIP
>>> outcomes = strip_cohort(plan, "brains", Job())  # doctest: +SKIP
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from deskull import __version__
from deskull.cohort.cluster import Crew, strip_on_cluster
from deskull.cohort.memory import fit_memory
from deskull.cohort.plan import Gap, Plan, Task
from deskull.cohort.records import (
    LOCK,
    Outcome,
    is_done,
    lock,
    make_gap_outcome,
    make_outcome,
    make_request,
    name_table,
    read_record,
    record_failure,
    save_table,
    sweep,
)
from deskull.cohort.remake import keep_corrections
from deskull.cohort.runners import Stream, strip_here, strip_in_workers
from deskull.cohort.search import make_plan
from deskull.cohort.steps import Job, run_task
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
    "run_task",
    "strip_cohort",
]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    total
        Scans of this run, those done before included.
    skipped
        Done before.
    finished
        Stripped or failed in this run.
    failed
        Of them, how many failed.
    seconds
        Since the first scan of this run began.
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
    share: str = "",
    observe: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Strip the scans that are not yet done, and write the table of all.

    A scan that fails is recorded, and the run goes on. With several workers call this from a
    program's ``if __name__ == "__main__":``, as for all of Python's multiprocessing.

    Parameters
    ----------
    plan
        As `make_plan` or `Plan.take_shard` give it, or tasks alone.
    out_dir
        Folder of the outputs, where the table is written.
    job
        How to strip; the defaults if not given.
    workers
        Processes; 1 is this one, which then reads, strips and writes in three threads. Of
        several, one that dies costs only its scan.
    cluster
        Address of a Dask scheduler, or a TOML file for dask-jobqueue, to strip on its workers.
    force
        Strip also what is done.
    share
        Word in the table's name, for shards that run at the same time.
    observe
        Called at first and after each scan.

    Returns
    -------
    list
        What became of each scan, in the order of the tasks; then the gaps.

    Raises
    ------
    InputError, WeightsError
        If the job can be done on no scan.
    OutputError
        If even a record cannot be written.
    """
    job, out, tell = job or Job(), Path(out_dir), observe or (lambda _: None)
    tasks, gaps = list(plan), plan.gaps if isinstance(plan, Plan) else []
    job, request = _check_job(job, tasks, workers, cluster is not None)
    make_folder(out)
    with lock(out, share) as other:
        if other:
            logger.warning(
                "%s: another run (%s) works there, or was killed there; no file is damaged, "
                "but scans may be stripped twice",
                out,
                other,
            )
        sweep(tasks, out / f"{LOCK}{share}")
        for gap in gaps:
            if gap.failed:
                logger.warning("%s: failed: %s", gap.name, gap.reason)
        waiting = [task for task in tasks if force or not is_done(task, request)]
        left = {task.record for task in waiting}
        crew: int | Crew = (
            Crew(cluster, out / f"{LOCK}{share}") if cluster is not None else workers
        )
        found = _strip_waiting(waiting, len(tasks), job, request, crew, tell)
        for record in keep_corrections(task for head in tasks for task in head.members):
            found.pop(record, None)
        outcomes = [
            replace(_find_outcome(task, found), earlier=head.record not in left)
            for head in tasks
            for task in head.members
        ]
        outcomes += map(make_gap_outcome, gaps)
        save_table(outcomes, out / name_table(share))
    _tell_versions(outcomes, out)
    return outcomes


def _tell_versions(outcomes: Sequence[Outcome], out: Path) -> None:
    """Say which scans keep what another version of deskull made."""
    kept = Counter(outcome.version for outcome in outcomes if outcome.earlier)
    for version, count in sorted(kept.items()):
        if version != __version__:
            logger.warning(
                "%s: %d scans keep outputs of deskull %s with the same weights and "
                "settings; this is %s. --force strips them again",
                out,
                count,
                version,
                __version__,
            )


def _find_outcome(task: Task, found: Mapping[Path, Outcome]) -> Outcome:
    """Find what became of a scan: what its record says, which of one mask is the last word."""
    outcome = found.get(task.record)
    if outcome is None or outcome.name != task.name:  # it got its mask from another
        outcome = make_outcome(task, read_record(task))
        if outcome.error:
            logger.warning("%s: failed: %s", outcome.name, outcome.error)
    return outcome


def _check_job(job: Job, tasks: Sequence[Task], workers: int, away: bool) -> tuple[Job, Request]:
    """Let what would fail on every scan fail now; settle the device, and what is asked of each."""
    if not 1 <= workers <= 1024:
        raise OptionError(f"workers {workers}; expected 1 to 1024.")
    if away and workers != 1:
        raise OptionError(
            f"workers {workers} with --cluster; expected one of them: the cluster has its own "
            "workers."
        )
    if away and job.memory_gb is not None:
        raise OptionError(
            "--mem-gb with --cluster; expected one of them: the cluster has its own memory."
        )
    if job.threads is not None and not 1 <= job.threads <= 1024:
        raise OptionError(f"threads {job.threads}; expected 1 to 1024.")
    if not away:  # each worker of a cluster finds its own
        job = replace(job, device=find_device(job.device))
        find_runtime(job.device)
    check_packages({name for task in tasks for name in task.outputs})
    if job.settings.n4:
        check_n4()
    weights = load_weights(job.weights)
    find_channel(weights, job.settings)
    return job, make_request(job.settings, weights.digest, job.frame, job.orientation)


def _strip_waiting(
    waiting: Sequence[Task],
    total: int,
    job: Job,
    request: Request,
    crew: int | Crew,
    tell: Callable[[Progress], None],
) -> dict[Path, Outcome]:
    """Outcome by record of what is stripped now."""
    progress, began = Progress(total, total - len(waiting)), time.perf_counter()
    found: dict[Path, Outcome] = {}
    tell(progress)
    if not waiting:
        return found
    if isinstance(crew, Crew):
        stream = strip_on_cluster(waiting, job, request, crew)
    else:
        stream = _strip_on_this_machine(waiting, job, request, crew)
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
            tell(progress)
    return found


def _strip_on_this_machine(
    waiting: Sequence[Task], job: Job, request: Request, workers: int
) -> Stream:
    """Strip what fits into memory, in as many processes as do; the rest is recorded as failed."""
    n4 = bool(job.settings.n4)
    fit = fit_memory(waiting, min(workers, len(waiting)), job.memory_gb, n4)
    for task, words in fit.refused:
        yield task, record_failure(task, request, words)
    refused = {task.record for task, _ in fit.refused}
    left = [task for task in waiting if task.record not in refused]
    if left and fit.workers == 1:
        yield from strip_here(left, job, request, fit.overlap)
    elif left:
        threads = max(1, (job.threads or count_threads()) // fit.workers)
        shared = replace(job, threads=threads)
        yield from strip_in_workers(left, shared, request, fit.workers)
