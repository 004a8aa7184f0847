"""The commands that learn, as a user types them, at toy size."""

import json

import nibabel as nib
import numpy as np
import pytest

from ball import run
from conftest import make_head
from learn_heads import make_label_map

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

TOY = """
[window]
shape = [16, 16, 16]
voxel_size = 12.0
[network]
filters = [4, 8]
patch = 2
[training]
horizon = 20
warmup = 2
validate_every = 5
"""
ABOUT = {"licence": "none", "population": "balls", "convention": "closed", "data": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three label maps, four pairs, a recipe, an index, a run and its weights."""
    folder = tmp_path_factory.mktemp("learn")
    (folder / "maps").mkdir()
    (folder / "pairs").mkdir()
    for number in range(3):
        nib.save(make_label_map(size=60 + number), folder / "maps" / f"p{number}.nii.gz")
    for number in range(4):
        image, brain = make_head(seed=number)
        mask = nib.Nifti1Image(brain.astype(np.uint8), image.affine)
        nib.save(image, folder / "pairs" / f"q{number}_T1w.nii.gz")
        nib.save(mask, folder / "pairs" / f"q{number}_T1w_mask.nii.gz")
    (folder / "toy.toml").write_text(TOY, "utf-8")
    (folder / "about.json").write_text(json.dumps(ABOUT), "utf-8")
    assert run("index", folder / "pairs", "-o", folder / "index.tsv") == 0
    assert train(folder, "run", "--steps", 10) == 0
    words = ("--about", folder / "about.json", "--out", folder / "weights")
    assert run("export", folder / "run", *words) == 0
    return folder


def train(folder, name, *words):
    sources = folder / "maps", folder / "index.tsv"
    return run("train", *sources, "--recipe", folder / "toy.toml", "--out", folder / name, *words)


def test_a_run_keeps_its_split_recipe_curves_and_logs(folder):
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"recipe.json", "split.json", "curves.png", "best.safetensors"} <= names
    split = json.loads((folder / "run" / "split.json").read_text("utf-8"))
    assert sorted(split["train"] + split["validation"]) == [
        "p0",
        "p1",
        "p2",
        "q0",
        "q1",
        "q2",
        "q3",
    ]
    assert pd.read_csv(folder / "run" / "validation.tsv", sep="\t")["step"].tolist() == [5, 10]


def test_the_same_command_with_more_steps_goes_on(folder):
    assert train(folder, "longer", "--steps", 5) == 0
    assert train(folder, "longer", "--steps", 10) == 0
    once, twice = folder / "run" / "last.safetensors", folder / "longer" / "last.safetensors"
    assert once.read_bytes() == twice.read_bytes()


def test_minutes_stop_a_run(folder):
    assert train(folder, "short", "--minutes", 0) == 0
    assert (folder / "short" / "last.safetensors").exists()


def test_what_was_trained_strips(folder, tmp_path):
    scan = folder / "pairs" / "q0_T1w.nii.gz"
    words = ("-p", tmp_path / "p.nii", "--threshold", 0.01, "--weights", folder / "weights")
    assert run(scan, *words) == 0
    assert np.asarray(nib.load(tmp_path / "p.nii").dataobj).shape == nib.load(scan).shape


def test_finetuned_weights_say_how_they_did_before_and_after(folder, capsys):
    words = ("--weights", folder / "weights", "--out", folder / "finer", "--steps", 25)
    assert run("finetune", folder / "index.tsv", *words) == 0
    assert "before" in capsys.readouterr().out
    card = json.loads((folder / "finer" / "weights" / "card.json").read_text("utf-8"))
    assert card["data"]["began_with"]["name"] == "weights"
    assert card["stages"]["segment"]["training"]["frozen"] == ["stem", "enter", "down"]


def test_the_frozen_way_down_stays_as_it_was(folder):
    from safetensors.numpy import load_file

    before = load_file(folder / "weights" / "segment.safetensors")
    after = load_file(folder / "finer" / "weights" / "segment.safetensors")
    moved = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert moved == {"up", "head"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nowhere.tsv", "--out", "r"], "nowhere.tsv"),
        (["train", "nowhere", "--out", "r"], "nowhere"),
        (["train", "maps", "--recipe", "none", "--out", "r"], "no such recipe"),
        (["export", "maps", "--about", "about.json", "--out", "w"], "folder of a training run"),
        (["export", "run", "--about", "nowhere.json", "--out", "w"], "not a readable JSON"),
        (["finetune", "index.tsv", "--weights", "none", "--out", "r"], "no such weights"),
        (["train", "maps", "--recipe", "toy.toml", "--out", "r", "--device", "cuda:9"], "cuda:9"),
        (["train", "index.tsv", "--recipe", "toy.toml", "--out", "r", "--validation", "2"], "2"),
    ],
)
def test_wrong_use_is_one_clear_line(folder, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folder)
    assert run(*words) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("deskull: error: ")
    assert message in last
    assert "fault of deskull's own" not in last


def test_without_the_extra_the_message_names_it(folder, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert run("train", folder / "maps", "--out", folder / "none") == 1
    assert "deskull[train]" in capsys.readouterr().err
