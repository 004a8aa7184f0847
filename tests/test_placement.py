"""A mask that was not drawn on the scan: does it lie on the brain, and what is it worth."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from deskull.apply import judge_mask
from deskull.image.volume import load_volume, make_volume
from deskull.measure.placement import find_displacement, find_misplaced
from deskull.measure.score import LOW
from ellipsoids import BRAIN, SHAPE, make_scan

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
AFFINE[:3, 3] = -1.5 * (np.array(SHAPE) - 1)


def make_layers(contrast):
    """A scan with fluid around the brain, T1-like or T2-like."""
    scan = make_scan()
    fluid = np.roll(BRAIN, 1, 2) | np.roll(BRAIN, -1, 2) | np.roll(BRAIN, 1, 0)
    fluid |= np.roll(BRAIN, -1, 0) | np.roll(BRAIN, 1, 1) | np.roll(BRAIN, -1, 1)
    scan[fluid & ~BRAIN] = {"T1w": 30, "T2w": 220}[contrast]
    return scan


def move(mask, mm):
    return np.roll(mask, [round(step / 3) for step in mm], (0, 1, 2))


@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
@pytest.mark.parametrize("mm", [(0, 0, 0), (12, 0, 0), (0, -18, 0), (0, 0, 24), (9, 9, -9)])
def test_the_displacement_of_a_moved_mask_is_found(contrast, mm):
    found = find_displacement(make_layers(contrast), move(BRAIN, mm), 3.0)
    assert np.abs(np.array(found.mm) + mm).max() <= 4
    assert found.gain >= 1
    assert (find_misplaced(found) is not None) == any(mm)


def test_the_flag_says_how_far_and_where_to():
    flag = find_misplaced(find_displacement(make_scan(), move(BRAIN, (0, 0, 24)), 3.0))
    assert flag.name == "misplaced"
    assert "about 24 mm off" in flag.sentence
    assert "24 mm down of where it is" in flag.sentence


@pytest.mark.parametrize("mask", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_a_mask_without_a_surface_lies_nowhere_else(mask):
    found = find_displacement(make_scan(), mask, 3.0)
    assert found.mm == (0, 0, 0)
    assert find_misplaced(found) is None


def judge(mask, scan=None, affine=AFFINE):
    image = nib.Nifti1Image(make_scan() if scan is None else scan, affine)
    return judge_mask(make_volume(image), mask)


def test_a_mask_in_its_place_has_a_high_score_and_no_sureness():
    quality = judge(BRAIN)
    assert quality.score > 90
    assert not {"rim_mm", "sure_in", "sure_out"} & set(quality.traits)
    assert quality.traits["ml"] == pytest.approx(BRAIN.sum() * 0.027, rel=0.04)


def test_a_mask_out_of_place_is_flagged_and_scores_low():
    quality = judge(move(BRAIN, (0, 18, 0)))
    assert "misplaced" in [flag.name for flag in quality.flags]
    assert quality.score < LOW


def test_how_a_scan_is_stored_does_not_matter():
    turned = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    turned[0, 3] = -AFFINE[0, 3]  # the same place, stored from right to left
    mask = move(BRAIN, (18, 0, 0))
    stored = judge(mask[::-1], make_scan()[::-1], turned)
    assert [flag.name for flag in stored.flags] == [flag.name for flag in judge(mask).flags]


def test_doubts_about_the_scan_itself_stay():
    scan = make_scan()
    scan[0, 0, 0] = np.nan
    assert "not-finite" in [flag.name for flag in judge(BRAIN, scan).flags]


def test_a_field_that_cuts_the_mask_is_flagged():
    cut = AFFINE.copy()
    cut[2, 3] += 3 * 36
    quality = judge(BRAIN[..., 36:], make_scan()[..., 36:], cut)
    assert "field-cuts-brain" in [flag.name for flag in quality.flags]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ds011_01_T2w", "pumi_T1w", "openms12s1_FLAIR"])
def test_real_heads(name):
    if "DESKULL_TEST_DATA" not in os.environ:
        pytest.skip("DESKULL_TEST_DATA is not set")
    heads = Path(os.environ["DESKULL_TEST_DATA"]) / "heads"
    kind = "reference" if "openms" in name else "majority"
    scan = load_volume(heads / f"{name}.nii.gz")
    mask = load_volume(heads / f"{name}_{kind}.nii.gz").data > 0
    assert judge_mask(scan, mask).score > 85
    for axis in range(3):
        steps = round(16 / scan.grid.voxel_size[axis])
        quality = judge_mask(scan, np.roll(mask, steps, axis))
        assert "misplaced" in [flag.name for flag in quality.flags]
        assert quality.score < LOW
