"""`deskull-bids`: the scans of a BIDS data set."""

import hashlib
import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deskull.cohort import Outcome, strip_cohort
from deskull.cohort.bids import LOGS, make_bids_plan, save_description, save_gaps, save_group
from deskull.cohort.bids_images import Choice, read_filters
from deskull.cohort.records import name_table
from deskull.commands.batch import make_job, sum_up
from deskull.commands.terminal import progress
from deskull.errors import OptionError
from deskull.image.names import name_folder
from deskull.image.writing import make_folder
from deskull.network.engine import count_threads
from deskull.record import DONE
from deskull.review.report import write_report

logger = logging.getLogger("deskull")


def bids(options: Namespace) -> None:
    """Strip participants, or sum up the group."""
    if options.level == "group":
        _sum_up_group(options)
    else:
        _strip_participants(options)


def _strip_participants(options: Namespace) -> None:
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
    share = _name_share(choice)
    with progress(options.quiet) as show:
        show("looking for scans")
        plan = make_bids_plan(raw, out, choice, options.outputs, options.one_mask)
        if options.shard is not None:
            plan = plan.take_shard(*options.shard)
            share += "_{}-of-{}".format(*options.shard)
        make_folder(out)
        save_description(raw, out)
        save_gaps(plan.gaps, choice, out)
        outcomes = strip_cohort(
            plan,
            out / LOGS,
            job,
            workers=workers,
            cluster=options.cluster,
            force=options.force,
            label=share,
            observe=lambda now: show.count(
                now.skipped + now.finished, now.total, "scans", failed=now.failed
            ),
        )
    group = f"deskull-bids {shlex.join([options.bids_dir, options.out_dir])} group"
    following = [group, f"deskull review {shlex.quote(options.out_dir)}"]
    table = out / LOGS / name_table(share)
    sum_up(outcomes, table, options.quiet, following, note=_describe_orientation(outcomes))


def _describe_orientation(outcomes: Sequence[Outcome]) -> str:
    """Report the masks that fMRIPrep will not accept as they are; empty if there are none."""
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
    cores = count_threads() if nprocs is None else nprocs
    if cores < 1:
        raise OptionError(f"nprocs {cores}; expected at least 1.")
    if threads is None:
        return 1, cores
    if not 1 <= threads <= cores:
        raise OptionError(f"omp-nthreads {threads}; expected 1 to {cores}, the cores of --nprocs.")
    workers = cores // threads
    return workers, workers * threads


def _name_share(choice: Choice) -> str:
    """Suffix of the table and the lock of a run over some of the participants."""
    parts = [name_folder("sub", word) for word in choice.participants]
    parts += [name_folder("ses", word) for word in choice.sessions]
    word = "".join(f"_{part}" for part in parts)
    if len(word) <= 60:
        return word
    return f"_{parts[0]}-and-more-{hashlib.sha256(word.encode()).hexdigest()[:8]}"


def _sum_up_group(options: Namespace) -> None:
    out = Path(options.out_dir)
    with progress(options.quiet) as show:
        table, count = save_group(Path(options.bids_dir), out)
        page = write_report(out, observe=lambda done, total: show.count(done, total, "scans"))
    if not options.quiet:
        print(f"deskull: {count} scans; table: {table}; report: {page}", file=sys.stderr)
