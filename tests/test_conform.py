import numpy as np
import pytest

from conftest import make_head
from deskull.image.grid import Grid, make_ras_grid
from deskull.measure.metrics import dice
from deskull.prepare.conform import (
    WindowSettings,
    conform,
    find_head_centres,
    make_window,
    measure_extent,
    to_native,
)


def test_window_snaps_onto_the_scans_own_lattice():
    source = Grid(
        (60, 60, 60), np.array([[-1, 0, 0, 31.2], [0, 1, 0, -9], [0, 0, 1, 4.4], [0, 0, 0, 1]])
    )
    window = make_window((3.3, 4.4, 5.5), source, (8, 8, 8), 2.0)
    index = source.to_index(window.to_mm([0, 0, 0]))
    np.testing.assert_allclose(index % 1, 0.5, atol=1e-6)  # the middle of a pair of voxels
    assert np.abs(window.centre - (3.3, 4.4, 5.5)).max() <= 1.0


def test_on_the_lattice_conforming_only_averages():
    data = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    source = Grid((16, 16, 16), np.eye(4))
    window = make_window(source.centre, source, (4, 4, 4), 2.0)
    start = np.round(source.to_index(window.to_mm([0, 0, 0])) - 0.5).astype(int)
    part = data[tuple(slice(s, s + 8) for s in start)]
    means = part.reshape(4, 2, 4, 2, 4, 2).mean((1, 3, 5))
    np.testing.assert_allclose(conform(data, source, window, fill=0), means, atol=1e-6)


def test_an_oblique_scan_gets_the_plain_window():
    c, s = np.cos(0.3), np.sin(0.3)
    affine = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    window = make_window((1.23, 0, 0), Grid((20, 20, 20), affine), (8, 8, 8), 2.0)
    np.testing.assert_allclose(window.centre, (1.23, 0, 0), atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 20, 45])
@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.8, 0.8, 4.0)])
def test_a_map_returns_to_the_scans_voxels(degrees, voxel_size):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(voxel_size)
    shape = tuple(int(100 / size) for size in voxel_size)
    native = Grid(shape, affine)
    window = make_ras_grid(native.centre, (44, 44, 44), 2.0)
    index = np.stack(np.meshgrid(*[np.arange(44)] * 3, indexing="ij"), -1)
    logits = (30 - np.linalg.norm(window.to_mm(index) - window.centre, axis=-1)).astype(np.float32)
    part, box = to_native(logits, window, native)
    mask = np.zeros(shape, bool)
    mask[box] = part > 0
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    truth = np.linalg.norm(native.to_mm(index) - native.centre, axis=-1) < 30
    assert dice(mask, truth) > 0.995


def test_an_empty_window_returns_an_empty_map():
    window = make_ras_grid((0, 0, 0), (8, 8, 8), 2.0)
    part, box = to_native(np.full((8, 8, 8), -9, np.float32), window, Grid((9, 9, 9), np.eye(4)))
    assert part.size == 0
    assert np.zeros((9, 9, 9))[box].size == 0


def test_a_window_beside_the_field_returns_an_empty_map():
    window = make_ras_grid((500, 0, 0), (8, 8, 8), 2.0)
    part, box = to_native(np.full((8, 8, 8), 9, np.float32), window, Grid((9, 9, 9), np.eye(4)))
    assert part.shape == np.zeros((9, 9, 9))[box].shape


def shifted(image, before, after):
    """The same head in a field that is longer along z."""
    data = np.pad(np.asarray(image.dataobj), ((0, 0), (0, 0), (before, after)))
    affine = image.affine.copy()
    affine[2, 3] -= before * affine[2, 2]
    return data, Grid(data.shape, affine)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (30, 0), (5, 80)])
def test_one_window_lies_in_the_middle_of_the_head(before, after):
    data, grid = shifted(make_head()[0], before, after)
    centres = find_head_centres(data, grid, reach=288)
    assert len(centres) == 1
    np.testing.assert_allclose(centres[0], 0, atol=5)


def test_windows_cover_a_body_longer_than_one():
    body = np.zeros((60, 60, 150), np.float32)
    body[10:50, 10:50, 10:140] = 100
    grid = make_ras_grid((0, 0, 0), body.shape, 4.0)
    centres = find_head_centres(body, grid, reach=288)
    assert len(centres) == 3  # 520 mm: two would not overlap by half
    z = [centre[2] for centre in centres]
    assert min(z) - 144 <= -255
    assert max(z) + 144 >= 255


def test_a_head_missed_by_sparse_sampling_gets_the_middle_of_the_field():
    data = np.zeros((40, 40, 40), np.float32)
    data[21, 21, 21] = 1
    centres = find_head_centres(data, make_ras_grid((1, 2, 3), data.shape, 1.0), reach=288)
    np.testing.assert_allclose(centres, [(1, 2, 3)], atol=3)


@pytest.mark.parametrize(
    ("extent", "voxel_size"),
    [
        ((96.0, 84.0, 72.0), 4 / 3),  # left to right is the longest, of the window's own edges
        ((100.8, 147.0, 100.8), 1.75),
        ((60.0, 70.0, 60.0), 1.0),  # never finer than 1 mm
        ((150.0, 250.0, 150.0), 2.2),  # never coarser than 2.2 mm
    ],
)
def test_a_fitted_window_is_filled_to_three_quarters_by_the_brain(extent, voxel_size):
    window = WindowSettings((96, 112, 96), "fit", 0.75)
    assert window.choose_voxel_size(extent) == pytest.approx(voxel_size)


def test_a_fixed_window_does_not_follow_the_brain():
    assert WindowSettings((96, 128, 160), 2.0).choose_voxel_size((60.0, 70.0, 60.0)) == 2.0


def test_the_extent_of_a_brain_leaves_out_a_thin_neck():
    grid = make_ras_grid((5, -3, 8), (60, 60, 60), 2.0)
    brain = np.zeros(grid.shape, bool)
    brain[15:45, 10:50, 20:50] = True
    centre, extent = measure_extent(brain, grid)
    brain[30, 30, 0:20] = True
    assert np.allclose(centre, grid.to_mm((29.5, 29.5, 34.5)))
    assert np.allclose(extent, (60, 80, 60), atol=2.01)
    assert np.allclose(measure_extent(brain, grid), (centre, extent), atol=0.2)
