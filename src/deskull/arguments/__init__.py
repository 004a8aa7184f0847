"""The words of the command line: every command, its options, and how they are read."""

import argparse
import glob
import os
from collections.abc import Sequence

from deskull.arguments.bids import add_bids
from deskull.arguments.cohort import add_batch
from deskull.arguments.evaluate import add_drift, add_evaluate
from deskull.arguments.options import NOT_MEDICAL
from deskull.arguments.parsing import Parser, add_note, expand, find_near
from deskull.arguments.review import add_report, add_review, add_view, add_web
from deskull.arguments.shells import COMPLETIONS, Complete
from deskull.arguments.strip import add_apply, add_demo, add_info, add_strip, add_weights
from deskull.arguments.train import add_export, add_finetune, add_index, add_train
from deskull.arguments.version import ShowVersion
from deskull.errors import OptionError

COMMANDS = {  # name -> how its words are added, and the module of `deskull.commands` that does it
    "strip": (add_strip, "strip"),
    "batch": (add_batch, "batch"),
    "bids": (add_bids, "bids"),
    "apply": (add_apply, "apply"),
    "info": (add_info, "about"),
    "weights": (add_weights, "about"),
    "demo": (add_demo, "about"),
    "evaluate": (add_evaluate, "evaluate"),
    "drift": (add_drift, "drift"),
    "report": (add_report, "review"),
    "view": (add_view, "review"),
    "review": (add_review, "review"),
    "web": (add_web, "review"),
    "index": (add_index, "train"),
    "train": (add_train, "train"),
    "finetune": (add_finetune, "train"),
    "export": (add_export, "train"),
}

LISTS = {
    "strip": "names",
    "batch": "inputs",
    "apply": "images",
    "evaluate": "paths",
    "train": "sources",
    "finetune": "sources",
}
"""Where each command keeps its list of names; argparse leaves those behind an option to us."""


def make_parser() -> Parser:
    """Build the parser with all its commands."""
    parser = Parser(
        prog="deskull",
        description="Raw head MRI in, brain out. `deskull IN [OUT]` is short for `deskull strip`.",
        epilog="example: deskull sub-01_T1w.nii.gz\n`deskull help COMMAND` explains a command. "
        + NOT_MEDICAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument(
        "--completion",
        action=Complete,
        choices=tuple(COMPLETIONS),
        metavar="SHELL",
        help="print the completion script of bash, zsh or fish",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add, _ in COMMANDS.values():
        add(commands)
    parser.commands = commands.choices
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace | None:
    """Read a command line; None if it is empty.

    Raises
    ------
    OptionError
        If the use is wrong.
    """
    if not words:
        return None
    also = _find_path(words[0])
    try:
        options = _parse_command(_find_command(words))
    except OptionError as error:
        raise OptionError(f"{error}{also}") from None
    if also and len(words) == 1:
        add_note(options, f"{words[0]} is a command.{also}")
    return options


def _find_command(words: Sequence[str]) -> list[str]:
    """Put the name of the command first: ``help`` asks for its help, and ``strip`` goes unsaid."""
    first = f"-{words[0]}" if words[0] in ("-help", "-version") else words[0]
    if first in (*COMMANDS, "-h", "--help", "--version", "--completion"):
        return [first, *words[1:]]
    if not os.path.lexists(first) and not glob.glob(f"{glob.escape(first)}.*"):
        if first == "help":
            return [_check_command(words[1]), "--help"] if len(words) > 1 else ["--help"]
        if first.isalpha() and _find_near_command(first):
            _check_command(first)
    return ["strip", *words]


def _check_command(word: str) -> str:
    if word in COMMANDS:
        return word
    near = _find_near_command(word)
    hint = f"Did you mean: deskull {near}?" if near else "See: deskull --help"
    raise OptionError(f"{word}: no such command or file. {hint}")


def _find_near_command(word: str) -> str | None:
    return find_near(word.lower(), (*COMMANDS, "help"), 0.7)


def _find_path(word: str) -> str:
    """Say how a file or folder that has the name of a command is stripped."""
    if word not in COMMANDS or not os.path.lexists(word):
        return ""
    return f" (There is a {word} here too; to strip it: deskull ./{word})"


def _parse_command(words: list[str]) -> argparse.Namespace:
    parser = make_parser()
    command = parser.commands.get(words[0], parser)
    command.check_words(words[1:])
    options, rest = parser.parse_known_args(words)
    loose = LISTS.get(options.command, "")
    for word in rest:
        if word.startswith("-") and word != "-":
            command.refuse_unknown(word)
        if not loose:
            command.error(f"{word}: too many names")
    values = vars(options) | ({loose: [*getattr(options, loose), *rest]} if loose else {})
    if "" in (*values.values(), *values.get(loose, ())):
        command.error("an empty argument; is a variable of your shell not set?")
    return argparse.Namespace(**{name: expand(value) for name, value in values.items()})
