"""`deskull-bids`: the scans of a BIDS data set."""

import hashlib
import sys
from argparse import Namespace
from pathlib import Path

from deskull.cohort import strip_cohort, take_shard
from deskull.cohort.bids import LOGS, make_bids_plan
from deskull.cohort.choice import Choice, read_filters
from deskull.cohort.derivatives import save_description, save_group
from deskull.commands.batch import make_job, sum_up
from deskull.commands.terminal import progress
from deskull.errors import OptionError
from deskull.image.writing import make_folder
from deskull.network.engine import count_threads
from deskull.review.report import write_report


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
        raise OptionError("nprocs and a cluster; the cores of a cluster are its own. Choose one.")
    job = make_job(options, threads)
    filters = read_filters(options.bids_filter_file) if options.bids_filter_file else {}
    choice = Choice(options.suffix, options.participant_label, options.session_id, filters)
    out = Path(options.out_dir)
    share = _name_share(choice)
    with progress(options.quiet) as show:
        show("looking for scans")
        tasks = make_bids_plan(options.bids_dir, out, choice, options.outputs, options.one_mask)
        if options.shard is not None:
            tasks = take_shard(tasks, *options.shard)
            share += "_{}-of-{}".format(*options.shard)
        make_folder(out)
        save_description(Path(options.bids_dir), out)
        outcomes = strip_cohort(
            tasks,
            out / LOGS,
            job,
            workers=workers,
            cluster=options.cluster,
            force=options.force,
            share=share,
            observe=lambda now: show.count(
                now.skipped + now.finished, now.total, "scans", failed=now.failed
            ),
        )
    sum_up(outcomes, out / LOGS, share, options.quiet)


def _share_cores(nprocs: int | None, threads: int | None) -> tuple[int, int]:
    """Settle processes, and threads of all of them together: no more cores than were given."""
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
    """Word for the table and the lock of a part of the participants, run as a job of its own."""
    parts = [f"sub-{word.removeprefix('sub-')}" for word in choice.participants]
    parts += [f"ses-{word.removeprefix('ses-')}" for word in choice.sessions]
    word = "".join(f"_{part}" for part in parts)
    if len(word) <= 60:
        return word
    return f"_{parts[0]}-and-more-{hashlib.sha256(word.encode()).hexdigest()[:8]}"


def _sum_up_group(options: Namespace) -> None:
    out = Path(options.out_dir)
    with progress(options.quiet) as show:
        table, count = save_group(out)
        page = write_report(out, observe=lambda done, total: show.count(done, total, "scans"))
    if not options.quiet:
        print(f"deskull: {count} scans; table: {table}; report: {page}", file=sys.stderr)
