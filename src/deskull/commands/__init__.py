"""The commands, one module per family: the arguments of each, and the function that runs it.

Functions import what they need when they are called, so that ``--help`` answers at once. What is
wrong is raised as an error; `cli.py` turns it into one line and exit code 1, or 2 for an
`OptionError`.
"""

import argparse
import glob
import os
from collections.abc import Callable, Sequence
from typing import Any

from deskull.commands.about import (
    ShowVersion,
    add_demo,
    add_info,
    add_weights_command,
    run_demo,
    run_info,
    run_weights,
)
from deskull.commands.batch import add_batch, run_batch
from deskull.commands.bids import add_bids, run_bids
from deskull.commands.evaluate import add_drift, add_evaluate, run_drift, run_evaluate
from deskull.commands.index import add_index, run_index
from deskull.commands.options import NOT_MEDICAL
from deskull.commands.parsing import Parser, add_note, find_near
from deskull.commands.review import (
    add_report,
    add_review,
    add_view,
    add_web,
    run_report,
    run_review,
    run_view,
    run_web,
)
from deskull.commands.shells import COMPLETIONS, ShowCompletion
from deskull.commands.strip import add_apply, add_strip, run_apply, run_strip
from deskull.commands.train import (
    add_export,
    add_finetune,
    add_pack,
    add_train,
    run_export,
    run_finetune,
    run_pack,
    run_train,
)
from deskull.errors import OptionError

COMMANDS: dict[str, tuple[Callable[[Any], None], Callable[[argparse.Namespace], None]]] = {
    "strip": (add_strip, run_strip),
    "batch": (add_batch, run_batch),
    "bids": (add_bids, run_bids),
    "apply": (add_apply, run_apply),
    "info": (add_info, run_info),
    "weights": (add_weights_command, run_weights),
    "demo": (add_demo, run_demo),
    "evaluate": (add_evaluate, run_evaluate),
    "drift": (add_drift, run_drift),
    "report": (add_report, run_report),
    "view": (add_view, run_view),
    "review": (add_review, run_review),
    "web": (add_web, run_web),
    "index": (add_index, run_index),
    "pack": (add_pack, run_pack),
    "train": (add_train, run_train),
    "finetune": (add_finetune, run_finetune),
    "export": (add_export, run_export),
}
"""Functions of each command, in the order of the help: the one that adds its parser, and the one
that runs it."""


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
        action=ShowCompletion,
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
    hint = _explain_path(arguments[0])
    try:
        options = make_parser().parse_command(_put_command_first(arguments))
    except OptionError as error:
        raise OptionError(f"{error}{hint}") from None
    if hint and len(arguments) == 1:
        add_note(options, f"{arguments[0]} is a command.{hint}")
    return options


def _put_command_first(arguments: Sequence[str]) -> list[str]:
    """Replace ``help COMMAND`` by the command's ``--help``, and insert ``strip``, the default."""
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


def _explain_path(argument: str) -> str:
    """Explain how to strip a file or folder that has the name of a command; else empty."""
    if argument not in COMMANDS or not os.path.lexists(argument):
        return ""
    return f" (There is a {argument} here too; to strip it: deskull ./{argument})"
