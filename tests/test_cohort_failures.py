"""A cohort run: what fails, with which messages, and that no scan fails because of another."""

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, load_ball, read_json, run
from deskull.cohort import Job, make_plan, strip_cohort
from deskull.cohort.records import explain_error
from deskull.errors import OutputError
from deskull.image.writing import make_folder
from studies import SCANS, batch, changed, read_messages, read_table, records, study, write_scan

__all__ = ["ball", "study"]


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
    err = read_messages(capsys)
    assert err[0].startswith("deskull: a/two.nii: failed: two.nii: not an image")
    assert err[1:] == [
        "deskull: 2 scans done; 1 failed, 0 flagged; lowest score 96: a/one.nii",
        "deskull: table: out/deskull_batch.tsv",
        "deskull: next: deskull review out",
        "deskull: error: 1 of 3 scans failed: a/two.nii. See out/deskull_batch.tsv for the "
        "reasons; run "
        "the same command to try them again.",
    ]


def test_a_rerun_retries_failed_scans_and_skips_finished_ones(study):
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
    assert "its content is missing, there is only a git-annex link. Get it with" in gone.error
    assert "git annex get" in gone.error
    assert "missing.nii.gz: no such file." in missing.error


def test_an_unexpected_exception_is_recorded(study):
    def load(*_):
        return lambda volume, settings: 1 / 0

    (outcome, *_) = strip_cohort(make_plan(["study"], "out"), "out", Job(load=load))
    assert outcome.error.startswith("an internal error of deskull (ZeroDivisionError: ")


def test_the_record_explains_a_memory_error():
    assert explain_error(MemoryError()).startswith("not enough memory.")


def test_the_summary_counts_flagged_scans_and_names_the_flags_of_the_lowest_score(study, capsys):
    data = np.asarray(HEAD.dataobj).copy()
    data[0, 0, 0] = np.nan
    write_scan(study / "study/a/two.nii", nib.Nifti1Image(data, HEAD.affine))
    for name in ("one_mask", "one_brain", "one_seg", "one_prob", "one_bet", "one_label"):
        write_scan(study / f"study/a/{name}.nii.gz")
    for name in ("x.json", "y.tsv"):
        (study / "study" / name).touch()
    assert batch("-o", "the out") == 0
    lines = read_messages(capsys)
    assert lines[0] == (
        "deskull: 3 scans done; 0 failed, 1 flagged; lowest score 91: a/two.nii (not-finite)"
    )
    assert lines[1:] == [
        "deskull: left out: 6 images (a/one_bet.nii.gz, a/one_brain.nii.gz, a/one_label.nii.gz, "
        "a/one_mask.nii.gz, a/one_prob.nii.gz, 1 more; see the table for the reasons), 2 "
        "files that are not images (.json, .tsv)",
        "deskull: table: the out/deskull_batch.tsv",
        "deskull: next: deskull review 'the out'",
    ]


def test_the_summary_counts_many_failures(study, capsys):
    for number in range(7):
        (study / f"study/x{number}.nii").write_text("no")
    assert batch("-q") == 1
    err = capsys.readouterr().err
    assert "7 of 10 scans failed: x0.nii, x1.nii, x2.nii, x3.nii, x4.nii and 2 more." in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope", "--out-dir", "out"], "nope: no such file or folder."),
        (["study", "--out-dir", "study/a/one.nii"], "one.nii: cannot be made (File exists)."),
        (["study", "--out-dir", "out", "--weights", "nope"], "nope: no such weights"),
    ],
)
def test_an_error_that_concerns_every_scan_is_raised_before_the_first(
    study, capsys, args, message
):
    before = list_files(study)
    assert run("batch", *args) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--device tpu", "device 'tpu'; expected auto"),
        ("--workers 0", "workers 0; expected 1 to 1024."),
        ("-t 0", "threads 0; expected 1 to 1024."),
        ("--threshold 2", "threshold 2.0; expected a prob"),
        (
            "--cluster tcp://127.0.0.1:1 --workers 2",
            "workers 2 with --cluster; expected one of them",
        ),
        ("--cluster tcp://127.0.0.1:1 --mem-gb 2", "--mem-gb with --cluster"),
    ],
)
def test_an_option_out_of_range_exits_with_2(study, capsys, args, message):
    before = list_files(study)
    assert batch(*args.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study) == before


@pytest.mark.parametrize(
    "args",
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
def test_wrong_use_exits_with_2(study, args):
    assert run("batch", *args.split()) == 2
    assert not (study / "out").exists()


def test_inputs_may_precede_and_follow_options(study):
    assert run("batch", "study/a", "--out-dir", "out", "study/b") == 0
    assert [row["input"] for row in read_table()] == SCANS


def test_a_record_that_cannot_be_written_stops_the_run(study, capsys):
    (study / "out/a/one_record.json").mkdir(parents=True)
    assert batch() == 1
    assert "one_record.json" in capsys.readouterr().err


def test_an_output_that_is_a_link_is_replaced_and_its_target_kept(study):
    precious = study / "precious.nii.gz"
    precious.write_text("precious")
    (study / "out/a").mkdir(parents=True)
    (study / "out/a/one_mask.nii.gz").symlink_to(precious)
    assert batch() == 0
    assert precious.read_text() == "precious"
    assert not (study / "out/a/one_mask.nii.gz").is_symlink()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be made \("):
        make_folder(tmp_path / "file/folder")
