"""One mask for a session: which scan is stripped, and how the mask is judged on the others."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, read_json, run
from conftest import make_head, reorient
from deskull.cohort import make_plan
from deskull.cohort.plan import share_masks
from deskull.cohort.steps import BEYOND, goes_beyond
from deskull.image.grid import Grid
from studies import read_table, study, write_scan

__all__ = ["ball", "study"]


def cut(image, axis, start, stop):
    """Cut out a part of an image, which stays where it is in space."""
    index = [slice(None)] * 3
    index[axis] = slice(start, stop)
    return image.slicer[tuple(index)]


def empty(shape, voxel_size):
    """Make an image of zeros: a plan reads only the header."""
    return nib.Nifti1Image(np.zeros(shape, np.uint8), np.diag([*voxel_size, 1]))


WHOLE = ((176, 240, 256), (1, 1, 1))
CASES = {  # the scans of a session, and which of them is stripped
    "a fine slab": ({"T1": WHOLE, "hippo_T1": ((240, 240, 60), (0.7, 0.7, 0.7))}, "T1"),
    "a coronal slab": ({"T1": WHOLE, "x_T1": ((400, 40, 400), (0.4, 1, 0.4))}, "T1"),
    "a sagittal slab": ({"T1": WHOLE, "x_T1": ((40, 400, 400), (1, 0.5, 0.5))}, "T1"),
    "thick FLAIR, fine T2 slab": (
        {"FLAIR": ((256, 256, 26), (0.9, 0.9, 5.5)), "T2": ((512, 30, 512), (0.4, 2, 0.4))},
        "FLAIR",
    ),
    "T1 cut, T2 whole": ({"T1": ((176, 240, 90), (1, 1, 1)), "T2": WHOLE}, "T2"),
    "T1 slab, FLAIR whole": (
        {"T1": ((256, 256, 40), (0.8, 0.8, 0.8)), "FLAIR": ((256, 256, 30), (0.9, 0.9, 5))},
        "FLAIR",
    ),
    "two whole T1": ({"a_T1": ((256, 256, 60), (1, 1, 3)), "b_T1": WHOLE}, "b_T1"),
    "whole T1 and finer T2": ({"T1": WHOLE, "T2": ((352, 480, 512), (0.5, 0.5, 0.5))}, "T1"),
    "a small T1 of a child, larger T2": (
        {"T1": ((120, 150, 115), (1, 1, 1)), "T2": ((130, 160, 118), (1, 1, 1))},
        "T1",
    ),
    "two slabs": (
        {"T1": ((200, 200, 20), (1, 1, 1)), "T2": ((200, 200, 60), (1, 1, 1))},
        "T2",
    ),
    "no header that tells": ({"T1": WHOLE, "FLAIR": None}, "T1"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_scan_whose_field_of_view_holds_the_head_is_stripped(study, case):
    scans, wanted = CASES[case]
    for name, grid in scans.items():
        path = study / f"heads/sub-01_acq-{name.replace('_', 'x_')}w.nii.gz"
        path = path.with_name(path.name.replace("acq-T", "T").replace("acq-FLAIRw", "FLAIR"))
        path.parent.mkdir(exist_ok=True)
        path.touch() if grid is None else write_scan(path, empty(*grid))
    (task,) = share_masks(make_plan(["heads"], "out"))
    assert len(task.others) == len(scans) - 1
    stem = task.scan.name.removeprefix("sub-01_").removeprefix("acq-").split(".")[0]
    assert stem.removesuffix("w").replace("x_", "_") == wanted


T1, T2 = "sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz"
SESSIONS = [  # the scans of each session
    ["sub-01/ses-A/anat", [T1, T2], "sub-01/ses-B/anat", [T1, T2]],
    ["sub-01/ses-A", [T1, T2], "sub-01/ses-B", [T1]],
    ["sub-01/visit1/anat", [T1], "sub-01/visit2/anat", [T1, T2]],
    ["sub-01/anat", ["sub-01_ses-A_T1w.nii.gz"], "sub-01/func", ["sub-01_ses-B_bold.nii.gz"]],
]


@pytest.mark.parametrize(("one", "names", "other", "more"), SESSIONS)
def test_scans_in_the_folders_of_two_sessions_do_not_share_a_mask(study, one, names, other, more):
    sessions = [[f"{one}/{name}" for name in names], [f"{other}/{name}" for name in more]]
    for name in (*sessions[0], *sessions[1]):
        (study / "heads" / name).parent.mkdir(parents=True, exist_ok=True)
        (study / "heads" / name).touch()
    tasks = share_masks(make_plan(["heads"], "out"))
    assert [sorted(member.name for member in task.members) for task in tasks] == sessions


def test_images_of_a_session_share_a_mask_across_its_folders(study):
    for name in ("anat/sub-01_T1w", "perf/sub-01_asl"):
        (study / f"heads/sub-01/ses-A/{name}.nii.gz").parent.mkdir(parents=True)
        (study / f"heads/sub-01/ses-A/{name}.nii.gz").touch()
    assert len(share_masks(make_plan(["heads"], "out"))) == 1


# --- while it is stripped


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR"])
def test_a_scan_that_shows_more_of_the_brain_is_stripped_instead(study, axis, codes):
    head, _ = make_head(shape=(62, 66, 64))
    size = head.shape[axis]
    write_scan(study / "heads/p1_T1.nii.gz", cut(head, axis, 0, size // 2 - 1))
    write_scan(study / "heads/p1_FLAIR.nii.gz", reorient(head, codes))
    (task,) = share_masks(make_plan(["heads"], "out"))
    outputs = "mask,probability,distance,picture"
    args = ["batch", "heads", "-o", "out", "--one-mask", "--outputs", outputs]
    assert run(*args) == 0
    assert task.scan.name == "p1_T1.nii.gz"  # by its header
    given, own = (read_json(study / f"out/p1_{name}_record.json") for name in ("T1", "FLAIR"))
    assert "mask_of" not in own
    assert given["mask_of"] == "p1_FLAIR.nii.gz"
    assert BEYOND not in [flag["name"] for flag in given["flags"]]
    assert given["volume_ml"] < own["volume_ml"]
    made = sorted(path.name for path in Path("out").glob("p1_*") if "record" not in path.name)
    from_a_mask = ["distance.nii.gz", "mask.nii.gz", "picture.png"]
    assert made == [
        *(f"p1_FLAIR_{name}" for name in (*from_a_mask, "probability.nii.gz")),
        *(f"p1_T1_{name}" for name in from_a_mask),
    ]
    before = own["finished"]
    assert run(*args) == 0
    assert read_json(study / "out/p1_FLAIR_record.json")["finished"] == before


def test_a_scan_that_shows_no_more_of_the_brain_is_not_stripped_instead(study):
    low = cut(HEAD, 2, 0, 26)
    write_scan(study / "heads/p1_T1.nii.gz", low)
    write_scan(study / "heads/p1_FLAIR.nii.gz", low)
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    assert "mask_of" not in read_json(study / "out/p1_T1_record.json")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_scan_that_continues_beyond_the_field_of_the_mask_is_flagged(study, axis, capsys):
    size = HEAD.shape[axis]
    write_scan(study / "heads/p1_T1.nii.gz", cut(HEAD, axis, 4, size // 2 + 3))
    write_scan(study / "heads/p1_FLAIR.nii.gz", cut(HEAD, axis, size // 2 - 3, size - 8))
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    rows = {row["input"]: row for row in read_table()}
    assert BEYOND in rows["p1_FLAIR.nii.gz"]["flags"].split(",")
    assert int(rows["p1_FLAIR.nii.gz"]["score"]) < int(rows["p1_T1.nii.gz"]["score"])
    flags = read_json(study / "out/p1_FLAIR_record.json")["flags"]
    sentence = next(flag["sentence"] for flag in flags if flag["name"] == BEYOND)
    assert "The field of p1_T1.nii.gz, whose mask is used, cuts the brain where" in sentence
    assert "2 flagged" in capsys.readouterr().err


def test_a_scan_with_a_shared_mask_has_its_score_and_doubts(study):
    write_scan(study / "heads/p1_T1.nii.gz")
    write_scan(study / "heads/p1_FLAIR.nii.gz", cut(HEAD, 1, 2, -2))
    write_scan(study / "heads/p1_T2.nii.gz", cut(HEAD, 2, 20, 26))
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    flair, t1, t2 = read_table()
    assert (flair["score"], flair["flags"]) == (t1["score"], t1["flags"])
    assert t2["flags"] == "field-cuts-brain"
    assert 0 < int(t2["score"]) < int(t1["score"])


def test_a_session_with_only_a_slab_is_stripped_and_flagged(study):
    write_scan(study / "heads/p1_T1.nii.gz", cut(HEAD, 2, 18, 28))
    assert run("batch", "heads", "-o", "out", "--one-mask") == 0
    (row,) = read_table()
    assert "field-cuts-brain" in row["flags"]


def test_a_field_goes_beyond_only_where_the_brain_is_cut():
    image, brain = make_head()
    grid = Grid(image.shape, image.affine)
    low, high = grid.crop((slice(0, 40), slice(0, 48), slice(0, 22))), grid
    assert goes_beyond(brain[:, :, :22], low, high)
    assert not goes_beyond(brain, high, low)
    assert not goes_beyond(brain[:, :, :22], low, low)
    wider = grid.crop((slice(-9, 49), slice(-9, 57), slice(0, 22)))
    assert not goes_beyond(brain[:, :, :22], low, wider)
    assert not goes_beyond(brain, grid, grid.crop((slice(-9, 49), slice(-9, 57), slice(-9, 53))))
