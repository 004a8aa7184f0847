"""What an earlier run left: outputs of another scan, links to other places, files left over."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ball import ball, list_files, read_json, run
from deskull.cohort import Job, make_plan
from deskull.cohort.earlier import find_kept, load_earlier, settle_leftovers
from deskull.cohort.records import MARKER, is_done, make_record, make_request
from deskull.cohort.steps import read_scan
from deskull.cohort.stripped import find_stripped
from deskull.image.fingerprint import make_fingerprint
from deskull.record import InputScan, Record, load_record, save_records
from deskull.settings import Settings
from dicom_files import write_series
from studies import study
from test_cohort import write_changed

__all__ = ["ball", "study"]
REQUEST = make_request(Settings(), 64 * "0")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with two scans of one name."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path("study", name).mkdir(parents=True)
        Path("study", name, "T1.nii.gz").write_text(name)
    return tmp_path


def plan(name, out="out", outputs=("brain", "mask")):
    (task,) = make_plan([f"study/{name}/T1.nii.gz"], out, outputs)
    return task


def finish(task, request=REQUEST):
    """Write what a run leaves of a task, without a network."""
    for path in task.files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(task.scan.read_text())
    stripped = Record(input=InputScan(), deskull="0")
    fingerprint = make_fingerprint(task.scan)
    record = make_record(task, request, fingerprint, stripped, {}, None)
    save_records([record], task.record)
    return task


# --- outputs of another scan


def test_outputs_of_another_scan_are_kept(folder):
    finish(plan("a"))
    (outcome,) = find_kept([plan("b")]).values()
    assert outcome.status == "failed"
    assert outcome.error == (
        f"T1_record.json: the outputs there are of another scan, {folder / 'study/a/T1.nii.gz'}, "
        "and kept. Choose another folder for the outputs; to replace them, add --force."
    )


def change(path):
    Path(path).write_text("changed")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("b", lambda: os.unlink("study/a/T1.nii.gz")),
        ("b", lambda: Path("study/b/T1.nii.gz").write_text("a")),
        ("a", lambda: change("study/a/T1.nii.gz")),
        ("link", lambda: change("study/a/T1.nii.gz")),
    ],
    ids=["gone", "copy", "changed", "linked"],
)
def test_outputs_of_the_same_scan_or_of_one_that_is_gone_are_replaced(folder, name, spoil):
    finish(plan("a"))
    Path("study/link").symlink_to("a")
    spoil()
    assert find_kept([plan(name)]) == {}


def test_a_batch_replaces_neither_outputs_of_another_scan_nor_leaves_old_ones_unsaid(
    study, capsys
):
    write_changed("study/b/one.nii")
    assert run("batch", "study/a/one.nii", "-o", "out") == 0
    args = ["--outputs", "mask", "-b", "2"]
    assert run("batch", "study/a/one.nii", "-o", "out", *args) == 0
    place = study / "out/one_brain.nii.gz"
    assert (
        f"files of an earlier run are left (1), such as {place}: they" in capsys.readouterr().err
    )
    before = list_files(study / "out")
    assert run("batch", "study/b/one.nii", "-o", "out", *args, "-b", "3") == 1
    assert "the outputs there are of another scan" in capsys.readouterr().err
    now = list_files(study / "out")
    assert {name for name in now if now[name] != before[name]} == {"deskull_batch.tsv"}
    assert run("batch", "study/b/one.nii", "-o", "out", *args, "-b", "3", "--force") == 0
    assert read_json(Path("out/one_record.json"))["input"]["file"] == "../study/b/one.nii"


# --- files left over


def test_files_of_other_settings_are_named(folder, caplog):
    finish(plan("a"))
    earlier = load_earlier([plan("a")])
    only_mask = finish(plan("a", outputs=["mask"]), make_request(Settings(border=2), 64 * "0"))
    with caplog.at_level(logging.WARNING):
        settle_leftovers(earlier, [only_mask], Path("out"))
    assert f"left (1), such as {folder / 'out/T1_brain.nii.gz'}: they do not" in caplog.text
    caplog.clear()
    settle_leftovers(load_earlier([only_mask]), [finish(plan("a"))], Path("out"))
    assert caplog.text == ""


def test_files_of_the_same_settings_stay_in_the_record(folder, caplog):
    finish(plan("a"))
    earlier = load_earlier([plan("a")])
    only_mask = finish(plan("a", outputs=["mask"]))
    settle_leftovers(earlier, [only_mask], Path("out"))
    assert caplog.text == ""
    assert set(load_record(only_mask.record).outputs) == {"brain", "mask"}
    earlier = load_earlier([only_mask])
    change("out/T1_brain.nii.gz")
    settle_leftovers(earlier, [finish(plan("a", outputs=["mask"]))], Path("out"))
    assert "files of an earlier run are left (1)" in caplog.text
    assert set(load_record(only_mask.record).outputs) == {"mask"}


def test_a_file_without_a_record_is_kept(folder):
    Path("out").mkdir()
    change("out/T1_mask.nii.gz")
    (outcome,) = find_kept([plan("a")]).values()
    assert outcome.error.startswith(
        "T1_mask.nii.gz: no record says that deskull made it, and kept"
    )


def test_a_batch_keeps_a_file_without_a_record_unless_an_earlier_run_was_killed(study, capsys):
    mask = Path("out/one_mask.nii.gz")
    mask.parent.mkdir()
    mask.write_text("mine")
    assert run("batch", "study/a/one.nii", "-o", "out") == 1
    assert "no record says that deskull made it, and kept" in capsys.readouterr().err
    assert mask.read_text() == "mine"
    (mask.parent / MARKER).write_text("{}")
    assert run("batch", "study/a/one.nii", "-o", "out") == 0
    assert mask.read_bytes() != b"mine"


# --- a folder of outputs behind a link


@pytest.fixture
def linked(folder):
    """Put the outputs on another disk, at another depth."""
    (folder / "scratch/deep/er").mkdir(parents=True)
    (folder / "study/derivatives").symlink_to(folder / "scratch/deep/er")
    return finish(plan("a", "study/derivatives/brains"))


def test_the_scan_of_outputs_behind_a_link_is_found(folder, linked):
    assert read_json(linked.record)["input"]["file"] == "../../../../study/a/T1.nii.gz"
    for place in ("study/derivatives", "scratch"):
        (scan,) = find_stripped(place)
        assert scan.find_scan() == folder / "study/a/T1.nii.gz"
    assert is_done(linked, REQUEST)


def test_the_scan_is_found_by_a_record_of_an_earlier_version(folder, linked):
    record = load_record(linked.record)
    file = os.path.relpath(linked.scan, linked.record.parent)
    save_records([replace(record, input=replace(record.input, file=file))], linked.record)
    (scan,) = find_stripped("study/derivatives")
    assert scan.find_scan() == folder / "study/a/T1.nii.gz"


# --- what a batch has no option for


def test_a_folder_of_several_series_names_the_command_that_chooses_one(folder):
    write_series(folder / "dicom/T1")
    write_series(folder / "dicom/T1", series=7, description="t2")
    (task,) = make_plan(["dicom/T1"], "out")
    error = read_scan(task, Job()).error
    assert "2 DICOM series; expected one." in error
    assert f"strip this one with `deskull {folder / 'dicom/T1'} --series N`" in error
