"""Masks against references: values, regions, summaries, pictures, the command and its files."""

import csv
import json
import math
import os
import re

import nibabel as nib
import numpy as np
import pytest

from ball import list_files, run
from conftest import reorient
from deskull.evaluate import (
    COLUMNS,
    compare_masks,
    estimate,
    load_canonical_mask,
)
from deskull.image.grid import Grid
from deskull.measure.metrics import REGIONS, share_by_region
from deskull.picture.differences import draw_differences

AFFINE = np.array([[4.0, 0, 0, -78], [0, 4, 0, -94], [0, 0, 4, -86], [0, 0, 0, 1]])
SHAPE = (40, 48, 44)
GRID = Grid(SHAPE, AFFINE)
REFERENCE = np.zeros(SHAPE, bool)
REFERENCE[8:32, 8:40, 8:33] = True
SMALLER = np.zeros(SHAPE, bool)
SMALLER[8:32, 8:40, 8:32] = True  # 1/25 of the reference is missed, at its top


def save(mask, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.asarray(mask, np.uint8), affine).to_filename(path)
    return path


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Two methods on three scans; one of the second is missing."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        save(REFERENCE, tmp_path / f"refs/sub-0{number}_T1w_reference.nii.gz")
        save(np.roll(SMALLER, number, 0), tmp_path / f"ours/sub-0{number}_T1w_mask.nii.gz")
        head = 100.0 * REFERENCE + np.indices(SHAPE)[0]
        save(head, tmp_path / f"heads/sub-0{number}_T1w.nii.gz")
    for number in (1, 2):
        save(SMALLER, tmp_path / f"bet/sub-0{number}_T1w_brain_mask.nii.gz")
    return tmp_path


# --- values


def test_metrics_of_boxes_are_those_calculated_by_hand():
    values = compare_masks(SMALLER, REFERENCE, GRID)
    assert tuple(values) == COLUMNS
    assert values["dice"] == pytest.approx(2 * 24 / 49)
    assert values["iou"] == values["sensitivity"] == pytest.approx(24 / 25)
    assert values["precision"] == 1.0
    assert values["volume_ml"] == pytest.approx(24 * 32 * 24 * 0.064)
    assert values["difference_ml"] == pytest.approx(-24 * 32 * 0.064)
    assert values["false_negative_ml"] == pytest.approx(24 * 32 * 0.064)
    assert (values["false_positive_ml"], values["hd95_mm"]) == (0, 4)
    assert values["fn_vertex"] == 1.0
    assert all(math.isnan(values[f"fp_{region}"]) for region in REGIONS)


def test_an_empty_prediction_has_no_overlap_and_no_distance():
    values = compare_masks(np.zeros(SHAPE), REFERENCE, GRID)
    assert (values["dice"], values["sensitivity"], values["volume_ml"]) == (0, 0, 0)
    assert math.isnan(values["hd95_mm"])
    assert sum(values[f"fn_{region}"] for region in REGIONS) == pytest.approx(1)


@pytest.mark.parametrize(
    ("depth", "height", "region"),
    [
        (0.5, -0.25, "neck"),
        (0.9, 0.05, "neck"),
        (1.1, 0.3, "eyes"),
        (0.5, 0.9, "vertex"),
        (0.9, 1.2, "vertex"),
        (0.2, 0.2, "cerebellum"),
        (1.0, 0.6, "frontal"),
        (0.1, 0.6, "elsewhere"),
        (0.6, 0.2, "elsewhere"),
    ],
)
@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAR"])
def test_errors_are_assigned_to_regions_in_any_stored_orientation(depth, height, region, codes):
    wrong = np.zeros(SHAPE, np.uint8)
    wrong[20, 8 + round(depth * 31), 8 + round(height * 24 - 0.01)] = 1
    images = [nib.Nifti1Image(array.astype(np.uint8), AFFINE) for array in (wrong, REFERENCE)]
    wrong, reference = (reorient(image, codes) for image in images)
    grid = Grid(wrong.shape, wrong.affine)
    shares = share_by_region(np.asarray(wrong.dataobj), np.asarray(reference.dataobj), grid)
    assert shares == {name: float(name == region) for name in REGIONS}


def test_the_interval_of_a_mean_matches_theory_and_is_reproducible():
    values = np.random.default_rng(1).normal(0.9, 0.02, 400)
    found = estimate(values, True)
    assert found.mean == pytest.approx(values.mean())
    reach = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx(
        (found.mean - reach, found.mean + reach), abs=reach / 8
    )
    assert (found.count, found.worst) == (400, values.min())
    assert estimate(values, True) == found


def test_missing_values_are_not_counted():
    found = estimate([1.0, float("nan"), -3.0], False)
    assert (found.count, found.mean, found.worst) == (2, -1, -3)
    assert estimate([float("nan")], True).count == 0


@pytest.mark.parametrize(
    ("values", "inside"),
    [((0, 255), 255), ((0.2, 0.7), 0.7), ((0, 17), 17), ((np.nan, 1.0), 1), ((-1, 3), 3)],
)
def test_voxels_above_one_half_are_inside(tmp_path, values, inside):
    data = np.where(REFERENCE, values[1], values[0]).astype(np.float32)
    nib.Nifti1Image(data, AFFINE).to_filename(tmp_path / "m.nii")
    np.testing.assert_array_equal(load_canonical_mask(tmp_path / "m.nii").inside, REFERENCE)


# --- the picture


def find_colours(prediction, reference, image=None):
    """Whether orange (too much) and blue (missed) are in the picture."""
    pixels = np.asarray(draw_differences(prediction, reference, GRID, image)).astype(int)
    return (pixels[..., 0] > pixels[..., 2] + 60).any(), (
        pixels[..., 2] > pixels[..., 0] + 60
    ).any()


@pytest.mark.parametrize("image", [None, 100.0 * REFERENCE])
def test_errors_are_coloured_by_their_kind(image):
    assert find_colours(REFERENCE, REFERENCE, image) == (False, False)
    assert find_colours(REFERENCE, SMALLER, image) == (True, False)
    assert find_colours(SMALLER, REFERENCE, image) == (False, True)
    assert find_colours(np.roll(REFERENCE, 2, 0), REFERENCE, image) == (True, True)


def test_slices_show_a_single_error_and_an_empty_picture_can_be_drawn():
    speck = REFERENCE.copy()
    speck[2:4, 2:4, 40:42] = True
    assert find_colours(speck, REFERENCE) == (True, False)
    assert find_colours(np.zeros(SHAPE), np.zeros(SHAPE)) == (False, False)


# --- the command


def read_rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_two_files_print_one_line(study, capsys):
    before = list_files(study)
    ours, reference = "ours/sub-01_T1w_mask.nii.gz", "refs/sub-01_T1w_reference.nii.gz"
    assert run("evaluate", ours, reference) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "worst of sub-01_T1w_mask.nii.gz: sub-01_T1w 0.9388" in out
    assert list_files(study) == before


def test_several_methods_write_a_table_a_summary_and_a_page(study, capsys):
    assert run("evaluate", "ours", "fsl=bet", "refs", "--images", "heads", "-o", "out") == 0
    out, err = capsys.readouterr()
    assert "sub-03_T1w_reference.nii.gz: no prediction of fsl for this reference" in err
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [
        ["ours", "3", "0.8980"],
        ["fsl", "2", "0.9796"],
    ]
    rows = read_rows(study / "out/evaluation.tsv")
    assert [(row["scan"], row["method"]) for row in rows[:2]] == [
        ("sub-01_T1w", "ours"),
        ("sub-01_T1w", "fsl"),
    ]
    assert len(rows) == 5
    assert float(rows[1]["dice"]) == pytest.approx(0.979592)
    assert rows[1]["fp_neck"] == rows[1]["error"] == "n/a"
    summary = json.loads((study / "out/evaluation.json").read_text("utf-8"))
    ours, fsl = summary["methods"]
    assert ours["worst"][0] == {"scan": "sub-03_T1w", "dice": pytest.approx(0.857143)}
    assert ours["metrics"]["dice"]["low"] <= ours["metrics"]["dice"]["mean"]
    assert ours["dice_gain"] is None
    assert fsl["dice_gain"]["count"] == 2
    assert fsl["dice_gain"]["mean"] == pytest.approx(0.979592 - (0.938776 + 0.897959) / 2)
    assert len(summary["unpaired"]) == 1


def test_the_page_is_complete_and_loads_nothing(study):
    run("evaluate", "o<b>urs=ours", "bet", "refs", "--images", "heads", "-o", "out", "-q")
    page = (study / "out/evaluation.html").read_text("utf-8")
    assert page.count("<figure>") == page.count("data:image/webp;base64,") == 5
    assert page.count("<svg") == 6
    assert "o&lt;b&gt;urs" in page
    assert "<b>urs" not in page
    assert "no prediction of bet for this reference" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_table_is_evaluated_with_its_methods_and_images(study, capsys):
    lines = ["prediction,reference,method,image"]
    for method, name in (("a", "ours/sub-01_T1w_mask"), ("b", "bet/sub-01_T1w_brain_mask")):
        reference = "../refs/sub-01_T1w_reference.nii.gz"
        lines.append(f"../{name}.nii.gz,{reference},{method},../heads/sub-01_T1w.nii.gz")
    (study / "tables").mkdir()
    (study / "tables/pairs.csv").write_text("\n".join(lines))
    assert run("evaluate", "tables/pairs.csv", "-o", "out") == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["a", "b"]
    assert err == ""
    assert "another grid" not in (study / "out/evaluation.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ours"], "ours: only one path; expected PREDICTIONS and REFERENCES"),
        (["ours", "ours/", "refs"], "a second method named ours"),
        (["t.tsv", "--images", "heads"], "--images with a table"),
    ],
)
def test_inconsistent_paths_exit_with_2(study, capsys, args, message):
    assert run("evaluate", *args) == 2
    assert message in capsys.readouterr().err


def test_missing_paths_exit_with_2(capsys):
    assert run("evaluate") == 2
    assert "the following arguments are required: PATH" in capsys.readouterr().err


def test_quiet_writes_files_and_prints_nothing(study, capsys):
    assert run("evaluate", "ours", "refs", "-o", "deep/out", "-q") == 0
    assert capsys.readouterr() == ("", "")
    names = ["evaluation.html", "evaluation.json", "evaluation.tsv"]
    assert sorted(path.name for path in (study / "deep/out").iterdir()) == names


def test_the_same_masks_give_the_same_files(study):
    for out in ("one", "two"):
        run("evaluate", "ours", "refs", "-o", out, "-q")
    assert list_files(study / "one") == list_files(study / "two")


def test_masks_in_different_stored_orientations_are_compared(study, capsys):
    path = study / "bet/sub-01_T1w_brain_mask.nii.gz"
    turned = reorient(nib.load(path), "LSP")
    nib.save(turned, study / "turned.nii.gz")
    assert run("evaluate", "turned.nii.gz", "refs/sub-01_T1w_reference.nii.gz") == 0
    assert "0.9796" in capsys.readouterr().out


MOVED = AFFINE.copy()
MOVED[0, 3] += 2.5
COARSE = np.diag([5.0, 4, 4, 1])
WRONG = [
    ("shape", REFERENCE[:-1], AFFINE, "shape 39 x 48 x 44 in RAS order, but that of"),
    ("moved", REFERENCE, MOVED, "corners 2.5 to 2.5 mm away from those of"),
    ("coarse", REFERENCE, COARSE, "voxels of 5 x 4 x 4 mm, but those of"),
    ("four", np.stack([REFERENCE] * 2, -1), AFFINE, "expected a 3D mask"),
]


@pytest.mark.parametrize(("name", "mask", "affine", "message"), WRONG)
def test_the_error_for_another_grid_describes_the_difference(
    study, capsys, name, mask, affine, message
):
    save(mask, study / f"{name}.nii.gz", affine)
    assert run("evaluate", f"{name}.nii.gz", "refs/sub-01_T1w_reference.nii.gz", "-q") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"deskull: error: {name}.nii.gz: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_pair_that_cannot_be_compared_does_not_stop_the_others(study, capsys):
    save(REFERENCE[1:], study / "ours/sub-02_T1w_mask.nii.gz")
    (study / "ours/sub-03_T1w_mask.nii.gz").write_bytes(b"nothing")
    assert run("evaluate", "ours", "refs", "-o", "out") == 1
    out, err = capsys.readouterr()
    assert "sub-02_T1w_mask.nii.gz: shape 39 x 48 x 44" in err
    assert "2 of 3 pairs could not be compared" in err
    assert out.splitlines()[1].split()[:3] == ["ours", "1", "0.9388"]
    rows = read_rows(study / "out/evaluation.tsv")
    assert [row["dice"] for row in rows] == ["0.938776", "n/a", "n/a"]
    assert "starts with b'nothing'" in rows[2]["error"]
    assert "starts with" in (study / "out/evaluation.html").read_text("utf-8")


def test_no_comparable_pair_is_one_line_and_no_file(study, capsys):
    for number in (1, 2, 3):
        save(REFERENCE[1:], study / f"ours/sub-0{number}_T1w_mask.nii.gz")
    assert run("evaluate", "ours", "refs", "-o", "out") == 1
    out, err = capsys.readouterr()
    message = (
        "deskull: error: none of 3 pairs could be compared; the first: sub-01_T1w_mask.nii.gz"
    )
    assert err.startswith(message)
    assert (out, err.count("\n")) == ("", 1)
    assert not (study / "out").exists()


def test_a_method_without_comparable_pairs_has_no_numbers(study, capsys):
    for number in (1, 2):
        save(REFERENCE[1:], study / f"bet/sub-0{number}_T1w_brain_mask.nii.gz")
    assert run("evaluate", "ours", "bet", "refs", "-o", "out") == 1
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ["bet", "0", "–"]
    page = (study / "out/evaluation.html").read_text("utf-8")
    assert "5 masks of 3 scans by 2 methods. 2 could not be compared." in page


@pytest.mark.parametrize("low", [0, -3])
def test_a_scan_or_brain_given_as_a_mask_is_an_error(study, capsys, low):
    noise = np.random.default_rng(0).normal(100, 5, SHAPE)
    nib.Nifti1Image(np.where(REFERENCE, noise, low), AFFINE).to_filename(study / "brain.nii")
    assert run("evaluate", "brain.nii", "refs/sub-01_T1w_reference.nii.gz") == 1
    assert "a scan or a brain, not its mask; expected 0 and 1" in capsys.readouterr().err


def test_an_empty_mask_is_compared(study, capsys):
    save(np.zeros(SHAPE), study / "ours/sub-01_T1w_mask.nii.gz")
    assert run("evaluate", "ours", "refs", "-o", "out") == 0
    assert "worst of ours: sub-01_T1w 0.0000" in capsys.readouterr().out
    assert read_rows(study / "out/evaluation.tsv")[0]["hd95_mm"] == "n/a"


@pytest.mark.parametrize("prediction", ["refs", "refs/sub-01_T1w_reference.nii.gz", "linked"])
def test_a_mask_is_not_compared_with_itself(study, capsys, prediction):
    (study / "linked").symlink_to("refs")
    reference = "refs" if prediction == "linked" else prediction
    assert run("evaluate", prediction, reference) == 1
    out, err = capsys.readouterr()
    assert "prediction and reference are the same file; expected two. " in err
    assert "1.0000" not in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope.tsv"], "nope.tsv: cannot be read"),
        (["nope", "refs"], "nope: no such file or folder"),
        (["ours", "nope"], "nope: no such file or folder"),
        (["ours", "refs", "--images", "nope"], "nope: no such file or folder"),
        (["ours", "refs", "-o", "ours/sub-01_T1w_mask.nii.gz/x"], "is a file, and no f"),
        (["evaluation.tsv", "-o", "."], "it is an input, and an input is never replaced"),
    ],
)
def test_wrong_arguments_are_errors_and_nothing_is_written(study, capsys, args, message):
    pair = f"prediction\treference\n{'ours/sub-01_T1w_mask.nii.gz'}\trefs/sub-01_T1w_reference\n"
    (study / "evaluation.tsv").write_text(pair)
    before = list_files(study)
    assert run("evaluate", *args) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study) == before


@pytest.mark.skipif(os.name != "posix", reason="names of files are text there")
def test_names_that_are_not_unicode_are_written_to_every_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9_mask.nii.gz")
    try:
        for folder in ("ours", "refs"):
            save(REFERENCE, tmp_path / folder / "x.nii.gz").rename(tmp_path / folder / name)
    except OSError:
        pytest.skip("this file system has no such names")
    assert run("evaluate", "ours", "refs", "-o", "out", "-q") == 0
    assert b"caf\xe9" in (tmp_path / "out/evaluation.tsv").read_bytes()
    worst = json.loads((tmp_path / "out/evaluation.json").read_bytes())["methods"][0]["worst"]
    assert os.fsencode(worst[0]["scan"]) == b"caf\xe9"
