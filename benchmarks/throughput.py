"""How many scans a minute: batches on this machine, warm, with memory and the share of stages.

    python benchmarks/throughput.py [SCAN] [--scans 200] [--workers 1 2] [--threads N]

Scans are one file under many names; without SCAN the bundled head is brought to 256 x 256 x 256
voxels of 1 mm. Prints
Markdown: the rate once the first scans are done, memory of all processes at the 20th scan and
at the last, and where the seconds of a scan go.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from deskull.cohort import Job, Progress, make_plan, strip_cohort
from deskull.network.engine import count_threads
from processes import describe_machine
from speed import make_scan

EARLY = 20
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Batch:
    """One measured run: scans a minute, MB early and at the end, median seconds by stage."""

    rate: float
    cpu: float
    early_mb: float
    late_mb: float
    seconds: dict[str, float]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=count_threads())
    options = parser.parse_args()
    print(f"{describe_machine()}; {options.scans} scans, {options.threads} threads in all\n")
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), options.scan, options.scans)
        for workers in options.workers:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as fresh:
                run = fresh.submit(run_batch, Path(folder), workers, options.threads).result()
            runs[workers] = run
    print_rates(runs)
    print_stages(runs)


def make_study(folder: Path, scan: Path | None, count: int) -> None:
    """Give one head many names."""
    head = scan or make_scan(folder)
    (folder / "study").mkdir()
    for number in range(count):
        (folder / f"study/{number:04d}.nii.gz").symlink_to(head.resolve())


def run_batch(folder: Path, workers: int, threads: int) -> Batch:
    """Strip all of them as `deskull batch` does, and look at the clock after each."""
    out = folder / f"out{workers}"
    tasks = make_plan([folder / "study"], out)
    seen: list[tuple[float, float]] = []

    def observe(progress: Progress) -> None:
        if progress.finished:
            seen.append((time.perf_counter(), count_memory()))

    began = sum(os.times()[:4])
    outcomes = strip_cohort(tasks, out, Job(threads=threads), workers=workers, observe=observe)
    cpu = sum(os.times()[:4]) - began
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise SystemExit(f"{len(failed)} scans failed: {failed[0]}")
    first = min(2 * workers, len(seen) - 1)
    rate = 60 * (len(seen) - first) / (seen[-1][0] - seen[first - 1][0])
    early = seen[min(EARLY, len(seen)) - 1][1]
    return Batch(rate, cpu / len(seen), early, seen[-1][1], find_stages(tasks))


def count_memory() -> float:
    """MB in memory of this process and its children."""
    children = multiprocessing.active_children()
    pids = [os.getpid(), *(child.pid for child in children if child.pid is not None)]
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except FileNotFoundError:
            continue
    return pages * PAGE / 1e6


def find_stages(tasks: list[Any]) -> dict[str, float]:
    """Median seconds of each stage, from the records."""
    records = [json.loads(task.record.read_text("utf-8")) for task in tasks]
    names = [("seconds", name) for name in records[0]["seconds"]]
    names += [("steps", name) for name in records[0]["steps"]]
    label = {"seconds": "{}", "steps": "strip: {}"}
    return {
        label[kind].format(name): median(record[kind][name] for record in records)
        for kind, name in names
    }


def print_rates(runs: dict[int, Batch]) -> None:
    """Print rate and memory."""
    print("| workers | scans a minute | CPU s a scan | MB at the 20th | MB at the last |")
    print("|---|---|---|---|---|")
    for workers, run in runs.items():
        print(
            f"| {workers} | {run.rate:.1f} | {run.cpu:.2f} | {run.early_mb:.0f} "
            f"| {run.late_mb:.0f} |"
        )


def print_stages(runs: dict[int, Batch]) -> None:
    """Print where the time goes; reading and saving overlap with the rest in one worker."""
    print("\n| seconds, median of scans | " + " | ".join(f"{n} workers" for n in runs) + " |")
    print("|---" * (len(runs) + 1) + "|")
    for name in next(iter(runs.values())).seconds:
        cells = " | ".join(f"{run.seconds[name]:.3f}" for run in runs.values())
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
