"""The arguments of the command line: every command, its options, and how they are parsed."""

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

COMMANDS = {  # name -> what adds its parser, and the module of `deskull.commands` that runs it
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
"""The list argument of each command: argparse returns names that follow an option separately."""


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


def parse(arguments: Sequence[str]) -> argparse.Namespace | None:
    """Parse a command line; None if it is empty.

    Raises
    ------
    OptionError
        If the use is wrong.
    """
    if not arguments:
        return None
    also = _find_path(arguments[0])
    try:
        options = _parse_command(_find_command(arguments))
    except OptionError as error:
        raise OptionError(f"{error}{also}") from None
    if also and len(arguments) == 1:
        add_note(options, f"{arguments[0]} is a command.{also}")
    return options


def _find_command(arguments: Sequence[str]) -> list[str]:
    """Put the name of the command first: ``help`` shows its help, and ``strip`` is the default."""
    first = f"-{arguments[0]}" if arguments[0] in ("-help", "-version") else arguments[0]
    if first in (*COMMANDS, "-h", "--help", "--version", "--completion"):
        return [first, *arguments[1:]]
    if not os.path.lexists(first) and not glob.glob(f"{glob.escape(first)}.*"):
        if first == "help":
            return [_check_command(arguments[1]), "--help"] if len(arguments) > 1 else ["--help"]
        if first.isalpha() and _find_near_command(first):
            _check_command(first)
    return ["strip", *arguments]


def _check_command(argument: str) -> str:
    if argument in COMMANDS:
        return argument
    near = _find_near_command(argument)
    hint = f"Did you mean: deskull {near}?" if near else "See: deskull --help"
    raise OptionError(f"{argument}: no such command or file. {hint}")


def _find_near_command(argument: str) -> str | None:
    return find_near(argument.lower(), (*COMMANDS, "help"), 0.7)


def _find_path(argument: str) -> str:
    """Explain how to strip a file or folder that has the name of a command."""
    if argument not in COMMANDS or not os.path.lexists(argument):
        return ""
    return f" (There is a {argument} here too; to strip it: deskull ./{argument})"


def _parse_command(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser()
    command = parser.commands.get(arguments[0], parser)
    command.check_arguments(arguments[1:])
    options, rest = parser.parse_known_args(arguments)
    loose = LISTS.get(options.command, "")
    for argument in rest:
        if argument.startswith("-") and argument != "-":
            command.refuse_unknown(argument)
        if not loose:
            command.error(f"{argument}: too many arguments")
    values = vars(options) | ({loose: [*getattr(options, loose), *rest]} if loose else {})
    if "" in (*values.values(), *values.get(loose, ())):
        command.error("an empty argument; is a shell variable not set?")
    return argparse.Namespace(**{name: expand(value) for name, value in values.items()})
