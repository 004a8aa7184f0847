"""Every program in examples/ runs."""

import json
import runpy
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import run
from train_heads import make_label_map, write_toy_recipe

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOK = ROOT / "docs/tutorials/published-recipe.ipynb"


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
def test_the_notebook_of_the_published_recipe_runs_and_shows_every_step(tmp_path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.chdir(tmp_path)
    settings = {"STEPS": "4", "COPIES": "5", "VOXEL_SIZE": "6.0"}
    monkeypatch.syspath_prepend(EXAMPLES)
    run_example("notebook.py")["make_notebook"](tmp_path / "page.ipynb", settings)
    made, kept = (read_cells(path) for path in (tmp_path / "page.ipynb", NOTEBOOK))
    assert [cell["source"] for cell in made] == [cell["source"] for cell in kept]
    outputs = json.dumps([cell.get("outputs") for cell in made])
    assert outputs.count("image/png") == 5
    assert "error" not in {one["output_type"] for cell in made for one in cell.get("outputs", [])}


def read_cells(path):
    return json.loads(path.read_text("utf-8"))["cells"]


def test_the_notebook_of_the_docs_is_that_of_the_program_and_was_executed():
    program = run_example("notebook.py") if has_notebooks() else pytest.skip("no nbformat")
    cells = program["read_cells"]((EXAMPLES / "published_recipe.py").read_text("utf-8"))
    kept = read_cells(NOTEBOOK)
    assert [cell.source for cell in cells] == ["".join(cell["source"]) for cell in kept]
    assert json.dumps(kept).count("image/png") == 5


def has_notebooks():
    return find_spec("nbformat") is not None and find_spec("nbclient") is not None


def test_make_study_writes_a_bids_data_set_whose_last_scan_is_cut(tmp_path):
    make_study = runpy.run_path(str(EXAMPLES / "make_study.py"))["make_study"]
    make_study(tmp_path / "study", 3, 4.0)
    scans = sorted((tmp_path / "study").glob("sub-*/anat/sub-*_T1w.nii.gz"))
    heights = [nib.as_closest_canonical(nib.load(scan)).shape[2] for scan in scans]
    assert len(scans) == 3
    assert heights[2] < 0.85 * min(heights[:2])
    assert json.loads((tmp_path / "study/dataset_description.json").read_text())["BIDSVersion"]


def test_every_example_has_a_test():
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert names == [
        *("make_dataset.py", "make_demo_head.py", "make_study.py"),
        *("notebook.py", "published_recipe.py", "train_on_gpu.py"),
    ]


@pytest.mark.slow
def test_train_on_gpu_trains_for_its_time_and_goes_on(tmp_path, monkeypatch, capsys):
    program = run_example("train_on_gpu.py")
    maps, pack, out = tmp_path / "maps", tmp_path / "heads.npz", tmp_path / "run"
    maps.mkdir()
    for number in range(3):
        nib.save(make_label_map(size=60 + number), maps / f"p{number}.nii.gz")
    write_toy_recipe(tmp_path / "toy.toml", horizon=20, validate_every=5)
    assert run("pack", maps, "--recipe", tmp_path / "toy.toml", "-o", pack) == 0
    words = [pack, "--recipe", tmp_path / "toy.toml", "--batch", 2, "--device", "cpu"]
    words += ["--minutes", 0.3, "--out", out]
    program["main"].__globals__["RESERVE"] = 0.05
    monkeypatch.setattr("sys.argv", ["train_on_gpu.py", *map(str, words)])
    program["main"]()
    recipe = json.loads((out / "recipe.json").read_text("utf-8"))["training"]
    assert recipe["batch"] == 2
    assert recipe["horizon"] >= 20  # as many steps as fit into the time, of some milliseconds
    assert f" of {recipe['horizon']} steps of batch 2 on cpu, torch " in capsys.readouterr().out
    assert (out / "best.safetensors").exists()
    program["main"]()
    assert json.loads((out / "recipe.json").read_text("utf-8"))["training"] == recipe
    program["main"].__globals__["RESERVE"] = 0.5
    with pytest.raises(SystemExit):
        program["main"]()
    assert "--minutes 0.3: over before the first step" in capsys.readouterr().err
