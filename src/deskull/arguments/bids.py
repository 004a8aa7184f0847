"""Arguments of the BIDS App, `deskull-bids`."""

import argparse
import re
from typing import Any

from deskull.arguments.cohort import add_sharing
from deskull.arguments.options import (
    NOT_MEDICAL,
    add_command,
    add_device,
    add_frame,
    add_outputs,
    add_strip_settings,
    add_weights,
)
from deskull.arguments.parsing import add_note
from deskull.arguments.version import ShowVersion
from deskull.outputs import list_outputs

IDLE = {  # options of other BIDS Apps that have no effect here, and the metavar of their value
    "--skip-bids-validation": None,
    "--notrack": None,
    "--low-mem": None,
    "--stop-on-first-crash": None,
    "--bids-database-dir": "DIR",
    "-w": "DIR",
}


def add_bids(commands: Any) -> None:
    """Add `deskull bids`, which is `deskull-bids`."""
    parser = add_command(
        commands,
        "bids",
        "isolate the brain in the scans of a BIDS data set",
        "deskull-bids study/ study/derivatives/deskull participant --participant-label 01 02\n"
        "Gives sub-01/anat/sub-01_desc-brain_mask.nii.gz and sub-01_desc-brain_T1w.nii.gz with "
        "their sidecars.\nThen, once for the whole data set:\n"
        "  deskull-bids study/ study/derivatives/deskull group\n" + NOT_MEDICAL,
    )
    parser.prog = "deskull-bids"
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("bids_dir", metavar="BIDS_DIR", help="root of the data set, with sub-*")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="root of the derivatives")
    parser.add_argument(
        "level",
        choices=("participant", "group"),
        metavar="participant|group",
        help="participant strips the scans; group writes one table of all scans, and a report",
    )
    _add_choice(parser)
    _add_machine(parser)
    add_sharing(parser)
    add_strip_settings(parser)
    _add_underscores(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options for the images to strip and the outputs to write."""
    parser.add_argument(
        "--participant-label",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="labels with or without sub- (default: all); options with several values belong "
        "after the three names above",
    )
    parser.add_argument(
        "--session-id",
        "--session-label",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="labels with or without ses- (default: all)",
    )
    parser.add_argument(
        "--suffix",
        nargs="+",
        default=("T1w",),
        metavar="S",
        help="T1w, T2w, FLAIR, MP2RAGE, bold, dwi, ... or any other (default: T1w); of bold, asl "
        "and the like the mean of all frames is stripped, of dwi that with b-values near 0",
    )
    parser.add_argument(
        "--mp2rage",
        choices=("inv-2", "UNIT1"),
        default="inv-2",
        metavar="IMAGE",
        help="inv-2 or UNIT1: image of an MP2RAGE acquisition to strip; its mask is applied to "
        "the "
        "others (default: inv-2, whose background is dark)",
    )
    parser.add_argument(
        "--bids-filter-file",
        metavar="JSON",
        help='entities that images must have, as for fMRIPrep: {"t1w": {"acquisition": "hires"}}',
    )
    names = [row.name for row in list_outputs("bids")]
    add_outputs(parser, "bids", nargs="+", choices=names, metavar="NAME")
    parser.add_argument(
        "--one-mask",
        action="store_true",
        help="strip one image of each session and apply its mask to the co-registered others of "
        "--suffix: of the images whose field of view covers the head, the T1w image, else the "
        "one of highest resolution",
    )
    parser.add_argument(
        "--orientation",
        choices=("native", "ras"),
        default="native",
        metavar="NAME",
        help="native or ras: store outputs in the orientation of their image, or in the nearest "
        "RAS, as fMRIPrep expects masks (default: native)",
    )
    parser.add_argument(
        "--mask-names",
        choices=("fmriprep", "nibabies"),
        default="fmriprep",
        metavar="NAME",
        help="fmriprep or nibabies: the program that will read the masks: desc-brain_mask, or "
        "space-T1w_desc-brain_mask and space-T2w_desc-brain_mask (default: fmriprep)",
    )
    add_frame(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options for cores, memory, device and weights."""
    parser.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        type=int,
        metavar="N",
        help="number of cores for all processes together (default: all available)",
    )
    parser.add_argument(
        "--omp-nthreads",
        dest="threads",
        type=int,
        metavar="N",
        help="number of cores for one process; as many processes run as fit into --nprocs "
        "(default: "
        "one process, which reads and writes while the network runs)",
    )
    parser.add_argument(
        "--mem-gb",
        type=float,
        metavar="GB",
        help="memory limit of the run: fewer scans run at once, and a scan that needs more is "
        "refused",
    )
    parser.add_argument(
        "--mem",
        "--mem-mb",
        dest="mem_gb",
        type=_to_gb,
        metavar="MB",
        help="the same in MB, or with a unit, such as 8G",
    )
    idle = parser.add_argument_group("accepted for compatibility, without effect")
    for flag, value in IDLE.items():
        flags = ("-w", "--work-dir") if flag == "-w" else (flag,)
        idle.add_argument(*flags, action=_Idle, nargs=None if value else 0, metavar=value)
    add_device(parser)
    add_weights(parser)


class _Idle(argparse.Action):
    """Accept an option without effect, and note it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        add_note(namespace, f"{option_string}: accepted for compatibility, without effect")


def _add_underscores(parser: argparse.ArgumentParser) -> None:
    """Accept every option with underscores too, as some BIDS Apps spell them."""
    for word, action in list(parser._option_string_actions.items()):
        if word.startswith("--"):
            parser._option_string_actions.setdefault("--" + word[2:].replace("-", "_"), action)


def _to_gb(word: str) -> float:
    """Parse an amount of memory as fMRIPrep does: in MB if it has no unit."""
    hit = re.fullmatch(r"(\d+\.?\d*)\s*([KMGT]?)i?B?", word, re.IGNORECASE)
    if hit is None:
        raise argparse.ArgumentTypeError(f"{word!r}: expected an amount such as 8000 or 8G")
    units = {"K": 1e-6, "M": 1e-3, "": 1e-3, "G": 1.0, "T": 1e3}
    return float(hit[1]) * units[hit[2].upper()]
