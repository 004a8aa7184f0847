"""Running commands as whole processes and measuring them as the operating system saw them."""

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Command:
    """A tool to run: its name, and its command line with {in}, {out} and {mask} to fill in."""

    name: str
    template: str

    def fill(self, scan: Path, out: Path, mask: Path) -> list[str]:
        """Fill in the command line for one scan."""
        paths = {"in": str(scan), "out": str(out), "mask": str(mask)}
        return [part.format(**paths) for part in shlex.split(self.template)]


DESKULL = Command(
    "deskull", f"{shlex.quote(sys.executable)} -m deskull {{in}} -o {{out}} -m {{mask}}"
)


@dataclass(frozen=True)
class Run:
    """One finished process: seconds on the clock and of the cores, peak memory, exit code."""

    wall: float
    cpu: float
    peak_mb: float
    code: int


def parse_peer(text: str) -> Command:
    """``'NAME: CMD {in} {mask}'`` as given on the command line."""
    name, colon, template = text.partition(":")
    if not colon or "{in}" not in template:
        raise SystemExit(f"--peer {text!r}: expected 'NAME: CMD {{in}} {{mask}}'")
    return Command(name.strip(), template.strip())


LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
with open(sys.argv[1], "w") as file:
    json.dump([*seconds, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)], file)
"""
"""A small process that starts the command. The peak that the system reports begins with the memory
of the process that started it, and a benchmark holds scans."""


def measure(command: list[str], log: Path) -> Run:
    """Run one process to its end; what it prints goes to `log`."""
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as file:
        report = Path(folder) / "run.json"
        launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(report), *command]
        subprocess.run(launch, stdout=file, stderr=file, check=True)
        return Run(*json.loads(report.read_text()))


def summarise(runs: list[Run]) -> Run:
    """Medians, the largest peak, and the worst exit code."""
    return Run(
        median(run.wall for run in runs),
        median(run.cpu for run in runs),
        max(run.peak_mb for run in runs),
        max((run.code for run in runs), key=abs),
    )


def describe_machine() -> str:
    """Processor, cores granted, system."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    amx = any("amx_bf16" in line for line in lines)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{found[0] if found else model}, {cores} cores, {'with' if amx else 'no'} AMX, "
        f"{platform.system()}, Python {platform.python_version()}"
    )
