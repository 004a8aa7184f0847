"""`deskull batch`: many scans."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from deskull.cohort import Job, Outcome, make_plan, strip_cohort, take_shard
from deskull.cohort.records import DONE, name_table
from deskull.cohort.sessions import share_masks
from deskull.commands.strip import make_settings
from deskull.commands.terminal import progress
from deskull.errors import DeskullError


def batch(options: Namespace) -> None:
    """Strip many scans, and say at the end what failed."""
    job = make_job(options, options.threads)
    share = ""
    with progress(options.quiet) as show:
        show("looking for scans")
        tasks = make_plan(options.inputs, options.out_dir, options.outputs)
        if options.one_mask:
            tasks = share_masks(tasks)
        if options.shard is not None:
            tasks, share = take_shard(tasks, *options.shard), "_{}-of-{}".format(*options.shard)
        outcomes = strip_cohort(
            tasks,
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
    sum_up(outcomes, Path(options.out_dir), share, options.quiet)


def make_job(options: Namespace, threads: int | None) -> Job:
    """Settle how every scan is stripped."""
    return Job(
        make_settings(options),
        options.fill,
        options.weights,
        options.device,
        threads,
        frame=options.frame,
        memory_gb=options.mem_gb,
    )


def sum_up(outcomes: Sequence[Outcome], folder: Path, share: str, quiet: bool) -> None:
    """Say at the end of many scans that all are done, or what failed."""
    failed = [outcome.name for outcome in outcomes if outcome.status != DONE]
    table = folder / name_table(share)
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        raise DeskullError(
            f"{len(failed)} of {len(outcomes)} scans failed: {', '.join(failed[:5])}{more}. "
            f"Why is in {table}; run the same again to try them again."
        )
    if not quiet:
        words = "1 scan done" if len(outcomes) == 1 else f"{len(outcomes)} scans done"
        earlier = sum(outcome.earlier for outcome in outcomes)
        if earlier:
            words += f", {'all' if earlier == len(outcomes) else earlier} by an earlier run"
        print(f"deskull: {words}; table: {table}", file=sys.stderr)
