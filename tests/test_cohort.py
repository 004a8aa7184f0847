"""A cohort run: what it leaves, what it skips, and that no scan costs another."""

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, load_ball, load_deadly, read_json, run
from deskull.cohort import Job, Progress, is_done, make_plan, strip_cohort
from deskull.cohort import records as cohort_records
from deskull.cohort.lock import LOCK, STALE_SECONDS, lock
from deskull.cohort.records import explain, make_request
from deskull.cohort.sessions import share_masks
from deskull.demo import load_demo
from deskull.errors import ImageFileError, InputError, OutputError
from deskull.image.volume import load_volume
from deskull.image.writing import make_folder, save_image
from deskull.network.weights import bundled_folder, load_weights
from deskull.stripper import Settings

__all__ = ["ball"]

SCANS = ["a/one.nii", "a/two.nii", "b/three.nii"]
STEMS = ["a/one", "a/two", "b/three"]


@pytest.fixture
def study(tmp_path, monkeypatch, ball):
    """Work in a folder with a study of three scans, with the ball for a network."""
    monkeypatch.chdir(tmp_path)
    for name in SCANS:
        write_scan(tmp_path / "study" / name)
    return tmp_path


def write_scan(path, image=HEAD):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)


def batch(*words):
    return run("batch", "study", "--out-dir", "out", *words)


def read_table(path="out/deskull_batch.tsv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def records():
    """When each scan was last stripped."""
    return {
        stem: os.stat(f"out/{stem}_record.json").st_mtime_ns
        for stem in STEMS
        if os.path.exists(f"out/{stem}_record.json")
    }


def changed(before):
    return sorted(stem for stem, when in records().items() if when != before.get(stem))


def load_quitter(weights, device, threads):
    """End the process before it can say a word."""
    os._exit(3)


def load_nothing(weights, device, threads):
    raise InputError("no stripper today.")


# --- outputs, records, table


def test_each_scan_has_its_outputs_and_record_and_row(study, capsys):
    inputs = list_files(study / "study")
    assert batch() == 0
    wanted = [f"{stem}_{name}" for stem in STEMS for name in FILES]
    assert files() == sorted([*wanted, "deskull_batch.tsv"])
    assert list_files(study / "study") == inputs
    rows = read_table()
    assert [row["input"] for row in rows] == SCANS
    assert {(row["status"], row["error"], row["flags"]) for row in rows} == {("done", "", "")}
    assert all(float(row["volume_ml"]) > 800 and float(row["seconds"]) > 0 for row in rows)
    words = "deskull: 3 scans done; table: out/deskull_batch.tsv\n"
    assert capsys.readouterr() == ("", words)


FILES = ["brain.nii.gz", "mask.nii.gz", "record.json"]


def files():
    return sorted(name for name, content in list_files(Path("out")).items() if content is not None)


def test_outputs_are_those_of_strip(study):
    assert (
        batch("--outputs", "brain,mask,probability,distance,picture", "-b", "2", "-f", "-5") == 0
    )
    words = "study/a/one.nii -o o.nii.gz -m m.nii.gz -p p.nii.gz -d d.nii.gz --picture p.png -b 2"
    assert run(*words.split(), "-f", "-5") == 0
    for name, alone in [
        ("brain.nii.gz", "o.nii.gz"),
        ("mask.nii.gz", "m.nii.gz"),
        ("probability.nii.gz", "p.nii.gz"),
        ("distance.nii.gz", "d.nii.gz"),
        ("picture.png", "p.png"),
    ]:
        assert (study / f"out/a/one_{name}").read_bytes() == (study / alone).read_bytes()


def test_a_record_says_what_was_done(study):
    assert batch("--border", "1") == 0
    record = read_json(study / "out/a/one_record.json")
    assert record["status"] == "done"
    assert record["input"]["path"] == "a/one.nii"
    assert record["input"]["bytes"] == (study / "study/a/one.nii").stat().st_size
    assert record["input"]["shape"] == [40, 48, 44]
    assert len(record["input"]["sha256"]) == 64
    assert record["weights"]["sha256"] == record["request"]["weights"] == load_weights().digest
    assert record["request"]["settings"]["border"] == record["settings"]["border"] == 1
    assert set(record["seconds"]) == {"read", "strip", "save"}
    assert record["outputs"]["mask"]["path"] == "one_mask.nii.gz"
    assert {"deskull", "runtime", "volume_ml", "flags", "steps", "finished"} <= set(record)


def test_a_run_again_says_how_many_were_done_before(study, capsys):
    (study / "study/b/three.nii").unlink()
    assert batch() == 0
    write_scan(study / "study/b/three.nii")
    assert batch() == 0
    assert run("batch", "study", "-o", "out") == 0
    said = [line.split("; ")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "deskull: 2 scans done",
        "deskull: 3 scans done, 2 by an earlier run",
        "deskull: 3 scans done, all by an earlier run",
    ]


@pytest.mark.parametrize("inputs", [["study"], ["study/**"], ["study/a", "study/b", "study/out"]])
def test_outputs_among_the_inputs_are_no_inputs_of_the_next_run(study, inputs):
    words = [*inputs, "-o", "study/out", "--outputs", "brain,mask,probability,distance,picture"]
    first = inputs if len(inputs) == 1 else inputs[:2]
    assert run("batch", *first, *words[len(inputs) :]) == 0
    before = list_files(study)
    assert run("batch", *words) == 0
    assert [row["input"] for row in read_table("study/out/deskull_batch.tsv")] == SCANS
    assert list_files(study).keys() == before.keys()


def test_quiet_says_nothing(study, capsys):
    assert batch("-q") == 0
    assert capsys.readouterr() == ("", "")


# --- skipped or not


@pytest.mark.parametrize(
    ("spoil", "words", "again"),
    [
        (lambda: None, [], []),
        (lambda: os.utime("study/a/one.nii"), [], []),
        (lambda: os.utime("out/a/one_mask.nii.gz"), [], []),
        (lambda: None, ["-t", "1", "--workers", "1"], []),
        (lambda: write_changed("study/a/one.nii"), [], ["a/one"]),
        (lambda: os.unlink("out/a/two_mask.nii.gz"), [], ["a/two"]),
        (lambda: cut("out/a/two_brain.nii.gz"), [], ["a/two"]),
        (lambda: cut("out/b/three_record.json"), [], ["b/three"]),
        (lambda: write_text("out/b/three_record.json", "[]"), [], ["b/three"]),
        (lambda: write_outputs({"brain": {}, "mask": {}}), [], ["b/three"]),
        (lambda: write_outputs({"brain": 1, "mask": None}), [], ["b/three"]),
        (lambda: write_outputs(["brain", "mask"]), [], ["b/three"]),
        (lambda: None, ["--border", "1"], STEMS),
        (lambda: None, ["--fill", "nan"], STEMS),
        (lambda: None, ["--n4"], STEMS),
        (lambda: None, ["--outputs", "mask"], []),
        (lambda: None, ["--outputs", "mask,distance"], STEMS),
        (lambda: None, ["--force"], STEMS),
    ],
)
def test_only_what_changed_is_stripped_again(study, spoil, words, again):
    assert batch() == 0
    spoil()
    before = records()
    assert batch(*words) == 0
    assert changed(before) == again
    assert [row["status"] for row in read_table()] == ["done"] * 3


def write_changed(path):
    save_image(nib.Nifti1Image(np.asarray(HEAD.dataobj) + 1, HEAD.affine), path)


def write_outputs(outputs):
    path = Path("out/b/three_record.json")
    path.write_text(json.dumps(read_json(path) | {"outputs": outputs}), "utf-8")


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def write_text(path, text):
    with open(path, "w") as file:
        file.write(text)


def test_other_weights_strip_again(study):
    assert batch() == 0
    (study / "w").mkdir()
    for file in (bundled_folder() / "default").iterdir():
        (study / "w" / file.name).write_bytes(file.read_bytes())
    before = records()
    assert batch("--weights", "w") == 0
    assert changed(before) == []
    card = read_json(study / "w/card.json")
    (study / "w/extra").write_text("of other weights")
    card["files"]["extra"] = hashlib.sha256(b"of other weights").hexdigest()
    (study / "w/card.json").write_text(json.dumps(card))
    assert batch("--weights", "w") == 0
    assert changed(before) == STEMS


def test_inputs_and_outputs_can_move_together_with_their_records(study):
    assert batch() == 0
    before = records()
    (study / "moved").mkdir()
    (study / "study").rename(study / "moved/study")
    (study / "out").rename(study / "moved/out")
    os.chdir(study / "moved")
    assert batch() == 0
    assert changed(before) == []


def test_a_run_again_strips_what_is_new(study):
    assert batch() == 0
    before = records()
    write_scan(study / "study/c/four.nii")
    assert batch() == 0
    assert changed(before) == []
    assert (study / "out/c/four_mask.nii.gz").exists()


# --- what fails


def test_a_broken_scan_is_recorded_and_the_others_are_stripped(study, capsys):
    (study / "study/a/two.nii").write_text("no image at all")
    assert batch() == 1
    assert [row["status"] for row in read_table()] == ["done", "failed", "done"]
    assert read_table()[1]["error"].startswith("two.nii: not an image, it starts with b'no")
    record = read_json(study / "out/a/two_record.json")
    assert (record["status"], record["outputs"]) == ("failed", {})
    assert record["error"] == read_table()[1]["error"]
    assert record["input"]["bytes"] == 15
    assert not (study / "out/a/two_mask.nii.gz").exists()
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("deskull: a/two.nii: failed: two.nii: not an image")
    assert err[1:] == [
        "deskull: error: 1 of 3 scans failed: a/two.nii. Why is in out/deskull_batch.tsv; run "
        "the same again to try them again."
    ]


def test_failed_scans_are_tried_again_and_done_ones_not(study):
    (study / "study/a/two.nii").write_text("no image at all")
    assert batch() == 1
    before = records()
    assert batch() == 1
    assert changed(before) == ["a/two"]
    write_scan(study / "study/a/two.nii")
    before = records()
    assert batch() == 0
    assert changed(before) == ["a/two"]


@pytest.mark.parametrize("workers", [1, 2])
def test_links_without_content_and_missing_files_are_recorded(study, workers):
    (study / "study/gone.nii.gz").symlink_to(".git/annex/objects/x")
    (study / "study/list.txt").write_text("gone.nii.gz\nmissing.nii.gz\n")
    tasks = make_plan(["study/list.txt"], "out")
    gone, missing = strip_cohort(tasks, "out", Job(load=load_ball), workers=workers)
    assert "a link whose content is not here: .git/annex/objects/x" in gone.error
    assert "git annex get" in gone.error
    assert "missing.nii.gz: no such file." in missing.error


def test_what_no_one_thought_of_is_recorded_too(study):
    def load(*_):
        return lambda volume, settings: 1 / 0

    (outcome, *_) = strip_cohort(make_plan(["study"], "out"), "out", Job(load=load))
    assert outcome.error.startswith("a fault of deskull's own (ZeroDivisionError: ")


def test_too_little_memory_is_said_so():
    assert explain(MemoryError()).startswith("not enough memory.")


def test_many_failures_are_counted(study, capsys):
    for number in range(7):
        (study / f"study/x{number}.nii").write_text("no")
    assert batch("-q") == 1
    err = capsys.readouterr().err
    assert "7 of 10 scans failed: x0.nii, x1.nii, x2.nii, x3.nii, x4.nii and 2 more." in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope", "--out-dir", "out"], "nope: no such file or folder."),
        (["study", "--out-dir", "study/a/one.nii"], "one.nii: cannot be made (File exists)."),
        (["study", "--out-dir", "out", "--weights", "nope"], "nope: no such weights"),
    ],
)
def test_what_would_fail_on_every_scan_fails_before_the_first(study, capsys, words, message):
    before = list_files(study)
    assert run("batch", *words) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--device tpu", "device 'tpu'; expected auto"),
        ("--workers 0", "workers 0; expected 1 to 1024."),
        ("-t 0", "threads 0; expected 1 to 1024."),
        ("--threshold 2", "threshold 2.0; expected a prob"),
        ("--cluster tcp://127.0.0.1:1 --workers 2", "workers 2 and a cluster; its workers are"),
        ("--cluster tcp://127.0.0.1:1 --mem-gb 2", "mem-gb and a cluster"),
    ],
)
def test_an_option_out_of_range_is_wrong_use(study, capsys, words, message):
    before = list_files(study)
    assert batch(*words.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study) == before


@pytest.mark.parametrize(
    "words",
    [
        "",
        "study",
        "--out-dir out",
        "study --out-dir out --outputs brains",
        "study --out-dir out --shard 0/3",
        "study --out-dir out --shard 4/3",
        "study --out-dir out --shard x",
        "study --out-dir out --frame x",
        "study --out-dir out --frame -1",
        "study --out-dir out --nope",
    ],
)
def test_wrong_use_leaves_with_2(study, words):
    assert run("batch", *words.split()) == 2
    assert not (study / "out").exists()


def test_inputs_may_stand_on_both_sides_of_an_option(study):
    assert run("batch", "study/a", "--out-dir", "out", "study/b") == 0
    assert [row["input"] for row in read_table()] == SCANS


def test_a_record_that_cannot_be_written_stops_the_run(study, capsys):
    (study / "out/a/one_record.json").mkdir(parents=True)
    assert batch() == 1
    assert "one_record.json" in capsys.readouterr().err


def test_an_output_that_is_a_link_is_replaced_and_not_written_through(study):
    precious = study / "precious.nii.gz"
    precious.write_text("precious")
    (study / "out/a").mkdir(parents=True)
    (study / "out/a/one_mask.nii.gz").symlink_to(precious)
    assert batch() == 0
    assert precious.read_text() == "precious"
    assert not (study / "out/a/one_mask.nii.gz").is_symlink()


# --- shards


def test_the_union_of_shards_is_one_run(study):
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
    request = make_request(Settings(), 0.0, load_weights().digest)
    assert [is_done(task, request) for task in tasks] == [True, False, True, True, True]
    assert (seen[-1].finished, seen[-1].failed) == (5, 1)
    strip_cohort(tasks, "out", Job(load=load_ball), workers=2)
    assert all(is_done(task, request) for task in tasks)


def test_workers_that_die_at_once_end_the_run_with_a_word(study):
    tasks = make_plan(["study"], "out")
    outcomes = strip_cohort(tasks, "out", Job(load=load_quitter), workers=2)
    assert {outcome.error for outcome in outcomes} == {
        "its process ended without a word (exit code 3). Please report it."
    }


def test_what_stops_a_worker_stops_the_run(study):
    with pytest.raises(InputError, match=r"no stripper today\."):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load_nothing), workers=2)


def test_threads_are_shared_among_workers(study):
    tasks = make_plan(["study"], "out")
    strip_cohort(tasks, "out", Job(threads=5, load=load_ball), workers=2)
    assert read_json(tasks[0].record)["threads"] == 2


# --- progress, lock, leftovers


def test_progress_says_count_rate_time_left_and_failures():
    assert str(Progress(10, 2)) == "2/10 scans, 0 failed"
    words = "5/10 scans, 2.0 a minute, 2 min left, 1 failed"
    assert str(Progress(10, 2, 3, 1, 90.0)) == words
    assert "9 h 0 min left" in str(Progress(1081, 0, 1, 0, 30.0))
    assert "< 1 min left" in str(Progress(2, 0, 1, 0, 1.0))


def test_the_lock_names_another_run_that_is_alive_and_forgets_a_dead_one(tmp_path, monkeypatch):
    with lock(tmp_path) as other:
        assert other == ""
        mine = os.getpid()
        monkeypatch.setattr(cohort_records.os, "getpid", lambda: 1_000_000_000)
        with lock(tmp_path) as other:
            assert other == f"process {mine}"
        monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / LOCK).write_text(json.dumps({"pid": dead.pid, "machine": os.uname().nodename}))
    with lock(tmp_path) as other:
        assert other == ""
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "machine": "elsewhere"}))
    with lock(tmp_path) as other:
        assert other == "process 1 on elsewhere"


def test_another_run_on_the_same_outputs_is_told_and_does_no_harm(study, capsys):
    (study / "out").mkdir()
    words = json.dumps({"pid": os.getppid(), "machine": os.uname().nodename})
    (study / "out" / LOCK).write_text(words)
    assert batch() == 0
    err = capsys.readouterr().err
    assert f"out: another run (process {os.getppid()}) works there" in err


def test_two_runs_at_once_do_no_harm(study):
    tasks = make_plan(["study"], "out")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(strip_cohort, tasks, "out", force=True) for _ in range(2)]
    assert [[one.status for one in run.result()] for run in runs] == [["done"] * 3] * 2
    request = make_request(Settings(), 0.0, load_weights().digest)
    assert all(is_done(task, request) for task in tasks)
    assert not list(study.glob("out/**/.deskull-*"))


def test_a_missing_file_has_no_fingerprint(tmp_path):
    with pytest.raises(ImageFileError, match=r"x.nii: cannot be read \(No such file"):
        cohort_records.make_fingerprint(tmp_path / "x.nii")


def test_a_pair_and_a_folder_are_known_by_all_their_files(tmp_path):
    for name in ("x.hdr", "x.img", "series/1", "series/2"):
        write_file(tmp_path / name, name)
    for name, last in (("x.hdr", "x.img"), ("series", "series/2")):
        before = cohort_records.make_fingerprint(tmp_path / name)
        assert cohort_records.is_unchanged(tmp_path / name, before)
        write_file(tmp_path / last, last.upper())
        assert not cohort_records.is_unchanged(tmp_path / name, before)


def write_file(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_leftovers_of_killed_runs_are_swept_when_old(study):
    (study / "out/a").mkdir(parents=True)
    old, new = (study / f"out/a/.deskull-{letter * 16}.part" for letter in "01")
    old.touch()
    new.touch()
    then = time.time() - STALE_SECONDS - 60
    os.utime(old, (then, then))
    assert batch() == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be made \("):
        make_folder(tmp_path / "file/folder")


# --- 4D scans, one mask for several


def test_a_frame_of_4d_scans_is_chosen_or_an_error_says_how(study, capsys):
    data = np.asarray(HEAD.dataobj)
    series = nib.Nifti1Image(np.stack([data, 2 * data], axis=-1), HEAD.affine)
    write_scan(study / "study/series.nii.gz", series)
    assert batch() == 1
    assert "expected 3. Choose one with --frame N (0 to 1)." in capsys.readouterr().err
    assert run("batch", "study/series.nii.gz", "--out-dir", "out", "--frame", "1") == 0
    brain = nib.load("out/series_brain.nii.gz").get_fdata()
    assert brain.shape == HEAD.shape
    inside = brain != 0
    np.testing.assert_allclose(brain[inside], 2 * data[inside], rtol=1e-6)
    assert read_json(study / "out/series_record.json")["request"]["settings"]["frame"] == 1


def test_one_mask_is_for_scans_that_differ_in_nothing_but_contrast(study):
    for name in ("p1_T1", "p1_FLAIR", "p2_FLAIR", "p3-T2", "p3-FLAIR", "other"):
        write_scan(study / f"heads/{name}.nii.gz")
    tasks = share_masks(make_plan(["heads"], "out", ["mask", "distance"]))
    found = {task.scan.name: [other.scan.name for other in task.others] for task in tasks}
    assert found == {
        "other.nii.gz": [],
        "p1_T1.nii.gz": ["p1_FLAIR.nii.gz"],
        "p2_FLAIR.nii.gz": [],
        "p3-FLAIR.nii.gz": ["p3-T2.nii.gz"],
    }
    assert run("batch", "heads", "--out-dir", "out", "--one-mask") == 0
    assert [row["status"] for row in read_table()] == ["done"] * 6
    one, other = (load_volume(f"out/p1_{name}_mask.nii.gz").data for name in ("T1", "FLAIR"))
    np.testing.assert_array_equal(one, other)
    given, own = (read_json(study / f"out/p1_{name}_record.json") for name in ("FLAIR", "T1"))
    assert given["mask_of"] == "p1_T1.nii.gz"
    assert given["input"]["voxel_size"] == own["input"]["voxel_size"] == [4, 4, 4]


# --- killed


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_time_a_rerun_completes_and_no_file_is_half(tmp_path, workers):
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::4, ::4, ::4]).astype(np.int16)
    image = nib.Nifti1Image(data, head.grid.affine @ np.diag([4, 4, 4, 1]))
    for number in range(12):
        write_scan(tmp_path / f"study/{number:02d}.nii.gz", image)
    words = [sys.executable, "-m", "deskull", "batch", "study", "--out-dir", "out", "-t", "1"]
    words += ["--workers", str(workers)]
    rng = random.Random(workers)
    for number in range(10):  # every other time all is to be done anew
        border = ["-b", str(number // 2)]
        with subprocess.Popen([*words, *border], cwd=tmp_path, stderr=subprocess.PIPE) as process:
            time.sleep(rng.uniform(0.2, 2.5))
            process.kill()
            process.wait()
        check_whole(tmp_path / "out")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=120)
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
def test_an_interrupted_run_ends_with_one_line_and_leaves_nothing_half(tmp_path, name, workers):
    head = load_demo()[0]
    for number in range(40):
        write_scan(tmp_path / f"study/{number:02d}.nii", head.source)
    words = [sys.executable, "-m", "deskull", "batch", "study", "--out-dir", "out", "-t", "1"]
    words += ["--workers", str(workers)]
    with subprocess.Popen(
        words, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
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
