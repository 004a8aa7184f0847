"""`deskull batch`: many scans, and what it shares with `deskull-bids`."""

import argparse
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull.commands.options import (
    NOT_MEDICAL,
    add_command,
    add_distribution,
    add_engine,
    add_frame,
    add_memory,
    add_outputs,
    add_strip_settings,
    make_settings,
)
from deskull.commands.terminal import Progress, print_message, progress
from deskull.errors import DeskullError
from deskull.outputs import list_outputs

if TYPE_CHECKING:
    from deskull.cohort import Job, Outcome
    from deskull.cohort.plan import Plan


def add_batch(commands: Any) -> None:
    """Add `deskull batch`."""
    parser = add_command(
        commands,
        "batch",
        "isolate the brain in many scans",
        "deskull batch study/ -o brains\n"
        "Outputs mirror the tree of the inputs: brains/sub-01/T1w_brain.nii.gz, T1w_mask.nii.gz, "
        "T1w_record.json;\nthe table of all scans is brains/deskull_batch.tsv. Run the same "
        "command again to "
        "continue after any interruption:\nfinished scans are skipped, failed ones are tried "
        "again. From folders and globs, outputs of deskull and\nother files derived from a scan "
        "(X_mask on the grid of X beside it) are left out, and named; in a list or a\ntable "
        "every line counts, and paths are relative to its folder. A folder of DICOM is one "
        "scan.\n\n"
        "As a job array of SLURM; the same command without --shard at the end writes the "
        "whole table:\n  #SBATCH --array=1-50 --cpus-per-task=2\n"
        "  deskull batch study/ -o brains --shard $SLURM_ARRAY_TASK_ID/50 "
        "-t $SLURM_CPUS_PER_TASK\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="scan, folder, glob, text file with one path per line, or CSV or TSV with the "
        "column in and optionally out and mask",
    )
    parser.add_argument(
        "-o",
        "--out",
        "--out-dir",
        dest="out_dir",
        required=True,
        metavar="DIR",
        help="folder of the outputs",
    )
    add_outputs(parser, "batch", type=_to_outputs, metavar="A,B,...")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="number of processes, which share the cores; if one runs out of memory, only its "
        "scan fails (default: 1, which reads and writes while the network runs)",
    )
    add_memory(parser, " (default: as much as the workers need)")
    add_distribution(parser)
    parser.add_argument(
        "--one-mask",
        action="store_true",
        help="strip one scan of each session and apply its mask to the co-registered others: of "
        "the scans whose field of view covers the head, the T1w image, else the one of highest "
        "resolution",
    )
    add_frame(parser)
    add_strip_settings(parser)
    add_engine(parser)


def _to_outputs(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    known = [row.name for row in list_outputs("batch")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {', '.join(known)}")
    return names


def run_batch(options: Namespace) -> None:
    """Strip many scans, and report at the end what failed."""
    from deskull.cohort import make_plan
    from deskull.cohort.plan import share_masks
    from deskull.cohort.table import name_table

    job, out = make_job(options, options.threads), Path(options.out_dir)
    with progress(options.quiet) as show:
        show("looking for scans")
        plan = make_plan(options.inputs, options.out_dir, options.outputs)
        if options.one_mask:
            plan = replace(plan, tasks=share_masks(plan))
        plan, share = take_shard(plan, options)
        outcomes = strip_plan(plan, out, job, options, show, share=share, workers=options.workers)
    next_command = f"deskull review {shlex.quote(options.out_dir)}"
    table = out / name_table(share)
    report_outcomes(outcomes, table, options.quiet, [next_command], plan.ignored)


def make_job(options: Namespace, threads: int | None) -> "Job":
    """Collect the options that decide how every scan is stripped."""
    from deskull.cohort import Job

    return Job(
        make_settings(options),
        options.weights,
        options.device,
        threads,
        frame=options.frame,
        memory_gb=options.mem_gb,
    )


def take_shard(plan: "Plan", options: Namespace, share: str = "") -> "tuple[Plan, str]":
    """Take the scans of ``--shard``, and add it to the suffix of the table's name.

    Parameters
    ----------
    plan
        Plan of the whole run.
    options
        Parsed arguments, with those of `add_distribution`.
    share
        Suffix of the table of the whole run.
    """
    if options.shard is None:
        return plan, share
    number, count = options.shard
    return plan.take_shard(number, count), f"{share}_{number}-of-{count}"


def strip_plan(
    plan: "Plan",
    out_dir: Path,
    job: "Job",
    options: Namespace,
    show: Progress,
    *,
    share: str,
    workers: int,
) -> "list[Outcome]":
    """Strip the scans of a plan here or on a cluster, and show the progress.

    Parameters
    ----------
    plan
        Scans to strip.
    out_dir
        Folder of the table of outcomes.
    job
        How every scan is stripped.
    options
        Parsed arguments, with those of `add_distribution`.
    show
        Progress on the terminal.
    share
        Suffix of the table's name.
    workers
        Number of processes on this machine.
    """
    from deskull.cohort import strip_cohort

    return strip_cohort(
        plan,
        out_dir,
        job,
        workers=workers,
        cluster=options.cluster,
        force=options.force,
        label=share,
        observe=lambda now: show.count(
            now.skipped + now.finished, now.total, "scans", failed=now.failed
        ),
    )


def report_outcomes(
    outcomes: "Sequence[Outcome]",
    table: Path,
    quiet: bool,
    next_commands: Sequence[str],
    others: str = "",
    note: str = "",
) -> None:
    """Report the outcomes of many scans, and the commands to run next.

    Parameters
    ----------
    outcomes
        Outcomes of all scans, and of files that were left out.
    table
        Path of the table of the outcomes.
    quiet
        Whether only failures are reported.
    next_commands
        Commands to run next.
    others
        Number and kind of the files that are no scans, as a phrase.
    note
        Last line of the report; none if empty.

    Raises
    ------
    DeskullError
        If a scan failed.
    """
    from deskull.record import DONE, FAILED

    done = [outcome for outcome in outcomes if outcome.status == DONE]
    failed = [outcome.name for outcome in outcomes if outcome.status == FAILED]
    lines = [_describe_done(done, failed), _describe_left_out(outcomes, others), f"table: {table}"]
    lines += [f"next: {'; '.join(next_commands)}"] if done else []
    for line in [*lines, note] if not quiet else ():
        if line:
            print_message(line)
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        count = len(done) + len(failed)
        raise DeskullError(
            f"{len(failed)} of {count} scans failed: {', '.join(failed[:5])}{more}. "
            f"See {table} for the reasons; run the same command to try them again."
        )


def _describe_done(done: "Sequence[Outcome]", failed: Sequence[str]) -> str:
    """Count done, failed and flagged scans; name the scan of the lowest score and its flags."""
    from deskull.cohort.table import CORRECTED

    text = "1 scan done" if len(done) == 1 else f"{len(done)} scans done"
    earlier = sum(outcome.earlier for outcome in done)
    if earlier:
        text += f", {'all' if earlier == len(done) else earlier} by an earlier run"
    flagged = sum(bool(outcome.flags) for outcome in done)
    text += f"; {len(failed)} failed, {flagged} flagged"
    corrected = sum(outcome.mask == CORRECTED for outcome in done)
    text += f"; {corrected} with a mask corrected by hand" if corrected else ""
    scored = [outcome for outcome in done if outcome.score is not None]
    if scored:
        worst = min(scored, key=lambda outcome: (outcome.score, outcome.name))
        why = f" ({', '.join(worst.flags)})" if worst.flags else ""
        text += f"; lowest score {worst.score}: {worst.name}{why}"
    return text


def _describe_left_out(outcomes: "Sequence[Outcome]", others: str) -> str:
    """Name and count what was left out; empty if nothing was."""
    from deskull.cohort.table import LEFT_OUT

    left = [outcome for outcome in outcomes if outcome.status == LEFT_OUT]
    named = [f"{outcome.name} ({outcome.error})" for outcome in left]
    if len(left) > 2:
        names = [outcome.name for outcome in left[:5]]
        names += [f"{len(left) - 5} more"] if len(left) > 5 else []
        named = [f"{len(left)} images ({', '.join(names)}; see the table for the reasons)"]
    named += [others] if others else []
    return f"left out: {', '.join(named)}" if named else ""
