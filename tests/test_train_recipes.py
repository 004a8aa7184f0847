"""Recipes: every value is checked, and those of the docs fit the weights."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from train_heads import recipe

torch = pytest.importorskip("torch")

from deskull.errors import InputError
from deskull.network.weights import load_weights
from deskull.train.finetune import load_start, load_trained
from deskull.train.recipe import load_recipe, make_recipe
from deskull.typed_json import to_plain

__all__ = ["recipe"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such recipe"),
        ("x = ", "not a recipe"),
        ("# caf\xe9", "not a recipe"),
        ("[augmentation]\nflip = 0", "'augmentation': unknown; expected one of name, window"),
        (
            "[window]\nshape = [9, 9, 9]\nvoxel_size = 2.0\n[network]\n[training]\nhorizon = 1",
            r"'shape' in window: \(9, 9, 9\); expected edges divisible by 8",
        ),
        (
            "[window]\nshape = [8, 8, 8]\nvoxel_size = 2.0\n[network]\nlayers = 3\n[training]\n"
            "horizon = 1",
            "'layers' in network: unknown; expected one of outputs, filters",
        ),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    if text:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


def test_bundled_recipes_load():
    assert load_recipe("segment").network.outputs == ("brain", "tissue")
    assert load_recipe("locate").window.voxel_size == 4.0
    article = load_recipe("article")
    assert (article.network.norm, article.training.schedule) == ("batch", "constant")


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("training", "steps", 3),
        ("training", "horizon", 0),
        ("training", "batch", 0),
        ("training", "batch", 1.5),
        ("training", "warmup", 0),
        ("training", "validate_every", 0),
        ("training", "learning_rate", float("nan")),
        ("training", "loss", "hinge"),
        ("training", "optimiser", "sgd"),
        ("training", "frozen", ["legs"]),
        ("network", "norm", "group"),
        ("network", "outputs", ["tissue"]),
        ("network", "outputs", ["brain", "skull"]),
        ("network", "filters", []),
        ("network", "patch", 3),
        ("network", "residual", "yes"),
        ("window", "voxel_size", -2.0),
        ("preparation", "centre", "nose"),
        ("preparation", "n4", 3),
        ("preparation", "n4", {"shrink": 0}),
        ("window", "shape", [16, 16, 0]),
        ("window", "shape", [16, 16]),
        ("window", "voxel_size", "2"),
        ("augment", "flip", 2),
    ],
)
def test_recipe_values_that_no_run_could_use_are_refused(recipe, part, name, value):
    fields = json.loads(json.dumps(to_plain(recipe)))
    fields[part][name] = value
    with pytest.raises(InputError, match="shrink" if isinstance(value, dict) else name):
        make_recipe(fields, "bad")


def test_a_value_out_of_range_is_named_with_its_file_place_and_range(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[window]\nshape = [8, 8, 8]\nvoxel_size = 50", "utf-8")
    with pytest.raises(InputError) as error:
        load_recipe(str(path))
    expected = "expected a number from 0.1 to 20 or 'fit'"
    assert str(error.value) == (f"{path}: not a recipe: 'voxel_size' in window: 50; {expected}.")


def test_every_number_of_a_recipe_has_a_range(recipe):
    for section in (recipe, *vars(recipe).values()):
        for setting in fields(section) if is_dataclass(section) else ():
            value = getattr(section, setting.name)
            if type(value) in (int, float):
                assert "range" in setting.metadata, setting.name


@pytest.mark.parametrize("place", ["docs/weights/segment.toml", "examples/upright_t1w.toml"])
def test_recipes_of_docs_and_examples_can_start_from_the_default_weights(place):
    recipe = load_recipe(Path(__file__).parents[1] / place)
    assert load_start("default", recipe).spec == recipe.network


def test_the_recipe_in_the_docs_made_the_default_weights():
    folder = Path(__file__).parents[1] / "docs" / "weights"
    recipe, card = load_recipe(folder / "segment.toml"), load_weights("default").card
    assert load_trained("default")[0][0] == replace(recipe, name="segment")
    about = json.loads((folder / "default.json").read_text("utf-8"))
    assert {key: to_plain(card)[key] for key in about} == about
