"""Jobs of SLURM, PBS or SGE that run Dask workers: the file that describes them, and their state.

The fields of the file are those of dask-jobqueue, which is imported only when it is used.
"""

import logging
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from deskull.errors import DeskullError, InputError, explain_missing

logger = logging.getLogger(__name__)
SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster"}
_LIST_JOBS = {  # commands that print one line per job, which begins with the job's number
    "slurm": ("squeue", "--noheader", "--format=%i %T %r"),
    "pbs": ("qstat",),
    "sge": ("qstat",),
}
_NEVER_STARTS = re.compile(  # what SLURM and SGE report of a job that will never start
    r"\b(BadConstraints|Invalid(Account|QOS)|JobHeld\w+|\w*held\w*|Partition(Time|Node)Limit|"
    r"MaxMemPerLimit|(Assoc|QOS)(Max|Grp)\w+PerJob\w*|Eqw)\b"
)
LIST_SECONDS = 30
"""Seconds in which a queue must list its jobs."""

_REQUIRED = {"system": str, "jobs": int, "cores": int, "memory": str}
_COMMON = {
    "processes": int,
    "walltime": str,
    "queue": str,
    "interface": str,
    "local_directory": str,
    "log_directory": str,
    "job_script_prologue": list,
    "job_extra_directives": list,
}
_OF_SYSTEM = {
    "slurm": {"account": str},
    "pbs": {"account": str, "resource_spec": str},
    "sge": {"project": str, "resource_spec": str},
}
_KINDS = {str: "a string", int: "a whole number from 1 on", list: "a list of strings"}


def import_library(name: str) -> Any:
    """Import a library that only clusters need, and restore the handling of Ctrl-C.

    Raises
    ------
    DeskullError
        If it is not installed.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        module = __import__(name)
        if signal.getsignal(signal.SIGINT) is not interrupt:  # importing dask_jobqueue replaces it
            signal.signal(signal.SIGINT, interrupt)
        return module
    except ModuleNotFoundError as error:
        raise DeskullError(f"--cluster: {explain_missing(error.name or name)}") from error


def read_job_file(path: str | Path) -> dict[str, Any]:
    """Read and check the file that describes the jobs to request.

    Parameters
    ----------
    path
        Path of a TOML file with `system` (slurm, pbs or sge), the number of `jobs`, and for each
        job `cores`, `memory` and further fields of dask-jobqueue.

    Returns
    -------
    dict
        Fields of the file by their names.

    Raises
    ------
    InputError
        If it cannot be read, or a field is missing, unknown, or of the wrong type.
    """
    try:
        fields = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected the address of a Dask "
            f"scheduler, tcp://HOST:PORT, or a TOML "
            "file that describes jobs."
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML ({error}).") from error
    missing = [name for name in _REQUIRED if name not in fields]
    if missing:
        raise InputError(f"{path}: no {missing[0]}; expected {', '.join(_REQUIRED)} at least.")
    if fields["system"] not in SYSTEMS:
        raise InputError(
            f"{path}: system {fields['system']!r}; expected one of {', '.join(SYSTEMS)}."
        )
    known = _REQUIRED | _COMMON | _OF_SYSTEM[fields["system"]]
    for name, value in fields.items():
        if name not in known:
            raise InputError(f"{path}: unknown field {name!r}; expected {', '.join(known)}.")
        if not _has_kind(value, known[name]):
            raise InputError(f"{path}: {name} {value!r}; expected {_KINDS[known[name]]}.")
    return fields


def _has_kind(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return isinstance(value, kind)


class JobQueue:
    """The jobs that were requested, and what the queue reports of them.

    Parameters
    ----------
    cluster
        Cluster of dask-jobqueue, from `make_cluster`.
    fields
        Fields of the file that describes the jobs, from `read_job_file`.
    """

    def __init__(self, cluster: Any, fields: Mapping[str, Any]) -> None:
        self.cluster, self.fields = cluster, fields
        self._warned: set[str] = set()
        self._empty = 0  # times that the queue has listed none of the jobs

    def request_jobs(self) -> None:
        """Request the jobs, and again those that were lost."""
        self.cluster.scale(jobs=self.fields["jobs"])

    def renew(self, workers: int) -> None:
        """Check the jobs, given the number of workers, and request again those that were lost."""
        self.check(workers)
        self.request_jobs()

    def check(self, workers: int) -> None:
        """Check whether the jobs can still bring workers.

        Parameters
        ----------
        workers
            Number of workers; while there is one, what the queue reports is at most a warning.

        Raises
        ------
        DeskullError
            If there is no worker, and no job is left that could bring one.
        """
        system, refusals = self.fields["system"], self.cluster.job_cls.refusals
        jobs = [job.job_id for job in list(self.cluster.workers.values()) if job.job_id]
        if refusals and not jobs:
            raise DeskullError(f"{system} refuses the jobs: {refusals[-1]}")
        if refusals:
            count = f"{len(refusals)} of {self.fields['jobs']} jobs"
            self._warn(f"{system} refuses {count}, the others are used: {refusals[-1]}")
        if workers or not jobs:
            return
        lines = _list_jobs(system, jobs)
        if lines is None:
            return
        self._empty = 0 if lines else self._empty + 1
        if self._empty > 1:  # a job that was just submitted may not be listed yet
            raise DeskullError(
                f"{system}: the jobs ended before a worker came. See their logs in "
                "log_directory in the file that describes the jobs."
            )
        if lines and all(_NEVER_STARTS.search(line) for line in lines):
            raise DeskullError(f"{system} will not start the jobs: {lines[0]}")
        for line in lines[:1]:
            self._warn(f"no worker yet; {system} says of the first job: {line}")

    def _warn(self, message: str) -> None:
        """Log a warning once."""
        if message not in self._warned:
            logger.warning("%s", message)
        self._warned.add(message)


def _list_jobs(system: str, jobs: Sequence[str]) -> list[str] | None:
    """List the lines that a queue prints for these jobs; None if its command fails."""
    try:
        done = subprocess.run(
            _LIST_JOBS[system], capture_output=True, text=True, timeout=LIST_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    known = {re.split(r"\D", job)[0] for job in jobs}
    return [line for line in lines if re.split(r"\D", line)[0] in known]


def make_cluster(fields: Mapping[str, Any], threads: int = 1) -> Any:
    """Make the cluster of dask-jobqueue that a file describes; no job is requested yet.

    The `refusals` of its job class list what the queue replied to jobs that it did not accept.

    Parameters
    ----------
    fields
        Fields of the file, from `read_job_file`.
    threads
        Number of cores of one scan: a worker strips as many scans at once as its cores allow.

    Raises
    ------
    InputError
        If this machine cannot submit jobs, or a field has an invalid value.
    """
    jobqueue = import_library("dask_jobqueue")
    base: Any = getattr(jobqueue, SYSTEMS[fields["system"]])
    cluster_class: Any = type(base.__name__, (base,), {"job_cls": _make_job_class(base.job_cls)})
    command = cluster_class.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise InputError(
            f"{fields['system']}: no command {command} on this machine. Start the run where jobs "
            "are submitted."
        )
    _check_memory(fields["memory"])
    options = {name: fields[name] for name in fields if name not in ("system", "jobs")}
    options.setdefault("processes", 1)
    at_once = max(1, options["cores"] // options["processes"] // threads)
    try:
        return cluster_class(
            **options,
            worker_extra_args=["--nthreads", str(at_once)],
            scheduler_options={"dashboard_address": ":0"},  # 8787 may be another user's
        )
    except (ValueError, OSError) as error:
        raise InputError(f"the jobs for {fields['system']}: {error}") from error


def _make_job_class(base: Any) -> Any:
    """Make a job class that stores a refusal instead of raising it in the event loop."""
    from distributed.core import Status

    class Job(base):  # type: ignore[misc]
        refusals: ClassVar[list[str]] = []

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, ValueError, OSError) as error:
                reply = str(error).rpartition("stderr:")[2] or str(error)
                self.refusals.append(" ".join(reply.split()))
                self.status = Status.running  # otherwise Dask waits for it to start

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job


def _check_memory(text: str) -> None:
    from dask.utils import parse_bytes

    try:
        parse_bytes(text)
    except ValueError as error:
        raise InputError(
            f"memory {text!r}; expected a number with its unit, such as 8GB."
        ) from error
