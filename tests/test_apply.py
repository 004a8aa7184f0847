"""One mask put on other images: any grid, any number of frames, headers kept."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, list_files, run
from deskull.image.writing import save_image
from deskull.measure.metrics import dice
from dicom_files import AFFINE as DICOM_AFFINE
from dicom_files import HEAD as DICOM_HEAD
from dicom_files import write_series

DATA = np.asarray(HEAD.dataobj).astype(np.int16)
RADIUS = 60.0


def make_ball(shape, affine):
    """Voxels within 60 mm of the origin."""
    index = np.indices(shape).reshape(3, -1)
    mm = affine[:3, :3] @ index + affine[:3, 3:]
    return (np.sqrt((mm**2).sum(axis=0)) <= RADIUS).reshape(shape)


BALL = make_ball(DATA.shape, HEAD.affine)
TURN = np.eye(4)
TURN[:2, :2] = [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]
FINE = np.diag([2.0, 2.0, 2.5, 1.0])
FINE[:3, 3] = [-70, -80, -75]
GRIDS = {
    "finer": ((70, 80, 60), FINE),
    "flipped": ((70, 80, 60), np.diag([-1.0, -1.0, 1.0, 1.0]) @ FINE),
    "turned": ((70, 80, 60), TURN @ FINE),
    "thick slices": ((50, 60, 20), np.array([[3, 0, 0, -73], [0, 3, 0, -88], [0, 0, 8, -76.0]])),
    "half a field": ((35, 80, 60), FINE),
}


def load(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in a folder with a scan and its mask."""
    monkeypatch.chdir(tmp_path)
    image = nib.Nifti1Image(DATA, HEAD.affine)
    image.header["descrip"] = b"kept"
    save_image(image, tmp_path / "t1.nii.gz")
    save_image(nib.Nifti1Image(BALL.astype(np.uint8), HEAD.affine), tmp_path / "mask.nii.gz")
    return tmp_path


def test_on_the_same_grid_the_image_stays_within_the_mask(place):
    assert run("apply", "mask.nii.gz", "t1.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "t1_brain.nii.gz"), DATA * BALL)


def test_a_mask_may_be_nan_outside(place):
    holed = np.where(BALL, 1, np.nan).astype(np.float32)
    save_image(nib.Nifti1Image(holed, HEAD.affine), place / "holed.nii.gz")
    assert run("apply", "holed.nii.gz", "t1.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "t1_brain.nii.gz"), DATA * BALL)


def test_a_mask_of_the_whole_field_is_applied_on_another_grid(place):
    full = np.where(BALL, 1, 0.8).astype(np.float32)
    save_image(nib.Nifti1Image(full, HEAD.affine), place / "full.nii.gz")
    moved = HEAD.affine.copy()
    moved[:3, 3] += 0.7
    save_image(nib.Nifti1Image(DATA, moved), place / "t2.nii.gz")
    assert run("apply", "full.nii.gz", "t2.nii.gz") == 0
    inner = (slice(1, -1),) * 3
    np.testing.assert_array_equal(load(place / "t2_brain.nii.gz")[inner], DATA[inner])


def test_a_series_is_judged_by_its_first_frame_with_contrast(place, caplog):
    frames = np.stack([0 * DATA, DATA, DATA], -1)
    save_image(nib.Nifti1Image(frames, HEAD.affine), place / "bold.nii.gz")
    assert run("apply", "mask.nii.gz", "bold.nii.gz", "-o", "a.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "a.nii.gz"), frames * BALL[..., None])
    doubts = [line.split(": ", 1)[1] for line in caplog.messages]
    caplog.clear()
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "-o", "b.nii.gz") == 0
    assert [line.split(": ", 1)[1] for line in caplog.messages] == doubts


@pytest.mark.parametrize("shape", [DATA.shape, (*DATA.shape, 2)])
def test_an_empty_map_is_written_and_not_judged(place, shape, caplog):
    save_image(nib.Nifti1Image(np.zeros(shape, np.uint8), HEAD.affine), place / "lesion.nii.gz")
    assert run("apply", "mask.nii.gz", "lesion.nii.gz") == 0
    assert load(place / "lesion_brain.nii.gz").shape == shape
    assert caplog.messages == []


def test_the_header_is_kept_byte_for_byte(place):
    assert run("apply", "mask.nii.gz", "t1.nii.gz") == 0
    before, after = (
        gzip.decompress((place / name).read_bytes())[:352]
        for name in ("t1.nii.gz", "t1_brain.nii.gz")
    )
    assert before == after


@pytest.mark.parametrize("name", GRIDS)
def test_on_another_grid_the_mask_is_the_same_ball(place, name):
    shape, affine = GRIDS[name]
    affine = np.vstack([affine[:3], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.ones(shape, np.float32), affine)
    image.dataobj[0, 0, 0] = 2
    save_image(image, place / "t2.nii.gz")
    assert run("apply", "mask.nii.gz", "t2.nii.gz") == 0
    found = load(place / "t2_brain.nii.gz") > 0
    assert dice(found, make_ball(shape, affine)) > 0.975


def test_all_frames_get_the_mask(place):
    frames = np.stack([DATA, DATA + 1, DATA + 2], -1)
    save_image(nib.Nifti1Image(frames, HEAD.affine), place / "bold.nii.gz")
    assert run("apply", "mask.nii.gz", "bold.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "bold_brain.nii.gz"), frames * BALL[..., None])


def test_one_mask_is_applied_to_several_images(place):
    save_image(HEAD, place / "t2.nii")
    before = list_files(place)
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "t2.nii") == 0
    assert list_files(place).keys() - before.keys() == {"t1_brain.nii.gz", "t2_brain.nii.gz"}


def test_out_names_the_output(place):
    before = list_files(place)
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "-o", "out.mgz") == 0
    assert list_files(place).keys() - before.keys() == {"out.mgz"}


def test_fill_is_the_value_outside(place):
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "-f", "-3") == 0
    assert set(load(place / "t1_brain.nii.gz")[~BALL]) == {-3}


@pytest.mark.parametrize(
    "mask",
    [
        BALL * np.uint8(255),
        np.where(BALL, 0.51, 0.49),
        np.where(BALL, 1.04, -0.04),
        np.where(BALL, 1, np.nan),
    ],
    ids=["255", "probability", "spline", "nan"],
)
def test_a_mask_may_be_stored_in_many_ways(place, mask):
    mask[0, 0, 0] = 0
    save_image(nib.Nifti1Image(mask, HEAD.affine), place / "mask.nii.gz")
    assert run("apply", "mask.nii.gz", "t1.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "t1_brain.nii.gz"), DATA * BALL)


def move(by):
    """Write the mask again, as if it lay elsewhere."""
    affine = HEAD.affine.copy()
    affine[:3, 3] += by
    save_image(nib.Nifti1Image(BALL.astype(np.uint8), affine), "mask.nii.gz")


def test_a_mask_that_fits_prints_nothing(place, capsys):
    assert run("apply", "mask.nii.gz", "t1.nii.gz") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("by", "doubt"), [([0, 24, 0], "misplaced: The mask lies about"), ([0, 0, 90], "far-apart: ")]
)
def test_a_mask_that_cannot_be_of_this_head_is_a_doubt(place, capsys, by, doubt):
    move(by)
    assert run("apply", "mask.nii.gz", "t1.nii.gz") == 0
    err = capsys.readouterr().err
    assert f"deskull: t1.nii.gz: {doubt}" in err
    assert "deskull: t1.nii.gz: low score: " in err
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "-q") == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def crowd(place):
    """More files to trip over."""
    mask = BALL.astype(np.uint8)
    far = HEAD.affine.copy()
    far[0, 3] += 1000
    save_image(nib.Nifti1Image(DATA, far), place / "far.nii.gz")
    save_image(nib.Nifti1Image(np.stack([mask, mask], -1), HEAD.affine), place / "frames.nii.gz")
    save_image(nib.Nifti1Image(mask * 0, HEAD.affine), place / "empty.nii.gz")
    save_image(nib.Nifti1Image(np.where(BALL, -9.0, 9.0), HEAD.affine), place / "distance.nii.gz")
    save_image(nib.Nifti1Image(DATA, HEAD.affine), place / "t1.nii")
    (place / "text.nii.gz").write_text("hello")
    return place


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mask.nii.gz nope.nii.gz", "nope.nii.gz: no such file."),
        ("nope.nii.gz t1.nii.gz", "nope.nii.gz: no such file."),
        ("nope/mask.nii.gz t1.nii.gz", "nope/mask.nii.gz: no such file."),
        ("mask.nii.gz nope/t1.nii.gz", "nope/t1.nii.gz: no such file."),
        ("mask.nii.gz text.nii.gz", "text.nii.gz: not an image"),
        ("mask.nii.gz t1.nii.gz text.nii.gz", "text.nii.gz: not an image"),
        ("mask.nii.gz t1.nii.gz -o t1.nii.gz", "it is an input"),
        ("mask.nii.gz t1.nii.gz -o mask.nii.gz", "it is an input"),
        ("mask.nii.gz t1.nii.gz -o t1.nii/x.nii.gz", "t1.nii is a file, and no folder"),
        ("mask.nii.gz t1.nii.gz -o out.txt", "cannot write this kind of file"),
        ("mask.nii.gz t1.nii.gz t1.nii.gz", "requested as brain of t1.nii.gz and as brain of t1"),
        ("mask.nii.gz t1.nii.gz ./t1.nii", "requested as brain of t1.nii.gz and as brain of t1"),
        (
            "mask.nii.gz far.nii.gz",
            "no brain within the field of far.nii.gz. Check that the two are co-reg",
        ),
        ("mask.nii.gz t1.nii.gz far.nii.gz", "their centres lie 1000 mm apart."),
        ("t1.nii.gz mask.nii.gz", "t1.nii.gz: not a mask, its values range from"),
        (
            "distance.nii.gz t1.nii.gz",
            "not a mask, its values range from -9 to 9; expected 0 and 1",
        ),
        ("frames.nii.gz t1.nii.gz", "frames.nii.gz: a mask of 2 frames; expected a 3D mask."),
        ("empty.nii.gz t1.nii.gz", "empty.nii.gz: every voxel is 0"),
        ("mask.nii.gz t1.nii.gz -f nan", "fill nan: the image stores int16"),
    ],
)
def test_refuses(crowd, capsys, arguments, message):
    before = list_files(crowd)
    assert run("apply", *arguments.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deskull: error: ")
    assert err.count("\n") == 1
    assert "internal error of deskull" not in err
    assert message in err
    assert list_files(crowd) == before


def test_one_name_for_two_outputs_is_wrong_use(crowd, capsys):
    assert run("apply", "mask.nii.gz", "t1.nii.gz", "far.nii.gz", "-o", "out.nii") == 2
    assert "-o out.nii: names one file, but 2 images" in capsys.readouterr().err


def test_one_series_of_dicom_is_chosen(place, capsys):
    for series in (3, 7):
        write_series(place / "dicom", series=series, head=DICOM_HEAD + series)
    mask = np.ones(DICOM_HEAD.shape, np.uint8)
    mask[0] = 0
    save_image(nib.Nifti1Image(mask, DICOM_AFFINE), place / "mask.nii.gz")
    command = ["apply", "mask.nii.gz", "dicom", "--series", "7"]
    assert run(*command, "-o", "brain.nii.gz") == 0
    np.testing.assert_array_equal(load(place / "brain.nii.gz"), (DICOM_HEAD + 7) * mask)
    assert run(*command, "t1.nii.gz") == 2
    assert "--series 7: of one image, but 2 were given" in capsys.readouterr().err
