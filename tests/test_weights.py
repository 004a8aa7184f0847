import json
import shutil

import pytest

from deskull.errors import WeightsError
from deskull.network.weights import bundled_folder, list_weights, load_weights
from deskull.typed_json import to_plain


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(bundled_folder() / "default", tmp_path / "mine")


def edit(folder, **fields):
    card = json.loads((folder / "card.json").read_text("utf-8"))
    (folder / "card.json").write_text(json.dumps(card | fields), "utf-8")


def test_default_is_bundled_small_and_says_what_it_is():
    assert "default" in list_weights()
    folder = bundled_folder()
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 25 * 2**20
    card = to_plain(load_weights().card)
    for word in ("licence", "population", "convention", "data"):
        assert len(str(card[word])) > 8


def test_a_folder_of_ones_own_is_loaded(copy):
    weights = load_weights(copy)
    assert weights.name == "mine"
    assert weights.digest == load_weights().digest
    assert weights.segment.spec.outputs[0] == "brain"


def test_every_file_of_the_folder_is_in_the_card(copy):
    card = json.loads((copy / "card.json").read_text("utf-8"))
    assert {p.name for p in copy.iterdir()} == {*card["files"], "card.json"}


@pytest.mark.parametrize("name", ["segment.onnx", "segment.safetensors"])
def test_one_flipped_bit_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_weights(copy)


def no_file(folder):
    (folder / "segment.onnx").unlink()


def no_card(folder):
    (folder / "card.json").unlink()


def text_card(folder):
    (folder / "card.json").write_text("weights", "utf-8")


def old_card(folder):
    edit(folder, format=0)


def no_segment(folder):
    edit(folder, stages={})


def no_licence(folder):
    card = json.loads((folder / "card.json").read_text("utf-8"))
    del card["licence"]
    (folder / "card.json").write_text(json.dumps(card), "utf-8")


def no_window(folder):
    card = json.loads((folder / "card.json").read_text("utf-8"))
    del card["stages"]["segment"]["window"]
    edit(folder, stages=card["stages"])


def list_of_files(folder):
    edit(folder, files=["segment.onnx"])


def unlisted_file(folder):
    edit(folder, files={})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_window, "lacks or garbles 'window' in stages.segment: missing"),
        (list_of_files, "garbles 'files': .*; expected an object"),
        (unlisted_file, "incomplete card"),
        (no_file, "cannot be read"),
        (no_card, "no such weights; expected one of default"),
        (text_card, "not JSON .* Expected the card of a folder of weights"),
        (old_card, "format 0"),
        (no_segment, "incomplete card"),
        (no_licence, "lacks or garbles 'licence': missing"),
    ],
)
def test_bad_weights_are_refused_with_a_clear_message(copy, damage, message):
    damage(copy)
    with pytest.raises(WeightsError, match=message):
        load_weights(copy)
