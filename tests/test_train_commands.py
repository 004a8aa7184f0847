"""The commands that train, as a user types them, at toy size."""

import json
import re
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest

from ball import run
from conftest import make_head
from train_heads import make_label_map, write_toy_recipe

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from deskull.network.weights import load_weights
from deskull.train.finetune import load_start
from deskull.train.recipe import load_recipe
from deskull.train.run_folder import load_released

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
    write_toy_recipe(folder / "toy.toml", horizon=20, validate_every=5)
    (folder / "about.json").write_text(json.dumps(ABOUT), "utf-8")
    assert run("index", folder / "pairs", "-o", folder / "index.tsv") == 0
    assert train(folder, "run", "--steps", 10) == 0
    arguments = ("--about", folder / "about.json", "--out", folder / "weights")
    assert run("export", folder / "run", *arguments) == 0
    return folder


def train(folder, name, *arguments):
    sources = folder / "maps", folder / "index.tsv"
    return run(
        "train", *sources, "--recipe", folder / "toy.toml", "--out", folder / name, *arguments
    )


def test_a_run_keeps_its_split_recipe_curves_and_logs(folder):
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"recipe.json", "split.json", "curves.png", "best.safetensors"} <= names
    split = json.loads((folder / "run" / "split.json").read_text("utf-8"))
    participants = [*(f"p{number}" for number in range(3)), *(f"q{number}" for number in range(4))]
    assert sorted(split["train"] + split["validation"]) == participants
    assert pd.read_csv(folder / "run" / "validation.tsv", sep="\t")["step"].tolist() == [5, 10]


def test_the_same_command_with_more_steps_goes_on(folder):
    assert train(folder, "longer", "--steps", 5) == 0
    assert train(folder, "longer", "--steps", 10) == 0
    once, twice = folder / "run" / "last.safetensors", folder / "longer" / "last.safetensors"
    assert once.read_bytes() == twice.read_bytes()


def test_test_participants_take_no_part_in_training_or_validation(folder, caplog):
    assert train(folder, "tested", "--steps", 5, "--test", 0.25) == 0
    split = json.loads((folder / "tested" / "split.json").read_text("utf-8"))
    assert [len(split[part]) for part in ("train", "validation", "test")] == [3, 2, 2]
    table = pd.read_csv(folder / "tested" / "test.tsv", sep="\t")
    scans = [f"{name}_T1w.nii.gz" for name in split["test"] if name.startswith("q")]
    assert table["head"].tolist() == scans  # scans judge where there are any
    assert table["iou"].between(0, 1).all()
    assert "1 test heads: Dice" in caplog.text


def test_a_chosen_fold_is_tested_and_logged_for_tensorboard(folder):
    pytest.importorskip("tensorboard")
    arguments = ("--steps", 1, "--folds", 3, "--fold", 1, "--tensorboard")
    assert train(folder, "fold", *arguments) == 0
    assert list((folder / "fold" / "tensorboard").iterdir())
    split = json.loads((folder / "fold" / "split.json").read_text("utf-8"))
    assert (split["folds"], split["fold"], len(split["test"])) == (3, 1, 2)


def test_an_exported_card_records_the_agreement_of_the_runtimes(folder, tmp_path):
    arguments = ("--about", folder / "about.json", "--out", tmp_path / "weights")
    scan = folder / "pairs" / "q0_T1w.nii.gz"
    assert run("export", folder / "run", *arguments, "--check", scan) == 0
    text = (tmp_path / "weights" / "card.json").read_text("utf-8")
    parity = json.loads(text)["parity"]
    assert (parity["heads"], parity["against"]) == (2, "torch")
    for runtime in ("openvino", "onnxruntime"):
        assert parity["segment"][runtime]["mean"] < 1e-3
        assert parity["segment"][runtime]["dice"] > 0.99
    assert "q0" not in text


def test_export_refuses_a_runtime_that_disagrees(folder, tmp_path, monkeypatch, capsys):
    from deskull.train import export

    def make_engine(stage, device, threads, runtime):
        logit = 3.0 if runtime == "openvino" else -3.0
        return lambda image: np.full((2, *stage.window.shape), logit, np.float32)

    monkeypatch.setattr(export, "make_engine", make_engine)
    arguments = ("--about", folder / "about.json", "--out", tmp_path / "weights")
    assert run("export", folder / "run", *arguments) == 1
    assert "openvino" in capsys.readouterr().err
    assert not (tmp_path / "weights" / "card.json").exists()


def test_minutes_stop_a_run(folder):
    assert train(folder, "short", "--minutes", 0) == 0
    assert (folder / "short" / "last.safetensors").exists()


def test_a_run_can_start_from_the_weights_of_a_run_or_a_release(folder, tmp_path):
    for name, wanted in (("weights", 2**-10), ("run", 0)):  # a release keeps halves
        out = tmp_path / name
        assert train(folder, out, "--steps", 0, "--start", folder / name) == 0
        begun, given = load_released(out)[1], load_released(folder / "run")[1]
        for mine, theirs in zip(begun.parameters(), given.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=wanted, atol=wanted / 1000)
        assert pd.read_csv(out / "validation.tsv", sep="\t")["step"].tolist() == [0]
    assert train(folder, tmp_path / "run", "--steps", 5, "--start", folder / "run") == 0


def test_a_last_look_that_weights_lack_begins_as_a_change_of_nothing(folder, tmp_path):
    text = (folder / "toy.toml").read_text("utf-8").replace("patch = 2", "patch = 2\nrefine = 4")
    (tmp_path / "toy.toml").write_text(text, "utf-8")
    recipe = load_recipe(tmp_path / "toy.toml")
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        grown, given = load_start(folder / "run", recipe), load_released(folder / "run")[1]
        torch.testing.assert_close(grown.eval()(image), given(image))


def test_a_damaged_checkpoint_is_named(folder, tmp_path, capsys):
    begun = tmp_path / "run"
    shutil.copytree(folder / "run", begun)
    for path in begun.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    for name, arguments in ((begun, ()), (tmp_path / "new", ("--start", begun))):
        assert train(folder, name, "--steps", 12, *arguments) == 1
        err = capsys.readouterr().err
        assert re.search(r"run/(last|best)\.safetensors: not a readable checkpoint", err)


def test_a_start_that_does_not_exist_is_refused_with_what_was_expected(folder, capsys):
    assert train(folder, "nothing", "--start", "no/such") == 1
    err = capsys.readouterr().err
    assert "no/such" in err
    assert "default" in err
    assert "folder of a training run" in err


def test_weights_that_do_not_fit_the_recipe_are_refused(folder, capsys):
    assert train(folder, "unfit", "--start", "default") == 1
    err = capsys.readouterr().err
    assert "default: no network that fits the recipe" in err
    assert "filters 4, 8" in err
    assert not (folder / "unfit").exists()


def test_exported_weights_strip(folder, tmp_path):
    scan = folder / "pairs" / "q0_T1w.nii.gz"
    arguments = ("-p", tmp_path / "p.nii", "--threshold", 0.01, "--weights", folder / "weights")
    assert run(scan, *arguments) == 0
    assert np.asarray(nib.load(tmp_path / "p.nii").dataobj).shape == nib.load(scan).shape


def test_finetune_prints_the_dice_before_and_after(folder, capsys):
    arguments = ("--weights", folder / "weights", "--out", folder / "finer", "--steps", 25)
    assert run("finetune", folder / "index.tsv", *arguments) == 0
    assert "before" in capsys.readouterr().out
    card = json.loads((folder / "finer" / "weights" / "card.json").read_text("utf-8"))
    assert card["data"]["began_with"]["name"] == "weights"
    assert card["stages"]["segment"]["training"]["frozen"] == ["stem", "enter", "down"]


def test_the_frozen_encoder_is_unchanged(folder):
    from safetensors.numpy import load_file

    before = load_file(folder / "weights" / "segment.safetensors")
    after = load_file(folder / "finer" / "weights" / "segment.safetensors")
    moved = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert moved == {"up", "head"}


def test_a_finetuned_card_counts_participants_without_naming_them(folder):
    text = (folder / "finer" / "weights" / "card.json").read_text("utf-8")
    card = json.loads(text)
    assert (card["data"]["participants"], card["data"]["participants_held_out"]) == (3, 1)
    split = {"share": 0.2, "seed": 0, "train": 3, "validation": 1, "test": 0}
    assert card["stages"]["segment"]["split"] == split
    assert not any(f"q{number}" in text for number in range(4))


def test_exported_weights_contain_the_bundled_locate_network(folder):
    ours, bundled = load_weights(folder / "weights"), load_weights("default")
    assert ours.locate.onnx == bundled.locate.onnx
    assert ours.segment.onnx != bundled.segment.onnx


def test_export_takes_a_locate_run(folder):
    arguments = ("--about", folder / "about.json", "--out", folder / "both")
    assert run("export", folder / "run", "--locate", folder / "run", *arguments) == 0
    weights = load_weights(folder / "both")
    assert weights.locate.onnx == weights.segment.onnx


def test_an_interrupted_finetune_reports_it_and_releases_nothing(folder, monkeypatch):
    from deskull.train import loop

    def take_step(*inputs):
        signal.raise_signal(signal.SIGINT)
        return real(*inputs)

    real = loop._Loop.take_step
    monkeypatch.setattr(loop._Loop, "take_step", take_step)
    arguments = ("--weights", folder / "weights", "--out", folder / "cut")
    assert run("finetune", folder / "index.tsv", *arguments) == 130
    assert (folder / "cut" / "last.safetensors").exists()
    assert not (folder / "cut" / "weights").exists()
    assert train(folder, "cut_too") == 130


def finetune_changed(folder, place, change):
    """Fine-tune the weights by 0 steps after a change of their card."""
    shutil.copytree(folder / "weights", place / "old")
    card = json.loads((place / "old" / "card.json").read_text("utf-8"))
    change(card)
    (place / "old" / "card.json").write_text(json.dumps(card), "utf-8")
    arguments = ("--weights", place / "old", "--out", place / "new", "--steps", 0)
    return run("finetune", folder / "index.tsv", *arguments)


def test_a_card_with_a_setting_out_of_range_is_refused(folder, tmp_path, capsys):
    def change(card):
        card["stages"]["segment"]["training"]["horizon"] = 0

    assert finetune_changed(folder, tmp_path, change) == 1
    place = "the recipe of 'segment' in card.json is damaged: 'horizon' in training: 0; expected"
    assert f"old: {place} a whole number from 1" in capsys.readouterr().err


def test_a_card_without_data_can_be_finetuned(folder, tmp_path):
    assert finetune_changed(folder, tmp_path, lambda card: card.pop("data")) == 0
    card = json.loads((tmp_path / "new" / "weights" / "card.json").read_text("utf-8"))
    assert card["data"]["began_with"]["data"] is None


def test_the_bundled_weights_are_finetuned_and_never_get_worse(folder, tmp_path, capsys):
    pairs = folder / "pairs"
    rows = [f"{pairs}/q{n}_T1w.nii.gz\t{pairs}/q{n}_T1w_mask.nii.gz" for n in range(2)]
    (tmp_path / "two.tsv").write_text("\n".join(["image\tmask", *rows]) + "\n", "utf-8")
    assert run("finetune", tmp_path / "two.tsv", "--out", tmp_path / "run", "--steps", 2) == 0
    before, after = re.findall(r"(\d\.\d{4}) (?:before|after)", capsys.readouterr().out)
    assert float(after) >= float(before)
    weights, bundled = load_weights(tmp_path / "run" / "weights"), load_weights("default")
    assert weights.locate.onnx == bundled.locate.onnx
    assert weights.card.data["began_with"]["sha256"] == bundled.digest


def test_pairs_of_one_participant_cannot_finetune(folder, tmp_path, capsys):
    pairs = folder / "pairs"
    row = f"{pairs}/q0_T1w.nii.gz\t{pairs}/q0_T1w_mask.nii.gz"
    (tmp_path / "one.tsv").write_text(f"image\tmask\n{row}\n", "utf-8")
    arguments = ("--weights", folder / "weights", "--out", tmp_path / "run")
    assert run("finetune", tmp_path / "one.tsv", folder / "maps", *arguments) == 1
    assert "pairs of 1 participant" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ([], "expected a JSON object"),
        ({**ABOUT, "licence": ""}, "licence missing or empty"),
        ({key: ABOUT[key] for key in ("licence", "population")}, "convention, data missing"),
        ({**ABOUT, "stages": {}}, "export itself writes"),
    ],
)
def test_an_invalid_description_of_the_card_is_refused(folder, tmp_path, capsys, about, message):
    (tmp_path / "bad.json").write_text(json.dumps(about), "utf-8")
    arguments = ("--about", tmp_path / "bad.json", "--out", tmp_path / "weights")
    assert run("export", folder / "run", *arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("command", ["train", "finetune", "export"])
def test_a_folder_below_a_file_cannot_be_written(folder, capsys, command):
    arguments = {
        "train": ("train", folder / "maps", "--recipe", folder / "toy.toml"),
        "finetune": ("finetune", folder / "index.tsv", "--weights", folder / "weights"),
        "export": ("export", folder / "run", "--about", folder / "about.json"),
    }[command]
    assert run(*arguments, "--out", folder / "toy.toml" / "x") == 1
    assert "toy.toml is a file, and no folder" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "2", "nan"])
def test_finetune_needs_a_share_held_out(folder, capsys, share):
    arguments = ("--weights", folder / "weights", "--out", folder / "r", "--validation", share)
    assert run("finetune", folder / "index.tsv", *arguments) == 2
    assert "expected a share above 0 and below 1" in capsys.readouterr().err


def test_a_run_without_validation_participants_trains(folder):
    assert train(folder, "all", "--steps", 1, "--validation", 0) == 0
    split = json.loads((folder / "all" / "split.json").read_text("utf-8"))
    assert (len(split["train"]), split["validation"]) == (7, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.tsv", "--out", "r"], "nowhere.tsv"),
        (["train", "nowhere", "--out", "r"], "nowhere"),
        (["train", "maps", "--recipe", "none", "--out", "r"], "no such recipe"),
        (["export", "maps", "--about", "about.json", "--out", "w"], "folder of a training run"),
        (["export", "run", "--about", "nowhere.json", "--out", "w"], "not a readable JSON"),
        (["finetune", "index.tsv", "--weights", "none", "--out", "r"], "no such weights"),
        (["train", "maps", "--recipe", "toy.toml", "--out", "r", "--device", "cuda:9"], "cuda:9"),
        (["train", "maps", "--out", "r", "--folds", "5"], "folds"),
        (["export", "run", "--about", "about.json", "--out", "w", "--check", "no.nii"], "no.nii"),
    ],
)
def test_missing_or_unusable_inputs_are_refused_in_one_line(
    folder, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(folder)
    assert run(*arguments) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("deskull: error: ")
    assert message in last
    assert "internal error of deskull" not in last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--validation 2", "validation 2; expected a share below 1"),
        ("--test 0.9", "validation 0.2 and test 0.9"),
        ("--fold 1", "fold 1 of 0"),
        ("--folds 4 --test 0.1", "one of them"),
        ("--steps -1", "steps -1; expected 0 or more"),
        ("--minutes nan", "minutes nan; expected 0 or more"),
        ("--device tpu", "device 'tpu'; expected auto"),
    ],
)
def test_an_option_out_of_range_is_wrong_use(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    assert run("train", "maps", "-o", "unmade", *arguments.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "unmade").exists()


def test_a_missing_train_extra_is_named(folder, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert run("train", folder / "maps", "--out", folder / "none") == 1
    err = capsys.readouterr().err
    assert "deskull train: torch is not installed." in err
    for text in ("pip install 'deskull[train]'", "https://download.pytorch.org/whl/cpu"):
        assert text in err
