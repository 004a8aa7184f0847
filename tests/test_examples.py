"""Every program in examples/ runs."""

import runpy
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from train_heads import make_label_map

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_make_demo_head_writes_a_head_and_its_truth(tmp_path):
    pytest.importorskip("torch")
    nib.save(make_label_map(), tmp_path / "labels.nii.gz")
    program = runpy.run_path(str(EXAMPLES / "make_demo_head.py"))
    program["main"](str(tmp_path / "labels.nii.gz"), str(tmp_path))
    head = np.asarray(nib.load(tmp_path / "demo_T1w.nii.gz").dataobj)
    truth = np.asarray(nib.load(tmp_path / "demo_T1w_truth.nii.gz").dataobj)
    assert head.shape == truth.shape
    assert set(np.unique(truth)) == {0, 1}
    # The brain is a ball of 68 mm: 1317 ml.
    assert truth.sum() * 1.5**3 / 1000 == pytest.approx(1317, rel=0.15)
    assert head[truth > 0].mean() > head[truth == 0].mean()


def run_example(name):
    pytest.importorskip("torch")
    pytest.importorskip("pandas")
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.parametrize("source", ["label map", "bundled head"])
def test_make_dataset_writes_heads_as_nfbs_names_them(tmp_path, source):
    from deskull.train.index import make_index

    nib.save(make_label_map(), tmp_path / "head-01.nii.gz")
    maps = [tmp_path / "head-01.nii.gz"] if source == "label map" else []
    program = run_example("make_dataset.py")
    program["make_dataset"](tmp_path / "heads", maps, copies=1, heads=2, voxel_size=6.0)
    index, findings = make_index(tmp_path / "heads")
    assert not findings
    assert index["session"].tolist() == ["ses-1", "ses-2"]
    assert index["participant"].nunique() == 1
    for _, row in index.iterrows():
        scan, mask, brain = (nib.load(row[name]) for name in ("image", "mask", "brain"))
        values, inside = np.asarray(scan.dataobj), np.asarray(mask.dataobj) > 0
        assert nib.aff2axcodes(scan.affine) == ("P", "S", "R")
        np.testing.assert_array_equal(brain.dataobj, values * inside)
        assert inside.sum() * 6**3 / 1000 == pytest.approx(1350, rel=0.35)
        assert values[inside].mean() > 2 * values[~inside].mean()


@pytest.mark.slow
def test_the_tutorial_walks_from_heads_to_brains(tmp_path, monkeypatch):
    from deskull.settings import BiasSettings

    monkeypatch.syspath_prepend(EXAMPLES)
    make_dataset = run_example("make_dataset.py")["make_dataset"]
    make_dataset(tmp_path / "heads", [], copies=4, voxel_size=6.0)
    program = run_example("tutorial.py")
    recipe = program["make_small_recipe"]()
    recipe = replace(
        recipe,
        window=replace(recipe.window, shape=(24, 32, 40), voxel_size=8.0),
        network=replace(recipe.network, filters=(4, 8)),
        preparation=replace(recipe.preparation, n4=BiasSettings(3, (2,))),
        training=replace(recipe.training, learning_rate=1e-2),
    )
    program["walk"](tmp_path / "heads", recipe, 16, tmp_path / "run", tmp_path / "page")
    page = (tmp_path / "page" / "README.md").read_text("utf-8")
    for picture in (tmp_path / "page").glob("*.png"):
        assert f"({picture.name})" in page
        assert picture.stat().st_size < 300_000
    assert page.count("![") == len(list((tmp_path / "page").glob("*.png"))) == 7
    assert "| up 1 |" in page


def test_every_example_has_a_test():
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert names == ["make_dataset.py", "make_demo_head.py", "tutorial.py"]
