"""Grids: what they accept, and that choosing another grid keeps every voxel in its place."""

from itertools import permutations, product

import numpy as np
import pytest

from deskull.errors import GeometryError
from deskull.image.grid import Grid, find_box, make_ras_grid, to_canonical_array

SHAPE = (3, 4, 5)
ORIENTATIONS = [
    (order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)
]
OBLIQUE = np.array([[0.98, -0.17, 0.05], [0.17, 0.98, -0.03], [-0.04, 0.04, 1.0]])
SHEAR = np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]])


def make_affine(linear, origin=(-10.0, 20.0, 5.0)):
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = origin
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 4), np.eye(4), "three positive numbers"),
        ((3, 4, 0), np.eye(4), r"shape \(3, 4, 0\)"),
        (SHAPE, np.eye(3), "finite 4 x 4"),
        (SHAPE, np.diag([1, 1, np.nan, 1]), "nan"),
        (SHAPE, np.diag([1, 1, np.inf, 1]), "inf"),
        (SHAPE, np.diag([1, 1, 1e300, 1]), "finite 4 x 4"),
        (SHAPE, np.diag([1.0, 1, 1, 2]), r"last row of affine \[0.0, 0.0, 0.0, 2.0\]"),
        (SHAPE, np.diag([1.0, 0, 1, 1]), "singular affine"),
        (SHAPE, make_affine([[1, 1, 0], [0, 0, 0], [0, 0, 1]]), "three independent axes"),
    ],
)
def test_refuses_what_has_no_place(shape, affine, message):
    with pytest.raises(GeometryError, match=message):
        Grid(shape, affine)


@pytest.mark.parametrize("linear", [OBLIQUE, SHEAR, np.diag([0.3, 0.3, 6.0])])
def test_accepts_oblique_sheared_and_anisotropic(linear):
    grid = Grid(SHAPE, make_affine(linear))
    assert grid.voxel_size == pytest.approx(np.linalg.norm(linear, axis=0))
    assert grid.voxel_volume == pytest.approx(abs(np.linalg.det(linear)))


def test_affine_is_a_frozen_copy():
    affine = np.eye(4)
    grid = Grid(SHAPE, affine)
    affine[0, 3] = 7
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 7


def test_to_index_undoes_to_mm():
    grid = Grid(SHAPE, make_affine(OBLIQUE @ SHEAR))
    index = np.array([[0.0, 0, 0], [2, 3, 4], [0.5, 1.25, 3]])
    assert grid.to_index(grid.to_mm(index)) == pytest.approx(index)


def test_centre_lies_between_first_and_last_voxel():
    grid = Grid(SHAPE, make_affine(np.diag([2.0, 1, 1])))
    assert grid.centre == pytest.approx([-8, 21.5, 7])


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.0, True), (5e-4, True), (2e-3, False)], ids=str
)
def test_matches_within_a_thousandth_of_a_voxel(shift, expected):
    affine = make_affine(OBLIQUE)
    moved = affine.copy()
    moved[0, 3] += shift
    assert Grid(SHAPE, affine).matches(Grid(SHAPE, moved)) is expected


def test_matches_needs_the_same_shape():
    assert not Grid(SHAPE, np.eye(4)).matches(Grid((3, 4, 6), np.eye(4)))


def test_crop_keeps_voxels_in_place():
    grid = Grid(SHAPE, make_affine(SHEAR))
    cropped = grid.crop((slice(1, 3), slice(-2, 4), slice(0, 9)))
    assert cropped.shape == (2, 6, 9)
    assert cropped.to_mm([0, 0, 0]) == pytest.approx(grid.to_mm([1, -2, 0]))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
@pytest.mark.parametrize("linear", [np.eye(3), np.diag([1.0, 2, 3]), OBLIQUE, SHEAR])
def test_canonical_is_ras_and_keeps_every_voxel_in_place(linear, order, flips):
    stored = (linear * np.array(flips))[:, list(order)]
    grid = Grid(SHAPE, make_affine(stored))
    canonical = grid.canonical()
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    mm = grid.to_mm(places)
    moved = np.stack([to_canonical_array(mm[..., axis], grid) for axis in range(3)], axis=-1)
    index = np.stack(np.meshgrid(*map(np.arange, canonical.shape), indexing="ij"), axis=-1)
    assert canonical.orientation == "RAS"
    assert canonical.to_mm(index) == pytest.approx(moved)


def test_make_ras_grid_is_centred():
    grid = make_ras_grid((1.0, -2.0, 3.0), (4, 5, 6), 1.5)
    assert grid.centre == pytest.approx([1, -2, 3])
    assert grid.voxel_size == (1.5, 1.5, 1.5)
    assert grid.orientation == "RAS"


def make_cube(*extents):
    mask = np.zeros((9, 9, 9), bool)
    mask[tuple(slice(*extent) for extent in extents)] = True
    return mask


def test_box_is_tight():
    box = find_box(make_cube((2, 4), (3, 8), (0, 9)))
    assert box == (slice(2, 4), slice(3, 8), slice(0, 9))


def test_margin_is_clipped_to_the_array():
    box = find_box(make_cube((2, 4), (3, 8), (0, 9)), margin=2)
    assert box == (slice(0, 6), slice(1, 9), slice(0, 9))


def test_margin_may_differ_by_axis():
    box = find_box(make_cube((4, 5), (4, 5), (4, 5)), margin=(0, 1, 3))
    assert box == (slice(4, 5), slice(3, 6), slice(1, 8))


def test_box_of_frames_holds_all_of_them():
    frames = np.stack([make_cube((2, 4), (3, 8), (0, 9)), make_cube((1, 3), (5, 9), (4, 5))], -1)
    assert find_box(frames) == (slice(1, 4), slice(3, 9), slice(0, 9))


def test_an_empty_mask_has_an_empty_box():
    mask = np.zeros((3, 4, 5), bool)
    assert mask[find_box(mask, margin=2)].size == 0


def test_corners_are_the_outermost_voxels():
    corners = {tuple(corner) for corner in Grid((2, 3, 4), np.eye(4)).corners}
    assert corners == set(product((0, 1), (0, 2), (0, 3)))
