"""Corrected masks after scans are stripped again, and in sessions that share a mask."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, run
from deskull.cohort.stripped import find_stripped
from deskull.review.save_correction import TABLE, save_correction
from deskull.review.scene import load_scene, make_entries
from studies import write_scan

__all__ = ["ball"]


@pytest.fixture
def study(tmp_path, monkeypatch, ball):
    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "heads/p1_T1.nii.gz")
    write_scan(tmp_path / "heads/p1_FLAIR.nii.gz")
    return tmp_path


def find(name):
    return next(entry for entry in make_entries(find_stripped("out")) if entry.name == name)


def correct(name):
    """Cut the lower half off a mask, and return what is left and the result of saving."""
    entry = find(name)
    scene = load_scene(entry.find(), entry.settings)
    mask = scene.pair.mask.copy()
    mask[:, :, : mask.shape[2] // 2] = False
    files = entry.find()
    return mask, save_correction(
        mask, scene.volume, files, files.version, scan=entry.stripped.reload()
    )


def is_brain(stem, mask):
    brain = np.asarray(nib.load(f"out/{stem}_brain.nii.gz").dataobj)
    return np.array_equal(brain != 0, mask & (HEAD.get_fdata() != 0))


def read_table():
    with open("out/deskull_batch.tsv", encoding="utf-8") as stream:
        return {row["input"]: row for row in csv.DictReader(stream, delimiter="\t")}


def mask_bytes():
    with open("out/p1_T1_mask_manual.nii.gz", "rb") as stream:
        return stream.read()


@pytest.mark.parametrize("args", [("--force",), ("--border", "4")])
def test_a_correction_still_counts_after_the_scan_is_stripped_again(study, args, capsys):
    assert run("batch", "heads", "-o", "out") == 0
    mask, _ = correct("p1_T1.nii.gz")
    before, volume = mask_bytes(), round(float(mask.sum()) * 0.064, 3)
    capsys.readouterr()
    assert run("batch", "heads", "-o", "out", *args) == 0
    assert "1 with a mask corrected by hand" in capsys.readouterr().err
    assert mask_bytes() == before
    assert is_brain("p1_T1", mask)
    row = read_table()["p1_T1.nii.gz"]
    assert (row["mask"], float(row["volume_ml"])) == ("corrected", pytest.approx(volume))
    assert read_table()["p1_FLAIR.nii.gz"]["mask"] == "automatic"
    assert not find("p1_T1.nii.gz").stripped.has_old_outputs
    assert run("batch", "heads", "-o", "out", *(() if args == ("--force",) else args)) == 0
    assert is_brain("p1_T1", mask)


def test_a_correction_that_no_longer_matches_the_scan_is_warned_of(study, capsys, caplog):
    assert run("batch", "heads", "-o", "out") == 0
    correct("p1_T1.nii.gz")
    before = mask_bytes()
    write_scan(study / "heads/p1_T1.nii.gz", HEAD.slicer[:, :-2])
    assert run("batch", "heads", "-o", "out") == 0
    output = capsys.readouterr().err + caplog.text
    assert "p1_T1_mask_manual.nii.gz is ignored" in output
    assert "another grid" in output
    assert read_table()["p1_T1.nii.gz"]["mask"] == "automatic"
    assert mask_bytes() == before


def test_the_other_scans_of_a_session_get_the_corrected_mask(study):
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    mask, saved = correct("p1_T1.nii.gz")
    assert (saved.given, saved.refused) == (("p1_FLAIR.nii.gz",), ())
    assert is_brain("p1_FLAIR", mask)
    assert not is_brain("p1_FLAIR", np.ones_like(mask))
    with open("out/p1_FLAIR_mask_manual.json", encoding="utf-8") as stream:
        sidecar = json.load(stream)
    assert (sidecar["Manual"], sidecar["mask_of"]) == (True, "p1_T1.nii.gz")
    with open(f"out/{TABLE}", encoding="utf-8") as stream:
        assert [row["image"] for row in csv.DictReader(stream, delimiter="\t")] == [
            "../heads/p1_T1.nii.gz"
        ]
    assert run("batch", "heads", "-o", "out", "--one-mask", "--force") == 0
    assert {row["mask"] for row in read_table().values()} == {"corrected"}
    assert is_brain("p1_FLAIR", mask)


def test_a_scan_with_a_correction_of_its_own_keeps_it(study):
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    own, _ = correct("p1_FLAIR.nii.gz")
    mask, saved = correct("p1_T1.nii.gz")
    assert saved.given == ()
    assert "p1_FLAIR.nii.gz: keeps its own corrected mask" in saved.refused[0]
    assert is_brain("p1_FLAIR", own)
    assert is_brain("p1_T1", mask)
