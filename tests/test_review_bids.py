"""Reviewing the output of the BIDS App: scans turned to RAS+, and series with one mask."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, load, read_json
from bids_study import RAW, app, study
from conftest import reorient
from deskull.cohort.stripped import find_stripped
from deskull.corrections_table import TABLE
from deskull.review.save_correction import save_correction
from deskull.review.scene import load_scene, load_shown, make_entries
from studies import write_scan
from test_bids_suffixes import FRAMES, SERIES

__all__ = ["ball", "study"]
ANAT = Path("out/sub-01/anat")
ONE = ("--participant-label", "01", "--outputs", "brain", "mask", "probability")
RAS = ("--orientation", "ras")


def find(name):
    return next(one for one in make_entries(find_stripped("out")) if one.name == name)


def open_scene(name=RAW[0]):
    entry = find(name)
    return load_scene(entry.find(), entry.settings)


def correct(name=RAW[0]):
    """Cut the lower half of the third axis off a mask, and save what is left."""
    scene, entry = open_scene(name), find(name)
    mask = scene.pair.mask.copy()
    mask[:, :, : mask.shape[2] // 2] = False
    files = entry.find()
    saved = save_correction(mask, scene.volume, files, files.version, scan=entry.stripped)
    assert (saved.old, saved.refused) == ((), ())
    return mask


def turn(array, scan):
    """An array on the grid of a scan, turned as nibabel turns the scan."""
    image = nib.Nifti1Image(array.astype(np.uint8), nib.load(scan).affine)
    return np.asarray(nib.as_closest_canonical(image).dataobj) > 0


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_a_scan_that_was_turned_is_shown_and_corrected_on_the_grid_of_its_mask(study, codes):
    scan = Path("raw", RAW[0])
    write_scan(scan, reorient(HEAD, codes))
    assert app(*ONE, *RAS) == 0
    scene = open_scene()
    assert scene.pair.note == ""
    assert scene.volume.grid.orientation == "RAS"
    np.testing.assert_array_equal(
        scene.probability, load(ANAT / "sub-01_label-brain_probseg.nii.gz")
    )
    mask = correct()
    automatic, manual, brain = (
        nib.load(ANAT / f"sub-01_desc-{name}.nii.gz")
        for name in ("brain_mask", "brainManual_mask", "brain_T1w")
    )
    for image in (manual, brain):
        np.testing.assert_allclose(image.affine, automatic.affine)
    np.testing.assert_array_equal(np.asarray(manual.dataobj), mask)
    head = np.asarray(nib.as_closest_canonical(nib.load(scan)).dataobj)
    np.testing.assert_array_equal(np.asarray(brain.dataobj), head * mask)


def test_a_correction_counts_after_the_scans_are_turned(study):
    scan = Path("raw", RAW[0])
    write_scan(scan, reorient(HEAD, "PIR"))
    assert app(*ONE) == 0
    mask = turn(correct(), scan)
    assert app(*ONE, *RAS) == 0
    brain = nib.load(ANAT / "sub-01_desc-brain_T1w.nii.gz")
    assert nib.aff2axcodes(brain.affine) == ("R", "A", "S")
    head = np.asarray(nib.as_closest_canonical(nib.load(scan)).dataobj)
    np.testing.assert_array_equal(np.asarray(brain.dataobj), head * mask)
    assert not find(RAW[0]).stripped.has_old_outputs
    shown = load_shown(find(RAW[0]).find())
    assert shown.note == ""
    np.testing.assert_array_equal(shown.mask, mask)


def test_a_correction_of_a_turned_scan_is_learned_from(study):
    pytest.importorskip("pandas")
    from deskull.train.index import make_index

    write_scan(Path("raw", RAW[0]), reorient(HEAD, "LPS"))
    assert app(*ONE, *RAS) == 0
    correct()
    index, findings = make_index(Path("out", TABLE))
    assert findings == []
    assert [Path(row.mask).name for row in index.itertuples()] == [
        "sub-01_desc-brainManual_mask.nii.gz"
    ]


def test_the_mask_of_a_series_is_shown_and_corrected(study):
    name = "sub-03/func/sub-03_bold.nii.gz"
    write_scan(Path("raw", name), SERIES)
    assert app("--suffix", "bold", "--participant-label", "03") == 0
    scene = open_scene(name)
    np.testing.assert_allclose(scene.volume.data, 3 * HEAD.get_fdata(), rtol=1e-5, atol=1e-3)
    mask = correct(name)
    folder = Path("out/sub-03/func")
    np.testing.assert_array_equal(load(folder / "sub-03_desc-brainManualbold_mask.nii.gz"), mask)
    brain = load(folder / "sub-03_desc-brain_bold.nii.gz")
    np.testing.assert_array_equal(brain, FRAMES.astype(np.float32) * mask[..., None])


def test_a_series_that_got_a_mask_keeps_its_frames_when_that_is_corrected(study):
    write_scan(Path("raw/sub-03/anat/sub-03_T1w.nii.gz"))
    write_scan(Path("raw/sub-03/func/sub-03_bold.nii.gz"), SERIES)
    suffixes = "--suffix", "T1w", "bold"
    assert app(*suffixes, "--participant-label", "03", "--one-mask") == 0
    record = read_json(Path("out/logs/sub-03/func/sub-03_bold_record.json"))
    assert record["mask_of"] == "sub-03_T1w.nii.gz"
    mask = correct("sub-03/anat/sub-03_T1w.nii.gz")
    brain = load(Path("out/sub-03/func/sub-03_desc-brain_bold.nii.gz"))
    np.testing.assert_array_equal(brain, FRAMES.astype(np.float32) * mask[..., None])
