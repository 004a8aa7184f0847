"""Memory of a run: what fits at once, and which scans are refused, and why."""

import logging
import os

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, read_json, run
from deskull.cohort import Job, strip_cohort
from deskull.cohort.memory import ALONE_BYTES, MAP_BYTES, PROCESS_GB, fit_memory
from deskull.cohort.search import make_plan
from deskull.errors import InputError
from deskull.image.header import peek
from deskull.image.writing import save_image

__all__ = ["ball"]

NEED = PROCESS_GB + 40 * 48 * 44 * (ALONE_BYTES + 4) / 1e9  # of HEAD, in GB


@pytest.fixture
def study(tmp_path, monkeypatch, ball):
    """Work in a folder with a scan, and one of 27 times as many voxels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    save_image(HEAD, "study/small.nii.gz")
    data = np.kron(np.asarray(HEAD.dataobj), np.ones((3, 3, 3), np.float32))
    save_image(nib.Nifti1Image(data, HEAD.affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])), "big.nii")
    return tmp_path


def fit(limit, workers=4, inputs=("study",), outputs=("brain", "mask"), n4=False):
    return fit_memory(make_plan(inputs, "out", outputs), workers, limit, n4)


def test_without_a_limit_all_workers_run(study):
    assert fit(None) == fit(100.0)
    assert (fit(None).workers, fit(None).overlap, fit(None).refused) == (4, True, ())


def test_fewer_workers_than_requested_are_warned_of(study, caplog):
    with caplog.at_level(logging.WARNING, "deskull"):
        assert fit(1.0).workers == 2
    assert caplog.messages == ["mem-gb 1: 2 of 4 workers, since the largest scan needs 0.35 GB"]
    assert fit(0.4).workers == 1
    assert fit(100.0, workers=2).workers == 2


def test_overlap_is_given_up_before_a_scan_is_refused(study):
    assert fit(NEED + 1e-3).overlap is True
    assert fit(NEED + 1e-4).overlap is False
    assert fit(NEED + 1e-4).refused == ()


def test_a_scan_that_does_not_fit_is_refused_with_the_calculation(study):
    found = fit(0.36, inputs=("study", "big.nii"))
    ((task, reason),) = found.refused
    assert task.scan.name == "big.nii"
    assert reason == (
        "120 x 144 x 132 voxels of 4 bytes need about 0.39 GB (0.35 for the program, 0.01 as "
        "stored and 12 bytes for each voxel of a frame); --mem-gb is 0.36. Raise the limit."
    )


def test_maps_and_n4_need_more(study):
    more = NEED + 40 * 48 * 44 * MAP_BYTES / 2 / 1e9
    assert not fit(more).refused
    assert fit(more, n4=True).refused
    assert fit(more, outputs=("mask", "distance")).refused


def test_a_typical_size_is_assumed_if_the_header_cannot_be_read_ahead(study):
    (study / "study/small.nii.gz").rename(study / "study/small.nrrd")
    ((_, reason),) = fit(0.5).refused
    assert reason.startswith("34 MB need about 0.58 GB (0.35 for the program, 0.03 as stored")


@pytest.mark.parametrize("limit", [0.1, 0.35, -1.0, float("nan")])
def test_a_limit_too_small_for_any_scan_is_an_error(study, limit):
    with pytest.raises(InputError, match=r"mem-gb .*; expected more than 0.35"):
        fit(limit)


def test_refused_scans_are_recorded_and_the_others_stripped(study, capsys):
    args = ["study", "big.nii", "--out-dir", "out", "--mem-gb", "0.355"]
    assert run("batch", *args) == 1
    err = capsys.readouterr().err
    assert "big.nii: failed: 120 x 144 x 132 voxels of 4 bytes need about 0.39 GB" in err
    assert (study / "out/study/small_mask.nii.gz").exists()
    assert read_json(study / "out/big_record.json")["status"] == "failed"


def test_scans_that_share_the_mask_of_a_refused_scan_fail(study, capsys):
    (study / "big.nii").rename(study / "study/p_T1.nii")
    (study / "study/small.nii.gz").rename(study / "study/p_T2.nii.gz")
    assert run("batch", "study", "--out-dir", "out", "--mem-gb", "0.355", "--one-mask") == 1
    record = read_json(study / "out/p_T2_record.json")
    assert (
        record["error"] == "p_T2.nii.gz: no mask, because p_T1.nii, whose mask it shares, failed."
    )


def test_outputs_do_not_depend_on_overlap(study):
    assert run("batch", "study", "--out-dir", "out") == 0
    assert run("batch", "study", "--out-dir", "lean", "--mem-gb", str(NEED + 1e-4)) == 0
    mask = "small_mask.nii.gz"
    assert (study / "out" / mask).read_bytes() == (study / "lean" / mask).read_bytes()


def test_a_memory_limit_with_a_cluster_is_an_error(study):
    with pytest.raises(InputError, match="--mem-gb with --cluster; expected one of them"):
        strip_cohort(make_plan(["study"], "out"), "out", Job(memory_gb=1.0), cluster="tcp://x:1")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_a_header_is_read_without_its_voxels(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    save_image(HEAD, path)
    if suffix == ".nii":
        os.truncate(path, 400)
    header = peek(path)
    assert header is not None
    assert (header.shape, header.itemsize) == ((40, 48, 44), 4)
    assert header.voxel_size == pytest.approx((4, 4, 4))


def test_files_without_a_readable_header_give_none(tmp_path):
    (tmp_path / "text.nii.gz").write_text("no image")
    assert peek(tmp_path / "text.nii.gz") is None
    assert peek(tmp_path / "missing.nii.gz") is None
