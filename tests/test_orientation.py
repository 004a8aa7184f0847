"""Outputs turned to RAS: as nibabel turns, the brain like the mask, as fMRIPrep wants it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, load, read_json
from bids_study import RAW, app, study
from conftest import ORIENTATIONS, reorient
from deskull.image.derived import turn_to_ras
from deskull.image.formats import open_image
from deskull.image.writing import save_image
from studies import write_scan

__all__ = ["ball", "study"]
OUTPUTS = ("--outputs", "brain", "mask", "probability", "corrected")
NAMES = ("desc-brain_mask", "desc-brain_T1w", "label-brain_probseg", "desc-preproc_T1w")


def store(image, codes):
    """Store an image in another orientation, oblique, with a qform that is not its sform."""
    wanted = nib.orientations.axcodes2ornt(codes)
    ornt = nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
    turn = nib.orientations.inv_ornt_aff(ornt, image.shape)
    data = nib.orientations.apply_orientation(np.asarray(image.dataobj), ornt)
    angle = np.deg2rad(15)
    about_x = np.eye(4)
    about_x[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    stored = nib.Nifti1Image(data, about_x @ image.affine @ turn)
    stored.set_qform(about_x @ about_x @ image.affine @ turn, 1)
    stored.header.set_dim_info(0, 1, 2)
    return stored


@pytest.mark.parametrize("kind", [".nii.gz", ".mgz"])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_an_image_is_turned_as_nibabel_does_and_says_so_when_read_again(tmp_path, codes, kind):
    save_image(reorient(HEAD, codes), tmp_path / f"scan{kind}")
    wanted = nib.as_closest_canonical(nib.load(tmp_path / f"scan{kind}"))
    turned = turn_to_ras(open_image(tmp_path / f"scan{kind}"))
    save_image(turned, tmp_path / f"turned{kind}")
    for found in (turned, nib.load(tmp_path / f"turned{kind}")):
        np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
        np.testing.assert_allclose(found.header.get_zooms(), wanted.header.get_zooms())


@pytest.mark.parametrize(
    ("codes", "code", "first", "last"), [("LPI", 2, 4, 41), ("LPS", 1, 2, 39)]
)
def test_the_order_of_slices_is_turned(codes, code, first, last):
    image = reorient(HEAD, codes)  # 44 slices
    image.header.set_dim_info(slice=2)
    image.header["slice_code"], image.header["slice_start"], image.header["slice_end"] = 1, 2, 39
    header = turn_to_ras(image).header
    found = [int(header[name]) for name in ("slice_code", "slice_start", "slice_end")]
    assert found == [code, first, last]


def test_an_image_in_ras_stays_as_it_is():
    assert turn_to_ras(HEAD) is HEAD


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SRA"])
def test_both_affines_of_a_header_and_the_axes_of_the_scanner_are_turned(tmp_path, codes):
    store(HEAD, codes).to_filename(tmp_path / "scan.nii")
    old, new = nib.load(tmp_path / "scan.nii"), turn_to_ras(open_image(tmp_path / "scan.nii"))
    wanted = nib.as_closest_canonical(old)
    assert new.header.get_dim_info() == wanted.header.get_dim_info()
    for name in ("get_qform", "get_sform"):
        (before, code), (after, same) = (
            getattr(one.header, name)(coded=True) for one in (old, new)
        )
        assert same == code
        turn = np.linalg.inv(old.affine) @ new.affine
        np.testing.assert_allclose(after, before @ turn, atol=1e-4)


def test_an_image_without_any_affine_gets_one_and_one_with_a_broken_qform_keeps_the_sform(
    tmp_path,
):
    image = nib.Nifti1Image(np.asarray(HEAD.dataobj), None)
    for code, path in ((0, "none.nii"), (1, "broken.nii")):
        header = image.header.copy()
        header.set_sform(np.diag([-4, 4, 4, 1]) if code else None, code)
        header["qform_code"], header["quatern_b"], header["quatern_c"] = code, 0.9 * code, code
        nib.Nifti1Image(image.dataobj, None, header).to_filename(tmp_path / path)
        raw = open_image(tmp_path / path)
        save_image(turn_to_ras(raw), tmp_path / "turned.nii")
        turned = nib.load(tmp_path / "turned.nii")
        assert nib.aff2axcodes(turned.affine) == ("R", "A", "S")
        wanted = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(raw.dataobj), raw.affine))
        np.testing.assert_allclose(turned.affine, wanted.affine)
        np.testing.assert_array_equal(np.asarray(turned.dataobj), np.asarray(wanted.dataobj))


# --- the BIDS App


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_every_output_lies_on_the_grid_of_the_turned_image(study, codes):
    scan = Path("raw", RAW[0])
    write_scan(scan, reorient(HEAD, codes))
    before = scan.read_bytes()
    assert app("--participant-label", "01", "--orientation", "ras", *OUTPUTS) == 0
    assert scan.read_bytes() == before
    wanted = nib.as_closest_canonical(nib.load(scan))
    for name in NAMES:
        image = nib.load(f"out/sub-01/anat/sub-01_{name}.nii.gz")
        np.testing.assert_allclose(image.affine, wanted.affine)
        assert image.shape == wanted.shape
        fields = read_json(Path(f"out/sub-01/anat/sub-01_{name}.json"))
        assert fields["Sources"] == [f"bids:raw:{RAW[0]}"]
    mask, brain = (load(Path(f"out/sub-01/anat/sub-01_{name}.nii.gz")) for name in NAMES[:2])
    np.testing.assert_array_equal(brain, np.asarray(wanted.dataobj) * mask)


def test_a_mask_given_to_another_image_is_turned_too(study):
    write_scan(Path("raw", RAW[0]), reorient(HEAD, "LPS"))
    write_scan(Path("raw", RAW[1]), reorient(HEAD, "PIR"))
    arguments = ["--participant-label", "01", "--orientation", "ras", "--suffix", "T1w", "T2w"]
    assert app(*arguments, "--one-mask") == 0
    one, other = (
        nib.load(f"out/sub-01/anat/sub-01_desc-brain{word}_mask.nii.gz") for word in ("", "T2w")
    )
    np.testing.assert_allclose(one.affine, other.affine)
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))


def test_the_last_line_says_when_masks_are_not_as_fmriprep_wants_them(study, capsys):
    write_scan(Path("raw", RAW[0]), reorient(HEAD, "LPS"))
    assert app() == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        "deskull: 1 of 4 masks have the orientation of their image, such as LPS; fMRIPrep "
        "accepts only "
        "RAS: for it add --orientation ras"
    )
    mask = Path("out/sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    assert nib.aff2axcodes(nib.load(mask).affine) == ("L", "P", "S")
    assert app("--orientation", "ras") == 0
    assert "fMRIPrep" not in capsys.readouterr().err
    assert nib.aff2axcodes(nib.load(mask).affine) == ("R", "A", "S")


APPLY = """
import sys, nibabel as nb
from niworkflows.interfaces.nibabel import ApplyMask
passed = 0
for number in range(int(sys.argv[1])):
    raw = nb.load(f"raw/sub-{number:02d}/anat/sub-{number:02d}_T1w.nii.gz")
    nb.as_closest_canonical(raw).to_filename("t1w.nii.gz")
    mask = f"{sys.argv[2]}/sub-{number:02d}/anat/sub-{number:02d}_desc-brain_mask.nii.gz"
    try:
        ApplyMask(in_file="t1w.nii.gz", in_mask=mask).run()
        passed += 1
    except ValueError:
        pass
print(passed)
"""


@pytest.mark.slow
def test_niworkflows_takes_the_masks_of_all_orientations(study):
    if find_spec("niworkflows") is None:
        pytest.skip("no niworkflows")
    environment = os.environ | {"TEMPLATEFLOW_HOME": str(study / "home"), "NO_ET": "1"}
    for number, codes in enumerate(ORIENTATIONS):
        name = f"sub-{number:02d}"
        write_scan(Path(f"raw/{name}/anat/{name}_T1w.nii.gz"), reorient(HEAD, codes))
    count = {}
    for message in ((), ("--orientation", "ras")):
        assert app("--participant-label", *(f"{n:02d}" for n in range(48)), *message) == 0
        done = subprocess.run(
            [sys.executable, "-c", APPLY, "48", "out"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        count[message] = int(done.stdout.split()[-1])
    assert count[()] < 48
    assert count["--orientation", "ras"] == 48
