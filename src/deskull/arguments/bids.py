"""The words of the BIDS App, `deskull-bids`."""

import argparse
from typing import Any

from deskull import __version__
from deskull.arguments.cohort import add_sharing
from deskull.arguments.options import (
    NOT_MEDICAL,
    add_command,
    add_device,
    add_frame,
    add_strip_settings,
    add_weights,
)

OUTPUTS = ("brain", "mask", "probability", "corrected")


def add_bids(commands: Any) -> None:
    """Add `deskull bids`, which is `deskull-bids`."""
    parser = add_command(
        commands,
        "bids",
        "isolate the brain in the scans of a BIDS data set",
        "deskull-bids study/ study/derivatives/deskull participant --participant-label 01 02\n"
        "Gives sub-01/anat/sub-01_desc-brain_mask.nii.gz and sub-01_desc-brain_T1w.nii.gz with "
        "their sidecars.\nThen, once for all:\n"
        "  deskull-bids study/ study/derivatives/deskull group\n" + NOT_MEDICAL,
    )
    parser.prog = "deskull-bids"
    parser.add_argument("--version", action="version", version=f"deskull-bids {__version__}")
    parser.add_argument("bids_dir", metavar="BIDS_DIR", help="root of the data set, with sub-*")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="root of the derivatives")
    parser.add_argument(
        "level",
        choices=("participant", "group"),
        metavar="participant|group",
        help="participant strips; group writes one table of all, and a report",
    )
    _add_choice(parser)
    _add_machine(parser)
    add_sharing(parser)
    add_strip_settings(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add what says which images are stripped, and what is written of each."""
    parser.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="with or without sub- (default: all); after the three names above, as for all "
        "options that take several words",
    )
    parser.add_argument(
        "--session-id",
        "--session-label",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="with or without ses- (default: all)",
    )
    parser.add_argument(
        "--suffix",
        nargs="+",
        default=("T1w",),
        metavar="S",
        help="T1w, T2w, FLAIR, ... (default: T1w)",
    )
    parser.add_argument(
        "--bids-filter-file",
        metavar="JSON",
        help='entities that images must have, as for fMRIPrep: {"t1w": {"acquisition": "hires"}}',
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        choices=OUTPUTS,
        default=("brain", "mask"),
        metavar="NAME",
        help=f"some of {', '.join(OUTPUTS)} (default: brain mask); corrected is desc-preproc",
    )
    parser.add_argument(
        "--one-mask",
        action="store_true",
        help="strip one image of each session, its T1w if there is one, and put the mask on the "
        "others of --suffix, which must be co-registered",
    )
    add_frame(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    """Add what says how much of the machine may be used."""
    parser.add_argument(
        "--nprocs",
        "--n_cpus",
        type=int,
        metavar="N",
        help="cores for all processes together (default: all there are)",
    )
    parser.add_argument(
        "--omp-nthreads",
        "--omp_nthreads",
        dest="threads",
        type=int,
        metavar="N",
        help="cores of one process; there are as many processes as fit into --nprocs (default: "
        "one process, which reads and writes while the network runs)",
    )
    parser.add_argument(
        "--mem-gb",
        "--mem_gb",
        type=float,
        metavar="GB",
        help="memory that the run may take: fewer scans at once, and one too large is refused",
    )
    parser.add_argument(
        "-w", "--work-dir", metavar="DIR", help="taken, but not needed: no file lies between"
    )
    add_device(parser)
    add_weights(parser)
