"""The published schemas: made from the dataclasses, and obeyed by what deskull writes."""

import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from jsonschema import Draft202012Validator

from deskull.network.weights import bundled_folder
from deskull.typed_json import from_plain, ranged, rest, to_plain

DOCS = Path(__file__).parents[1] / "docs"
SCHEMAS = runpy.run_path(str(DOCS / "site_schemas.py"))["make_schemas"]()


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_the_committed_schema_is_that_of_the_code(path):
    assert path.read_bytes() == SCHEMAS[path], "run: python docs/site_schemas.py"
    Draft202012Validator.check_schema(json.loads(SCHEMAS[path]))


def test_the_card_of_the_bundled_weights_obeys_its_schema():
    card = json.loads((bundled_folder() / "default" / "card.json").read_text("utf-8"))
    schema = json.loads((DOCS / "reference" / "schemas" / "card.schema.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(card)
    assert not Draft202012Validator(schema).is_valid(card | {"format": 2})


# --- dataclasses and plain values


@dataclass(frozen=True)
class Inner:
    """A part."""

    size: float
    labels: tuple[str, ...] = ()
    levels: tuple[int, ...] = ranged(1, 9, ())
    step: float | Literal["auto"] = ranged(0.5, 2, "auto")


@dataclass(frozen=True)
class Outer:
    """A whole."""

    count: int
    inner: Inner | None = None
    box: tuple[int, int] = (1, 2)
    more: dict = rest()  # noqa: RUF009


def test_plain_values_come_back():
    whole = Outer(3, Inner(float("inf"), ("a",), (3,), 1.0), (4, 5), {"colour": "blue"})
    plain = json.loads(json.dumps(to_plain(whole), allow_nan=False))
    assert plain["inner"] == {"size": "inf", "labels": ["a"], "levels": [3], "step": 1.0}
    assert plain["colour"] == "blue"
    assert from_plain(Outer, plain) == whole


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({}, "'count': missing; expected a whole number"),
        ([], "the file: .*; expected an object"),
        ({"count": 1.5}, "'count': 1.5; expected a whole number"),
        ({"count": True}, "'count': True; expected a whole number"),
        ({"count": 1, "box": [1]}, r"'box': \[1\]; expected a list of 2"),
        (
            {"count": 1, "inner": {"size": "big"}},
            "'size' in inner: 'big'; expected a finite number",
        ),
        (
            {"count": 1, "inner": {"size": 1, "labels": ["a", 2]}},
            r"'labels\[1\]' in inner: 2; expected text",
        ),
        (
            {"count": 1, "inner": {"size": 1, "colour": 2}},
            "'colour' in inner: unknown; expected one of size, labels",
        ),
        (
            {"count": 1, "inner": {"size": 1, "levels": [2, 0]}},
            r"'levels\[1\]' in inner: 0; .* 1 to 9",
        ),
        (
            {"count": 1, "inner": {"size": 1, "step": 3}},
            "3; expected a number from 0.5 to 2 or 'auto'",
        ),
        (
            {"count": 1, "inner": {"size": 1, "step": "nan"}},
            "'nan'; expected a number from 0.5 to 2",
        ),
        ({"count": 1, "inner": {"size": float("nan")}}, "'size' in inner: nan; expected a finite"),
    ],
)
def test_the_first_wrong_value_is_named_with_its_place(plain, message):
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, plain)
