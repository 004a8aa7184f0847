import numpy as np
import pytest

from conftest import make_head
from deskull.image.grid import Grid
from deskull.prepare.intensity import find_air, make_finite, normalise


@pytest.fixture
def data():
    return np.asarray(make_head()[0].dataobj, dtype=np.float32)


@pytest.mark.parametrize(("scale", "shift"), [(1 / 150, 0), (400, 0), (1, -1024), (0.01, 3)])
def test_units_do_not_matter(data, scale, shift):
    np.testing.assert_allclose(normalise(data * scale + shift), normalise(data), atol=2e-3)


def test_foreground_has_zero_mean_and_unit_variance():
    image = np.zeros((30, 30, 30), np.float32)
    tissue = np.zeros(image.shape, bool)
    tissue[5:25, 5:25, 5:25] = True
    image[tissue] = np.random.default_rng(0).normal(100, 10, tissue.sum())
    foreground = normalise(image)[tissue]
    assert foreground.mean() == pytest.approx(0, abs=0.02)
    assert foreground.std() == pytest.approx(1, abs=0.02)


def test_more_background_changes_nothing(data):
    padded = np.pad(data, 6, constant_values=float(np.percentile(data, 0.5)))
    inside = tuple(slice(6, -6) for _ in range(3))
    np.testing.assert_allclose(normalise(padded)[inside], normalise(data), atol=0.1)


def test_a_hot_voxel_changes_nothing(data):
    hot = data.copy()
    hot[3, 3, 3] = 1e7
    np.testing.assert_allclose(normalise(hot)[data > 40], normalise(data)[data > 40], atol=1e-2)


def test_a_constant_image_gives_zeros():
    assert (normalise(np.full((4, 4, 4), 7, np.float32)) == 0).all()


def test_a_nearly_empty_image_stays_finite():
    image = np.zeros((20, 20, 20), np.float32)
    image[3, 3, 3] = 5
    assert np.isfinite(normalise(image)).all()


def test_nan_and_inf_become_air():
    data = np.full((8, 8, 8), 100, np.float32)
    data[:4] = -7
    data[5, 5, 5], data[6, 6, 6] = np.nan, np.inf
    finite, air = make_finite(data, Grid((8, 8, 8), np.eye(4)))
    assert air == -7
    assert finite[5, 5, 5] == finite[6, 6, 6] == -7
    assert np.isnan(data[5, 5, 5])  # the input is not touched


def test_finite_data_are_not_copied():
    data = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    assert make_finite(data, Grid((8, 8, 8), np.eye(4)))[0] is data


def test_air_is_found_where_the_few_sampled_voxels_are_nan():
    data = np.ones((8, 8, 8), np.float32)
    data[::4, ::4, ::4] = np.nan
    assert find_air(data, Grid((8, 8, 8), np.eye(4))) == 1
