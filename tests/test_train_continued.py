"""Runs that go on: what comes too late, and options that change nothing, are said."""

import json

import nibabel as nib
import pytest

from ball import run
from train_heads import labelled, make_label_map, write_toy_recipe

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.network.weights import load_weights
from deskull.train.checkpoint import LAST
from deskull.train.finetune import START, finetune
from deskull.train.sources import Sources

__all__ = ["labelled"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Three label maps and a recipe of four steps."""
    monkeypatch.chdir(tmp_path)
    write_toy_recipe(tmp_path / "toy.toml", horizon=4, validate_every=2)
    (tmp_path / "maps").mkdir()
    for number in range(3):
        add_map(tmp_path, number)
    return tmp_path


def add_map(study, number):
    nib.save(make_label_map(size=56 + number), study / "maps" / f"p{number}.nii.gz")


def train(*options, out="run"):
    return run("train", "maps", "--recipe", "toy.toml", "-o", out, *options)


def test_new_participants_of_a_complete_run_are_refused(study, capsys):
    assert train("--steps", 3) == 0
    add_map(study, 3)
    assert train() == 0  # takes the fourth step
    add_map(study, 4)
    capsys.readouterr()
    assert train() == 1
    err = capsys.readouterr().err
    assert "run: the run is complete at step 4; 1 new participants would change nothing: p4" in err
    assert "deskull train --start run" in err
    assert "p4" not in (study / "run" / "split.json").read_text("utf-8")
    assert train("--steps", 5) == 0


def test_new_test_participants_may_join_a_complete_run(study):
    assert train() == 0
    add_map(study, 3)
    rows = [f"maps/p{n}.nii.gz\tp{n}\t{'test' if n == 3 else ''}" for n in range(4)]
    (study / "t.tsv").write_text("label_map\tparticipant\tpart\n" + "\n".join(rows), "utf-8")
    assert run("train", "t.tsv", "--recipe", "toy.toml", "-o", "run") == 0
    assert pd.read_csv("run/test.tsv", sep="\t")["head"].tolist() == ["p3"]


def test_a_complete_run_says_that_nothing_is_trained(study, caplog):
    text = "run: the run is complete at step 4 of 4; nothing is trained"
    assert train() == 0
    assert text not in caplog.text
    assert train() == 0
    assert text in caplog.text


def test_another_share_of_an_existing_run_is_warned_of(study, caplog):
    assert train("--steps", 1, "--validation", 0.4) == 0
    assert train("--steps", 2, "--validation", 0.4) == 0
    assert "keeps its split" not in caplog.text
    assert train("--steps", 3, "--validation", 0.4, "--test", 0.3) == 0
    assert "drawn with --validation 0.4 --test 0; 0.4 and 0.3 change nothing" in caplog.text


def test_another_start_of_an_existing_run_is_warned_of(study, caplog):
    for out in ("one", "other"):
        assert train("--steps", 1, out=out) == 0
    assert train("--steps", 1, "--start", "one") == 0
    assert train("--steps", 2, "--start", "one") == 0
    assert train("--steps", 2) == 0
    assert "--start" not in caplog.text
    assert train("--steps", 3, "--start", "run", out="other") == 0
    assert "other: the run goes on with its own weights" in caplog.text


def test_finetuning_other_weights_in_the_same_folder_is_refused(labelled, tmp_path):
    (tmp_path / LAST).write_bytes(b"a checkpoint")
    (tmp_path / START).write_text(json.dumps({"sha256": "0" * 64}), "utf-8")
    heads = Sources([labelled], [])
    with pytest.raises(InputError, match="begun with other weights than default"):
        finetune(load_weights("default"), heads, heads, tmp_path)
