"""Flags of a scan and its mask: each is raised where it should be, and nowhere else."""

import numpy as np
import pytest

from deskull.measure.quality import find_flags
from ellipsoids import (
    BRAIN,
    HEAD,
    SHAPE,
    SKULL,
    VOXEL_SIZE,
    make_ellipsoid,
    make_probability,
    make_scan,
)


def make_ct():
    rng = np.random.default_rng(0)
    scan = np.select([BRAIN, SKULL, HEAD], [35.0, 900.0, 40.0], -1000.0)
    scan[HEAD & ~SKULL & (rng.random(SHAPE) < 0.4)] = -100
    return (scan + rng.normal(0, 8, SHAPE)).astype(np.float32)


def find_names(data=None, mask=BRAIN, probability=None, voxel_size=VOXEL_SIZE):
    data = make_scan() if data is None else data
    probability = make_probability(mask) if probability is None else probability
    return [flag.name for flag in find_flags(data, mask, probability, voxel_size)]


def find_sentence(name, **arguments):
    arguments = {"data": make_scan(), "mask": BRAIN, "voxel_size": VOXEL_SIZE} | arguments
    arguments.setdefault("probability", make_probability(arguments["mask"]))
    return {flag.name: flag.sentence for flag in find_flags(**arguments)}[name]


def test_a_good_scan_has_no_flags():
    assert find_names() == []


def test_memory_order_does_not_matter():
    assert find_names(np.asfortranarray(make_ct())) == find_names(make_ct())


# --- not-finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(value):
    scan = make_scan()
    scan[3, 4, 5:8] = value
    assert find_names(scan) == ["not-finite"]
    assert find_sentence("not-finite", data=scan).startswith("3 voxels are NaN or infinite")


def test_a_background_of_nan_is_only_not_finite():
    scan = np.where(HEAD, make_scan(), np.nan).astype(np.float32)
    assert find_names(scan) == ["not-finite"]


# --- looks-like-ct


def test_a_ct_is_flagged():
    assert find_names(make_ct()) == ["looks-like-ct"]


def test_a_ct_padded_below_air_is_flagged():
    scan = make_ct()
    scan[:12] = -3024
    assert "looks-like-ct" in find_names(scan)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, -100.0), (10.4, -1000.0), (15.0, -1024.0), (0.02, -1.0)]
)
def test_an_mr_with_negatives_is_no_ct(scale, offset):
    assert find_names((make_scan() * scale + offset).astype(np.float32)) == []


# --- already-stripped


@pytest.mark.parametrize("background", [0.0, -5.0, 7.0])
def test_a_stripped_brain_is_flagged(background):
    scan = np.where(BRAIN, make_scan(), background).astype(np.float32)
    assert find_names(scan) == ["already-stripped"]


def test_a_stripped_brain_on_nan_is_flagged():
    scan = np.where(BRAIN, make_scan(), np.nan).astype(np.float32)
    assert find_names(scan) == ["not-finite", "already-stripped"]


@pytest.mark.parametrize("radii", [(65, 81, 59), (71, 87, 65)])
def test_a_stripped_brain_is_flagged_with_a_mask_that_is_a_little_off(radii):
    scan = np.where(BRAIN, make_scan(), 0).astype(np.float32)
    assert find_names(scan, make_ellipsoid(radii)) == ["already-stripped"]


def test_a_zeroed_background_is_not_stripped():
    assert find_names(np.where(HEAD, make_scan(), 0).astype(np.float32)) == []


def test_a_defaced_head_is_not_stripped():
    scan = make_scan()
    scan[:, 50:, :38] = 0
    assert find_names(scan) == []


# --- field-cuts-brain


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_field_that_cuts_the_brain_is_flagged(axis, end):
    cut = [slice(None)] * 3
    cut[axis] = slice(24, None) if end == 0 else slice(None, -24)
    cut = tuple(cut)
    flags = find_flags(make_scan()[cut], BRAIN[cut], make_probability()[cut], VOXEL_SIZE)
    assert [flag.name for flag in flags] == ["field-cuts-brain"]
    assert f"at the {'end' if end else 'start'} of axis {axis}" in flags[0].sentence


def test_a_brain_stem_may_leave_the_field():
    stem = BRAIN.copy()
    stem[38:44, 38:44, :40] = True
    assert np.count_nonzero(stem[:, :, 0]) * 9 == 324
    assert find_names(mask=stem) == []


def test_area_of_the_cut_is_in_mm():
    cut = (slice(None), slice(None), slice(40, None))
    mask = BRAIN[cut]
    area = np.count_nonzero(mask[:, :, 0]) * 9 / 100
    sentence = find_sentence(
        "field-cuts-brain", data=make_scan()[cut], mask=mask, probability=make_probability()[cut]
    )
    assert f" {area:.0f} cm2 " in sentence


# --- volume


@pytest.mark.parametrize(("radii", "ml"), [((45, 50, 45), 424), ((84, 95, 72), 2407)])
def test_an_implausible_volume_is_flagged(radii, ml):
    mask = make_ellipsoid(radii)
    assert "volume" in find_names(mask=mask)
    said = find_sentence("volume", mask=mask)
    assert float(said.split()[3]) == pytest.approx(ml, rel=0.02)


def make_infant(radii=(45, 55, 42)):
    """An infant's head: a brain, and 6 mm of skull and scalp around it."""
    brain = make_ellipsoid(radii)
    head = make_ellipsoid([radius + 6 for radius in radii])
    noise = np.abs(np.random.default_rng(0).normal(0, 3, SHAPE))
    scan = np.select([brain, head], [100.0, 140.0], 0.0) + noise
    return scan.astype(np.float32), brain


def test_a_small_brain_in_a_small_head_is_an_infant():
    scan, brain = make_infant()
    assert np.count_nonzero(brain) * 27 / 1000 == pytest.approx(435, rel=0.02)
    assert "volume" not in find_names(scan, brain)
    assert "volume" in find_names(mask=brain)  # the same mask in the head of an adult


def test_a_volume_too_small_for_an_infant_is_flagged_with_the_width_of_the_head():
    scan, _ = make_infant()
    sentence = find_sentence("volume", data=scan, mask=make_ellipsoid((20, 30, 20)))
    assert "100 to 900 ml are plausible in a head of 84 mm, as infants have" in sentence


def test_air_that_is_not_finite_is_no_head():
    scan, brain = make_infant()
    scan[scan < 20] = np.nan
    assert "volume" not in find_names(scan, brain)


@pytest.mark.parametrize("radii", [(55, 65, 50), (75, 92, 70)])
def test_a_plausible_volume_is_not_flagged(radii):
    assert "volume" not in find_names(mask=make_ellipsoid(radii))


def test_a_part_of_a_brain_may_be_small():
    slab = (slice(None), slice(None), slice(36, 44))
    names = find_names(make_scan()[slab], BRAIN[slab], make_probability()[slab])
    assert names == ["field-cuts-brain"]


# --- pieces


def test_a_second_piece_that_was_left_out_is_flagged():
    probability = make_probability()
    probability[make_ellipsoid((30, 30, 30), (0, 0, -95))] = 0.9
    assert find_names(probability=probability) == ["pieces"]


def test_specks_are_no_pieces():
    probability = make_probability()
    probability[make_ellipsoid((15, 15, 15), (0, 0, -95))] = 0.9
    assert find_names(probability=probability) == []


def test_an_empty_mask_is_only_a_volume():
    mask = np.zeros(SHAPE, bool)
    assert find_names(mask=mask) == ["volume"]
