"""A cohort run in shards, in several processes, beside another run, and killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest

from ball import ball, list_files, load_ball, load_deadly, read_json
from deskull.cohort import Job, is_done, make_plan, strip_cohort
from deskull.cohort.records import MARKER, STALE_SECONDS, make_request, mark_run
from deskull.demo import load_demo
from deskull.errors import InputError
from deskull.image.volume import load_volume
from deskull.network.weights import load_weights
from deskull.stripper import Settings
from studies import SCANS, batch, changed, read_table, records, study, write_scan

__all__ = ["ball", "study"]


def load_quitter(weights, device, threads):
    """Exit before a message is sent."""
    os._exit(3)


def load_nothing(weights, device, threads):
    raise InputError("no stripper today.")


# --- shards


def test_shards_together_give_the_outputs_of_one_run(study):
    for number in (1, 2):
        assert batch("--shard", f"{number}/2") == 0
    shards = [read_table(f"out/deskull_batch_{number}-of-2.tsv") for number in (1, 2)]
    assert [[row["input"] for row in shard] for shard in shards] == [SCANS[::2], SCANS[1::2]]
    before = records()
    assert batch() == 0
    assert changed(before) == []
    assert [row["input"] for row in read_table()] == SCANS


# --- several processes


def test_two_workers_give_the_same_bytes_as_one(study):
    tasks = make_plan(["study"], "one"), make_plan(["study"], "two")
    for number, name in enumerate(["one", "two"]):
        job = Job(load=load_ball)
        outcomes = strip_cohort(tasks[number], name, job, workers=number + 1)
        assert [outcome.status for outcome in outcomes] == ["done"] * 3
    one, two = (list_files(study / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        assert one[name] == two[name] or name.endswith((".json", ".tsv"))


def test_a_worker_that_is_killed_costs_only_its_scan(study):
    for name in ("c/four.nii", "c/five.nii"):
        write_scan(study / "study" / name)
    tasks = make_plan(["study"], "out")
    seen = []
    outcomes = strip_cohort(
        tasks, "out", Job(load=load_deadly), workers=2, observe=lambda now: seen.append(now)
    )
    assert [outcome.name for outcome in outcomes if outcome.error] == ["a/two.nii"]
    assert outcomes[1].error.startswith("its process was killed, perhaps because memory ran out")
    assert read_json(tasks[1].record)["status"] == "failed"
    request = make_request(Settings(), load_weights().digest)
    assert [is_done(task, request) for task in tasks] == [True, False, True, True, True]
    assert (seen[-1].finished, seen[-1].failed) == (5, 1)
    strip_cohort(tasks, "out", Job(load=load_ball), workers=2)
    assert all(is_done(task, request) for task in tasks)


def test_workers_that_die_at_the_start_fail_their_scans_with_an_explanation(study):
    tasks = make_plan(["study"], "out")
    outcomes = strip_cohort(tasks, "out", Job(load=load_quitter), workers=2)
    assert {outcome.error for outcome in outcomes} == {
        "its process ended without a message (exit code 3). Please report it."
    }


def test_an_error_while_a_worker_starts_stops_the_run(study):
    with pytest.raises(InputError, match=r"no stripper today\."):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load_nothing), workers=2)


def test_threads_are_shared_among_workers(study):
    tasks = make_plan(["study"], "out")
    strip_cohort(tasks, "out", Job(threads=5, load=load_ball), workers=2)
    assert read_json(tasks[0].record)["threads"] == 2


# --- marker, stale files


def test_the_marker_names_another_run_that_is_alive_but_not_a_dead_one(tmp_path, monkeypatch):
    with mark_run(tmp_path / MARKER) as other:
        assert other == ""
        mine = os.getpid()
        monkeypatch.setattr("os.getpid", lambda: 1_000_000_000)
        with mark_run(tmp_path / MARKER) as other:
            assert other == f"process {mine}"
        monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / MARKER).write_text(json.dumps({"pid": dead.pid, "machine": os.uname().nodename}))
    with mark_run(tmp_path / MARKER) as other:
        assert other == ""
    (tmp_path / MARKER).write_text(json.dumps({"pid": 1, "machine": "elsewhere"}))
    with mark_run(tmp_path / MARKER) as other:
        assert other == "process 1 on elsewhere"


def test_another_run_in_the_same_folder_is_warned_of(study, capsys):
    (study / "out").mkdir()
    content = json.dumps({"pid": os.getppid(), "machine": os.uname().nodename})
    (study / "out" / MARKER).write_text(content)
    assert batch() == 0
    err = capsys.readouterr().err
    assert f"out: another run (process {os.getppid()}) works there" in err


def test_two_runs_at_once_leave_complete_outputs(study):
    tasks = make_plan(["study"], "out")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(strip_cohort, tasks, "out", force=True) for _ in range(2)]
    assert [[one.status for one in run.result()] for run in runs] == [["done"] * 3] * 2
    request = make_request(Settings(), load_weights().digest)
    assert all(is_done(task, request) for task in tasks)
    assert not list(study.glob("out/**/.deskull-*"))


def test_stale_temporary_files_of_killed_runs_are_removed(study):
    (study / "out/a").mkdir(parents=True)
    old, new = (study / f"out/a/.deskull-{letter * 16}.part" for letter in "01")
    old.touch()
    new.touch()
    then = time.time() - STALE_SECONDS - 60
    os.utime(old, (then, then))
    assert batch() == 0
    assert (old.exists(), new.exists()) == (False, True)


# --- killed


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_kill_no_file_is_incomplete_and_a_rerun_finishes(tmp_path, workers):
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::4, ::4, ::4]).astype(np.int16)
    image = nib.Nifti1Image(data, head.grid.affine @ np.diag([4, 4, 4, 1]))
    for number in range(12):
        write_scan(tmp_path / f"study/{number:02d}.nii.gz", image)
    command = [sys.executable, "-m", "deskull", "batch", "study", "--out-dir", "out", "-t", "1"]
    command += ["--workers", str(workers)]
    rng = random.Random(workers)
    for number in range(10):  # every other time all scans are stripped again
        border = ["-b", str(number // 2)]
        with subprocess.Popen(
            [*command, *border], cwd=tmp_path, stderr=subprocess.PIPE
        ) as process:
            time.sleep(rng.uniform(0.2, 2.5))
            process.kill()
            process.wait()
        check_whole(tmp_path / "out")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(read_table(tmp_path / "out/deskull_batch.tsv")) == 12
    check_whole(tmp_path / "out")
    masks = {path.read_bytes() for path in (tmp_path / "out").glob("*_mask.nii.gz")}
    assert len(list((tmp_path / "out").glob("*_mask.nii.gz"))) == 12
    assert len(masks) == 1


def check_whole(folder):
    for path in folder.glob("[!.]*"):
        if path.suffix == ".json":
            record = read_json(path)
            assert record["status"] == "done"
            assert all((folder / one["path"]).exists() for one in record["outputs"].values())
        elif path.name.endswith(".nii.gz"):
            load_volume(path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_prints_one_line_and_leaves_no_incomplete_file(tmp_path, name, workers):
    head = load_demo()[0]
    for number in range(40):
        write_scan(tmp_path / f"study/{number:02d}.nii", head.source)
    command = [sys.executable, "-m", "deskull", "batch", "study", "--out-dir", "out", "-t", "1"]
    command += ["--workers", str(workers)]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        if name == "SIGINT":  # a terminal sends it to all
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        err = process.stderr.read()
    assert process.returncode == 130
    assert err == b"deskull: interrupted; no half file was left\n"
    assert not list(tmp_path.glob("out/.*"))
    assert len(list(tmp_path.glob("out/*.json"))) < 40
    check_whole(tmp_path / "out")
