"""Frozen dataclasses as JSON and back, and the JSON Schema of each.

Every JSON file of deskull that others read is such a dataclass: its annotations say what a field
holds, its docstring what it means, and the published schema is made from both, so that they
cannot disagree. What the fields are is said where the dataclass is (`record.py`,
`network/card.py`, `corrections.py`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REST, _ANY_NUMBER = "rest", "any_number"
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
    """Make a dataclass of the plain values of a JSON file.

    Parameters
    ----------
    kind
        Dataclass whose annotations are of ``bool``, ``int``, ``float``, ``str``, ``None``,
        ``Any``, literals, tuples, mappings, unions, and dataclasses of the same.
    value
        Value as read from the JSON file. What no field is named for goes into the field for the
        `rest`.
    lenient
        Whether what has not the type of its field counts as missing, and what no field is named
        for is ignored, so that a file that is damaged or of another version is read as far as it
        can be.

    Raises
    ------
    ValueError
        With the place of the first value that is missing, unknown or of another type.

    Examples
    --------
    >>> from deskull.measure.quality import Flag
    >>> from_plain(Flag, {"name": "volume", "sentence": 7})
    Traceback (most recent call last):
    ValueError: 'sentence': 7; expected text
    """
    return cast(T, _convert(kind, value, "", lenient))


def _convert(kind: Any, value: Any, where: str, lenient: bool) -> Any:
    origin, options = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _convert_fields(cast(type, kind), value, where, lenient)
    if origin in (Union, UnionType):
        return _convert_any(options, value, where, lenient)
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_items(options, value, where, lenient)
    if origin is not None and _is_mapping(origin) and isinstance(value, Mapping):
        return _convert_values(options[1], value, where, lenient)
    if origin is Literal and value in options:
        return value
    if kind is float and (type(value) is int or type(value) is float):
        return _to_float(value, where)
    if kind is float and isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if kind in (bool, int, str, NoneType) and type(value) is kind:
        return value
    raise ValueError(f"{_name(where)}: {value!r:.60}; expected {_describe(kind)}")


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _to_float(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{_name(where)}: {value!r:.20}; expected a finite number")
    return number


def _convert_fields(kind: type, value: Any, where: str, lenient: bool) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{_name(where)}: {value!r:.60}; expected an object")
    hints, given = _find_hints(kind), {}
    known = {one.name for one in fields(kind)}
    if not (lenient or any(one.metadata.get(_REST) for one in fields(kind))):
        for key in value.keys() - known:
            raise ValueError(f"{_name(f'{where}.{key}'.lstrip('.'))}: unknown")
    for one in fields(kind):
        if one.metadata.get(_REST):
            given[one.name] = {key: v for key, v in value.items() if key not in known}
        elif one.name in value:
            place = f"{where}.{one.name}".lstrip(".")
            try:
                halves = lenient and not one.metadata.get("exact")
                found = _convert(hints[one.name], value[one.name], place, halves)
                given[one.name] = _check_range(found, one, place)
            except ValueError:
                if not lenient or _is_needed(one):
                    raise
        elif _is_needed(one):
            raise ValueError(f"{_name(f'{where}.{one.name}'.lstrip('.'))}: missing")
    return kind(**given)


def _check_range(value: Any, one: Field[Any], where: str) -> Any:
    """Refuse a number, or an element, beyond the metadata ``range`` of its field."""
    if "range" not in one.metadata:
        return value
    low, high = one.metadata["range"]
    for number in value if isinstance(value, tuple) else [value]:
        if type(number) in (int, float) and not low <= number <= high:
            raise ValueError(f"{_name(where)}: {number!r:.20}; expected {low:g} to {high:g}")
    return value


def _convert_any(options: tuple[Any, ...], value: Any, where: str, lenient: bool) -> Any:
    errors = {}
    for option in options:
        try:
            return _convert(option, value, where, lenient)
        except ValueError as error:
            errors[option] = error
    plain = [option for option in options if option is not NoneType]
    if len(plain) == 1:
        raise errors[plain[0]]
    expected = " or ".join(_describe(option) for option in options)
    raise ValueError(f"{_name(where)}: {value!r:.60}; expected {expected}")


def _convert_items(options: tuple[Any, ...], value: Any, where: str, lenient: bool) -> Any:
    if options[-1] is not Ellipsis and len(options) != len(value):
        raise ValueError(f"{_name(where)}: {len(value)} values; expected {len(options)}")
    alike = options[-1] is Ellipsis
    kinds = [options[0]] * len(value) if alike else options
    items = []
    for number, (kind, item) in enumerate(zip(kinds, value, strict=True)):
        try:
            items.append(_convert(kind, item, f"{where}.{number}", lenient))
        except ValueError:
            if not (lenient and alike):
                raise
    return tuple(items)


def _convert_values(kind: Any, value: Mapping[str, Any], where: str, lenient: bool) -> Any:
    found = {}
    for key, item in value.items():
        try:
            found[key] = _convert(kind, item, f"{where}.{key}".lstrip("."), lenient)
        except ValueError:
            if not lenient:
                raise
    return found


@cache
def _find_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _name(where: str) -> str:
    """Name a place: `'window' in stages.segment`."""
    place, _, name = where.rpartition(".")
    return f"{name!r} in {place}" if place else repr(name) if name else "the file"


def _describe(kind: Any) -> str:
    """Describe the values that a type accepts."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    return {**names, NoneType: "null"}.get(kind) or (
        "a list" if get_origin(kind) is tuple else "an object"
    )


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
    if "range" not in one.metadata or get_origin(kind) is tuple:
        return {}
    low, high = one.metadata["range"]
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
