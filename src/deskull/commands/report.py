"""`deskull report`: the scans of a batch on one page."""

import sys
from argparse import Namespace

from deskull.assess.report import write_report
from deskull.commands.terminal import progress


def report(options: Namespace) -> None:
    """Write the page of a cohort, and say where it is."""
    with progress(options.quiet) as show:
        path = write_report(
            options.folder,
            options.out,
            options.each,
            lambda done, total: show.count(done, total, "scans"),
        )
    if not options.quiet:
        print(f"deskull: {path}", file=sys.stderr)
