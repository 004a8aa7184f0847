"""Padding is air: one value far from all others, wherever a tool put it; nothing else is."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from deskull.image.padding import take_out_padding
from deskull.image.volume import load_volume, make_volume
from deskull.measure.quality import find_flags
from deskull.measure.score import judge
from ellipsoids import BRAIN, HEAD, SHAPE, SKULL, VOXEL_SIZE, make_probability, make_scan

FILLS = [-1000, -32768, 4095, 65535, 1e6, -3.4e38, 3.4e38, -9999]
SCAN = make_scan()


def turn(scan, fill, degrees=20.0, reshape=False):
    return ndimage.rotate(scan, degrees, (1, 2), reshape, order=1, cval=fill)


def fill_corners(scan, fill):
    scan = scan.copy()
    scan[:12, :12, :12] = scan[-12:, -12:, -12:] = fill
    return scan


def fill_outside_of_a_circle(scan, fill):
    x, y = np.indices(scan.shape[:2])
    outside = np.hypot(x / x.max() - 0.5, y / y.max() - 0.5) > 0.5
    return np.where(outside[..., None], np.float32(fill), scan)


def mix(scan, fill):
    return ndimage.zoom(turn(scan, fill), 0.95, order=1)


WAYS = {
    "turned": turn,
    "turned a little": lambda scan, fill: turn(scan, fill, 3),
    "turned whole": lambda scan, fill: turn(scan, fill, reshape=True),
    "corners": fill_corners,
    "circle": fill_outside_of_a_circle,
    "all around": lambda scan, fill: np.pad(scan, 9, constant_values=fill),
    "far around": lambda scan, fill: np.pad(scan, 50, constant_values=fill),
    "one plane": lambda scan, fill: np.pad(scan, [(0, 0), (0, 0), (1, 0)], constant_values=fill),
    "mixed": mix,
}


def find(data):
    return take_out_padding(np.array(data, np.float32))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("way", WAYS)
def test_padding_is_found_and_becomes_nan(way, fill):
    data = np.float32(WAYS[way](SCAN, fill))
    filled = data == np.float32(fill)
    padding = take_out_padding(data)
    assert padding.values == pytest.approx((fill,), rel=1e-3)
    assert np.isnan(data[filled]).all()
    assert padding.voxels == np.count_nonzero(np.isnan(data))
    beyond = padding.voxels - np.count_nonzero(filled)
    assert beyond <= (0.05 * data.size if way == "mixed" else 0)
    assert np.nanmin(data) > -50
    assert np.nanmax(data) < 5 * SCAN.max()  # what is left of a seam


@pytest.mark.parametrize(
    ("scale", "shift", "fill"),
    [(1e6, 0, -1e9), (400, -32768, 65535), (1e-6, 0, -1), (25, -2000, -32768), (1, 1024, 0)],
)
def test_units_do_not_matter(scale, shift, fill):
    padding = find(turn(SCAN * np.float32(scale) + np.float32(shift), fill))
    assert padding.values == (fill,)


def test_several_values_are_found():
    two = turn(SCAN, -1000)
    two[:5] = 65535
    assert find(two).values == (-1000, 65535)
    nested = np.pad(turn(SCAN, -32768), 8, constant_values=-1000)
    assert find(nested).values == (-32768, -1000)
    ends = np.round(turn(SCAN, -32768))
    ends[:, :6] = 32767
    assert find(ends).values == (-32768, 32767)


def test_padding_beside_nan_is_found():
    scan = turn(SCAN, 65535)
    scan[:4] = np.nan
    scan[4, 4, 4] = np.inf
    assert find(scan).values == (65535,)


def make_labels(shift=0):
    labels = np.select([BRAIN, SKULL, HEAD], [41, 515, 258], 0)
    for number, corner in enumerate(np.ndindex(8, 8, 8)):
        place = tuple(slice(c * 10, c * 10 + 10) for c in corner)
        labels[place][labels[place] == 41] = 1000 + number % 70
    return labels + shift


def make_ct(air):
    rng = np.random.default_rng(0)
    scan = np.select([BRAIN, SKULL, HEAD], [35.0, 900.0, 40.0], air)
    scan[HEAD & ~SKULL & (rng.random(SHAPE) < 0.4)] = -100
    scan[HEAD] += rng.normal(0, 8, HEAD.sum())
    return scan


NO_PADDING = {
    "as it is": SCAN,
    "air of 0": np.where(HEAD, SCAN, 0),
    "air of 0, no dark tissue": np.where(HEAD, SCAN + 60, 0),
    "stripped": np.where(BRAIN, SCAN, 0),
    "stripped, of few and bright values": np.where(BRAIN, SCAN + 900, 0),
    "stripped, normalised": np.where(BRAIN, (SCAN - SCAN[BRAIN].mean()) / 20, 0),
    "saturated": np.minimum(SCAN, 110),
    "saturated, 8 bits": np.round(np.clip(SCAN / 130, 0, 1) * 255),
    "of few values": np.round(np.sqrt(np.clip(SCAN, 0, None)) * 6),
    "turned, outside 0": turn(SCAN, 0),
    "turned, outside its own air": turn(SCAN + 1024, 1024),
    "negative": -SCAN,
    "one hot voxel": np.where(np.arange(SCAN.size).reshape(SHAPE) == 1234, 1e6, SCAN),
    "mask": BRAIN,
    "mask of 255": BRAIN * 255,
    "labels": make_labels(),
    "labels of great numbers": np.where(BRAIN, make_labels(1000), 0),
    "probability": ndimage.gaussian_filter(BRAIN.astype(np.float32), 1),
    "CT whose air is -1000": make_ct(-1000),
    "CT whose air is -1024": make_ct(-1024),
    "all of one value but a few": np.where(np.indices(SHAPE)[0] < 79, 0, 1),
}


@pytest.mark.parametrize("name", NO_PADDING)
def test_nothing_else_is_padding(name):
    data = np.array(NO_PADDING[name], np.float32)
    before = data.copy()
    assert take_out_padding(data) is None
    np.testing.assert_array_equal(data, before)


# --- what a volume, its flags and its score make of it


def make(data):
    return make_volume(nib.Nifti1Image(np.float32(data), np.diag([*VOXEL_SIZE, 1.0])))


def find_names(volume):
    mask, probability = turn(np.float32(BRAIN), 0) > 0.5, make_probability()
    return [flag.name for flag in judge(volume, mask, probability, {}).flags]


@pytest.mark.parametrize("fill", [-1000, -1024, 4095])
def test_padded_scans_have_no_flags(fill):
    volume = make(turn(SCAN, fill))
    assert volume.padding.values == (fill,)
    assert np.isnan(volume.data).sum() == volume.padding.voxels
    assert find_names(volume) == []


def test_nan_of_the_file_is_distinguished_from_padding():
    data = turn(SCAN, -1000)
    data[40, 40, 40:43] = np.nan
    volume = make(data)
    mask = make_probability() > 0.5
    (flag,) = judge(volume, mask, make_probability(), {}).flags
    assert flag.sentence.startswith("3 voxels are NaN")


@pytest.mark.parametrize("air", [-1000, -1024])
@pytest.mark.parametrize("fill", [-3024, -32768])
def test_a_padded_ct_is_still_a_ct(air, fill):
    scan = make_ct(air) + np.random.default_rng(0).normal(0, 6, SHAPE)
    volume = make(fill_outside_of_a_circle(scan, fill))
    assert volume.padding.values == (fill,)
    assert "looks-like-ct" in find_names(volume)


@pytest.mark.parametrize("fill", [0, -1000, 65535, np.nan])
def test_a_stripped_brain_is_flagged_whatever_is_around(fill):
    volume = make(np.where(BRAIN, SCAN, fill))
    names = [flag.name for flag in find_flags(volume.data, BRAIN, make_probability(), VOXEL_SIZE)]
    assert "already-stripped" in names


# --- real heads


@pytest.mark.slow
def test_no_real_head_has_padding_and_every_padded_one_has():
    if "DESKULL_TEST_DATA" not in os.environ:
        pytest.skip("DESKULL_TEST_DATA is not set")
    heads = sorted((Path(os.environ["DESKULL_TEST_DATA"]) / "heads").glob("*.nii.gz"))
    for path in heads:
        volume = load_volume(path)
        assert volume.padding is None, path.name
        if "reference" not in path.name and "majority" not in path.name:
            stride = tuple(slice(None, None, max(1, n // 120)) for n in volume.data.shape)
            few = volume.data[stride] / np.percentile(volume.data, 99.5) * 800
            for fill in (-1000, 4095):
                assert find(turn(few, fill, 15)).values == (fill,), path.name
                assert find(fill_corners(few, fill)).values == (fill,), path.name
            assert find(np.minimum(few, 780)) is None, path.name
