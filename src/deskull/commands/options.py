"""Arguments that several commands share, and how their values are parsed."""

import argparse
from typing import Any

from deskull.commands.parsing import Parser, StoreFill
from deskull.outputs import OPTIONS, USUAL, list_outputs
from deskull.settings import Settings

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
    add_option(parser, "threads", " (default: all available)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options for the device of the network."""
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
    add_option(parser, "weights")


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Add the option for the intensity outside of the brain."""
    add_option(parser, "fill", action=StoreFill, more="; as in SynthStrip, not BET's -f")


def add_option(
    parser: argparse.ArgumentParser, name: str, more: str = "", **arguments: Any
) -> None:
    """Add an option of the table `OPTIONS`.

    Parameters
    ----------
    parser
        Parser of a command.
    name
        Name of the option in the table.
    more
        Text that follows its description and default in the help.
    **arguments
        Arguments of `add_argument` that differ from what the table says.
    """
    option = next(option for option in OPTIONS if option.name == name)
    usual: dict[str, Any] = {"action": "store_true"}
    if option.kind is not bool:
        usual = {"type": option.kind, "metavar": option.metavar, "default": option.default}
        number = isinstance(option.default, float)
        default = f"{option.default:g}" if number else option.default
        more = more if default is None else f" (default: {default}){more}"
    parser.add_argument(*option.flags, help=option.description + more, **{**usual, **arguments})


def add_frame(parser: argparse.ArgumentParser, otherwise: str = "4D scans are refused") -> None:
    """Add the option for the frame of a 4D scan, and what happens without it."""
    parser.add_argument(
        "--frame",
        type=to_frame,
        metavar="N",
        help=f"frame of a 4D scan to use, from 0 (without it, {otherwise})",
    )


def to_frame(text: str) -> int:
    """Parse the number of a frame."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0")
    return int(text)


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


def make_settings(options: argparse.Namespace) -> Settings:
    """Make the settings from the options of `add_strip_settings`."""
    return Settings(
        threshold=options.threshold,
        border=options.border,
        csf=not options.no_csf,
        n4=options.n4,
        fill=options.fill,
    )


def add_outputs(parser: argparse.ArgumentParser, command: str, **arguments: Any) -> None:
    """Add the option for the outputs of many scans.

    Parameters
    ----------
    parser
        Parser of the command.
    command
        Name of the command, as the table of outputs has it.
    **arguments
        Further arguments of `add_argument`.
    """
    names = ", ".join(row.name for row in list_outputs(command))
    parser.add_argument(
        "--outputs",
        default=USUAL,
        help=f"outputs to write, from {names} (default: {', '.join(USUAL)}; the record is always "
        "written)",
        **arguments,
    )


def add_memory(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add the option for the memory limit; `more` follows its help."""
    parser.add_argument(
        "--mem-gb",
        type=float,
        metavar="GB",
        help="memory limit of the run: fewer scans run at once, and a scan that needs more is "
        f"refused{more}",
    )


def add_distribution(parser: argparse.ArgumentParser) -> None:
    """Add the options that distribute scans over machines, and the one to strip them again."""
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="strip on a Dask cluster: tcp://HOST:PORT of its scheduler, or a TOML file that "
        "describes the jobs to submit to SLURM, PBS or SGE; each scan runs on one core, unless "
        "more threads are requested",
    )
    parser.add_argument(
        "--shard",
        type=_to_shard,
        metavar="I/N",
        help="strip every N-th scan from the I-th on, counted from 1",
    )
    parser.add_argument("--force", action="store_true", help="strip finished scans again")


def _to_shard(text: str) -> tuple[int, int]:
    parts = text.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        number, count = int(parts[0]), int(parts[1])
        if 1 <= number <= count:
            return number, count
    raise argparse.ArgumentTypeError(f"{text!r}: expected I/N, such as 3/50, from 1/50 to 50/50")
