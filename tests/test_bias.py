import numpy as np
import pytest
from scipy import ndimage

from deskull.errors import InputError
from deskull.prepare.bias import correct_bias
from deskull.settings import BiasSettings

VOXEL_SIZE = (4.0, 4.0, 5.0)
QUICK = BiasSettings(shrink=12, iterations=(40, 40))


def make_head(shape=(44, 48, 36), voxel_size=VOXEL_SIZE):
    """Ball of two mixed tissues in a bright shell on a zero background, and where it is."""
    rng = np.random.default_rng(0)
    index = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    mm = np.sqrt(((index * np.array(voxel_size)[:, None, None, None]) ** 2).sum(axis=0))
    mixed = ndimage.gaussian_filter(rng.normal(size=shape), 6 / np.array(voxel_size)) > 0
    head = np.select([mm < 68, mm < 75], [np.where(mixed, 110.0, 75.0), 150.0], 0.0)
    return (head + (mm < 75) * rng.normal(0, 2, shape)).astype(np.float32), mm < 75


def make_bias(shape):
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, count) for count in shape], indexing="ij")
    return np.exp(0.4 * x - 0.2 * y**2 + 0.2 * z).astype(np.float32)


def measure_variation(ratio, inside):
    return ratio[inside].std() / ratio[inside].mean()


HEAD, INSIDE = make_head()
BIAS = make_bias(HEAD.shape)


def assert_flatter(image):
    _, field = correct_bias(image, VOXEL_SIZE, QUICK)
    assert measure_variation(BIAS / field, INSIDE) < measure_variation(BIAS, INSIDE) / 2


def test_known_bias_is_taken_out():
    corrected, field = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK)
    before = measure_variation(BIAS, INSIDE)
    assert measure_variation(corrected / np.maximum(HEAD, 1), INSIDE) < before / 2
    assert corrected.shape == field.shape == HEAD.shape
    assert corrected.dtype == field.dtype == np.float32


def test_corrected_image_times_field_is_the_image():
    corrected, field = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK)
    assert np.allclose(corrected * field, HEAD * BIAS, atol=1e-3)
    assert field.min() > 0


def test_repeatable_byte_for_byte_on_any_number_of_threads():
    first = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK, threads=1)
    again = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK, threads=2)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]


def test_memory_order_does_not_matter():
    first, _ = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK)
    again, _ = correct_bias(np.asfortranarray(HEAD * BIAS), VOXEL_SIZE, QUICK)
    assert np.array_equal(first, again)


def test_an_image_of_zero_mean_is_corrected():
    image = HEAD * BIAS
    assert_flatter((image - image.mean()) / image.std())


def test_ringing_below_zero_is_no_level():
    image = HEAD * BIAS
    image[0, 0, :9] = -5000
    assert_flatter(image)


def test_spikes_do_not_hide_the_head():
    image = HEAD * BIAS
    image[20:22, 20:22, 20] = 1e6
    assert_flatter(image)


def test_voxels_that_are_not_finite_become_background():
    image = HEAD * BIAS
    image[:2], image[22, 24, 18], image[22, 25, 18] = np.nan, np.inf, -np.inf
    corrected, field = correct_bias(image, VOXEL_SIZE, QUICK)
    assert np.isfinite(corrected).all()
    assert np.isfinite(field).all()
    assert corrected[0].max() == corrected[22, 24, 18] == corrected[22, 25, 18] == 0
    assert measure_variation(BIAS / field, INSIDE) < measure_variation(BIAS, INSIDE) / 2


def test_input_is_left_alone():
    image = HEAD * BIAS
    before = image.copy()
    correct_bias(image, VOXEL_SIZE, QUICK)
    assert np.array_equal(image, before)


def test_thick_slices_are_corrected():
    shape, voxel_size = (88, 96, 6), (2.0, 2.0, 24.0)
    head, inside = make_head(shape, voxel_size)
    bias = make_bias(shape)
    _, field = correct_bias(head * bias, voxel_size, QUICK)
    assert measure_variation(bias / field, inside) < measure_variation(bias, inside) / 2


def test_two_slices_are_enough():
    head, inside = make_head((2, 60, 60), (5.0, 3.0, 3.0))
    bias = make_bias(head.shape)
    _, field = correct_bias(head * bias, (5.0, 3.0, 3.0), QUICK)
    assert measure_variation(bias / field, inside) < measure_variation(bias, inside)


def test_field_is_the_same_in_mm_at_half_the_voxel_size():
    fine = np.kron(HEAD * BIAS, np.ones((2, 2, 2), np.float32))
    _, coarse_field = correct_bias(HEAD * BIAS, VOXEL_SIZE, QUICK)
    _, fine_field = correct_bias(fine, (2.0, 2.0, 2.5), QUICK)
    ratio = fine_field[::2, ::2, ::2] / coarse_field
    assert measure_variation(ratio, INSIDE) < 0.02


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_without_contrast_stays_as_it_is(value):
    image = np.full((9, 9, 9), value, np.float32)
    corrected, field = correct_bias(image, (1.0, 1.0, 1.0), QUICK)
    assert np.array_equal(corrected, np.nan_to_num(image))
    assert np.all(field == 1)


def test_a_single_slice_is_refused():
    with pytest.raises(InputError, match=r"shape \(9, 1, 9\); expected two planes or more"):
        correct_bias(np.ones((9, 1, 9), np.float32), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shrink": 0}, "shrink factor 0; expected 1 or more"),
        ({"iterations": ()}, r"iterations \(\); expected one number above zero"),
        ({"iterations": (20, 0)}, r"iterations \(20, 0\); expected one number above zero"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        BiasSettings(**arguments)
