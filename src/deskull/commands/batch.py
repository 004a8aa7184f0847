"""`deskull batch`: many scans."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deskull.cohort import Job, Outcome, make_plan, strip_cohort
from deskull.cohort.records import CORRECTED, LEFT_OUT, name_table
from deskull.cohort.sessions import share_masks
from deskull.commands.strip import make_settings
from deskull.commands.terminal import progress
from deskull.errors import DeskullError
from deskull.record import DONE, FAILED


def batch(options: Namespace) -> None:
    """Strip many scans, and say at the end what failed."""
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
            share=share,
            observe=lambda now: show.count(
                now.skipped + now.finished, now.total, "scans", failed=now.failed
            ),
        )
    table = Path(options.out_dir) / name_table(share)
    following = f"deskull review {shlex.quote(options.out_dir)}"
    sum_up(outcomes, table, options.quiet, [following], plan.others)


def make_job(options: Namespace, threads: int | None) -> Job:
    """Settle how every scan is stripped."""
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
    """Say at the end of many scans what became of them, and what to type next.

    Parameters
    ----------
    outcomes
        Of all scans, and of what was left out.
    table
        That lists them.
    quiet
        Whether only failures are told.
    following
        Commands to type next.
    others
        Words that count what lay beside the scans.
    note
        A last line.

    Raises
    ------
    DeskullError
        If a scan failed.
    """
    done = [outcome for outcome in outcomes if outcome.status == DONE]
    failed = [outcome.name for outcome in outcomes if outcome.status == FAILED]
    lines = [_count(done, failed), _tell_left_out(outcomes, others), f"table: {table}"]
    lines += [f"next: {'; '.join(following)}"] if done else []
    for line in [*lines, note] if not quiet else ():
        if line:
            print(f"deskull: {line}", file=sys.stderr)
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        count = len(done) + len(failed)
        raise DeskullError(
            f"{len(failed)} of {count} scans failed: {', '.join(failed[:5])}{more}. "
            f"Why is in {table}; run the same again to try them again."
        )


def _count(done: Sequence[Outcome], failed: Sequence[str]) -> str:
    """Count what is done, failed and flagged; name the scan of the lowest score, and why."""
    words = "1 scan done" if len(done) == 1 else f"{len(done)} scans done"
    earlier = sum(outcome.earlier for outcome in done)
    if earlier:
        words += f", {'all' if earlier == len(done) else earlier} by an earlier run"
    flagged = sum(bool(outcome.flags) for outcome in done)
    words += f"; {len(failed)} failed, {flagged} flagged"
    corrected = sum(outcome.mask == CORRECTED for outcome in done)
    words += f"; {corrected} with a mask corrected by hand" if corrected else ""
    scored = [outcome for outcome in done if outcome.score is not None]
    if scored:
        worst = min(scored, key=lambda outcome: (outcome.score, outcome.name))
        why = f" ({', '.join(worst.flags)})" if worst.flags else ""
        words += f"; lowest score {worst.score}: {worst.name}{why}"
    return words


def _tell_left_out(outcomes: Sequence[Outcome], others: str) -> str:
    """Name and count what was left out; empty if there is nothing."""
    left = [outcome for outcome in outcomes if outcome.status == LEFT_OUT]
    told = [f"{outcome.name} ({outcome.error})" for outcome in left]
    if len(left) > 2:
        names = [outcome.name for outcome in left[:5]]
        names += [f"{len(left) - 5} more"] if len(left) > 5 else []
        told = [f"{len(left)} images ({', '.join(names)}; why is in the table)"]
    told += [others] if others else []
    return f"left out: {', '.join(told)}" if told else ""
