import re
from base64 import b64decode
from importlib.resources import files
from io import BytesIO
from itertools import permutations, product
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from ball import ball, place, read_json, run
from deskull import picture, review
from deskull.errors import GeometryError
from deskull.image.grid import Grid, make_ras_grid
from deskull.picture import (
    OUTLINE,
    OUTLINE_COLOUR,
    ROWS_OF_SHEET,
    WIDTH,
    Shown,
    draw_mosaic,
    draw_sheets,
    draw_svg,
    encode_picture,
    encode_png,
)
from deskull.picture.colours import CANVAS_GREY, MISSED_COLOUR, OVER_COLOUR
from deskull.picture.layout import CAPTION, HALF
from deskull.picture.vector import find_contours

__all__ = ["ball", "place"]  # fixtures
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


def test_pages_have_the_colours_of_the_pictures():
    page = (files(picture) / "templates" / "base.css").read_text("utf-8")
    assert f"--outline: #{bytes(OUTLINE_COLOUR).hex()};" in page
    assert f"--canvas: #{bytes(3 * [CANVAS_GREY]).hex()};" in page
    viewer = (files(review) / "static" / "viewer" / "slices.js").read_text("utf-8")
    assert f"MASK_COLOUR = {list(OVER_COLOUR)}, OTHER_COLOUR = {list(MISSED_COLOUR)};" in viewer
    style = (files(review) / "static" / "viewer" / "viewer.css").read_text("utf-8")
    assert f".mine {{ text-decoration-color: #{bytes(OVER_COLOUR).hex()}; }}" in style
    assert f".theirs {{ text-decoration-color: #{bytes(MISSED_COLOUR).hex()}; }}" in style


def test_the_viewer_is_light_and_dark_in_the_colours_of_the_other_pages():
    page = (files(picture) / "templates" / "base.css").read_text("utf-8")
    style = (files(review) / "static" / "viewer" / "viewer.css").read_text("utf-8")
    for part in ("light", "dark"):
        start = f"@media (prefers-color-scheme: {part})" if part == "dark" else ":root"
        mine, shared = (
            dict(re.findall(r"(--[a-z]+): (#\w+)", text.split(start, 1)[1].split("}", 1)[0]))
            for text in (style, page)
        )
        assert {"--back", "--front", "--mark", "--good", "--bad"} <= mine.keys()
        assert not {name for name in mine.keys() & shared.keys() if mine[name] != shared[name]}


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


def test_the_subjects_left_is_on_the_left():
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
    shown, straight = (np.asarray(draw_mosaic(DATA, MASK, one)) for one in (grid, GRID))
    texts = shown != straight  # the position of each slice: a number instead of mm
    assert 0 < texts.mean() < 0.02


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


# --- contours


def area_of(line):
    """Area within a closed line, by the shoelace."""
    x, y = line.T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def test_the_line_of_a_disc_is_one_circle():
    y, x = np.indices((60, 80)) + 0.5
    (line,) = find_contours((20.5 - np.hypot(x - 40, y - 30)).astype(np.float32))
    assert np.hypot(*(line - (40, 30)).T) == pytest.approx(np.full(len(line), 20), abs=0.05)
    assert area_of(line) == pytest.approx(np.pi * 400, rel=0.005)


def test_a_field_that_is_full_is_lined_at_its_edge():
    (line,) = find_contours(np.ones((5, 9), np.float32))
    assert line.min(axis=0) == pytest.approx([0, 0])
    assert line.max(axis=0) == pytest.approx([9, 5])


def test_each_of_several_pieces_and_holes_has_its_line():
    field = np.zeros((40, 40), np.float32)
    field[2:20, 2:20], field[8:12, 8:12], field[30:35, 30:35] = 1, 0, 1
    assert sorted(round(area_of(line)) for line in find_contours(field)) == [16, 24, 324]


def test_nothing_inside_has_no_line():
    assert find_contours(np.zeros((4, 4), np.float32)) == []


def test_every_square_of_corners_gives_closed_lines():
    rng = np.random.default_rng(0)
    for field in (rng.random((30, 30)) > 0.5, np.indices((6, 6)).sum(axis=0) % 2):
        for line in find_contours(field.astype(np.float32)):
            steps = np.abs(np.diff(np.concatenate([line, line[:1]]), axis=0)).max(axis=1)
            assert steps.max() <= 1


# --- SVG

NAME = "{http://www.w3.org/2000/svg}"


def read_svg(content):
    root = ElementTree.fromstring(content.decode())
    (path,), (image,) = root.iter(f"{NAME}path"), root.iter(f"{NAME}image")
    with Image.open(BytesIO(b64decode(image.get("href").partition(",")[2]))) as read:
        pixels = np.asarray(read)
    return root, path, pixels


def find_points(path):
    """Points of a path of relative lines, in pixels."""
    found = []
    for line in re.findall(r"M([^z]*)z", path.get("d")):
        start, _, steps = line.partition("l")
        start, steps = (
            np.array([int(n) for n in re.findall(r"-?\d+", part)]) for part in (start, steps)
        )
        found.append(start + np.cumsum(np.vstack([[0, 0], steps.reshape(-1, 2)]), axis=0))
    scale = float(re.search(r"scale\(([.\d]+)\)", path.get("transform"))[1])
    return np.concatenate(found) * scale


def test_svg_outlines_what_the_png_outlines():
    root, path, pixels = read_svg(draw_svg(DATA, MASK, GRID, "sub-01"))
    png = draw_mosaic(DATA, MASK, GRID, "sub-01")
    assert (int(root.get("width")), int(root.get("height"))) == png.size
    points, rim = find_points(path), np.argwhere(find_coloured(png))[:, ::-1] + 0.5
    assert points[:, 0].max() < HALF == pixels.shape[1]
    assert KDTree(rim).query(points)[0].max() <= 1.5


def test_svg_shows_the_same_greys_as_the_png():
    _, _, pixels = read_svg(draw_svg(DATA, MASK, GRID))
    png = draw_mosaic(DATA, MASK, GRID)
    whole = np.asarray(png)[-pixels.shape[0] :, : pixels.shape[1]]
    unlike = np.abs(whole.astype(int) - pixels)[whole != OUTLINE]
    assert np.percentile(unlike, 95) <= 255 / 47


def test_svg_needs_nothing_outside_and_marks_left_and_right():
    content = draw_svg(DATA, MASK, GRID, "a <b> & c").decode()
    root = ElementTree.fromstring(content)
    texts = [text.text for text in root.iter(f"{NAME}text")]
    assert texts[0] == root.find(f"{NAME}title").text == "a <b> & c"
    assert texts.count("L") == texts.count("R") == 16
    links = re.findall(r'(?:href|url|src)[=(]"?([^")]{6})', content)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert content.count("http") == 1  # the name of the language


def test_names_in_svgs_of_two_scans_differ():
    first, second = (
        set(re.findall(r'id="([^"]*)"', draw_svg(data, MASK, GRID).decode()))
        for data in (DATA, DATA[::-1])
    )
    assert len(first) == 3
    assert not first & second


def test_the_same_arrays_give_the_same_svg():
    assert draw_svg(DATA.copy(), MASK.astype(np.uint8), GRID, "a") == draw_svg(
        DATA, MASK, GRID, "a"
    )


def test_svg_is_below_300_kb_for_a_noisy_head():
    grid = make_ras_grid((0.0, 0.0, 0.0), (176, 208, 168), 1.0)
    head, mask = (np.kron(array, np.ones((4, 4, 4), array.dtype)) for array in (DATA, MASK))
    head += np.random.default_rng(0).normal(0, 6, grid.shape)
    assert 100_000 < len(draw_svg(head, mask, grid)) < 300_000


def test_svg_of_an_empty_mask_has_no_outline():
    _, path, _ = read_svg(draw_svg(DATA, np.zeros(SHAPE, bool), GRID))
    assert path.get("d") == ""


@pytest.mark.parametrize(("kind", "start"), [(".png", b"\x89PNG"), (".SVG", b"<svg ")])
def test_the_suffix_decides_the_kind_of_a_picture(kind, start):
    assert encode_picture(kind, DATA, MASK, GRID).startswith(start)


def test_svg_refuses_grids_that_differ():
    with pytest.raises(GeometryError, match="expected one grid"):
        draw_svg(DATA, MASK[1:], GRID)


# --- the command


def test_the_command_writes_svg_with_volume_and_score(place):
    assert run("scan.nii.gz", "--picture", "look.svg", "--record", "r.json", "-q") == 0
    score = read_json(place / "r.json")["score"]
    assert 0 <= score <= 100
    root, path, _ = read_svg((place / "look.svg").read_bytes())
    title = root.find(f"{NAME}title").text
    assert re.fullmatch(rf"scan\.nii\.gz: \d+ ml, score {score}, .+", title)
    assert find_points(path).size


def test_a_picture_of_another_kind_is_refused(place, capsys):
    assert run("scan.nii.gz", "--picture", "look.jpg", "-q") == 1
    assert "look.jpg" in (said := capsys.readouterr().err)
    assert ".png, .svg" in said or ".png or .svg" in said
