"""`deskull-bids`, which is `deskull bids`: the scans of a BIDS data set."""

import argparse
import hashlib
import logging
import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull.commands.about import ShowVersion
from deskull.commands.batch import make_job, report_outcomes, strip_plan, take_shard
from deskull.commands.options import (
    NOT_MEDICAL,
    add_command,
    add_device,
    add_distribution,
    add_frame,
    add_memory,
    add_outputs,
    add_strip_settings,
    add_weights,
)
from deskull.commands.parsing import add_note
from deskull.commands.terminal import print_message, progress
from deskull.errors import OptionError
from deskull.image.bids_names import name_folder
from deskull.outputs import list_outputs

if TYPE_CHECKING:
    from deskull.cohort import Outcome
    from deskull.cohort.bids_images import Choice

logger = logging.getLogger("deskull")
WITHOUT_EFFECT = {
    ("--skip-bids-validation",): None,
    ("--notrack",): None,
    ("--low-mem",): None,
    ("--stop-on-first-crash",): None,
    ("--bids-database-dir",): "DIR",
    ("-w", "--work-dir"): "DIR",
}
"""Options of other BIDS Apps that have no effect here, and the metavar of their value."""


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
    _add_selection(parser)
    _add_machine(parser)
    add_distribution(parser)
    add_strip_settings(parser)
    _add_underscores(parser)


def _add_selection(parser: argparse.ArgumentParser) -> None:
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
        "the others (default: inv-2, whose background is dark)",
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
    add_frame(parser, "the mean for bold, dwi and the like; other 4D images fail")


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
    add_memory(parser)
    parser.add_argument(
        "--mem",
        "--mem-mb",
        dest="mem_gb",
        type=_to_gb,
        metavar="MB",
        help="the same in MB, or with a unit, such as 8G",
    )
    group = parser.add_argument_group("accepted for compatibility, without effect")
    for flags, metavar in WITHOUT_EFFECT.items():
        values = None if metavar else 0
        group.add_argument(*flags, action=_NoteWithoutEffect, nargs=values, metavar=metavar)
    add_device(parser)
    add_weights(parser)


class _NoteWithoutEffect(argparse.Action):
    """Accept an option without effect, and add a note."""

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
    for flag, action in list(parser._option_string_actions.items()):
        if flag.startswith("--"):
            parser._option_string_actions.setdefault("--" + flag[2:].replace("-", "_"), action)


def _to_gb(text: str) -> float:
    """Parse an amount of memory as fMRIPrep does: in MB if it has no unit."""
    match = re.fullmatch(r"(\d+\.?\d*)\s*([KMGT]?)i?B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an amount such as 8000 or 8G")
    units = {"K": 1e-6, "M": 1e-3, "": 1e-3, "G": 1.0, "T": 1e3}
    return float(match[1]) * units[match[2].upper()]


def run_bids(options: Namespace) -> None:
    """Strip participants, or sum up the group."""
    if options.level == "group":
        _sum_up_group(options)
    else:
        _strip_participants(options)


def _strip_participants(options: Namespace) -> None:
    from deskull.cohort.bids import make_bids_plan
    from deskull.cohort.bids_derivatives import LOGS, save_description, save_gaps
    from deskull.cohort.bids_images import Choice, read_filters
    from deskull.cohort.table import name_table
    from deskull.image.writing import make_folder

    workers, threads = 1, options.threads
    if options.cluster is None:
        workers, threads = _share_cores(options.nprocs, options.threads)
    elif options.nprocs is not None:
        raise OptionError(
            "--nprocs with --cluster; expected one of them: --nprocs counts the cores of this "
            "machine."
        )
    job = replace(make_job(options, threads), orientation=options.orientation)
    filters = read_filters(options.bids_filter_file) if options.bids_filter_file else {}
    participants, sessions = options.participant_label, options.session_id
    choice = Choice(
        options.suffix, participants, sessions, filters, options.mp2rage, options.mask_names
    )
    if choice.unknown:
        logger.warning(
            "suffix %s: unknown to deskull; images with that suffix are stripped nevertheless",
            ", ".join(choice.unknown),
        )
    raw, out = Path(options.bids_dir), Path(options.out_dir)
    with progress(options.quiet) as show:
        show("looking for scans")
        whole = make_bids_plan(raw, out, choice, options.outputs, options.one_mask)
        plan, share = take_shard(whole, options, _name_share(choice))
        make_folder(out)
        save_description(raw, out)
        save_gaps(whole.gaps, choice, out)
        outcomes = strip_plan(plan, out / LOGS, job, options, show, share=share, workers=workers)
    next_commands = [
        f"deskull-bids {shlex.join([options.bids_dir, options.out_dir])} group",
        f"deskull review {shlex.quote(options.out_dir)}",
    ]
    table = out / LOGS / name_table(share)
    note = _describe_orientation(outcomes)
    report_outcomes(outcomes, table, options.quiet, next_commands, note=note)


def _describe_orientation(outcomes: "Sequence[Outcome]") -> str:
    """Report the masks that fMRIPrep will not accept as they are; empty if there are none."""
    from deskull.record import DONE

    found = [outcome.orientation for outcome in outcomes if outcome.status == DONE]
    turned = [orientation for orientation in found if orientation not in ("", "RAS")]
    if not turned:
        return ""
    return (
        f"{len(turned)} of {len(found)} masks have the orientation of their image, such as "
        f"{turned[0]}; fMRIPrep accepts only RAS: for it add --orientation ras"
    )


def _share_cores(nprocs: int | None, threads: int | None) -> tuple[int, int]:
    """Find the number of processes, and of all their threads together, for the cores."""
    from deskull.network.engine import count_threads

    cores = count_threads() if nprocs is None else nprocs
    if cores < 1:
        raise OptionError(f"nprocs {cores}; expected at least 1.")
    if threads is None:
        return 1, cores
    if not 1 <= threads <= cores:
        raise OptionError(f"omp-nthreads {threads}; expected 1 to {cores}, the cores of --nprocs.")
    workers = cores // threads
    return workers, workers * threads


def _name_share(choice: "Choice") -> str:
    """Name the table and the lock of a run over some of the participants, as a suffix."""
    parts = [name_folder("sub", label) for label in choice.participants]
    parts += [name_folder("ses", label) for label in choice.sessions]
    suffix = "".join(f"_{part}" for part in parts)
    if len(suffix) <= 60:
        return suffix
    return f"_{parts[0]}-and-more-{hashlib.sha256(suffix.encode()).hexdigest()[:8]}"


def _sum_up_group(options: Namespace) -> None:
    from deskull.cohort.bids_derivatives import save_group
    from deskull.review.report import write_report

    out = Path(options.out_dir)
    with progress(options.quiet) as show:
        table, count = save_group(Path(options.bids_dir), out)
        page = write_report(out, observe=show.counter("scans"))
    if not options.quiet:
        print_message(f"{count} scans; table: {table}; report: {page}")
