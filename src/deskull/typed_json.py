"""Frozen dataclasses as JSON (or TOML) and back, and the JSON Schema of each.

Every JSON file of deskull that others read, and every recipe, is such a dataclass: its
annotations say what a field holds, its docstring what it means, and the published schema is made
from both, so that they cannot disagree. What the fields are is said where the dataclass is
(`record.py`, `network/card.py`, `corrections_table.py`, `train/recipe.py`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REST, _ANY_NUMBER, _RANGE = "rest", "any_number", "range"
_UNLIMITED, _WHOLE = (-math.inf, math.inf), "the file"
OMIT = {"omit": True}
"""Metadata of a field that is left out of the JSON where it is None or empty."""

EXACT = {"exact": True, **OMIT}
"""Metadata of such a field that is None unless every part of it can be read."""

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
_PART = re.compile(r"^(\w[\w, ]*)\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


def rest() -> Any:
    """Define the field of a dataclass that takes what no other field is named for.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Card:
    ...     licence: str
    ...     more: Mapping[str, Any] = rest()
    >>> from_plain(Card, {"licence": "CC0", "funding": "none"}).more
    {'funding': 'none'}
    """
    return field(default_factory=dict, metadata={_REST: True})


def any_number(default: float) -> Any:
    """Define the field of a dataclass that takes NaN and infinity as well.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Choice:
    ...     fill: float = any_number(0.0)
    >>> from_plain(Choice, {"fill": "inf"})
    Choice(fill=inf)
    """
    return field(default=default, metadata={_ANY_NUMBER: True})


def ranged(low: float, high: float, default: Any = MISSING) -> Any:
    """Define the field of a dataclass whose value, or each of its elements, is in [low, high].

    Parameters
    ----------
    low, high
        Smallest and largest value allowed.
    default
        Default value; without one the field is required.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     batch: int = ranged(1, 128, 4)
    >>> from_plain(Settings, {"batch": 0})
    Traceback (most recent call last):
    ValueError: 'batch': 0; expected a whole number from 1 to 128
    """
    return field(default=default, metadata={_RANGE: (low, high)})


def to_plain(value: Any) -> Any:
    """Make plain values, fit for JSON: of a dataclass an object, of a tuple a list.

    JSON has no number for NaN and infinity: they become the strings ``"nan"``, ``"inf"`` and
    ``"-inf"``.

    Examples
    --------
    >>> to_plain({"shape": (1, 2), "fill": math.nan})
    {'shape': [1, 2], 'fill': 'nan'}
    """
    if is_dataclass(value):
        plain: dict[str, Any] = {}
        for one in fields(value):
            content = getattr(value, one.name)
            if one.metadata.get(_REST):
                plain |= to_plain(content)
            elif content or not one.metadata.get("omit"):
                plain[one.name] = to_plain(content)
        return plain
    if isinstance(value, Mapping):
        return {key: to_plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(kind: type[T], value: object, lenient: bool = False) -> T:
    """Make a dataclass of the plain values of a JSON or TOML file.

    Parameters
    ----------
    kind
        Dataclass whose annotations are of ``bool``, ``int``, ``float``, ``str``, ``None``,
        ``Any``, literals, tuples, mappings, unions, and dataclasses of the same.
    value
        Value as read from the file. What no field is named for goes into the field for the
        `rest`.
    lenient
        Whether what has not the type of its field counts as missing, and what no field is named
        for is ignored, so that a file that is damaged or of another version is read as far as it
        can be.

    Raises
    ------
    ValueError
        With the first value that is missing, unknown, of another type or out of its range: its
        place, the value, and what was expected.

    Examples
    --------
    >>> from deskull.measure.quality import Flag
    >>> from_plain(Flag, {"name": "volume", "sentence": 7})
    Traceback (most recent call last):
    ValueError: 'sentence': 7; expected text
    """
    return cast(T, _convert(kind, value, _Place(lenient=lenient)))


@dataclass(frozen=True)
class _Place:
    """Where in the file a value is, and how it is read there."""

    path: tuple[str, ...] = ()
    lenient: bool = False
    limits: tuple[float, float] = _UNLIMITED

    def enter(self, name: str) -> "_Place":
        return replace(self, path=(*self.path, name))

    def enter_field(self, one: Field[Any]) -> "_Place":
        lenient = self.lenient and not one.metadata.get("exact")
        limits = one.metadata.get(_RANGE, _UNLIMITED)
        return replace(self.enter(one.name), lenient=lenient, limits=limits)

    def refuse(self, fault: str, expected: str) -> ValueError:
        """Make the error: `'window' in stages.segment: missing; expected ...`."""
        *parents, name = self.path or ("",)
        where = f"{name!r} in {'.'.join(parents)}" if parents else repr(name) if name else _WHOLE
        return ValueError(f"{where}: {fault}; expected {expected}")


def _convert(kind: Any, value: Any, place: _Place) -> Any:
    origin, options = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(value, Mapping):
        return _convert_fields(cast(type, kind), value, place)
    if origin in (Union, UnionType):
        return _convert_any(options, value, place)
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_items(options, value, place)
    if origin is not None and _is_mapping(origin) and isinstance(value, Mapping):
        return _convert_values(options[1], value, place)
    return _convert_scalar(kind, value, place)


def _convert_scalar(kind: Any, value: Any, place: _Place) -> Any:
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind in (int, float) and type(value) in (int, kind) and _is_within(value, place.limits):
        return kind(value)
    named = isinstance(value, str) and value in _NOT_FINITE and place.limits == _UNLIMITED
    if kind is float and named:
        return _NOT_FINITE[value]
    if kind in (bool, str, NoneType) and type(value) is kind:
        return value
    raise place.refuse(f"{value!r:.60}", _describe(kind, place.limits))


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_within(value: float, limits: tuple[float, float]) -> bool:
    try:
        return math.isfinite(value) and limits[0] <= value <= limits[1]
    except OverflowError:  # a whole number beyond those of float
        return False


def _convert_fields(kind: type, value: Mapping[str, Any], place: _Place) -> Any:
    hints, given = _find_hints(kind), {}
    known = [one.name for one in fields(kind)]
    if not (place.lenient or any(one.metadata.get(_REST) for one in fields(kind))):
        for key in value:
            if key not in known:
                raise place.enter(key).refuse("unknown", f"one of {', '.join(known)}")
    for one in fields(kind):
        inner = place.enter_field(one)
        if one.metadata.get(_REST):
            given[one.name] = {key: v for key, v in value.items() if key not in known}
        elif one.name in value:
            try:
                given[one.name] = _convert(hints[one.name], value[one.name], inner)
            except ValueError:
                if not place.lenient or _is_needed(one):
                    raise
        elif _is_needed(one):
            raise inner.refuse("missing", _describe(hints[one.name], inner.limits))
    return kind(**given)


def _convert_any(options: tuple[Any, ...], value: Any, place: _Place) -> Any:
    errors = {}
    for option in options:
        try:
            return _convert(option, value, place)
        except ValueError as error:
            errors[option] = error
    plain = [option for option in options if option is not NoneType]
    if len(plain) == 1:
        raise errors[plain[0]]
    raise place.refuse(f"{value!r:.60}", _describe(Union[options], place.limits))  # noqa: UP007


def _convert_items(options: tuple[Any, ...], value: Any, place: _Place) -> Any:
    alike = options[-1] is Ellipsis
    if not alike and len(options) != len(value):
        raise place.refuse(f"{value!r:.60}", f"a list of {len(options)}")
    kinds = [options[0]] * len(value) if alike else options
    items = []
    for number, (kind, item) in enumerate(zip(kinds, value, strict=True)):
        try:
            *parents, name = place.path
            inner = replace(place, path=(*parents, f"{name}[{number}]"))
            items.append(_convert(kind, item, inner))
        except ValueError:
            if not (place.lenient and alike):
                raise
    return tuple(items)


def _convert_values(kind: Any, value: Mapping[str, Any], place: _Place) -> Any:
    found = {}
    for key, item in value.items():
        try:
            found[key] = _convert(kind, item, place.enter(key))
        except ValueError:
            if not place.lenient:
                raise
    return found


@cache
def _find_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _describe(kind: Any, limits: tuple[float, float]) -> str:
    """Describe the values that a type accepts, its numbers within limits."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_describe(option, limits) for option in options)
    if origin is Literal:
        choices = ", ".join(map(repr, options))
        return f"one of {choices}" if len(options) > 1 else choices
    if origin is tuple:
        length = "" if options[-1] is Ellipsis else f" of {len(options)}"
        return f"a list{length}, each {_describe(options[0], limits)}"
    if is_dataclass(kind):
        return f"an object with the fields {', '.join(one.name for one in fields(kind))}"
    between = "" if limits == _UNLIMITED else f" from {limits[0]} to {limits[1]}"
    finite = "" if between else "finite "
    names = {int: f"a whole number{between}", float: f"a {finite}number{between}"}
    names |= {bool: "true or false", str: "text", NoneType: "null", Any: "a value"}
    return names.get(kind, "an object")


# --- the published schema


def make_schema(kind: type, title: str) -> dict[str, Any]:
    """Make the JSON Schema (draft 2020-12) of a dataclass.

    Parameters
    ----------
    kind
        Dataclass, as for `from_plain`. Descriptions are those of its docstring.
    title
        Title of the schema.

    Examples
    --------
    >>> from deskull.measure.quality import Flag
    >>> make_schema(Flag, "doubt")["properties"]["name"]["type"]
    'string'
    """
    parts: dict[str, Any] = {}
    schema = _describe_fields(kind, parts)
    return {"$schema": DIALECT, "title": title, **schema, **({"$defs": parts} if parts else {})}


def _describe_fields(kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    text = cleandoc(kind.__doc__ or "")
    descriptions, hints, properties = _read_parameters(text), _find_hints(kind), {}
    for one in fields(cast(Any, kind)):
        if not one.metadata.get(_REST):
            more = _make_limits(one, hints[one.name])
            properties[one.name] = {**_make_type(hints[one.name], parts), **more}
            if one.name in descriptions:
                properties[one.name]["description"] = descriptions[one.name]
    needed = [one.name for one in fields(cast(Any, kind)) if _is_needed(one)]
    return {
        "description": " ".join(text.partition("\n\n")[0].split()),
        "type": "object",
        "properties": properties,
        **({"required": needed} if needed else {}),
    }


def _make_limits(one: Field[Any], kind: Any) -> dict[str, Any]:
    """Limits of a number, from the metadata ``range`` of its field."""
    if one.metadata.get(_ANY_NUMBER):
        return {"type": ["number", "string"]}
    if _RANGE not in one.metadata or get_origin(kind) is tuple:
        return {}
    low, high = one.metadata[_RANGE]
    return {"minimum": low, "maximum": high}


def _read_parameters(text: str) -> dict[str, str]:
    """Descriptions of the section Parameters of a docstring in numpy style."""
    section = text.partition("Parameters\n----------\n")[2].partition("\n----")[0]
    return {
        name.strip(): " ".join(lines.split()).replace("``", "`")
        for names, lines in _PART.findall(section + "\n")
        for name in names.split(",")
    }


def _make_type(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    origin, options = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        name = cast(type, kind).__name__
        if name not in parts:
            parts[name] = {}
            parts[name] = _describe_fields(cast(type, kind), parts)
        return {"$ref": f"#/$defs/{name}"}
    if origin in (Union, UnionType):
        return {"anyOf": [_make_type(option, parts) for option in options]}
    if origin is Literal:
        return {"enum": list(options)}
    if origin is tuple and options[-1] is Ellipsis:
        return {"type": "array", "items": _make_type(options[0], parts)}
    if origin is tuple:
        items = [_make_type(option, parts) for option in options]
        return {"type": "array", "prefixItems": items, "items": False}
    if origin is not None and _is_mapping(origin):
        return {"type": "object", "additionalProperties": _make_type(options[1], parts)}
    return {"type": _JSON_TYPES[kind]} if kind in _JSON_TYPES else {}
