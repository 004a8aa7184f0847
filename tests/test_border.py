"""Borders: masks moved before they teach, and how far a data set's masks lie from the weights'."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from ball import run
from deskull.errors import ImageFileError, InputError
from deskull.image.volume import make_volume
from deskull.train.border import find_border, measure_border
from deskull.train.data import load_sources
from deskull.train.index import load_index
from deskull.train.pairs import make_real_head
from deskull.train.recipe import load_recipe

SIZE = 2.0
AXES = np.meshgrid(*[(np.arange(64) - 31.5) * SIZE] * 3, indexing="ij")
RADIUS = np.sqrt(sum(axis**2 for axis in AXES))


def make_image(values):
    return nib.Nifti1Image(values, np.diag([SIZE] * 3 + [1]))


def make_ball(radius):
    return make_volume(make_image((radius > RADIUS).astype(np.uint8)))


def measure_radius(head):
    """Radius in mm of a ball with the volume of a prepared head's mask."""
    volume = float(head.channels[1].sum(dtype=np.float64)) * head.voxel_size**3
    return (volume * 3 / 4 / np.pi) ** (1 / 3)


@pytest.fixture(scope="module")
def scan():
    return make_volume(make_image((100 * (RADIUS < 60)).astype(np.float32)))


@pytest.mark.parametrize("border", [0.0, 0.7, 2.5, -1.3])
@pytest.mark.parametrize("name", ["segment", "article"])
def test_a_border_moves_the_surface_by_a_fraction_of_a_voxel(scan, name, border):
    recipe = load_recipe(name)
    recipe = replace(recipe, preparation=replace(recipe.preparation, n4=None))
    head = make_real_head(scan, make_ball(45), recipe, border=border)
    hard = not recipe.preparation.soft_masks  # read off at voxels of 2 mm
    assert measure_radius(head) == pytest.approx(45 + border, abs=1 if hard else 0.35)


def test_a_border_that_leaves_nothing_is_refused(scan):
    with pytest.raises(ImageFileError, match="empty with a border of -9 mm"):
        make_real_head(scan, make_ball(8), load_recipe("segment"), border=-9)


@pytest.mark.parametrize("offset", [-3.0, -1.2, 0.0, 0.6, 2.0])
def test_the_border_between_two_balls_is_their_distance(offset):
    ball = make_ball(40).data > 0
    border, before, after = find_border(ball, 40 + offset > RADIUS, (SIZE,) * 3)
    assert border == pytest.approx(offset, abs=0.25)
    assert after >= before


def write_pairs(folder, radii):
    for number, radius in enumerate(radii):
        noise = np.random.default_rng(number).normal(100, 5, RADIUS.shape)
        data = np.where(RADIUS < 60, noise, 0).astype(np.float32)
        nib.save(make_image(data), folder / f"p{number}_T1w.nii.gz")
        mask = (radius > RADIUS).astype(np.uint8)
        nib.save(make_image(mask), folder / f"p{number}_T1w_mask.nii.gz")


def test_the_border_of_a_data_set_is_the_median_of_its_scans(tmp_path):
    write_pairs(tmp_path, [38, 40, 41])
    rows = [f"p{n}_T1w.nii.gz\tp{n}_T1w_mask.nii.gz" for n in range(3)]
    (tmp_path / "t.tsv").write_text("\n".join(["image\tmask", *rows]), "utf-8")
    border = measure_border(load_index(tmp_path / "t.tsv"), lambda scan: RADIUS < 42)
    assert border.mm == pytest.approx(2, abs=0.3)
    assert (border.low, border.high) == (
        pytest.approx(1, abs=0.5),
        pytest.approx(4, abs=0.5),
    )
    assert (border.scans, border.dice < border.moved_dice) == (3, True)


def test_a_border_cannot_be_measured_without_pairs(tmp_path):
    (tmp_path / "t.tsv").write_text("label_map\nx.nii\n", "utf-8")
    with pytest.raises(InputError, match="no pair"):
        measure_border(load_index(tmp_path / "t.tsv"), lambda scan: scan)


def test_the_command_measures_a_border_and_training_reads_it(tmp_path, monkeypatch, caplog):
    from deskull.stripper import Stripper

    class Fake:
        def __call__(self, scan):
            return type("Result", (), {"mask": (RADIUS < 42).astype(np.uint8)})

    monkeypatch.setattr(Stripper, "load", lambda name: Fake())
    (tmp_path / "heads").mkdir()
    write_pairs(tmp_path / "heads", [40, 40])
    out = tmp_path / "index.tsv"
    assert run("index", tmp_path / "heads", "-o", out, "--measure-border") == 0
    assert "moved by it, the masks agree best" in caplog.text
    borders = load_index(out)["border"]
    assert borders.to_list() == pytest.approx([2, 2], abs=0.3)
    heads = load_sources([out], load_recipe("segment"), tmp_path / "cache").real
    assert measure_radius(heads[0]) == pytest.approx(42, abs=0.4)
