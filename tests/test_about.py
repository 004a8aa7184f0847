"""`deskull info`, `weights` and `demo`."""

import json
from importlib import metadata

from ball import load, run
from deskull.demo import load_demo
from deskull.image.volume import load_volume
from deskull.measure.metrics import dice
from deskull.network.weights import bundled_folder, load_weights
from deskull.typed_json import to_plain


def test_info_prints_version_runtimes_and_weights(capsys):
    assert run("info") == 0
    out = capsys.readouterr().out
    for text in ("deskull 0.", "openvino 20", "threads", "default", load_weights().digest):
        assert text in out
    assert "licence     Apache-2.0" in out


def test_info_json_is_json(capsys):
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    weights = {one["name"]: one for one in facts["weights"]}
    assert weights["default"]["sha256"] == load_weights().digest
    assert {"licence", "population", "convention"} <= set(weights["default"])
    assert set(facts) >= {"deskull", "python", "runtimes", "device", "threads"}


def test_a_runtime_without_package_metadata_has_an_unknown_version(monkeypatch, capsys):
    def fail(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", fail)
    assert run("info") == 0
    assert "openvino of unknown version" in capsys.readouterr().out


def test_weights_are_listed_shown_and_verified(capsys):
    assert run("weights", "list") == 0
    assert "default" in capsys.readouterr().out.split()
    assert run("weights", "show", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card == to_plain(load_weights().card)
    assert run("weights", "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    for text in ("default", load_weights().digest, "Apache-2.0", "96 x 112 x 96", "tested"):
        assert any(text in line for line in lines), text
    assert run("weights", "verify", "default") == 0
    assert f"all {len(card['files'])} files match their SHA-256" in capsys.readouterr().out


def test_damaged_weights_do_not_verify(tmp_path, capsys):
    for file in (bundled_folder() / "default").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    network = tmp_path / "segment.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"?")
    assert run("weights", "verify", tmp_path) == 1
    assert "segment.onnx: SHA-256" in capsys.readouterr().err


def test_demo_prints_the_dice_of_the_mask_it_wrote(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("demo") == 0
    folder = tmp_path / "deskull_demo"
    names = ["demo.png", "demo_T1w.nii.gz", "demo_brain.nii.gz", "demo_mask.nii.gz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    agreement = dice(load(folder / "demo_mask.nii.gz") > 0, load_demo()[1].data > 0.5)
    assert f"Dice {agreement:.4f} against the exact reference" in capsys.readouterr().out
    brain = load_volume(folder / "demo_brain.nii.gz")
    assert brain.grid.matches(load_demo()[0].grid)
