"""The words of the command line: every command, its options, and how they are settled."""

import argparse

from deskull import __version__
from deskull.arguments.bids import add_bids
from deskull.arguments.cohort import add_batch
from deskull.arguments.evaluate import add_drift, add_evaluate
from deskull.arguments.options import NOT_MEDICAL
from deskull.arguments.review import add_report, add_review, add_view, add_web
from deskull.arguments.strip import add_apply, add_demo, add_info, add_strip, add_weights
from deskull.arguments.train import add_export, add_finetune, add_index, add_train

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


def make_parser() -> argparse.ArgumentParser:
    """Build the parser with all its commands."""
    parser = argparse.ArgumentParser(
        prog="deskull",
        description="Raw head MRI in, brain out. `deskull IN [OUT]` is short for `deskull strip`.",
        epilog="example: deskull sub-01_T1w.nii.gz\n" + NOT_MEDICAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deskull {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add, _ in COMMANDS.values():
        add(commands)
    return parser


def settle(options: argparse.Namespace, rest: list[str]) -> None:
    """Let IN and -i, OUT and -o be one; leave with code 2 where the use is wrong."""
    refuse = options.parser.error
    loose = options.command in ("strip", "batch")
    unknown = [word for word in rest if word.startswith("-") or not loose]
    if unknown:
        refuse(f"unrecognized arguments: {' '.join(unknown)}")
    inputs = getattr(options, "inputs", [])
    inputs += rest if options.command == "batch" else []
    if "" in (*vars(options).values(), *rest, *inputs):
        refuse("an empty argument. Is a variable of your shell not set?")
    if options.command != "strip":
        return
    # argparse takes OUT for unknown if an option stands between IN and OUT: it is in the rest
    places = [options.positional_image, options.positional_out, *rest]
    places = [place for place in places if place is not None]
    if options.image is None and places:
        options.image = places.pop(0)
    options.bare_out = options.out is None and bool(places)
    if options.bare_out:
        options.out = places.pop(0)
    if places:
        refuse(f"one name too many: {places[0]}; expected IN [OUT], one scan at a time")
    if options.image is None:
        refuse("no scan given; try: deskull sub-01_T1w.nii.gz")
