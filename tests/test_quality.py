import numpy as np
import pytest

from deskull.measure.quality import find_flags

VOXEL_SIZE = (3.0, 3.0, 3.0)
SHAPE = (80, 84, 80)


def make_ellipsoid(radii, centre=(0.0, 0.0, 0.0)):
    """Voxels of SHAPE within an ellipsoid given in mm about the middle of the field."""
    middle = (np.array(SHAPE) - 1) / 2 * VOXEL_SIZE + np.array(centre)
    mm = np.indices(SHAPE) * np.array(VOXEL_SIZE)[:, None, None, None]
    scaled = (mm - middle[:, None, None, None]) / np.array(radii)[:, None, None, None]
    return (scaled**2).sum(axis=0) <= 1


BRAIN = make_ellipsoid((68, 84, 62))
SKULL = make_ellipsoid((75, 91, 69))
HEAD = make_ellipsoid((84, 100, 80)) | make_ellipsoid((55, 60, 60), (0, 0, -70))


def make_scan(air=3.0, skull=15.0, scalp=140.0, brain=100.0):
    """Scan of noise in air, skull, scalp with a neck, and a brain of two tissues (1480 ml)."""
    rng = np.random.default_rng(0)
    tissue = np.where(rng.random(SHAPE) < 0.5, 0.85, 1.15) * brain
    scan = np.select([BRAIN, SKULL, HEAD], [tissue, skull, scalp], 0.0)
    scan += rng.normal(0, 6, SHAPE) * (scan > 0) + np.abs(rng.normal(0, air, SHAPE))
    return scan.astype(np.float32)


def make_ct():
    rng = np.random.default_rng(0)
    scan = np.select([BRAIN, SKULL, HEAD], [35.0, 900.0, 40.0], -1000.0)
    scan[HEAD & ~SKULL & (rng.random(SHAPE) < 0.4)] = -100
    return (scan + rng.normal(0, 8, SHAPE)).astype(np.float32)


def make_probability(mask=BRAIN):
    return np.where(mask, np.float32(0.98), np.float32(0.01))


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


def test_a_ct_is_seen():
    assert find_names(make_ct()) == ["looks-like-ct"]


def test_a_ct_padded_below_air_is_seen():
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
def test_a_stripped_brain_is_seen(background):
    scan = np.where(BRAIN, make_scan(), background).astype(np.float32)
    assert find_names(scan) == ["already-stripped"]


def test_a_stripped_brain_on_nan_is_seen():
    scan = np.where(BRAIN, make_scan(), np.nan).astype(np.float32)
    assert find_names(scan) == ["not-finite", "already-stripped"]


@pytest.mark.parametrize("radii", [(65, 81, 59), (71, 87, 65)])
def test_a_stripped_brain_is_seen_through_a_mask_that_is_a_little_off(radii):
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
def test_a_field_that_cuts_the_brain_is_seen(axis, end):
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
def test_an_implausible_volume_is_seen(radii, ml):
    mask = make_ellipsoid(radii)
    assert "volume" in find_names(mask=mask)
    said = find_sentence("volume", mask=mask)
    assert float(said.split()[3]) == pytest.approx(ml, rel=0.02)


@pytest.mark.parametrize("radii", [(55, 65, 50), (75, 92, 70)])
def test_a_plausible_volume_is_not_flagged(radii):
    assert "volume" not in find_names(mask=make_ellipsoid(radii))


# --- uncertain-rim


def test_an_undecided_network_is_seen():
    probability = make_probability()
    probability[BRAIN & ~make_ellipsoid((58, 72, 50))] = 0.6
    assert find_names(probability=probability) == ["uncertain-rim"]
    assert "over 4" in find_sentence("uncertain-rim", probability=probability)


def test_a_soft_rim_is_no_doubt():
    probability = make_probability()
    probability[make_ellipsoid((70, 86, 64)) & ~make_ellipsoid((66, 82, 60))] = 0.5
    assert find_names(probability=probability) == []


# --- pieces


def test_a_second_piece_that_was_left_out_is_seen():
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
