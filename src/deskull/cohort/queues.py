"""The jobs of SLURM, PBS or SGE: the file that describes them, and what the queue says of them.

Its fields are those of dask-jobqueue, which is imported here and only when it is used.
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
_LISTING = {  # lists the jobs of a queue, each on a line that begins with its number
    "slurm": ("squeue", "--noheader", "--format=%i %T %r"),
    "pbs": ("qstat",),
    "sge": ("qstat",),
}
_NEVER = re.compile(  # what SLURM and SGE say of a job that will never begin
    r"\b(BadConstraints|Invalid(Account|QOS)|JobHeld\w+|\w*held\w*|Partition(Time|Node)Limit|"
    r"MaxMemPerLimit|(Assoc|QOS)(Max|Grp)\w+PerJob\w*|Eqw)\b"
)
LIST_SECONDS = 30
"""For a queue to list its jobs."""

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
    """Import what only clusters need, and leave Ctrl-C as it was.

    Raises
    ------
    DeskullError
        If it is not installed.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        module = __import__(name)
        if signal.getsignal(signal.SIGINT) is not interrupt:  # dask_jobqueue takes it, unasked
            signal.signal(signal.SIGINT, interrupt)
        return module
    except ModuleNotFoundError as error:
        raise DeskullError(f"--cluster: {explain_missing(error.name or name)}") from error


def read_queue(path: str | Path) -> dict[str, Any]:
    """Read and check the file that says what jobs to ask a queue for.

    Parameters
    ----------
    path
        TOML with `system` (slurm, pbs, sge), `jobs`, and of each job `cores`, `memory` and
        further fields of dask-jobqueue.

    Returns
    -------
    dict
        The fields.

    Raises
    ------
    InputError
        If it cannot be read, a field is missing, unknown, or of the wrong kind.
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
        if not _is_kind(value, known[name]):
            raise InputError(f"{path}: {name} {value!r}; expected {_KINDS[known[name]]}.")
    return fields


def _is_kind(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return isinstance(value, kind)


class Queue:
    """The jobs that were asked for, and what the queue says of them.

    Parameters
    ----------
    cluster
        As `make_queue` gives it.
    fields
        As `read_queue` gives them.
    """

    def __init__(self, cluster: Any, fields: Mapping[str, Any]) -> None:
        self.cluster, self.fields = cluster, fields
        self._told: set[str] = set()
        self._gone = 0

    def ask(self) -> None:
        """Ask for jobs, and again for those that were lost."""
        self.cluster.scale(jobs=self.fields["jobs"])

    def check(self, workers: int) -> None:
        """Look what became of the jobs.

        Parameters
        ----------
        workers
            That work; while there is one, what the queue says is a warning at most.

        Raises
        ------
        DeskullError
            If there is none, and no job is left that could bring one.
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
        self._gone = 0 if lines else self._gone + 1
        if self._gone > 1:  # one that was just submitted may not be listed yet
            raise DeskullError(
                f"{system}: the jobs ended before a worker came. See their logs in "
                "log_directory in the file that describes the jobs."
            )
        if lines and all(_NEVER.search(line) for line in lines):
            raise DeskullError(f"{system} will not start the jobs: {lines[0]}")
        for line in lines[:1]:
            self._warn(f"no worker yet; {system} says of the first job: {line}")

    def _warn(self, words: str) -> None:
        if words not in self._told:
            logger.warning("%s", words)
        self._told.add(words)


def _list_jobs(system: str, jobs: Sequence[str]) -> list[str] | None:
    """Lines of a queue's list that are on these jobs; None if it gives no list."""
    try:
        done = subprocess.run(
            _LISTING[system], capture_output=True, text=True, timeout=LIST_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    known = {re.split(r"\D", job)[0] for job in jobs}
    return [line for line in lines if re.split(r"\D", line)[0] in known]


def make_queue(fields: Mapping[str, Any], threads: int = 1) -> Any:
    """Make the dask-jobqueue cluster that a file describes; no job is asked for yet.

    Its class of jobs notes in `refusals` what the queue said to those that it did not take.

    Parameters
    ----------
    fields
        As `read_queue` gives them.
    threads
        Cores of one scan: a worker strips as many scans at once as its cores allow.

    Raises
    ------
    InputError
        If this machine cannot submit jobs, or a field has no meaning.
    """
    jobqueue = import_library("dask_jobqueue")
    base: Any = getattr(jobqueue, SYSTEMS[fields["system"]])
    make: Any = type(base.__name__, (base,), {"job_cls": _make_job_class(base.job_cls)})
    command = make.job_cls.submit_command.split()[0]
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
        return make(
            **options,
            worker_extra_args=["--nthreads", str(at_once)],
            scheduler_options={"dashboard_address": ":0"},  # 8787 may be another user's
        )
    except (ValueError, OSError) as error:
        raise InputError(f"the jobs for {fields['system']}: {error}") from error


def _make_job_class(base: Any) -> Any:
    """Make a class of jobs for which a refusal is noted, and no fault of a loop of events."""
    from distributed.core import Status

    class Job(base):  # type: ignore[misc]
        refusals: ClassVar[list[str]] = []

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, ValueError, OSError) as error:
                said = str(error).rpartition("stderr:")[2] or str(error)
                self.refusals.append(" ".join(said.split()))
                self.status = Status.running  # the queue's word on it is all there will be

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job


def _check_memory(words: str) -> None:
    from dask.utils import parse_bytes

    try:
        parse_bytes(words)
    except ValueError as error:
        raise InputError(
            f"memory {words!r}; expected a number with its unit, such as 8GB."
        ) from error
