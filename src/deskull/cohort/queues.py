"""The file that says what jobs to ask SLURM, PBS or SGE for, and the cluster made from it.

Its fields are those of dask-jobqueue, which is imported here and only when it is used.
"""

import shutil
import signal
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deskull.errors import DeskullError, InputError, explain_missing

SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster"}
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


def make_queue(fields: Mapping[str, Any], threads: int = 1) -> Any:
    """Make the dask-jobqueue cluster that a file describes; no job is asked for yet.

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
    make = getattr(jobqueue, SYSTEMS[fields["system"]])
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


def _check_memory(words: str) -> None:
    from dask.utils import parse_bytes

    try:
        parse_bytes(words)
    except ValueError as error:
        raise InputError(
            f"memory {words!r}; expected a number with its unit, such as 8GB."
        ) from error
