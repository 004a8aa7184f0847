"""Runs of the BIDS App: cores, reruns, parts, one mask, links, the group level, and kills."""

import csv
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, load, read_json
from bids_study import RAW, app, study, write_json
from deskull.cohort.bids import make_bids_plan
from deskull.cohort.bids_derivatives import save_description
from deskull.cohort.bids_images import Choice
from deskull.errors import OutputError
from deskull.image.volume import load_volume
from studies import write_scan

__all__ = ["ball", "study"]


@pytest.mark.parametrize(
    ("args", "workers", "threads"),
    [
        ("", 1, 6),
        ("--nprocs 4", 1, 4),
        ("--nprocs 4 --omp-nthreads 2", 2, 4),
        ("--nprocs 7 --omp-nthreads 3", 2, 6),
        ("--omp-nthreads 2", 3, 6),
        ("--cluster tcp://there:1", 1, None),
        ("--cluster tcp://there:1 --omp-nthreads 2", 1, 2),
    ],
)
def test_no_more_cores_are_used_than_given(study, monkeypatch, args, workers, threads):
    seen = []

    def strip_cohort(tasks, out, job, *, workers, **_):
        seen.append((workers, job.threads))
        return []

    monkeypatch.setattr("deskull.cohort.strip_cohort", strip_cohort)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert app(*args.split(), "-w", "somewhere") == 0
    assert seen == [(workers, threads)]
    assert not Path("somewhere").exists()


# --- reruns, parts, one mask


def test_a_rerun_skips_finished_images_but_not_those_without_their_sidecar(study, capsys):
    assert app() == 0
    record = Path("out/logs/sub-01/sub-01_T1w_record.json")
    before = record.stat().st_mtime_ns
    assert app() == 0
    assert record.stat().st_mtime_ns == before
    Path("out/sub-01/anat/sub-01_desc-brain_mask.json").unlink()
    assert app() == 0
    assert record.stat().st_mtime_ns != before
    assert Path("out/sub-01/anat/sub-01_desc-brain_mask.json").exists()


def test_runs_over_different_participants_have_separate_tables(study):
    for label in ("01", "sub-02"):
        assert app("--participant-label", label) == 0
    tables = sorted(path.name for path in Path("out/logs").glob("*.tsv"))
    assert tables == ["deskull_batch_sub-01.tsv", "deskull_batch_sub-02.tsv"]


def test_one_mask_is_made_of_the_t1w_image_and_put_on_the_others(study):
    small = nib.Nifti1Image(np.asarray(HEAD.dataobj)[4:-4], HEAD.affine @ shift(4))
    write_scan(Path("raw", RAW[1]), small)
    assert app("--suffix", "T2w", "T1w", "--participant-label", "01", "--one-mask") == 0
    folder = Path("out/sub-01/anat")
    mask, other = (load(folder / f"sub-01_desc-brain{c}_mask.nii.gz") for c in ("", "T2w"))
    np.testing.assert_array_equal(other, mask[4:-4])
    brain = load(folder / "sub-01_desc-brain_T2w.nii.gz")
    assert (brain[other == 0] == 0).all()
    np.testing.assert_array_equal(brain[other == 1], np.asarray(small.dataobj)[other == 1])
    sources = read_json(folder / "sub-01_desc-brain_T2w.json")["Sources"]
    assert sources == [
        "bids:raw:sub-01/anat/sub-01_T2w.nii.gz",
        "bids::sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]
    record = read_json(Path("out/logs/sub-01/sub-01_T2w_record.json"))
    assert (record["status"], record["mask_of"]) == ("done", "sub-01_T1w.nii.gz")
    before = record["finished"], os.stat("out/logs/sub-01/sub-01_T2w_record.json").st_mtime_ns
    assert app("--suffix", "T2w", "T1w", "--participant-label", "01", "--one-mask") == 0
    assert os.stat("out/logs/sub-01/sub-01_T2w_record.json").st_mtime_ns == before[1]


def shift(voxels):
    affine = np.eye(4)
    affine[0, 3] = voxels
    return affine


def test_images_that_share_a_mask_fail_if_there_is_none(study, capsys):
    Path("raw", RAW[0]).write_text("broken")
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01", "--one-mask") == 1
    err = capsys.readouterr().err
    assert "sub-01_T2w.nii.gz: failed: sub-01/anat/sub-01_T2w.nii.gz: no mask, because" in err
    assert "2 of 2 scans failed" in err
    record = read_json(Path("out/logs/sub-01/sub-01_T2w_record.json"))
    assert (
        "no mask, because sub-01/anat/sub-01_T1w.nii.gz, whose mask it shares, failed"
        in record["error"]
    )


@pytest.mark.parametrize("scale", [1, 0])  # a first frame that is blank, too
def test_all_frames_of_a_4d_image_get_the_mask_of_its_session(study, scale):
    data = np.asarray(HEAD.dataobj)
    series = nib.Nifti1Image(np.stack([scale * data, 2 * data], axis=-1), HEAD.affine)
    write_scan(Path("raw", RAW[1]), series)
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01", "--one-mask") == 0
    folder = Path("out/sub-01/anat")
    mask = load(folder / "sub-01_desc-brainT2w_mask.nii.gz")
    brain = load(folder / "sub-01_desc-brain_T2w.nii.gz")
    assert (mask.shape, brain.shape) == (HEAD.shape, (*HEAD.shape, 2))
    np.testing.assert_allclose(brain[..., 0], scale * data * mask)
    np.testing.assert_allclose(brain[..., 1], 2 * data * mask)


def test_an_empty_map_gets_the_mask_of_its_session(study):
    write_scan(Path("raw", RAW[1]), nib.Nifti1Image(np.zeros(HEAD.shape, "u1"), HEAD.affine))
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01", "--one-mask") == 0
    assert not load(Path("out/sub-01/anat/sub-01_desc-brain_T2w.nii.gz")).any()
    records = [read_json(Path(f"out/logs/sub-01/sub-01_{c}_record.json")) for c in ("T1w", "T2w")]
    assert records[0]["score"] == records[1]["score"]


def test_without_a_t1w_image_the_one_of_highest_resolution_is_stripped(study):
    coarse = nib.Nifti1Image(
        np.asarray(HEAD.dataobj)[..., ::2], HEAD.affine @ np.diag([1, 1, 2, 1])
    )
    write_scan(Path("raw/sub-03/anat/sub-03_FLAIR.nii.gz"), coarse)
    write_scan(Path("raw/sub-03/anat/sub-03_T2w.nii.gz"))
    choice = Choice(("FLAIR", "T2w"), ("03",))
    (task,) = make_bids_plan("raw", "out", choice, one_mask=True)
    assert task.scan.name == "sub-03_T2w.nii.gz"
    assert [other.scan.name for other in task.others] == ["sub-03_FLAIR.nii.gz"]


# --- links


def test_a_git_annex_link_without_content_fails_alone(study, capsys):
    link = Path("raw", RAW[0])
    link.unlink()
    link.symlink_to("../../.git/annex/objects/x/y/MD5E-s1.nii.gz")
    assert app() == 1
    err = capsys.readouterr().err
    assert "sub-01_T1w.nii.gz: its content is missing, there is only a git-annex link" in err
    assert "git annex get" in err
    assert Path("out/sub-02/ses-B/anat/sub-02_ses-B_desc-brain_mask.nii.gz").exists()


def test_outputs_that_are_links_are_replaced_and_their_targets_kept(study):
    precious = study / "precious"
    precious.write_text("precious")
    mask = Path("out/sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    mask.parent.mkdir(parents=True)
    mask.symlink_to(precious)
    assert app("--participant-label", "01") == 0
    assert precious.read_text() == "precious"
    assert not mask.is_symlink()


def test_an_output_folder_that_links_elsewhere_is_an_error(study):
    Path("out").mkdir()
    Path("out/sub-01").symlink_to("../raw/sub-01")
    before = list_files(study / "raw")
    with pytest.raises(OutputError, match=r"out/sub-01/anat: is a link to .*/anat;"):
        make_bids_plan("raw", "out")
    assert app() == 1
    assert list_files(study / "raw") == before


# --- derivatives of another data set


def copy_raw(name, title):
    shutil.copytree("raw", name)
    write_json(Path(name, "dataset_description.json"), {"Name": title, "BIDSVersion": "1.10.0"})


def test_derivatives_of_two_data_sets_are_not_mixed(study):
    copy_raw("copy", "Heads")
    copy_raw("other", "Others")
    copy_raw("moved", "Others")
    Path("out").mkdir()
    save_description(Path("raw"), Path("out"))
    for same in ("raw", "copy"):
        assert make_bids_plan(same, "out")
    with pytest.raises(OutputError, match=r"the derivatives of .*raw; expected those of .*o"):
        make_bids_plan("other", "out")
    shutil.rmtree("raw")
    assert make_bids_plan("moved", "out")


# --- group


def test_the_group_is_one_table_with_a_data_dictionary(study):
    Path("raw", RAW[4]).write_text("broken")
    assert app() == 1
    assert app(level="group") == 0
    with open("out/group_brain.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["participant_id"], row["session_id"], row["file"]) for row in rows] == [
        ("sub-01", "n/a", RAW[0]),
        ("sub-02", "ses-A", RAW[2]),
        ("sub-02", "ses-A", RAW[3]),
        ("sub-02", "ses-B", RAW[4]),
    ]
    assert [row["status"] for row in rows] == ["done", "done", "done", "failed"]
    assert float(rows[0]["volume"]) > 800
    assert rows[3]["volume"] == "n/a"
    assert rows[3]["error"].startswith("sub-02_ses-B_T1w.nii: not an image")
    assert "sub-02_ses-B_T1w" in Path("out/deskull_report.html").read_text("utf-8")
    dictionary = read_json(Path("out/group_brain.json"))
    assert list(dictionary) == list(rows[0])
    assert dictionary["volume"]["Units"] == "mL"


# --- killed


@pytest.mark.slow
def test_after_a_kill_no_file_is_incomplete_and_a_rerun_finishes(tmp_path):
    write_json(tmp_path / "raw/dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    for number in range(8):
        for suffix in ("T1w", "T2w"):
            path = tmp_path / f"raw/sub-{number}/anat/sub-{number}_{suffix}.nii.gz"
            write_scan(path)
    command = [sys.executable, "-m", "deskull", "bids", "raw", "out", "participant"]
    command += ["--suffix", "T1w", "T2w", "--one-mask", "--nprocs", "1"]
    rng = random.Random(1)
    for number in range(8):  # every other time all images are stripped again
        border = ["-b", str(number // 2)]
        with subprocess.Popen(
            [*command, *border], cwd=tmp_path, stderr=subprocess.PIPE
        ) as process:
            time.sleep(rng.uniform(0.3, 2.5))
            process.kill()
            process.wait()
        check_whole(tmp_path / "out")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    check_whole(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_mask.nii.gz"))) == 16
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_mask.json"))) == 16


def check_whole(folder):
    """Check that every file can be read, and every image has its sidecar."""
    for path in folder.rglob("[!.]*.json"):
        read_json(path)
    for path in folder.glob("sub-*/anat/[!.]*.nii.gz"):
        load_volume(path)
