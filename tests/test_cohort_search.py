"""Which images among the inputs are scans, and how the others are reported."""

import gzip
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, run
from conftest import make_head
from deskull.cohort.search import make_plan
from deskull.image.file_names import HEADS
from deskull.outputs import list_outputs
from studies import SCANS as STUDY
from studies import batch, read_table, study, write_scan

__all__ = ["ball", "study"]
BRAIN = make_head()[1].astype(np.uint8)
OTHER = nib.Nifti1Image(np.asarray(HEAD.dataobj)[2:], HEAD.affine)


def find(*inputs, out="out"):
    """Names of the scans, and the reason for each image that is left out."""
    plan = make_plan(inputs, out)
    return [task.name for task in plan], {gap.name: gap.reason for gap in plan.gaps}


@pytest.mark.parametrize(
    "name",
    [
        "3_AX_T1_BRAIN.nii.gz",
        "MRI_Brain.nii.gz",
        "scan_corrected.nii.gz",
        "brain.nii.gz",
        "Segmentation.nii",
        "p1_label.nii.gz",
        "T1_mask.nii.gz",
        "probability.mgz",
    ],
)
def test_a_head_is_stripped_whatever_its_name(study, name):
    write_scan(study / "heads" / name)
    write_scan(study / "heads/other.nii.gz", OTHER)
    assert find("heads") == (sorted([name, "other.nii.gz"]), {})
    assert run("batch", "heads", "-o", "out") == 0
    assert [row["status"] for row in read_table()] == ["done", "done"]


def test_a_head_named_like_a_brain_is_stripped_if_its_grid_differs(study):
    write_scan(study / "heads/x.nii.gz")
    write_scan(study / "heads/x_brain.nii.gz", OTHER)
    assert find("heads") == (["x.nii.gz", "x_brain.nii.gz"], {})


@pytest.mark.parametrize("word", ["brain", "BRAIN", "bet", "mask", "dseg", "corrected", "prob"])
def test_images_that_other_tools_made_from_a_scan_are_left_out_and_named(study, word, capsys):
    write_scan(study / "heads/x.nii.gz")
    write_scan(study / f"heads/x_{word}.nii.gz")
    reason = "made from x.nii.gz, by its name and grid"
    assert find("heads") == (["x.nii.gz"], {f"x_{word}.nii.gz": reason})
    assert run("batch", "heads", "-o", "out") == 0
    rows = [(row["input"], row["status"], row["error"]) for row in read_table()]
    assert rows[1] == (f"x_{word}.nii.gz", "left out", reason)
    assert f"deskull: left out: x_{word}.nii.gz ({reason})\n" in capsys.readouterr().err


def test_only_the_heads_of_a_freesurfer_folder_are_stripped(study):
    for name in ("T1", "brain", "brainmask", "aseg", "aparc+aseg"):
        write_scan(study / f"heads/s1/mri/{name}.mgz")
    scans, left = find("heads")
    assert scans == ["s1/mri/T1.mgz"]
    assert len(left) == 4


@pytest.mark.parametrize("values", [BRAIN, 3.5 * BRAIN, 1 - BRAIN])
def test_masks_in_a_folder_of_their_own_are_left_out_by_name_and_voxels(study, values):
    write_scan(study / "heads/images/x.nii.gz")
    write_scan(study / "heads/masks/x_mask.nii.gz", nib.Nifti1Image(values, HEAD.affine))
    reason = "a mask or label map, by its name and voxels"
    assert find("heads") == (["images/x.nii.gz"], {"masks/x_mask.nii.gz": reason})


def test_derivatives_are_left_out_by_their_bids_names(study):
    write_scan(study / "heads/sub-1_desc-preproc_T1w.nii.gz")
    write_scan(study / "heads/sub-1_desc-brain_T1w.nii.gz")
    write_scan(study / "heads/sub-1_label-GM_probseg.nii.gz")
    scans, left = find("heads")
    assert scans == ["sub-1_desc-preproc_T1w.nii.gz"]
    assert set(left.values()) == {"made from a scan, by its BIDS name"}


def test_a_broken_file_named_like_a_mask_fails_with_its_reason(study):
    (study / "heads").mkdir()
    (study / "heads/x_mask.nii.gz").write_text("no image")
    assert find("heads") == (["x_mask.nii.gz"], {})
    assert run("batch", "heads", "-o", "out") == 1
    assert "not an image" in read_table()[0]["error"]


# --- written by deskull


EVERYTHING = ",".join(row.name for row in list_outputs("batch"))


def test_outputs_of_deskull_are_never_stripped_even_if_moved(study, capsys):
    args = ["batch", "study", "-o", "study", "--outputs", EVERYTHING]
    assert run(*args) == 0
    assert run(*args) == 0
    assert [row["input"] for row in read_table("study/deskull_batch.tsv")] == STUDY
    err = capsys.readouterr().err
    assert "left out: 24 written by deskull, 1 file that is not an image (.tsv)" in err
    Path("study/moved").mkdir()
    shutil.move("study/a/one_brain.nii.gz", "study/moved/anything.nii.gz")
    shutil.copy("study/a/two_corrected.nii.gz", "study/moved/head.nii.gz")
    scans, left = find("study")
    assert scans == STUDY
    assert left == {}


def test_a_scan_that_replaced_an_output_is_stripped(study):
    assert batch() == 0
    write_scan(Path("out/a/one_brain.nii.gz"), OTHER)
    scans, _ = find("out", out="elsewhere")
    assert scans == ["a/one_brain.nii.gz"]


def test_outputs_without_a_record_are_not_stripped(study):
    assert run("batch", "study", "-o", "study", "--outputs", EVERYTHING) == 0
    for record in Path("study").rglob("*_record.json"):
        record.unlink()
    scans, left = find("study")
    assert scans == STUDY
    assert len(left) == 15


def test_a_damaged_or_foreign_record_is_ignored(study):
    texts = ("[]", "{", '{"input": {}, "outputs": []}', '{"input": {}, "outputs": {"a": 1}}')
    for number, text in enumerate(texts):
        Path(f"study/{number}_record.json").write_text(text)
    Path("study/x_record.json").write_text(
        json.dumps({"input": {}, "outputs": {"brain": {"path": "a/one.nii", "bytes": 1}}})
    )
    assert find("study")[0] == STUDY


# --- formats and other files


@pytest.mark.parametrize("suffix", [s for s in HEADS if s.endswith((".bz2", ".xz", ".zst"))])
def test_scans_in_every_readable_packing_are_found(study, suffix):
    Path(f"study/packed{suffix}").touch()
    assert f"packed{suffix}" in find("study")[0]


def test_images_that_cannot_be_read_and_archives_are_named(study):
    for name in ("scan.PAR", "scan.rec", "x.nii.lz4", "dicom.zip", "dicom.tar.gz", ".y.nii"):
        Path("study", name).touch()
    _, left = find("study")
    assert left == {
        "scan.PAR": (unread := "an image of a format or packing that deskull does not read"),
        "scan.rec": unread,
        "x.nii.lz4": unread,
        "dicom.zip": (
            packed := "an archive; give its name if it holds the DICOM files of one scan"
        ),
        "dicom.tar.gz": packed,
        ".y.nii": "hidden: its name begins with a dot",
    }


def test_other_files_are_counted(study):
    for name in ("a.json", "b.json", "c.bval", "README"):
        Path("study", name).touch()
    ignored = make_plan(["study"], "out").ignored
    assert ignored == "4 files that are not images (.bval, .json, without suffix)"


def write_dicom(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\0" * 128 + b"DICM")


@pytest.mark.parametrize("names", [["a.dcm", "b.dcm"], ["IM0001", "IM0002"], ["1.3.12.2", "x.9"]])
def test_a_folder_of_dicom_is_one_scan(study, names):
    write_dicom(study / "study/p1/T1", names)
    (study / "study/p1/DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    scans, left = find("study")
    assert scans == [*STUDY, "p1/T1"]
    assert left == {}
    (task, *_) = make_plan(["study/p1/T1"], "out")
    assert (task.name, task.scan) == ("T1", study / "study/p1/T1")
    assert task.outputs["mask"] == study / "out/T1_mask.nii.gz"
    assert find("study/p1/T1/*")[0] == ["T1"]


def test_a_single_named_dicom_file_is_a_scan(study):
    write_dicom(study / "series", ["IM1", "IM2"])
    assert find("series/IM1")[0] == ["IM1"]
    assert find("series/IM1", "series/IM2")[0] == ["series"]


def test_real_dicom_in_folders_is_stripped(study):
    place = os.environ.get("DESKULL_TEST_DATA")
    if not place:
        pytest.skip("no DESKULL_TEST_DATA")
    shutil.copytree(Path(place, "dicom/decubitus_supine"), "study/p1/supine")
    assert batch() == 0
    assert read_table()[-1]["status"] == "done"
    assert Path("out/p1/supine_mask.nii.gz").exists()


def test_a_git_annex_pointer_and_an_unreadable_file_fail_with_their_reasons(study):
    Path("study/a/gone.nii.gz").symlink_to(".git/annex/x")
    with gzip.open("study/a/cut.nii.gz", "wb") as file:
        file.write(b"\0" * 400)
    assert batch() == 1
    failed = [row["input"] for row in read_table() if row["status"] == "failed"]
    assert failed == ["a/cut.nii.gz", "a/gone.nii.gz"]
