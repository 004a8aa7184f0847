"""`deskull batch`: many scans."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deskull.cohort import Job, Outcome, make_plan, strip_cohort
from deskull.cohort.plan import share_masks
from deskull.cohort.records import CORRECTED, LEFT_OUT, name_table
from deskull.commands.strip import make_settings
from deskull.commands.terminal import progress
from deskull.errors import DeskullError
from deskull.record import DONE, FAILED


def batch(options: Namespace) -> None:
    """Strip many scans, and report at the end what failed."""
    job = make_job(options, options.threads)
    share = ""
    with progress(options.quiet) as show:
        show("looking for scans")
        plan = make_plan(options.inputs, options.out_dir, options.outputs)
        if options.one_mask:
            plan = replace(plan, tasks=share_masks(plan))
        if options.shard is not None:
            plan, share = plan.take_shard(*options.shard), "_{}-of-{}".format(*options.shard)
        outcomes = strip_cohort(
            plan,
            options.out_dir,
            job,
            workers=options.workers,
            cluster=options.cluster,
            force=options.force,
            label=share,
            observe=lambda now: show.count(
                now.skipped + now.finished, now.total, "scans", failed=now.failed
            ),
        )
    table = Path(options.out_dir) / name_table(share)
    following = f"deskull review {shlex.quote(options.out_dir)}"
    sum_up(outcomes, table, options.quiet, [following], plan.ignored)


def make_job(options: Namespace, threads: int | None) -> Job:
    """Collect the options that decide how every scan is stripped."""
    return Job(
        make_settings(options),
        options.weights,
        options.device,
        threads,
        frame=options.frame,
        memory_gb=options.mem_gb,
    )


def sum_up(
    outcomes: Sequence[Outcome],
    table: Path,
    quiet: bool,
    following: Sequence[str],
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
    following
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
    done = [outcome for outcome in outcomes if outcome.status == DONE]
    failed = [outcome.name for outcome in outcomes if outcome.status == FAILED]
    lines = [_count(done, failed), _describe_left_out(outcomes, others), f"table: {table}"]
    lines += [f"next: {'; '.join(following)}"] if done else []
    for line in [*lines, note] if not quiet else ():
        if line:
            print(f"deskull: {line}", file=sys.stderr)
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        count = len(done) + len(failed)
        raise DeskullError(
            f"{len(failed)} of {count} scans failed: {', '.join(failed[:5])}{more}. "
            f"See {table} for the reasons; run the same command to try them again."
        )


def _count(done: Sequence[Outcome], failed: Sequence[str]) -> str:
    """Count done, failed and flagged scans; name the scan of the lowest score and its flags."""
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


def _describe_left_out(outcomes: Sequence[Outcome], others: str) -> str:
    """Name and count what was left out; empty if nothing was."""
    left = [outcome for outcome in outcomes if outcome.status == LEFT_OUT]
    named = [f"{outcome.name} ({outcome.error})" for outcome in left]
    if len(left) > 2:
        names = [outcome.name for outcome in left[:5]]
        names += [f"{len(left) - 5} more"] if len(left) > 5 else []
        named = [f"{len(left)} images ({', '.join(names)}; see the table for the reasons)"]
    named += [others] if others else []
    return f"left out: {', '.join(named)}" if named else ""
