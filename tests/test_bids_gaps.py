"""The BIDS App on data sets with errors: each is reported, and the others are stripped."""

import csv
import shutil
from pathlib import Path

import pytest

from ball import ball, list_files, run
from bids_study import RAW, app, study, write_json
from deskull.cohort.bids import make_bids_plan
from deskull.cohort.bids_ignore import Ignore
from deskull.cohort.bids_images import Choice
from studies import read_table, write_scan

__all__ = ["ball", "study"]


def gaps(choice=None):
    """Reason for each participant or image that should have been stripped."""
    return {g.name: g.reason for g in make_bids_plan("raw", "out", choice).gaps if g.failed}


def read_group():
    with open("out/group_brain.tsv", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def find_groups():
    assert app(level="group") == 0
    return {row["file"]: row for row in read_group()}


def test_missing_and_misnamed_images_are_reported_and_the_others_stripped(study, capsys):
    write_scan(Path("raw/sub-03/func/sub-03_task-rest_bold.nii.gz"))
    write_scan(Path("raw/sub-04/anat/sub-4_T1w.nii.gz"))
    assert app("--participant-label", "01", "sub-03", "04", "99") == 1
    err = capsys.readouterr().err
    assert "deskull: sub-03: failed: no T1w image; there are: bold.\n" in err
    assert "sub-99: failed: no such participant; there are sub-01, sub-02, sub-03, sub-04." in err
    reason = "misnamed: expected a name like sub-04_T1w.nii.gz, in a folder like sub-04/anat."
    assert f"sub-04/anat/sub-4_T1w.nii.gz: failed: {reason}\n" in err
    assert "1 scan done; 3 failed" in err
    assert "3 of 4 scans failed: sub-03, sub-04/anat/sub-4_T1w.nii.gz, sub-99." in err
    (table,) = Path("out/logs").glob("*.tsv")
    assert [row["status"] for row in read_table(table)] == ["done", "left out", *["failed"] * 3]
    rows = find_groups()
    assert {file: row["status"] for file, row in rows.items()} == {
        RAW[0]: "done",
        "sub-02": "missing",
        "sub-03": "failed",
        "sub-04/anat/sub-4_T1w.nii.gz": "failed",
        "sub-99": "failed",
    }
    assert rows["sub-04/anat/sub-4_T1w.nii.gz"]["participant_id"] == "sub-04"
    assert rows["sub-03"]["error"] == "no T1w image; there are: bold."


def test_a_session_that_does_not_exist_leaves_the_group_table_with_a_run_of_all(study):
    assert app("--participant-label", "01", "--session-id", "Z") == 1
    assert list(Path("out/logs/sub-01").glob("*gap*"))
    assert app("--participant-label", "01") == 0
    assert {row["status"] for row in find_groups().values()} == {"done", "missing"}
    assert not list(Path("out/logs/sub-01").glob("*gap*"))


def test_a_gap_that_was_filled_leaves_the_group_table(study):
    odd = Path("raw/sub-03/anat/sub-3_T1w.nii.gz")
    write_scan(odd)
    assert app() == 1
    assert "sub-03/anat/sub-3_T1w.nii.gz" in find_groups()
    odd.rename(odd.with_name("sub-03_T1w.nii.gz"))
    assert app("--suffix", "FLAIR") == 1  # does not concern T1w images
    assert app() == 0
    rows = find_groups()
    assert rows["sub-03/anat/sub-03_T1w.nii.gz"]["status"] == "done"
    assert "sub-03/anat/sub-3_T1w.nii.gz" not in rows
    assert rows["sub-03"]["error"] == "no FLAIR image; there are: T1w."


ODD = ["sub-03/ses-A/anat/brain_T1w.nii.gz", "sub-03/ses-B/anat/brain_T1w.nii.gz"]


def test_shards_keep_the_gaps_of_each_other_and_gaps_of_one_name_apart(study, monkeypatch):
    monkeypatch.setattr("deskull.cohort.strip_cohort", lambda *_, **__: [])
    for name in ODD:
        write_scan(Path("raw", name))
    for shard in ("1/2", "2/2"):
        assert app("--shard", shard) == 0
    rows = find_groups()
    assert {row["status"] for name, row in rows.items() if name in ODD} == {"failed"}
    assert set(ODD) <= rows.keys()
    assert {rows[name]["seconds"] for name in ODD} == {"n/a"}
    Path("raw", ODD[1]).unlink()
    assert app("--shard", "1/2") == 0
    assert ODD[0] in find_groups()
    assert ODD[1] not in find_groups()


def test_the_group_is_not_summed_up_without_the_data_set(study, capsys):
    assert app("--participant-label", "9") == 1
    assert run("bids", "typo", "out", "group") == 1
    assert "typo: no such folder; expected the root of a BIDS data set." in capsys.readouterr().err
    assert not Path("out/group_brain.tsv").exists()


def test_a_missing_participant_is_named_in_the_group_table(study, capsys):
    assert app("--participant-label", "9") == 1
    assert "sub-9: failed: no such participant; there are sub-01" in capsys.readouterr().err
    assert find_groups()["sub-9"]["status"] == "failed"


def test_images_that_would_write_one_file_fail_alone(study, capsys):
    shutil.copy("raw/" + RAW[0], "raw/sub-01/anat/sub-01_T1w.nii")
    before = list_files(study / "raw")
    assert app() == 1
    assert list_files(study / "raw") == before
    err = capsys.readouterr().err
    assert f"{RAW[0]}: failed: sub-01/anat/sub-01_T1w.nii and {RAW[0]} would write one" in err
    assert not Path("out/sub-01").exists()
    assert len(list(Path("out").rglob("*_mask.nii.gz"))) == 3
    assert find_groups()[RAW[0]]["status"] == "failed"


@pytest.mark.parametrize("one_mask", [[], ["--one-mask"]])
def test_a_broken_image_fails_alone(study, one_mask):
    Path("raw", RAW[0]).write_text("broken")
    assert app(*one_mask) == 1
    assert len(list(Path("out").rglob("sub-02*_mask.nii.gz"))) == 3


@pytest.mark.parametrize(
    "name",
    [
        "anat/sub-3_T1w.nii.gz",
        "anat/sub-03_t1w.nii.gz",
        "anat/sub-03-T1w.nii.gz",
        "anat/T1w.nii.gz",
        "anat/sub-03_T1w_run-1.nii.gz",
        "anat/sub-03_run_T1w.nii.gz",
        "anat/sub-03_T1w.mgz",
        "anat/sub-03_ses-A_T1w.nii.gz",
        "sub-03_T1w.nii.gz",
        "old/sub-03_T1w.nii.gz",
        "ses-A/sub-03_ses-A_T1w.nii.gz",
        "ses-A/anat/sub-03_ses-B_T1w.nii.gz",
    ],
)
def test_a_misnamed_image_is_reported_and_not_stripped(study, name):
    write_scan(Path("raw/sub-03", name))
    ((file, reason),) = gaps().items()
    assert file == f"sub-03/{name}"
    session = "_ses-A" if name.startswith("ses-A") else ""
    assert reason.startswith(f"misnamed: expected a name like sub-03{session}_T1w.nii.gz, in a")


def test_a_misnamed_folder_is_reported(study):
    write_scan(Path("raw/sub03/anat/sub-03_T1w.nii.gz"))
    assert gaps() == {"sub03": "misnamed: expected a folder like sub-01."}
    assert gaps(Choice(participants=["01"])) == {}


def test_hidden_files_and_folders_that_bidsignore_lists_do_not_fail(study):
    Path("raw/sub-01/anat/._sub-01_T1w.nii.gz").write_text("of macOS")
    for name in ("subjects_fs", "sub-01_old"):
        write_scan(Path("raw", name, "x.nii.gz"))
    Path("raw/.bidsignore").write_text("subjects_fs\n*_old/\n")
    plan = make_bids_plan("raw", "out")
    assert [task.name for task in plan] == [RAW[0], *RAW[2:5]]
    assert {gap.name: (gap.reason, gap.failed) for gap in plan.gaps if "desc" not in gap.name} == {
        name: ("left out by .bidsignore", False) for name in ("subjects_fs", "sub-01_old")
    }


def test_derivatives_are_left_out_and_named_without_failing(study):
    write_scan(Path("raw/sub-01/anat/sub-01_T1w_mask.nii.gz"))
    assert app() == 0
    left = {row["input"]: row["error"] for row in read_table("out/logs/deskull_batch.tsv")[4:]}
    assert left == {
        "sub-01/anat/sub-01_T1w_mask.nii.gz": "made from a scan, by its name",
        "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz": "made from a scan, by its BIDS name",
    }
    assert "sub-01/anat/sub-01_T1w_mask.nii.gz" not in find_groups()


def test_participants_that_a_filter_file_excludes_are_named_without_failing(study, capsys):
    write_json("filter.json", {"t1w": {"subject": "01"}})
    assert app("--bids-filter-file", "filter.json") == 0
    message = "sub-02 (no T1w image that matches the filter file; there are: FLAIR, T1w.)"
    assert message in capsys.readouterr().err


# --- .bidsignore


@pytest.mark.parametrize(
    ("text", "path", "left_out"),
    [
        ("sub-01/", "sub-01/anat/x.nii", True),
        ("sub-01", "sub-01/anat/x.nii", True),
        ("/sub-01", "sub-01/anat/x.nii", True),
        ("sub-0*", "sub-01/anat/x.nii", True),
        ("sub-0?/", "sub-01/anat/x.nii", True),
        ("sub-0[2-3]/", "sub-01/anat/x.nii", False),
        ("sub-0[!2-3]/", "sub-01/anat/x.nii", True),
        ("*_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", True),
        ("/*_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", False),
        ("sub-01/anat/*", "sub-01/anat/x.nii", True),
        ("anat/x.nii", "sub-01/anat/x.nii", False),
        ("**/anat/x.nii", "sub-01/anat/x.nii", True),
        ("sub-01/**/x.nii", "sub-01/ses-A/anat/x.nii", True),
        ("sub-01/**", "sub-01/ses-A/anat/x.nii", True),
        ("anat/", "sub-01/anat/x.nii", True),
        ("x.nii/", "sub-01/anat/x.nii", False),
        ("*.nii\n!x.nii", "sub-01/anat/x.nii", False),
        ("# sub-01", "sub-01/anat/x.nii", False),
        ("sub[", "sub[/x.nii", True),
        ("", "sub-01/anat/x.nii", False),
    ],
)
def test_bidsignore_follows_the_rules_of_gitignore(tmp_path, text, path, left_out):
    (tmp_path / ".bidsignore").write_text(text)
    assert Ignore(tmp_path).matches(path) is left_out


def test_ignored_images_are_named_without_failing(study, capsys):
    write_scan(Path("raw/sub-03/anat/sub-3_T1w.nii.gz"))
    Path("raw/.bidsignore").write_text("sub-03/\n*_run-02_*\n/sub-02/ses-B\n")
    assert app() == 0
    rows = {row["input"]: (row["status"], row["error"]) for row in read_table(TABLE)}
    assert rows[RAW[0]][0] == "done"
    assert rows[RAW[3]] == rows["sub-03/anat/sub-3_T1w.nii.gz"]
    assert rows[RAW[3]] == ("left out", "left out by .bidsignore")
    assert not Path("out/sub-02/ses-B").exists()


TABLE = "out/logs/deskull_batch.tsv"
