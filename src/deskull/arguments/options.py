"""Options that several commands share, and how their values are parsed."""

import argparse
from typing import Any

from deskull.arguments.parsing import Fill, Parser
from deskull.outputs import OPTIONS, USUAL, list_outputs

NOT_MEDICAL = "For research; not a medical device. A stripped brain is not fully anonymous."


def add_command(commands: Any, name: str, summary: str, example: str) -> Parser:
    """Add a command with the options that all of them have."""
    parser: Parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each step")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options for cores, device and weights."""
    add_threads(parser)
    add_device(parser)
    add_weights(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the option for the number of cores."""
    parser.add_argument(
        "-t",
        "--threads",
        type=int,
        metavar="N",
        help="number of cores to use (default: all available)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options for the device."""
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
        help="the same as --device cuda (as in SynthStrip; BET's -g has no equivalent)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the option for the weights."""
    parser.add_argument(
        "--weights",
        default="default",
        metavar="NAME|PATH",
        help="name of a bundled set, or folder of weights (default: default)",
    )


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Add the option for the intensity outside of the brain."""
    add_option(parser, "fill", action=Fill, more="; as in SynthStrip, not BET's -f")


def add_option(parser: argparse.ArgumentParser, name: str, more: str = "", **how: Any) -> None:
    """Add an option of the table `OPTIONS`, with its default and more text for its help."""
    option = next(option for option in OPTIONS if option.name == name)
    if option.kind is bool:
        how.setdefault("action", "store_true")
    else:
        default = "" if option.default is None else f" (default: {option.default:g})"
        how = {"type": option.kind, "metavar": option.metavar, "default": option.default, **how}
        more = default + more
    parser.add_argument(*option.flags, help=option.description + more, **how)


def add_frame(parser: argparse.ArgumentParser) -> None:
    """Add the option for the frame of a 4D scan."""
    parser.add_argument(
        "--frame",
        type=to_frame,
        metavar="N",
        help="frame of a 4D scan to use, from 0 (without it, 4D scans are refused)",
    )


def to_frame(word: str) -> int:
    """Read the number of a frame."""
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise argparse.ArgumentTypeError(f"{word!r}: expected a number from 0")
    return int(word)


def add_strip_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the mask."""
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
    """Add the option for the outputs of many scans; `how` goes to `add_argument`."""
    names = ", ".join(row.name for row in list_outputs(command))
    parser.add_argument(
        "--outputs",
        default=USUAL,
        help=f"outputs to write, from {names} (default: {', '.join(USUAL)}; the record is always "
        "written)",
        **how,
    )
