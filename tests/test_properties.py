"""What must hold for every grid and every scale of intensity, searched with Hypothesis.

The network is a ball about its window's middle, or a voxel-wise function of what it sees: the
way in and the way back are what is tested, not what a brain looks like.
"""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ball import BRAIN_MM, make_ball_engine
from conftest import ORIENTATIONS, reorient
from deskull.errors import EmptyMaskError
from deskull.image.grid import Grid
from deskull.image.resample import resample
from deskull.image.stored import StoredArray
from deskull.image.volume import make_volume
from deskull.network.weights import load_weights
from deskull.prepare.conform import WindowSettings, conform, make_window, to_native
from deskull.stripper import Stripper

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HEAD_MM = 85.0


def make_stripper(make_engine):
    """Stripper with another network, and windows of few voxels so that it is quick."""
    weights = load_weights()
    small = {
        name: replace(getattr(weights, name), window=WindowSettings((32, 36, 32), 7.0))
        for name in ("segment", "locate")
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deskull.stripper.make_engine", make_engine)
        return Stripper(replace(weights, **small), "cpu", 1, "openvino")


@pytest.fixture(scope="module")
def ball():
    return make_stripper(make_ball_engine)


@pytest.fixture(scope="module")
def seer():
    """A network that takes what is bright in its window for the brain: it must see the head."""

    def make_seeing_engine(stage, *_):
        return lambda image: np.stack([np.clip(4 * image, -9, 9)] * 2)

    return make_stripper(make_seeing_engine)


@st.composite
def affines(draw, shear=0.4):
    """Any orientation, 0.3 to 6 mm with anisotropy to 10:1, oblique to 45 degrees, sheared."""
    smallest = draw(st.floats(0.3, 6.0))
    size = [min(6.0, smallest * draw(st.floats(1, 10))) for _ in range(3)]
    angles = [np.radians(draw(st.floats(-45, 45))) for _ in range(3)]
    turn = np.eye(3)
    for (a, b), angle in zip(((0, 1), (0, 2), (1, 2)), angles, strict=True):
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    slant = np.eye(3)
    slant[0, 1], slant[1, 2] = draw(st.floats(-shear, shear)), draw(st.floats(-shear, shear))
    affine = np.eye(4)
    affine[:3, :3] = turn @ slant @ np.diag(size)
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    codes = draw(st.sampled_from(ORIENTATIONS))
    now = nib.orientations.io_orientation(np.eye(4))
    wanted = nib.orientations.axcodes2ornt(codes)
    return affine @ nib.orientations.inv_ornt_aff(
        nib.orientations.ornt_transform(now, wanted), (20, 20, 20)
    )


@st.composite
def grids(draw, least=2, most=40):
    shape = tuple(draw(st.integers(least, most)) for _ in range(3))
    return Grid(shape, draw(affines()))


def places(grid):
    """RAS+ mm of every voxel, (X, Y, Z, 3)."""
    return grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))


@QUICK
@given(grid=grids(), offset=st.tuples(*[st.floats(-20, 20)] * 3))
def test_a_ramp_of_millimetres_conforms_to_the_windows_own_millimetres(grid, offset):
    direction = np.array([0.3, -0.7, 0.5])
    ramp = (places(grid) @ direction).astype(np.float32)
    window = make_window(grid.centre + offset, grid, (16, 16, 16), min(grid.voxel_size))
    read = conform(ramp, grid, window, fill=1e6)
    index = grid.to_index(places(window))
    inside = ((index >= 0) & (index <= np.array(grid.shape) - 1)).all(axis=-1)
    expected = places(window) @ direction
    np.testing.assert_allclose(read[inside], expected[inside], atol=2e-2 + 1e-4 * abs(ramp).max())


@QUICK
@given(grid=grids(), offset=st.tuples(*[st.floats(-30, 30)] * 3))
def test_a_map_returns_to_the_millimetres_it_was_drawn_at(grid, offset):
    window = make_window(grid.centre + offset, grid, (32, 32, 32), max(1.0, min(grid.voxel_size)))
    radius = 10 * window.voxel_size[0]

    def draw(mm):
        return radius - np.linalg.norm(mm - window.centre, axis=-1)

    logits = np.clip(draw(places(window)), -8, 8).astype(np.float32)
    part, box = to_native(logits, window, grid)
    whole = np.full(grid.shape, -8, np.float32)
    whole[box] = part
    expected = np.clip(draw(places(grid)), -8, 8)
    # Linear interpolation of a distance errs most at its kinks, and what is surely outside
    # (below half of the floor) is at the floor.
    np.testing.assert_allclose(
        np.clip(whole, -3, 8), np.clip(expected, -3, 8), atol=0.9 * window.voxel_size[0]
    )
    assert ((whole > 0) == (expected > 0))[np.abs(expected) > 0.1 * window.voxel_size[0]].all()


@QUICK
@given(grid=grids(least=3, most=12), codes=st.sampled_from(ORIENTATIONS), target=grids())
def test_the_stored_orientation_decides_nothing_in_resampling(grid, codes, target):
    values = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    image = nib.Nifti1Image(values, grid.affine)
    turned = reorient(image, codes)
    other = Grid(turned.shape, turned.affine)
    first = resample(values, grid, target, fill=-3)
    second = resample(np.asarray(turned.dataobj), other, target, fill=-3)
    np.testing.assert_allclose(first, second, atol=1e-4)


def make_scan(affine, shape, cut=(0.0, 0.0, 0.0)):
    """A head about the field's middle, moved by a share of the field along each axis."""
    grid = Grid(shape, affine)
    middle = grid.to_mm((np.array(shape) - 1) * (0.5 + np.array(cut)))
    radius = np.linalg.norm(places(grid) - middle, axis=-1)
    data = np.where(radius < HEAD_MM, 100.0, 0.0) + np.where(radius < BRAIN_MM, 40.0, 0.0)
    noise = np.random.default_rng(0).normal(0, 1, shape)
    return nib.Nifti1Image((data + noise).astype(np.float32), affine)


def fill_field(affine, least=20, most=48):
    """As many voxels as a field of about 220 mm takes, but no fewer than 20 an axis."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return tuple(int(np.clip(round(220 / size), least, most)) for size in sizes)


def strip(stripper, image):
    try:
        return stripper(image)
    except EmptyMaskError:
        return None


@settings(QUICK, max_examples=12)
@given(
    affine=affines(),
    codes=st.sampled_from(ORIENTATIONS),
    cut=st.tuples(*[st.sampled_from([0.0, 0.0, 0.3, -0.4])] * 3),
)
def test_strip_of_a_reoriented_scan_is_the_reoriented_strip(seer, affine, codes, cut):
    image = make_scan(affine, fill_field(affine), cut)
    straight, turned = strip(seer, image), strip(seer, reorient(image, codes))
    assert (straight is None) == (turned is None)
    assume(straight is not None)
    wanted = reorient(straight.to_image("mask"), codes)
    mask = turned.to_image("mask")
    np.testing.assert_allclose(mask.affine, wanted.affine, atol=1e-9)
    certain = np.abs(straight.probability - 0.5) > 1e-3
    certain = np.asarray(reorient(nib.Nifti1Image(certain.astype("u1"), affine), codes).dataobj)
    differ = np.asarray(mask.dataobj) != np.asarray(wanted.dataobj)
    assert not differ[certain == 1].any()


@settings(QUICK, max_examples=12)
@given(affine=affines(shear=0.2), cut=st.sampled_from([0.0, 0.25, -0.3]))
def test_outputs_lie_on_the_scans_own_voxels(ball, affine, cut):
    image = make_scan(affine, fill_field(affine), (cut, 0.0, 0.0))
    result = strip(ball, image)
    assume(result is not None)
    for output in ("brain", "mask", "probability"):
        made = result.to_image(output)
        assert made.shape == image.shape
        np.testing.assert_array_equal(made.affine, image.affine)
    np.testing.assert_array_equal(result.brain != 0, result.mask & (result.volume.data != 0))


@settings(QUICK, max_examples=15)
@given(
    scale=st.one_of(st.sampled_from([1 / 255, 1 / 65535, 65535 / 200, 1.0]), st.floats(1e-3, 1e3)),
    level=st.floats(-3, 3),
)
def test_scale_and_shift_of_intensity_move_no_voxel_of_the_mask(seer, scale, level):
    image = make_scan(np.diag([5.0, 5, 5, 1]), (44, 44, 44))
    data = np.asarray(image.dataobj, np.float64)
    other = (scale * (data + 100 * level)).astype(np.float32)
    check_same_mask(seer, image, make_volume(nib.Nifti1Image(other, image.affine)))


@pytest.mark.parametrize(
    ("slope", "inter", "dtype"),
    [(-0.5, 70.0, "int16"), (-1.0, 0.0, "int16"), (0.01, -5.0, "uint16"), (1e-6, 0.0, "int32")],
)
def test_a_stored_slope_of_any_sign_moves_no_voxel_of_the_mask(seer, slope, inter, dtype):
    image = make_scan(np.diag([5.0, 5, 5, 1]), (44, 44, 44))
    limits = np.iinfo(dtype)
    raw = np.round((np.asarray(image.dataobj, float) - inter) / slope)
    raw = np.clip(raw, limits.min, limits.max).astype(dtype)
    plain = nib.Nifti1Image((raw * slope + inter).astype(np.float32), image.affine)
    scaled = nib.Nifti1Image(np.zeros(raw.shape, dtype), image.affine)
    scaled._dataobj = StoredArray(raw, slope, inter)
    check_same_mask(seer, plain, make_volume(scaled))


def check_same_mask(stripper, image, other):
    first, second = stripper(image), stripper(other)
    certain = np.abs(first.probability - 0.5) > 5e-3
    assert certain.mean() > 0.9
    assert not (first.mask != second.mask)[certain].any()


@pytest.mark.parametrize("side", [(0.45, 0, 0), (0, -0.45, 0), (0, 0, 0.45)])
def test_a_head_at_the_edge_of_its_field_is_stripped(seer, side):
    image = make_scan(np.diag([4.0, 4, 4, 1]), (40, 40, 40), side)
    result = seer(image)
    assert result.mask.any()
    assert result.mask.shape == image.shape
