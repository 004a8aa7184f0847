"""The words of the commands that strip one scan, and of their kin."""

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
        "beside the scan.\nOUT must be new; -o OUT replaces a file, but no input ever is. Many "
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
        parser.add_argument(*row.flags, metavar=row.metavar, help=f"write {row.words}{row.more}")
    parser.add_argument("--steps", metavar="DIR", help="write what each step made")
    add_strip_settings(parser)
    parser.add_argument(
        "--frame",
        type=_to_frame,
        metavar="N|all",
        help="frame of a 4D scan, from 0; all gives 4D outputs (picture and steps: the first)",
    )
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder")
    add_engine(parser)


def add_apply(commands: Any) -> None:
    """Add `deskull apply`."""
    parser = add_command(
        commands,
        "apply",
        "put one mask on co-registered images of the same participant",
        "deskull apply T1w_mask.nii.gz T2w.nii.gz bold.nii.gz\n"
        "Each output lies beside its image: <stem>_brain.nii.gz.",
    )
    parser.add_argument("mask", metavar="MASK", help="0 and 1, or a probability")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="any grid, 3D or 4D")
    parser.add_argument(
        "-o", "--out", metavar="FILE|DIR/", help="the brain of one image, or a folder for all"
    )
    add_fill(parser)


def add_info(commands: Any) -> None:
    """Add `deskull info`."""
    parser = add_command(commands, "info", "say what is installed", "deskull info --json")
    parser.add_argument("--json", action="store_true", help="for programs")


def add_weights(commands: Any) -> None:
    """Add `deskull weights`."""
    parser = add_command(
        commands, "weights", "list, show or verify weights", "deskull weights show default"
    )
    parser.add_argument("action", choices=("list", "show", "verify"))
    parser.add_argument("name", nargs="?", default="default", help="bundled set, or a folder")
    parser.add_argument("--json", action="store_true", help="show: the whole card")


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
        help="where it is written (default: deskull_demo)",
    )
    add_engine(parser)


def _to_frame(word: str) -> str:
    return word if word == "all" else str(to_frame(word))
