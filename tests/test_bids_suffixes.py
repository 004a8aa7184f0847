"""The BIDS App on contrasts other than T1w: MP2RAGE, series of frames, suffixes of any kind."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, load, read_json
from bids_study import app, study
from deskull.cohort.bids import make_bids_plan
from deskull.cohort.bids_images import Choice
from deskull.errors import InputError
from deskull.image.bids_names import BIDS_SUFFIXES
from studies import write_scan

__all__ = ["ball", "study"]
FRAMES = np.asarray(HEAD.dataobj)[..., None] * np.array([1.0, 3.0, 0.0, 5.0])
SERIES = nib.Nifti1Image(FRAMES.astype(np.float32), HEAD.affine)


def find(*suffixes, **choice):
    """List the images that are stripped, with those that share their mask."""
    plan = make_bids_plan("raw", "out", Choice(suffixes, ("03",), **choice))
    return {task.scan.name: [other.scan.name for other in task.others] for task in plan}


def write(*names, image=HEAD):
    for name in names:
        write_scan(Path("raw/sub-03", name), image)


@pytest.mark.parametrize(
    ("suffix", "folder"),
    [
        *((suffix, "anat") for suffix in ("MEGRE", "MESE", "PDT2", "PDw", "T2star", "T2starw")),
        *(("angio", "anat"), ("bold", "func"), ("sbref", "func"), ("epi", "fmap")),
        *(("dwi", "dwi"), ("asl", "perf"), ("m0scan", "perf"), ("myown", "anat")),
    ],
)
def test_images_of_any_suffix_are_stripped(study, caplog, suffix, folder):
    write(f"{folder}/sub-03_{suffix}.nii.gz")
    assert app("--suffix", suffix, "--participant-label", "03") == 0
    assert Path(f"out/sub-03/{folder}/sub-03_desc-brain{suffix}_mask.nii.gz").exists()
    assert Path(f"out/sub-03/{folder}/sub-03_desc-brain_{suffix}.nii.gz").exists()
    message = "suffix myown: unknown to deskull; images with that suffix are stripped nevertheless"
    assert (message in caplog.messages) is (suffix not in BIDS_SUFFIXES)


def test_suffixes_may_be_written_in_lower_case(study):
    write("anat/sub-03_FLAIR.nii.gz")
    assert list(find("flair")) == ["sub-03_FLAIR.nii.gz"]


def test_images_of_different_folders_have_different_outputs(study):
    write("func/sub-03_sbref.nii.gz", "dwi/sub-03_sbref.nii.gz")
    assert app("--suffix", "sbref", "--participant-label", "03") == 0
    assert len(list(Path("out/logs/sub-03").rglob("*_record.json"))) == 2


# --- MP2RAGE

INV1 = "sub-03_inv-1_part-mag_MP2RAGE.nii.gz"
INV2 = "sub-03_inv-2_part-mag_MP2RAGE.nii.gz"
PHASE = "sub-03_inv-2_part-phase_MP2RAGE.nii.gz"
UNI = "sub-03_UNIT1.nii.gz"
OTHER = "sub-03_acq-b_UNIT1.nii.gz"


@pytest.mark.parametrize(
    ("suffixes", "choice", "wanted"),
    [
        (["MP2RAGE"], {}, {INV2: [INV1]}),
        (["UNIT1"], {}, {INV2: [UNI], OTHER: []}),
        (["MP2RAGE", "UNIT1"], {}, {INV2: [UNI, INV1], OTHER: []}),
        (["MP2RAGE"], {"mp2rage": "UNIT1"}, {UNI: [INV1, INV2]}),
        (["UNIT1"], {"mp2rage": "UNIT1"}, {UNI: [], OTHER: []}),
        (["T1w"], {"filters": {"T1w": {"suffix": "UNIT1"}}}, {INV2: [UNI], OTHER: []}),
    ],
)
def test_the_mask_of_mp2rage_is_made_from_the_second_inversion_or_the_requested_image(
    study, suffixes, choice, wanted
):
    write(*(f"anat/{name}" for name in (INV1, INV2, PHASE, UNI, OTHER)))
    found = find(*suffixes, **choice)
    assert {name: sorted(others) for name, others in found.items()} == {
        name: sorted(others) for name, others in wanted.items()
    }


def test_without_the_second_inversion_the_other_image_is_stripped(study):
    write(f"anat/{UNI}", f"anat/{INV1}", f"anat/{PHASE}")
    assert find("MP2RAGE", "UNIT1") == {UNI: [INV1]}
    assert find("UNIT1") == {UNI: []}


def test_the_sidecars_of_mp2rage_masks_name_their_source(study):
    write(f"anat/{INV2}", f"anat/{UNI}")
    assert app("--suffix", "UNIT1", "--participant-label", "03") == 0
    fields = read_json(Path("out/sub-03/anat/sub-03_desc-brainUNIT1_mask.json"))
    assert fields["Sources"] == [
        f"bids:raw:sub-03/anat/{UNI}",
        "bids::sub-03/anat/sub-03_inv-2_part-mag_desc-brainMP2RAGE_mask.nii.gz",
    ]
    assert read_json(Path("out/logs/sub-03/sub-03_UNIT1_record.json"))["mask_of"] == INV2


@pytest.mark.parametrize(("mp2rage", "giver"), [("inv-2", INV2), ("UNIT1", UNI)])
def test_one_mask_of_an_mp2rage_session_is_made_from_the_requested_image(study, mp2rage, giver):
    write(f"anat/{INV1}", f"anat/{INV2}", f"anat/{UNI}")
    choice = Choice(("MP2RAGE", "UNIT1"), ("03",), mp2rage=mp2rage)
    (task,) = make_bids_plan("raw", "out", choice, one_mask=True)
    assert task.scan.name == giver


# --- series


def write_bvals(text, name="sub-03_dwi"):
    Path(f"raw/sub-03/dwi/{name}.bval").write_text(text)


def find_gain(image):
    """How much brighter than `HEAD`, which the N4 of these tests halves; it adds a constant."""
    return np.polyfit(np.asarray(HEAD.dataobj).ravel(), image.ravel(), 1)[0]


@pytest.mark.parametrize("folder", ["func", "perf"])
def test_the_mean_of_a_series_gives_the_mask_of_all_frames(study, folder):
    suffix = {"func": "bold", "perf": "asl"}[folder]
    write(f"{folder}/sub-03_{suffix}.nii.gz", image=SERIES)
    args = ["--outputs", "brain", "mask", "probability", "corrected"]
    assert app("--suffix", suffix, "--participant-label", "03", *args) == 0
    start = f"out/sub-03/{folder}/sub-03_"
    mask = load(Path(f"{start}desc-brain{suffix}_mask.nii.gz"))
    brain = load(Path(f"{start}desc-brain_{suffix}.nii.gz"))
    assert (mask.shape, brain.shape) == (HEAD.shape, FRAMES.shape)
    np.testing.assert_array_equal(brain, FRAMES.astype(np.float32) * mask[..., None])
    corrected = load(Path(f"{start}desc-biascorr_{suffix}.nii.gz"))
    assert find_gain(corrected) == pytest.approx(3 / 2, rel=1e-3)
    record = read_json(Path(f"out/logs/sub-03/{folder}/sub-03_{suffix}_record.json"))
    assert record["input"]["notes"] == [
        "the mean of 3 of 4 frames",
        f"left out, 1 in all: sub-03_{suffix}.nii.gz, frame 2: every voxel is 0; expected a head.",
    ]
    fields = read_json(Path(f"{start}desc-brain{suffix}_mask.json"))
    assert fields["Description"].endswith("; made from the mean of all frames of the series")


@pytest.mark.parametrize(
    ("bvals", "frames", "gain"),
    [
        ("1000 0 1000 5", [1, 3], 4),
        (None, [0], 1),
        ("1000 x", [0], 1),
        ("900 900 900 900", [0], 1),
    ],
)
def test_the_b0_frames_of_a_diffusion_series_are_stripped(study, bvals, frames, gain):
    write("dwi/sub-03_dwi.nii.gz", image=SERIES)
    if bvals is not None:
        write_bvals(bvals)
    args = ["--outputs", "corrected", "mask"]
    assert app("--suffix", "dwi", "--participant-label", "03", *args) == 0
    corrected = load(Path("out/sub-03/dwi/sub-03_desc-biascorr_dwi.nii.gz"))
    assert find_gain(corrected) == pytest.approx(gain / 2, rel=1e-3)
    text = read_json(Path("out/sub-03/dwi/sub-03_desc-braindwi_mask.json"))["Description"]
    numbers = ", ".join(map(str, frames))
    assert text.endswith(f"from the mean of frames {numbers} of the series")


def test_a_requested_frame_replaces_the_mean(study):
    write("func/sub-03_bold.nii.gz", image=SERIES)
    assert app("--suffix", "bold", "--participant-label", "03", "--frame", "3") == 0
    brain = load(Path("out/sub-03/func/sub-03_desc-brain_bold.nii.gz"))
    assert brain.shape == HEAD.shape
    np.testing.assert_array_equal(brain[brain != 0], FRAMES[..., 3][brain != 0].astype("f4"))


def test_a_series_without_a_head_in_any_frame_fails_with_the_reason(study, capsys):
    write("func/sub-03_bold.nii.gz", image=nib.Nifti1Image(0 * FRAMES, HEAD.affine))
    assert app("--suffix", "bold", "--participant-label", "03") == 1
    assert (
        "sub-03_bold.nii.gz, frame 0: every voxel is 0; expected a head."
        in capsys.readouterr().err
    )


def test_an_anatomical_image_of_several_frames_is_an_error(study, capsys):
    write("anat/sub-03_T1w.nii.gz", image=SERIES)
    assert app("--participant-label", "03") == 1
    assert "Choose one with --frame N (0 to 3)." in capsys.readouterr().err


def test_a_suffix_without_images_is_an_error(study):
    with pytest.raises(InputError, match="sub-01: no asl image; there are: T1w, T2w, bold"):
        make_bids_plan("raw", "out", Choice(("asl",)))
