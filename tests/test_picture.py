from io import BytesIO
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from deskull.assess.picture import (
    CAPTION,
    OUTLINE,
    OUTLINE_COLOUR,
    ROWS_OF_SHEET,
    WIDTH,
    Shown,
    draw_mosaic,
    draw_sheets,
    encode_png,
)
from deskull.errors import GeometryError
from deskull.image.geometry import Grid, make_ras_grid

SHAPE = (44, 52, 42)
GRID = make_ras_grid((0.0, 0.0, 0.0), SHAPE, 4.0)
CODES = [
    "".join(letters[flip] for letters, flip in zip(order, flips, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for flips in product((0, 1), repeat=3)
]


def make_head():
    """Head with a bright spot in the left half of the brain, and the brain's mask."""
    index = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    mm = np.sqrt(((index * 4 / np.array([66, 82, 62])[:, None, None, None]) ** 2).sum(axis=0))
    data = np.select([mm < 1, mm < 1.1, mm < 1.25], [100.0, 10.0, 130.0], 1.0)
    data[12:17, 22:30, 14:26] = 250
    return data.astype(np.float32), mm < 1


DATA, MASK = make_head()


def find_coloured(image):
    return np.asarray(image) == OUTLINE


def test_picture_is_of_the_promised_size_and_kind():
    image = draw_mosaic(DATA, MASK, GRID, "sub-01")
    assert image.mode == "P"
    assert image.width == WIDTH
    assert 400 < image.height < 1000


def test_outline_is_coloured_in_the_left_half_only():
    image = draw_mosaic(DATA, MASK, GRID)
    coloured = find_coloured(image)
    colour = np.all(np.asarray(image.convert("RGB")) == OUTLINE_COLOUR, axis=-1)
    assert np.array_equal(coloured, colour)
    assert coloured[:, : WIDTH // 2].sum() > 2000
    assert not coloured[:, WIDTH // 2 :].any()


def test_outline_is_thin():
    coloured = find_coloured(draw_mosaic(DATA, MASK, GRID))
    blocks = coloured[1:, 1:] & coloured[:-1, 1:] & coloured[1:, :-1] & coloured[:-1, :-1]
    assert not blocks.any()


def test_the_persons_left_is_on_the_left():
    pixels = np.asarray(draw_mosaic(DATA, MASK, GRID))[100:240, WIDTH // 2 :]
    tile = pixels[:, pixels.shape[1] // 4 : pixels.shape[1] // 2]
    bright = np.nonzero(tile > 250)[1]
    assert bright.size > 100
    assert bright.max() < tile.shape[1] / 2


@pytest.mark.parametrize("codes", CODES)
def test_stored_orientation_does_not_change_the_picture(codes):
    wanted = encode_png(draw_mosaic(DATA, MASK, GRID))
    transform = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    data = nib.orientations.apply_orientation(DATA, transform)
    mask = nib.orientations.apply_orientation(MASK, transform)
    affine = GRID.affine @ nib.orientations.inv_ornt_aff(transform, SHAPE)
    grid = Grid(data.shape, affine)
    assert grid.orientation == codes
    assert encode_png(draw_mosaic(data, mask, grid)) == wanted


def test_an_oblique_grid_is_drawn_in_its_own_planes():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    grid = Grid(SHAPE, turn @ GRID.affine)
    assert encode_png(draw_mosaic(DATA, MASK, grid)) == encode_png(draw_mosaic(DATA, MASK, GRID))


def test_voxel_sizes_are_respected():
    thick = Grid((44, 52, 21), GRID.affine @ np.diag([1, 1, 2, 1]))
    whole = draw_mosaic(DATA, MASK, GRID)
    half = draw_mosaic(DATA[:, :, ::2], MASK[:, :, ::2], thick)
    assert half.height == pytest.approx(whole.height, rel=0.03)
    assert find_coloured(half).sum() == pytest.approx(find_coloured(whole).sum(), rel=0.1)


def test_the_same_arrays_give_the_same_bytes():
    first = encode_png(draw_mosaic(DATA, MASK, GRID, "a"))
    assert encode_png(draw_mosaic(DATA.copy(), MASK.astype(np.uint8), GRID, "a")) == first


def test_png_can_be_read_and_is_small():
    image = draw_mosaic(DATA, MASK, GRID, "a")
    png = encode_png(image)
    with Image.open(BytesIO(png)) as read:
        assert read.format == "PNG"
        assert np.array_equal(np.asarray(read.convert("RGB")), np.asarray(image.convert("RGB")))
    assert len(png) < 600_000


def test_title_is_written_and_shortened():
    bare = np.asarray(draw_mosaic(DATA, MASK, GRID))[:30]
    short = np.asarray(draw_mosaic(DATA, MASK, GRID, "sub-01"))[:30]
    long = np.asarray(draw_mosaic(DATA, MASK, GRID, "sub-01_" * 100))[:30]
    assert (bare == bare[0, 0]).all()
    assert (short[:, 200:] == bare[0, 0]).all()
    assert not (short == bare).all()
    assert (long[:, -6:] == bare[0, 0]).all()
    assert not (long[:, -40:] == bare[0, 0]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_black(value):
    data = DATA.copy()
    data[:, :26] = value
    pixels = np.asarray(draw_mosaic(data, MASK, GRID))
    assert (pixels == 0).mean() > 0.3
    assert (pixels > 90).mean() > 0.1


@pytest.mark.parametrize(
    "data", [np.zeros(SHAPE), np.full(SHAPE, np.nan), np.full(SHAPE, 7, np.int16)]
)
def test_an_image_without_contrast_is_drawn(data):
    assert draw_mosaic(data, MASK, GRID).width == WIDTH


def test_an_empty_mask_shows_the_whole_field_without_an_outline():
    image = draw_mosaic(DATA, np.zeros(SHAPE, bool), GRID)
    assert not find_coloured(image).any()
    assert (np.asarray(image)[:, : WIDTH // 2] > 60).mean() > 0.3


def test_a_mask_of_one_voxel_is_seen_in_its_head():
    mask = np.zeros(SHAPE, bool)
    mask[22, 26, 21] = True
    image = draw_mosaic(DATA, mask, GRID)
    assert find_coloured(image).any()
    assert (np.asarray(image)[:, : WIDTH // 2] > 60).mean() > 0.3


@pytest.mark.parametrize("shape", [(2, 52, 42), (44, 52, 1)])
def test_few_slices_are_drawn(shape):
    grid = Grid(shape, GRID.affine)
    data = DATA[tuple(slice(n) for n in shape)]
    assert draw_mosaic(data, np.ones(shape, bool), grid).width == WIDTH


def test_grids_that_differ_are_refused():
    with pytest.raises(GeometryError, match=r"mask of shape \(44, 52, 41\).*expected one grid"):
        draw_mosaic(DATA, MASK[:, :, 1:], GRID)


def test_sheets_take_scans_one_by_one_and_begin_anew_when_full():
    taken = []

    def scans():
        for number in range(2 * ROWS_OF_SHEET):
            taken.append(number)
            yield Shown(f"scan {number}", DATA, MASK, GRID)

    sheets = draw_sheets(scans())
    first = next(sheets)
    assert taken[-1] == ROWS_OF_SHEET - 1
    assert first.size == next(sheets).size
    assert first.mode == "P"
    assert list(sheets) == []


def test_each_row_of_a_sheet_bears_a_name_and_shows_scan_and_brain():
    (sheet,) = draw_sheets([Shown("one", DATA, MASK, GRID), Shown("", DATA, MASK, GRID)])
    first, second = np.split(np.asarray(sheet), 2)
    assert (second[: CAPTION - 2] == second[0, 0]).all()
    assert not (first[: CAPTION - 2] == first[0, 0]).all()
    assert np.array_equal(first[CAPTION:], second[CAPTION:])
    left, right = np.split(first, 2, axis=1)
    assert (left == OUTLINE).sum() > 1000
    assert not (right == OUTLINE).any()


def test_a_sheet_refuses_grids_that_differ():
    with pytest.raises(GeometryError, match="expected one grid"):
        list(draw_sheets([Shown("one", DATA, MASK[1:], GRID)]))
