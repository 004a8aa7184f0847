import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deskull.errors import InputError
from deskull.image.grid import find_box
from deskull.prepare.postprocess import (
    clean_mask,
    make_signed_distance,
    move_border,
)


def make_ball(shape, radius, voxel_size=(1.0, 1.0, 1.0)):
    centre = (np.array(shape) - 1) / 2
    index = np.indices(shape) - centre[:, None, None, None]
    mm = index * np.array(voxel_size)[:, None, None, None]
    return (mm**2).sum(axis=0) <= radius**2


def make_cube(shape, *extents):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*extent) for extent in extents)] = True
    return mask


# --- clean_mask


def test_largest_piece_is_kept():
    large, small = make_ball((20, 20, 20), 6), make_cube((20, 20, 20), (0, 2), (0, 2), (0, 2))
    assert np.array_equal(clean_mask(large | small), large)


def test_pieces_that_meet_at_an_edge_only_are_two():
    mask = make_cube((8, 8, 8), (1, 4), (1, 4), (1, 4))
    corner = make_cube((8, 8, 8), (4, 5), (4, 5), (1, 4))
    assert np.array_equal(clean_mask(mask | corner), mask)


def test_holes_are_filled():
    ball = make_ball((20, 20, 20), 7)
    holed = ball & ~make_cube((20, 20, 20), (8, 11), (8, 11), (8, 11))
    assert np.array_equal(clean_mask(holed), ball)


def test_hole_with_an_island_is_filled():
    ball = make_ball((24, 24, 24), 10)
    holed = (ball & ~make_ball((24, 24, 24), 6)) | make_ball((24, 24, 24), 2)
    assert np.array_equal(clean_mask(holed), ball)


def test_a_tunnel_is_no_hole():
    mask = make_cube((9, 9, 9), (2, 7), (2, 7), (2, 7))
    mask[4, 4, :] = False
    assert np.array_equal(clean_mask(mask), mask)


def test_background_at_the_edge_of_the_array_is_no_hole():
    mask = np.ones((5, 5, 5), bool)
    mask[0, 2, 2] = False
    assert np.array_equal(clean_mask(mask), mask)


def test_cleaning_an_empty_mask_gives_an_empty_one():
    cleaned = clean_mask(np.zeros((3, 4, 5), np.uint8))
    assert cleaned.dtype == bool
    assert cleaned.shape == (3, 4, 5)
    assert not cleaned.any()


def test_cleaning_leaves_its_input_alone():
    mask = make_cube((8, 8, 8), (1, 7), (1, 7), (1, 7))
    mask[4, 4, 4] = False
    before = mask.copy()
    clean_mask(mask)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_cleaning_does_not_depend_on_type_or_memory_order(kind):
    random = np.random.default_rng(0).random((12, 10, 14)) > 0.45
    assert np.array_equal(clean_mask(np.asfortranarray(random.astype(kind))), clean_mask(random))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8))
def test_cleaning_twice_changes_nothing(seed, density):
    mask = np.random.default_rng(seed).random((7, 8, 6)) < density
    once = clean_mask(mask)
    assert np.array_equal(clean_mask(once), once)


# --- make_signed_distance


def test_distance_from_a_wall_counts_from_halfway():
    mask = make_cube((12, 30, 30), (0, 5), (0, 30), (0, 30))
    distance = make_signed_distance(mask, (2.0, 1.0, 1.0))[:, 15, 15]
    assert distance == pytest.approx((np.arange(12) - 4.5) * 2)
    assert distance.dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distance_along_thick_slices_takes_off_half_a_slice(axis):
    size = [1.0, 1.0, 1.0]
    size[axis] = 5.0
    extents = [(0, 20)] * 3
    extents[axis] = (0, 4)
    distance = make_signed_distance(make_cube((20, 20, 20), *extents), tuple(size))
    profile = np.moveaxis(distance, axis, 0)[:, 10, 10]
    assert profile == pytest.approx((np.arange(20) - 3.5) * 5)


def test_distance_from_a_diagonal_plane_takes_off_half_the_gap_of_its_layers():
    x, y, _ = np.indices((30, 30, 5))
    distance = make_signed_distance(x + y <= 28, (1.0, 1.0, 1.0))
    diagonal = distance[np.arange(10, 20), np.arange(10, 20), 2]
    expected = (2 * np.arange(10, 20) - 28.5) / np.sqrt(2)
    far = np.abs(expected) > 2
    assert diagonal[far] == pytest.approx(expected[far], abs=0.1)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (1.0, 1.0, 3.0)])
def test_distance_from_a_ball_is_right_within_a_fraction_of_a_voxel(voxel_size):
    shape = tuple(int(np.ceil(60 / size)) for size in voxel_size)
    centre = (np.array(shape) - 1) / 2 * voxel_size
    mm = np.moveaxis(np.indices(shape), 0, -1) * voxel_size - centre
    exact = np.linalg.norm(mm, axis=-1) - 20
    error = make_signed_distance(exact <= 0, voxel_size) - exact
    near = np.abs(exact) < 8
    assert abs(error[near].mean()) < 0.1 * max(voxel_size)
    assert error[near].std() < 0.35 * max(voxel_size)


def test_the_sign_is_negative_inside():
    mask = np.random.default_rng(1).random((12, 13, 14)) > 0.6
    distance = make_signed_distance(mask, (0.7, 1.0, 4.0))
    assert np.array_equal(distance < 0, mask)
    assert np.abs(distance).min() >= 0.35 - 1e-6


def test_distance_of_a_single_voxel():
    mask = make_cube((9, 9, 9), (4, 5), (4, 5), (4, 5))
    distance = make_signed_distance(mask, (1.0, 1.0, 1.0))
    assert distance[4, 4] == pytest.approx(np.abs(np.arange(9) - 4) - 0.5)


def test_the_complement_has_the_opposite_distance():
    mask = make_ball((21, 21, 21), 6)
    there = make_signed_distance(mask, (1.0, 1.5, 2.0))
    assert np.allclose(make_signed_distance(~mask, (1.0, 1.5, 2.0)), -there, atol=1e-5)


def test_edge_of_the_array_is_no_surface():
    mask = make_cube((12, 20, 20), (0, 6), (0, 20), (0, 20))
    assert make_signed_distance(mask, (1.0, 1.0, 1.0))[0, 10, 10] == pytest.approx(-5.5)


def test_distance_to_nothing_is_infinite():
    assert np.all(make_signed_distance(np.zeros((3, 3, 3)), (1.0, 1.0, 1.0)) == np.inf)
    assert np.all(make_signed_distance(np.ones((3, 3, 3)), (1.0, 1.0, 1.0)) == -np.inf)


def test_distance_of_a_single_plane():
    mask = make_cube((1, 9, 9), (0, 1), (2, 7), (2, 7))
    distance = make_signed_distance(mask, (1.0, 1.0, 1.0))
    assert distance[0, 4] == pytest.approx(
        np.array([1.5, 0.5, -0.5, -1.5, -2.5, -1.5, -0.5, 0.5, 1.5])
    )


def test_distance_does_not_depend_on_threads_or_memory_order():
    mask = make_ball((40, 36, 30), 12)
    one = make_signed_distance(mask, (1.0, 1.0, 1.2), threads=1)
    assert np.array_equal(one, make_signed_distance(mask, (1.0, 1.0, 1.2), threads=2))
    assert np.array_equal(one, make_signed_distance(np.asfortranarray(mask), (1.0, 1.0, 1.2)))


# --- move_border


def test_border_zero_returns_the_mask_unchanged():
    mask = np.random.default_rng(2).random((8, 8, 8)) > 0.5
    moved = move_border(mask.astype(np.uint8), (1.0, 1.0, 1.0), 0)
    assert moved.dtype == bool
    assert np.array_equal(moved, mask)


@pytest.mark.parametrize(
    ("border", "layers"), [(2.0, 2), (-2.0, -2), (0.6, 1), (0.4, 0), (-0.4, 0)]
)
def test_border_moves_the_faces_of_a_cube(border, layers):
    mask = make_cube((30, 30, 30), (10, 20), (10, 20), (10, 20))
    moved = move_border(mask, (1.0, 1.0, 1.0), border)
    assert np.count_nonzero(moved[:, 15, 15]) == 10 + 2 * layers


def test_border_is_in_mm_along_every_axis():
    moved = move_border(
        make_cube((30, 30, 30), (10, 20), (10, 20), (10, 20)), (1.0, 2.0, 4.0), 4.0
    )
    box = find_box(moved)
    assert box == (slice(6, 24), slice(8, 22), slice(9, 21))


def test_border_changes_the_radius_of_a_ball():
    ball = make_ball((64, 64, 64), 20)
    radii = [
        (3 / 4 / np.pi * np.count_nonzero(move_border(ball, (1.0, 1.0, 1.0), border))) ** (1 / 3)
        for border in (-3.0, -1.5, 1.5, 3.0)
    ]
    assert radii == pytest.approx([17, 18.5, 21.5, 23], abs=0.35)


def test_moving_in_the_box_equals_moving_in_the_field():
    mask = make_ball((40, 40, 40), 9)
    moved = move_border(mask, (1.0, 1.3, 2.0), 3.3)
    assert np.array_equal(moved, make_signed_distance(mask, (1.0, 1.3, 2.0)) <= np.float32(3.3))


def test_a_mask_is_not_shrunk_from_the_edge_of_the_array():
    mask = make_cube((20, 20, 20), (0, 10), (5, 15), (5, 15))
    moved = move_border(mask, (1.0, 1.0, 1.0), -2.0)
    assert find_box(moved) == (slice(0, 8), slice(7, 13), slice(7, 13))


def test_shrinking_away_leaves_an_empty_mask():
    assert not move_border(make_ball((9, 9, 9), 3), (1.0, 1.0, 1.0), -5).any()


def test_moving_an_empty_mask_gives_an_empty_one():
    assert not move_border(np.zeros((4, 4, 4)), (1.0, 1.0, 1.0), 2).any()


@pytest.mark.parametrize("border", [np.nan, np.inf])
def test_border_must_be_finite(border):
    with pytest.raises(InputError, match="expected a finite number of mm"):
        move_border(np.ones((3, 3, 3)), (1.0, 1.0, 1.0), border)
