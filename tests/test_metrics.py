import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from deskull.errors import InputError
from deskull.measure.metrics import (
    dice,
    iou,
    precision,
    sensitivity,
    surface_distances,
    volume_ml,
)

ISOTROPIC = (1.0, 1.0, 1.0)


def make_cube(shape, *extents):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*extent) for extent in extents)] = True
    return mask


def make_ball(count, radius):
    index = np.indices((count,) * 3) - (count - 1) / 2
    return (index**2).sum(axis=0) <= radius**2


EMPTY = np.zeros((20, 20, 20), bool)
CUBE = make_cube((20, 20, 20), (5, 15), (5, 15), (5, 15))
SHIFTED = np.roll(CUBE, 2, axis=0)
HALF = make_cube((20, 20, 20), (5, 10), (5, 15), (5, 15))


@pytest.mark.parametrize(
    ("measure", "value"), [(dice, 0.8), (iou, 800 / 1200), (sensitivity, 0.8), (precision, 0.8)]
)
def test_overlap_of_shifted_cubes(measure, value):
    assert measure(SHIFTED, CUBE) == pytest.approx(value)


@pytest.mark.parametrize(
    ("measure", "value"), [(dice, 2 / 3), (iou, 0.5), (sensitivity, 0.5), (precision, 1.0)]
)
def test_half_a_cube_is_precise_and_insensitive(measure, value):
    assert measure(HALF, CUBE) == pytest.approx(value)


@pytest.mark.parametrize("measure", [dice, iou, sensitivity, precision])
def test_equal_masks_agree_wholly(measure):
    assert measure(CUBE, CUBE) == 1.0


@pytest.mark.parametrize("measure", [dice, iou, sensitivity, precision])
def test_two_empty_masks_agree(measure):
    assert measure(EMPTY, EMPTY) == 1.0


def test_one_empty_mask_overlaps_nothing():
    assert dice(EMPTY, CUBE) == dice(CUBE, EMPTY) == 0.0
    assert iou(EMPTY, CUBE) == iou(CUBE, EMPTY) == 0.0
    assert sensitivity(EMPTY, CUBE) == 0.0
    assert precision(CUBE, EMPTY) == 0.0


def test_a_share_of_nothing_is_nan():
    assert math.isnan(sensitivity(CUBE, EMPTY))
    assert math.isnan(precision(EMPTY, CUBE))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_any_nonzero_value_is_inside(kind):
    assert dice(CUBE.astype(kind) * 3, CUBE) == 1.0


@pytest.mark.parametrize(
    "measure",
    [dice, iou, sensitivity, precision, lambda a, b: surface_distances(a, b, ISOTROPIC)],
)
def test_shapes_that_differ_are_refused(measure):
    with pytest.raises(InputError, match=r"\(20, 20, 20\), reference of shape \(20, 20, 19\)"):
        measure(CUBE, CUBE[:, :, 1:])


def test_volume_in_ml():
    assert volume_ml(CUBE, 7.0) == pytest.approx(7.0)
    assert volume_ml(EMPTY, 1.0) == 0.0


def test_distances_of_equal_masks_are_zero():
    distances = surface_distances(CUBE, CUBE, ISOTROPIC)
    assert (distances.mean, distances.hd95, distances.largest) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("axis", "mm"), [(0, 1.4), (1, 2.0), (2, 10.0)])
def test_largest_distance_of_shifted_cubes_is_the_shift_in_mm(axis, mm):
    moved = np.roll(CUBE, 2, axis=axis)
    distances = surface_distances(moved, CUBE, (0.7, 1.0, 5.0))
    assert distances.largest == pytest.approx(mm)


def test_distances_of_balls_within_one_another_are_their_difference():
    distances = surface_distances(make_ball(60, 24), make_ball(60, 20), ISOTROPIC)
    assert distances.mean == pytest.approx(4, abs=0.2)
    assert distances.hd95 == pytest.approx(4, abs=0.5)


def test_percentile_ignores_a_speck_and_the_largest_does_not():
    speck = CUBE | make_cube(CUBE.shape, (0, 1), (0, 1), (0, 1))
    distances = surface_distances(speck, CUBE, ISOTROPIC)
    assert distances.hd95 == 0.0
    assert distances.largest == pytest.approx(math.sqrt(75))
    assert 0 < distances.mean < 0.02


def test_percentile_is_the_larger_of_both_directions():
    slab = make_cube(CUBE.shape, (5, 6), (5, 15), (5, 15))
    there = surface_distances(slab, CUBE, ISOTROPIC)
    assert there == surface_distances(CUBE, slab, ISOTROPIC)
    assert there.hd95 == pytest.approx(9.0)


def test_distances_of_single_voxels():
    first = make_cube((9, 9, 9), (1, 2), (1, 2), (1, 2))
    second = make_cube((9, 9, 9), (4, 5), (1, 2), (3, 4))
    distances = surface_distances(first, second, (1.0, 1.0, 2.0))
    assert distances.mean == distances.hd95 == distances.largest == pytest.approx(5.0)


def test_mask_at_the_edge_of_the_array_has_its_surface_there():
    whole, less = np.ones((6, 6, 6), bool), np.ones((6, 6, 6), bool)
    less[0] = False
    assert surface_distances(whole, less, ISOTROPIC).largest == 1.0


def test_distances_do_not_depend_on_memory_order():
    there = surface_distances(SHIFTED, CUBE, ISOTROPIC)
    again = surface_distances(np.asfortranarray(SHIFTED), np.asfortranarray(CUBE), ISOTROPIC)
    assert there == again


@pytest.mark.parametrize(("first", "second"), [(EMPTY, CUBE), (CUBE, EMPTY), (EMPTY, EMPTY)])
def test_an_empty_mask_has_no_surface(first, second):
    distances = surface_distances(first, second, ISOTROPIC)
    assert all(math.isnan(v) for v in (distances.mean, distances.hd95, distances.largest))


def make_blob(seed, shape=(24, 30, 18)):
    noise = np.random.default_rng(seed).normal(size=shape)
    middle = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    near = (middle**2).sum(axis=0) < 8**2
    return near & (ndimage.gaussian_filter(noise, 2) > -0.04)


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_are_those_of_simpleitk(seed):
    first, second = make_blob(seed), make_blob(seed + 100)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)]
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)  # source, target
    assert dice(first, second) == pytest.approx(overlap.GetDiceCoefficient())
    assert iou(first, second) == pytest.approx(overlap.GetJaccardCoefficient())
    assert sensitivity(first, second) == pytest.approx(1 - overlap.GetFalseNegativeError())
    overlap.Execute(*images[::-1])
    assert precision(first, second) == pytest.approx(1 - overlap.GetFalseNegativeError())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("voxel_size", [ISOTROPIC, (0.8, 1.0, 3.5)])
def test_surface_distances_are_those_of_simpleitk_and_scipy(seed, voxel_size):
    first, second = make_blob(seed), make_blob(seed + 100)
    surfaces, maps = [], []
    for mask in (first, second):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(voxel_size[::-1])
        contour = sitk.LabelContour(image, fullyConnected=False)
        surfaces.append(sitk.GetArrayFromImage(contour) > 0)
        distance = sitk.SignedMaurerDistanceMap(
            contour, squaredDistance=False, useImageSpacing=True
        )
        maps.append(np.abs(sitk.GetArrayFromImage(distance)))
    there, back = maps[1][surfaces[0]], maps[0][surfaces[1]]
    found = surface_distances(first, second, voxel_size)
    assert found.mean == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
    percentiles = [np.percentile(values, 95) for values in (there, back)]
    assert found.hd95 == pytest.approx(max(percentiles), rel=1e-5, abs=1e-5)
    points = [np.argwhere(surface) * voxel_size for surface in surfaces]
    hausdorff = max(directed_hausdorff(a, b)[0] for a, b in (points, points[::-1]))
    assert found.largest == pytest.approx(hausdorff)
