"""A cohort on a cluster of real processes, of which any may die."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import load_deadly, read_json, run
from clusters import (
    REQUEST,
    TESTS,
    check_all_there,
    distributed,
    distributed_config,
    find_port,
    load_slow,
    study,
    write_more,
)
from deskull.cohort import Job, is_done, make_plan, strip_cohort
from deskull.cohort import cluster as on_cluster
from deskull.demo import load_demo
from deskull.errors import DeskullError
from studies import read_table, write_scan
from systems import POSIX

__all__ = ["study"]


@pytest.fixture
def start(tmp_path):
    """Start a part of a cluster as a separate process; all are stopped afterwards."""
    started = []

    def start(*args, **environment):
        with open(tmp_path / "cluster.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, args)],
                env=os.environ | {"PYTHONPATH": str(TESTS), **environment},
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def start_scheduler(start):
    port = find_port()
    args = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    scheduler = start("distributed.cli.dask_scheduler", *args)
    return scheduler, f"tcp://127.0.0.1:{port}"


def start_worker(start, address, **environment):
    args = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    return start("distributed.cli.dask_worker", address, *args, **environment)


@pytest.fixture
def patient(monkeypatch):
    """Allow for the slow start of processes on a busy machine."""
    monkeypatch.setattr(on_cluster, "CONNECT_SECONDS", 60)


@POSIX
@pytest.mark.slow
def test_the_scan_of_a_killed_worker_is_stripped_by_another(study, start, patient):
    tasks = write_more(study, 12)
    _, address = start_scheduler(start)
    workers = [start_worker(start, address) for _ in range(3)]
    seen = []

    def kill(progress):
        seen.append(progress)
        if progress.finished == 4:
            workers[0].kill()

    outcomes = strip_cohort(tasks, "out", Job(load=load_slow), cluster=address, observe=kill)
    assert workers[0].wait(10) == -signal.SIGKILL
    assert [outcome.name for outcome in outcomes] == [task.name for task in tasks]
    check_all_there(tasks)
    assert (seen[-1].finished, seen[-1].failed) == (12, 0)
    assert not [path for path in Path("out").rglob(".*")]


@pytest.mark.slow
def test_a_lost_scheduler_stops_the_run_and_a_rerun_continues(study, start, patient):
    tasks = write_more(study, 6)
    scheduler, address = start_scheduler(start)
    start_worker(start, address)

    def kill(progress):
        if progress.finished == 2:
            scheduler.kill()

    job = Job(load=load_slow)
    with pytest.raises(DeskullError, match=f"{address}: the scheduler was lost"):
        strip_cohort(tasks, "out", job, cluster=address, observe=kill)
    done = sum(is_done(task, REQUEST) for task in tasks)
    assert 2 <= done < 6
    _, address = start_scheduler(start)
    start_worker(start, address)
    seen = []
    strip_cohort(tasks, "out", job, cluster=address, observe=seen.append)
    assert seen[0].skipped >= done
    check_all_there(tasks)


@pytest.mark.slow
def test_a_cluster_without_deskull_is_an_error(study, start, patient):
    (study / "without/deskull").mkdir(parents=True)
    (study / "without/deskull/__init__.py").write_text("raise ModuleNotFoundError('no deskull')")
    port = find_port()
    without = {"PYTHONPATH": str(study / "without")}
    args = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    start("distributed.cli.dask_scheduler", *args, **without)
    worker = start_worker(start, address := f"tcp://127.0.0.1:{port}", **without)
    with pytest.raises(DeskullError, match=r"no deskull\). Is deskull .* installed where the wor"):
        strip_cohort(make_plan(["study"], "out"), "out", cluster=address)
    assert worker.poll() is None


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_fails_alone(study, monkeypatch, patient):
    monkeypatch.syspath_prepend(str(TESTS))
    tasks = write_more(study, 6)
    with (
        distributed_config({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        where = cluster.scheduler_address
        outcomes = strip_cohort(tasks, "out", Job(load=load_deadly), cluster=where)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3 + ["failed"] + ["done"] * 2
    assert outcomes[3].error.startswith("every worker that tried it was lost, perhaps because")
    assert read_json(tasks[3].record)["error"] == outcomes[3].error


@pytest.mark.slow
def test_the_real_network_on_a_real_cluster(tmp_path, monkeypatch, patient):
    monkeypatch.chdir(tmp_path)
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    image = nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))
    for number in range(4):
        write_scan(tmp_path / f"study/{number}.nii.gz", image)
    options = {"threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        args = ["study", "--out-dir", "out", "--cluster", cluster.scheduler_address]
        assert run("batch", *args, "-q") == 0
    assert {row["status"] for row in read_table()} == {"done"}
    assert len({path.read_bytes() for path in tmp_path.glob("out/*_mask.nii.gz")}) == 1
