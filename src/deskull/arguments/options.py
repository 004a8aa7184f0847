"""Options that several commands share, and how their words are read."""

import argparse
from typing import Any

from deskull.arguments.parsing import Fill, Parser
from deskull.outputs import OPTIONS, USUAL, list_outputs

NOT_MEDICAL = "For research; not a medical device. A stripped brain is not fully anonymous."


def add_command(commands: Any, name: str, words: str, example: str) -> Parser:
    """Add a command with the options that all of them have."""
    parser: Parser = commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add what says where and with what the network runs."""
    add_threads(parser)
    add_device(parser)
    add_weights(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add how many cores a command may take."""
    parser.add_argument(
        "-t", "--threads", type=int, metavar="N", help="cores to use (default: all there are)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add where the network runs."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="WHERE",
        help="auto, cpu, cuda[:N] or mps (default: auto, which falls back to the CPU)",
    )
    parser.add_argument(
        "-g",
        "--gpu",
        dest="device",
        action="store_const",
        const="cuda",
        help="the same as --device cuda (SynthStrip's letter; BET's -g has no equal)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add which weights are taken."""
    parser.add_argument(
        "--weights", default="default", metavar="NAME|PATH", help="bundled set, or a folder"
    )


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Add what stands outside of the brain."""
    add_option(parser, "fill", action=Fill, more="; as in SynthStrip, not BET's -f")


def add_option(parser: argparse.ArgumentParser, name: str, more: str = "", **how: Any) -> None:
    """Add an option of the table, with its default and what else is to be said in its help."""
    option = next(option for option in OPTIONS if option.name == name)
    if option.kind is bool:
        how.setdefault("action", "store_true")
    else:
        default = "" if option.default is None else f" (default: {option.default:g})"
        how = {"type": option.kind, "metavar": option.metavar, "default": option.default, **how}
        more = default + more
    parser.add_argument(*option.flags, help=option.words + more, **how)


def add_frame(parser: argparse.ArgumentParser) -> None:
    """Add which frame is taken of a scan that has several."""
    parser.add_argument(
        "--frame",
        type=to_frame,
        metavar="N",
        help="which frame of a 4D scan, from 0 (default: an error)",
    )


def to_frame(word: str) -> int:
    """Read the number of a frame."""
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise argparse.ArgumentTypeError(f"{word!r}: expected a number from 0")
    return int(word)


def add_strip_settings(parser: argparse.ArgumentParser) -> None:
    """Add what a user may choose about the mask."""
    add_option(parser, "border")
    add_option(parser, "no_csf")
    add_fill(parser)
    add_option(parser, "threshold")
    add_option(
        parser,
        "n4",
        " (default: only if the weights ask for it)",
        action=argparse.BooleanOptionalAction,
        default=None,
    )


def add_outputs(parser: argparse.ArgumentParser, command: str, **how: Any) -> None:
    """Add which outputs a command for many scans writes; `how` says how names are given."""
    names = ", ".join(row.name for row in list_outputs(command))
    parser.add_argument(
        "--outputs",
        default=USUAL,
        help=f"some of {names} (default: {', '.join(USUAL)}; a record always)",
        **how,
    )
