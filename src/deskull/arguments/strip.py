"""Arguments of the commands that strip one scan or show what is installed."""

from typing import Any

from deskull.arguments.options import (
    NOT_MEDICAL,
    add_command,
    add_engine,
    add_fill,
    add_strip_settings,
    to_frame,
)
from deskull.outputs import list_outputs


def add_strip(commands: Any) -> None:
    """Add `deskull strip`."""
    parser = add_command(
        commands,
        "strip",
        "isolate the brain in one scan",
        "deskull sub-01_T1w.nii.gz brain.nii.gz -m mask.nii.gz\n"
        "Without any output option, <stem>_brain.nii.gz and <stem>_mask.nii.gz are written "
        "beside the scan.\nOUT must not exist; -o OUT replaces a file, but never an input. Many "
        "scans: deskull batch\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="IN [OUT]",
        help="scan (of DICOM a folder, file or zip; - is standard input), and a new file for the "
        "brain",
    )
    parser.add_argument("-i", "--image", metavar="IN", help="the same as IN")
    for row in list_outputs("strip"):
        parser.add_argument(
            *row.flags, metavar=row.metavar, help=f"write {row.description}{row.more}"
        )
    parser.add_argument("--steps", metavar="DIR", help="folder for the result of each step")
    add_strip_settings(parser)
    parser.add_argument(
        "--frame",
        type=_to_frame,
        metavar="N|all",
        help="frame of a 4D scan to strip, from 0; all gives 4D outputs (picture and steps show "
        "the "
        "first frame)",
    )
    parser.add_argument("--series", metavar="N", help="number of the series in a DICOM folder")
    add_engine(parser)


def add_apply(commands: Any) -> None:
    """Add `deskull apply`."""
    parser = add_command(
        commands,
        "apply",
        "apply one mask to co-registered images of the same participant",
        "deskull apply T1w_mask.nii.gz T2w.nii.gz bold.nii.gz\n"
        "Each output is written beside its image: <stem>_brain.nii.gz.",
    )
    parser.add_argument("mask", metavar="MASK", help="mask of 0 and 1, or a probability map")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image on any grid, 3D or 4D")
    parser.add_argument(
        "-o", "--out", metavar="FILE|DIR/", help="the brain of one image, or a folder for all"
    )
    add_fill(parser)


def add_info(commands: Any) -> None:
    """Add `deskull info`."""
    parser = add_command(commands, "info", "show what is installed", "deskull info --json")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_weights(commands: Any) -> None:
    """Add `deskull weights`."""
    parser = add_command(
        commands, "weights", "list, show or verify weights", "deskull weights show default"
    )
    parser.add_argument("action", choices=("list", "show", "verify"))
    parser.add_argument(
        "name", nargs="?", default="default", help="name of a bundled set, or folder of weights"
    )
    parser.add_argument(
        "--json", action="store_true", help="with show: print the whole card as JSON"
    )


def add_demo(commands: Any) -> None:
    """Add `deskull demo`."""
    parser = add_command(
        commands, "demo", "strip a head that comes with deskull", "deskull demo && ls deskull_demo"
    )
    parser.add_argument(
        "-o",
        "--out",
        default="deskull_demo",
        metavar="DIR",
        help="folder of the outputs (default: deskull_demo)",
    )
    add_engine(parser)


def _to_frame(word: str) -> str:
    return word if word == "all" else str(to_frame(word))
