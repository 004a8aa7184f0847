import numpy as np
import pytest

from conftest import ORIENTATIONS, make_head, reorient
from deskull.image.grid import Grid, make_ras_grid
from deskull.image.resample import resample


def grid_of(image):
    return Grid(image.shape, image.affine)


def random_head(shape, affine):
    import nibabel as nib

    rng = np.random.default_rng(1)
    return nib.Nifti1Image(rng.normal(size=shape).astype(np.float32), affine)


def oblique(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0, 5.0], [s, c, 0, -7.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])


GRIDS = {
    "isotropic": np.diag([2.0, 2, 2, 1]),
    "anisotropic": np.diag([0.9, 1.1, 5.0, 1]),
    "oblique": oblique(17) @ np.diag([1.0, 1.0, 3.0, 1]),
    "sheared": oblique(9)
    @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0.05, 1.2, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_stored_orientation_decides_nothing(name):
    image = random_head((23, 26, 21), GRIDS[name])
    target = make_ras_grid(grid_of(image).centre + 0.3, (12, 14, 13), 3.0)
    first = resample(np.asarray(image.dataobj), grid_of(image), target, fill=-1)
    for codes in ORIENTATIONS:
        other = reorient(image, codes)
        again = resample(np.asarray(other.dataobj), grid_of(other), target, fill=-1)
        np.testing.assert_array_equal(again, first, err_msg=codes)


def test_a_grid_onto_itself_changes_nothing():
    image = random_head((9, 8, 7), GRIDS["oblique"])
    data = np.asarray(image.dataobj)
    canonical = grid_of(image).canonical()
    np.testing.assert_allclose(resample(data, grid_of(image), canonical), data, atol=1e-5)


def test_a_linear_ramp_is_exact_at_any_point():
    source = Grid((20, 20, 20), oblique(30) @ np.diag([1.5, 1.5, 1.5, 1]))
    index = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), -1)
    ramp = (source.to_mm(index) @ [1.0, 2.0, -3.0]).astype(np.float32)
    target = make_ras_grid(source.centre, (5, 5, 5), 1.1)
    wanted = target.to_mm(np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1))
    np.testing.assert_allclose(
        resample(ramp, source, target), wanted @ [1.0, 2.0, -3.0], rtol=1e-4, atol=1e-3
    )


def test_a_coarser_grid_gets_means_so_that_noise_falls():
    rng = np.random.default_rng(0)
    source = Grid((64, 64, 64), np.eye(4))
    noise = rng.normal(size=source.shape).astype(np.float32)
    target = make_ras_grid(source.centre, (10, 10, 10), 4.0)
    # The mean of 64 values has an eighth of their deviation.
    assert resample(noise, source, target).std() == pytest.approx(1 / 8, rel=0.15)


def test_a_target_on_the_lattice_of_blocks_gets_their_exact_means():
    source = Grid((8, 8, 8), np.eye(4))
    data = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    target = Grid(
        (4, 4, 4), np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    )
    means = data.reshape(4, 2, 4, 2, 4, 2).mean((1, 3, 5))
    np.testing.assert_allclose(resample(data, source, target), means, atol=1e-6)


def test_outside_of_the_field_is_the_fill():
    source = Grid((4, 4, 4), np.eye(4))
    target = make_ras_grid((50, 0, 0), (3, 3, 3), 1.0)
    assert (resample(np.ones(source.shape, np.float32), source, target, fill=7) == 7).all()


def test_threads_change_no_bit():
    image, _ = make_head()
    target = make_ras_grid((1, 2, 3), (31, 32, 33), 5.0)
    one = resample(np.asarray(image.dataobj), grid_of(image), target, threads=1)
    two = resample(np.asarray(image.dataobj), grid_of(image), target, threads=3)
    np.testing.assert_array_equal(one, two)


def test_order_zero_keeps_labels():
    source = Grid((6, 6, 6), np.eye(4))
    labels = np.random.default_rng(0).integers(0, 9, source.shape).astype(np.float32)
    target = make_ras_grid(source.centre, (11, 11, 11), 0.5)
    assert set(np.unique(resample(labels, source, target, order=0))) <= set(np.unique(labels))
