"""Pages that the code writes: the command line, recipes, records."""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from deskull.commands import make_parser
from deskull.commands.parsing import Parser

Row = Sequence[object]
Schema = dict[str, Any]


def make_table(head: Row, rows: Iterable[Row]) -> str:
    """Write a Markdown table; the cells may hold Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_to_cell(cell) for cell in line)} |" for line in lines)


def _to_cell(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")


# --- the command line


def show_command_line() -> str:
    """Describe every command: usage, arguments and options, examples."""
    commands = make_parser().commands
    shown = [
        f"[`{parser.prog}`](#{name}): {_escape(str(parser.description))}"
        for name, parser in commands.items()
    ]
    parts = ["- " + "\n- ".join(shown)]
    for name, parser in commands.items():
        parts += _show_command(name, parser)
    return "\n\n".join(parts)


def _show_command(name: str, parser: Parser) -> Iterator[str]:
    yield f"## {parser.prog} {{#{name}}}"
    yield _escape(str(parser.description))
    yield f"```text\n{parser.format_usage().removeprefix('usage: ').strip()}\n```"
    for group in parser._action_groups:
        rows = [_show_action(action) for action in group._group_actions]
        shown = [row for row in rows if row]
        if shown:
            title = str(group.title)
            yield f"**{title[0].upper()}{title[1:]}**"
            yield make_table(("name", "meaning", "default"), shown)
    yield f"```text\n{parser.epilog}\n```"


def _show_action(action: argparse.Action) -> Row | None:
    if isinstance(action, argparse._HelpAction | argparse._VersionAction):
        return None
    if not action.option_strings:
        names = f"`{action.metavar or '{' + ','.join(action.choices or ()) + '}'}`"
    else:
        value = f" {_name_value(action)}" if action.nargs != 0 else ""
        names = ", ".join(f"`{word}`" for word in action.option_strings[:-1])
        names += (", " if names else "") + f"`{action.option_strings[-1]}{value}`"
    words, default = _part_default(str(action.help or "") % {"default": action.default})
    words = f"{words[0].upper()}{words[1:]}." if words else ""
    return names.replace("|", "\\|"), _escape(words), _escape(default)


def _name_value(action: argparse.Action) -> str:
    metavar = action.metavar
    if action.choices is not None and metavar is None:
        return "|".join(map(str, action.choices))
    return " ".join(metavar) if isinstance(metavar, tuple) else str(metavar or "")


def _part_default(words: str) -> tuple[str, str]:
    """Take the default, in brackets at the end of a help line, out of it."""
    found = re.search(r"\s*\(default: (.*?)\)(?=$|;)", words)
    if found is None:
        return words, ""
    return words[: found.start()] + words[found.end() :], found[1]


def _escape(words: str) -> str:
    """Keep Markdown and HTML out of plain words; names of files and options become code."""
    return re.sub(r"([*_<>{}\[\]])", lambda match: f"&#{ord(match[1])};", words)


# --- recipes


def show_recipes() -> str:
    """Describe the fields of every section of a recipe."""
    try:
        from deskull.network.unet import NetworkSpec
        from deskull.prepare.bias import BiasSettings
        from deskull.prepare.conform import WindowSettings
        from deskull.train import recipe
    except ModuleNotFoundError as error:
        raise SystemExit(f"docs: {error.name} is missing; run pip install -e '.[dev]'") from error
    sections = {
        "window": WindowSettings,
        "network": NetworkSpec,
        "training": recipe.TrainingSettings,
        "preparation": recipe.PreparationSettings,
        "preparation.n4": BiasSettings,
        "augment": recipe.AugmentSettings,
    }
    parts = []
    for name, section in sections.items():
        words = _read_parameters(section.__doc__ or "")
        rows = [_show_field(field, words) for field in fields(section)]
        parts += [
            f"## \\[{name}\\] {{#{name.replace('.', '-')}}}",
            str(section.__doc__).split("\n")[0],
        ]
        parts.append(make_table(("field", "meaning", "allowed", "default"), rows))
    return "\n\n".join(parts)


def _show_field(field: Field[Any], words: dict[str, str]) -> Row:
    low, high = field.metadata.get("range", (None, None))
    limits = "" if low is None else f"{low:g} to {high:g}" if high < 1e9 else f"from {low:g}"
    default = "required" if field.default is MISSING else f"`{json.dumps(field.default)}`"
    choices = re.search(r"Literal\[(.*)\]", str(field.type))
    words_allowed = re.findall(r"['\"](.*?)['\"]", choices[1]) if choices else []
    allowed = ", ".join(f"`{word}`" for word in words_allowed)
    allowed = " or ".join(part for part in (allowed, limits) if part)
    return f"`{field.name}`", words.get(field.name, ""), allowed, default


def _read_parameters(docstring: str) -> dict[str, str]:
    """Read the Parameters section of a numpy docstring: name, meaning."""
    section = r"Parameters\n\s*-+\n(.*?)(?=\n\s*\n\s*\w+\n\s*-+\n|\Z)"
    entry = r"^    (\w+(?:, \w+)*)\n((?:^        .*\n?|^\s*\n)+)"
    body = re.search(section, docstring, re.DOTALL)
    words: dict[str, str] = {}
    for names, text in re.findall(entry, body[1] if body else "", re.MULTILINE):
        meaning = re.sub(r"``(.*?)``", r"`\1`", " ".join(text.split()))
        words |= dict.fromkeys(names.split(", "), meaning)
    return words


# --- records


def show_records(folder: Path) -> str:
    """Describe each JSON Schema of a folder, field by field."""
    parts = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem != "record.schema"):
        schema = json.loads(path.read_text("utf-8"))
        title = str(schema.get("title", path.stem))
        parts += [f"## {title} {{#{path.stem.split('.')[0]}}}", str(schema.get("description", ""))]
        parts.append(f"Schema: [{path.name}](schemas/{path.name})")
        parts.append(make_table(("field", "type", "meaning"), _list_properties(schema, schema)))
    return "\n\n".join(parts) or "_No schema is published yet._"


def _list_properties(
    part: dict[str, Any], schema: dict[str, Any], over: str = ""
) -> Iterator[Row]:
    for name, one in part.get("properties", {}).items():
        one = _follow(one, schema)
        meaning = one.get("description", "")
        yield f"`{over}{name}`", _name_type(one, schema), _escape(meaning)
        if over.count(".") < 1:
            yield from _list_properties(one, schema, f"{over}{name}.")


def _follow(part: Schema, schema: Schema) -> Schema:
    """Follow a reference within a schema, and keep what stands beside it."""
    if "$ref" not in part:
        return part
    found: Any = schema
    for word in part["$ref"].removeprefix("#/").split("/"):
        found = found[word]
    return found | {key: value for key, value in part.items() if key != "$ref"}


def _name_type(part: Schema, schema: Schema) -> str:
    if "anyOf" in part:
        return " or ".join(_name_type(_follow(one, schema), schema) for one in part["anyOf"])
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kind = part.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join(kinds)
