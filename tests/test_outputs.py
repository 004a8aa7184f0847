"""What the command line writes: known answers for every output and option, 3D and 4D."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ball import (
    ALONE,
    BRAIN_MM,
    HEAD,
    TISSUE_MM,
    ball,
    ball_ml,
    list_files,
    load,
    place,
    read_json,
    run,
)
from deskull.image.writing import save_image
from deskull.network.weights import load_weights
from deskull.stripper import Stripper

__all__ = ["ball", "place"]


def strip_to(place, name, *arguments):
    """Array of one output, named by its option."""
    file = place / ALONE[name]
    assert run("scan.nii.gz", name, file, *arguments) == 0
    return load(file)


def test_the_brain_is_the_scan_within_the_mask(place):
    brain, mask = strip_to(place, "-o"), strip_to(place, "-m")
    np.testing.assert_array_equal(brain, np.where(mask, load(place / "scan.nii.gz"), 0))


def test_fill_is_the_value_outside_of_the_brain(place):
    brain, mask = strip_to(place, "-o", "--fill", "-7.5"), strip_to(place, "-m")
    assert set(brain[mask == 0]) == {-7.5}


def test_the_brain_keeps_the_stored_type(place):
    save_image(nib.Nifti1Image(np.asarray(HEAD.dataobj).astype(">i2"), HEAD.affine), "scan.nii.gz")
    assert strip_to(place, "-o").dtype.newbyteorder("=") == np.int16
    assert strip_to(place, "-m").dtype == np.uint8


@pytest.mark.parametrize(
    ("arguments", "radius"),
    [
        ("", BRAIN_MM),
        ("--no-csf", TISSUE_MM),
        ("-b 8", BRAIN_MM + 8),
        ("--border=-8.5", BRAIN_MM - 8.5),
        ("-b -12", BRAIN_MM - 12),
        ("--threshold 0.9", BRAIN_MM - np.log(9)),
        ("--threshold 0.1", BRAIN_MM + np.log(9)),
    ],
)
def test_the_mask_is_the_ball_of_the_radius_requested(place, arguments, radius):
    ml = strip_to(place, "-m", *arguments.split()).sum() * 0.064
    assert (ml / ball_ml(1)) ** (1 / 3) == pytest.approx(radius, abs=1.5)


def test_the_distance_is_in_mm_from_the_final_masks_surface(place):
    distance, mask = strip_to(place, "-d", "-b", "8"), strip_to(place, "-m", "-b", "8")
    nearest = np.sqrt(12)  # mm from the ball's middle to the nearest voxel
    assert distance.min() == pytest.approx(-BRAIN_MM - 8 + nearest, abs=2)
    np.testing.assert_array_equal(distance < 0, mask == 1)


def test_the_probability_is_one_half_at_the_balls_radius(place):
    probability = strip_to(place, "-p")
    assert probability.min() == pytest.approx(0, abs=1e-3)
    assert probability[20, 24, 22] == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(probability >= 0.5, strip_to(place, "-m"))


def test_corrected_is_the_same_as_a_step_and_as_an_afterthought(place):
    late, early = strip_to(place, "-c"), strip_to(place, "-c", "--n4")
    np.testing.assert_array_equal(late, early)
    np.testing.assert_allclose(late, load(place / "scan.nii.gz") / 2, atol=5)


def test_the_picture_is_a_png(place):
    assert run("scan.nii.gz", "--picture", "look.png") == 0
    with Image.open(place / "look.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1600


@pytest.mark.parametrize(("arguments", "first"), [([], "01_locate"), (["--n4"], "01_n4")])
def test_steps_are_images_in_their_order(place, arguments, first):
    assert run("scan.nii.gz", "--steps", "new/steps", *arguments) == 0
    names = sorted(path.name for path in (place / "new/steps").iterdir())
    assert names[0] == f"{first}.nii.gz"
    assert {name[3:] for name in names} >= {
        "conformed.nii.gz",
        "normalised.nii.gz",
        "probability.nii.gz",
        "mask_raw.nii.gz",
    }
    assert all(load(place / "new/steps" / name).ndim == 3 for name in names)
    assert not (place / "scan_brain.nii.gz").exists()


def test_the_record_holds_what_was_done_and_names_file_and_hash_alone(tmp_path, ball):
    folder = tmp_path / "Doe_Jane"
    folder.mkdir()
    scan = folder / "s1.nii.gz"
    head = nib.Nifti1Image(np.asarray(HEAD.dataobj), HEAD.affine)
    head.header["descrip"] = b"Doe^Jane"
    save_image(head, scan)
    arguments = ["-b", "8", "-f", "3", "-t", "1", "--no-csf", "--n4"]
    assert run(scan, "--record", folder / "r.json", *arguments) == 0
    record = read_json(folder / "r.json")
    assert record["schema"] == 1
    assert record["input"]["path"] == "s1.nii.gz"
    assert record["input"]["sha256"] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert record["weights"] == {"name": "default", "sha256": load_weights().digest}
    assert record["runtime"] == Stripper.load().runtime
    chosen = {"threshold": 0.5, "border": 8.0, "csf": False, "fill": 3.0}
    assert chosen.items() <= record["settings"].items()
    assert record["settings"]["n4"]["shrink"] >= 1
    assert record["threads"] == 1
    assert record["flags"] == []
    assert record["volume_ml"] == pytest.approx(ball_ml(TISSUE_MM + 8), rel=0.05)
    assert set(record["seconds"]) >= {"n4", "locate", "segment"}
    assert min(record["seconds"].values()) >= 0
    text = (folder / "r.json").read_text("utf-8")
    assert [word for word in ("Doe", "Jane", str(tmp_path)) if word in text] == []


def test_a_fill_that_json_has_no_number_for_is_a_word_in_the_record(place):
    assert run("scan.nii.gz", "--record", "r.json", "--fill", "nan") == 0
    text = (place / "r.json").read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["settings"]["fill"] == "nan"


# --- frames


@pytest.fixture
def series(place):
    """A head that moves up by 4 mm per frame, int16."""
    head = np.asarray(HEAD.dataobj)
    frames = np.stack([np.roll(head, n, axis=2) for n in range(3)], axis=-1)
    save_image(nib.Nifti1Image(frames.astype(np.int16), HEAD.affine), place / "bold.nii.gz")
    return place


def middle(mask):
    return np.argwhere(mask).mean(axis=0)[2]


def test_one_frame_gives_3d_outputs_of_that_frame(series):
    assert run("bold.nii.gz", "out.nii", "-m", "m.nii", "--record", "r.json", "--frame", "2") == 0
    brain, mask = load(series / "out.nii"), load(series / "m.nii")
    np.testing.assert_array_equal(brain, load(series / "bold.nii.gz")[..., 2] * mask)
    assert middle(mask) == pytest.approx((HEAD.shape[2] - 1) / 2 + 2, abs=0.5)
    assert read_json(series / "r.json")["input"]["frame"] == 2


def test_all_frames_give_4d_outputs_each_with_its_own_mask(series):
    arguments = [word for pair in ALONE.items() for word in pair]
    assert run("bold.nii.gz", "--frame", "all", *arguments) == 0
    scan, brain, mask = (load(series / n) for n in ("bold.nii.gz", ALONE["-o"], ALONE["-m"]))
    np.testing.assert_array_equal(brain, scan * mask)
    assert brain.dtype == scan.dtype
    for option in ("-m", "-p", "-d", "-c"):
        assert load(series / ALONE[option]).shape == scan.shape
    middles = [middle(mask[..., n]) for n in range(3)]
    assert np.diff(middles) == pytest.approx([1, 1], abs=0.4)
    inputs = [record["input"] for record in read_json(series / "r.json")]
    assert [one["frame"] for one in inputs] == [0, 1, 2]
    assert {one["path"] for one in inputs} == {"bold.nii.gz"}
    assert len({one["sha256"] for one in inputs}) == 1


def test_all_frames_are_what_each_frame_is_alone(series):
    assert run("bold.nii.gz", "--frame", "all", "-d", "all.nii", "-m", "all_m.nii") == 0
    for number in range(3):
        assert run("bold.nii.gz", "--frame", number, "-d", "one.nii", "-m", "one_m.nii") == 0
        for kind in ("", "_m"):
            whole, one = load(series / f"all{kind}.nii"), load(series / f"one{kind}.nii")
            np.testing.assert_array_equal(whole[..., number], one)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    ("value", "message"), [(0, "is 0"), (7, "is 7"), (np.nan, "is NaN or inf")]
)
def test_a_dead_frame_costs_itself_alone_and_is_named(series, capsys, number, value, message):
    data = load(series / "bold.nii.gz").astype(np.float32)
    alive = [n for n in range(3) if n != number]
    data[..., number] = value
    save_image(nib.Nifti1Image(data, HEAD.affine), series / "bold.nii.gz")
    arguments = [word for pair in ALONE.items() for word in pair]
    assert run("bold.nii.gz", "--frame", "all", *arguments) == 0
    doubts = [line for line in capsys.readouterr().err.splitlines() if "no-brain" in line]
    assert doubts == [
        f"deskull: bold.nii.gz: no-brain: bold.nii.gz, frame {number}: every voxel "
        f"{message}{'inite' if message.endswith('inf') else ''}; expected a head. "
        f"(frame {number}; 1 of 3 frames)"
    ]
    mask, brain, distance = (load(series / ALONE[o])[..., number] for o in ("-m", "-o", "-d"))
    assert not mask.any()
    assert not brain.any()
    assert np.isnan(distance).all()
    records = read_json(series / "r.json")
    assert records[number]["volume_ml"] is None
    assert records[number]["score"] == 0
    assert [records[n]["flags"] for n in alive] == [[], []]
    for n in alive:
        assert run("bold.nii.gz", "--frame", n, "-d", "one.nii", "-m", "one_m.nii", "-q") == 0
        for option, one in (("-d", "one.nii"), ("-m", "one_m.nii")):
            np.testing.assert_array_equal(load(series / ALONE[option])[..., n], load(series / one))


def test_a_series_without_a_head_is_named_and_nothing_is_written(series, capsys):
    data = np.zeros((*HEAD.shape, 3), np.int16) + np.array([7, 8, 9], np.int16)
    save_image(nib.Nifti1Image(data, HEAD.affine), series / "bold.nii.gz")
    before = list_files(series)
    assert run("bold.nii.gz", "--frame", "all") == 1
    assert "bold.nii.gz, frame 0: every voxel is 7" in capsys.readouterr().err
    assert list_files(series) == before


def test_a_doubt_about_many_frames_is_said_once(series, capsys):
    data = load(series / "bold.nii.gz").astype(np.float32)
    data[0, 0, 0, 1:] = np.nan
    save_image(nib.Nifti1Image(data, HEAD.affine), series / "bold.nii.gz")
    assert run("bold.nii.gz", "--frame", "all") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("deskull: bold.nii.gz: not-finite: 1 voxel is")
    assert lines[0].endswith("(frames 1, 2; 2 of 3 frames)")


@pytest.mark.parametrize("arguments", [[], ["--frame", "0"], ["--frame", "all"]])
def test_trailing_axes_of_length_one_are_dropped(place, arguments):
    data = np.asarray(HEAD.dataobj)[..., None, None]
    save_image(nib.Nifti1Image(data, HEAD.affine), place / "scan.nii.gz")
    assert run("scan.nii.gz", "out.nii", "-m", "m.nii", *arguments) == 0
    assert load(place / "out.nii").shape == load(place / "m.nii").shape == HEAD.shape
