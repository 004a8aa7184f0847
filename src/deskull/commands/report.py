"""`deskull report`: the scans of a batch on one page."""

import sys
from argparse import Namespace
from pathlib import Path

from deskull.assess.report import NAME, write_report
from deskull.commands.paths import is_folder
from deskull.commands.terminal import progress


def report(options: Namespace) -> None:
    """Write the page of a cohort, and say where it is."""
    with progress(options.quiet) as show:
        path = write_report(
            options.folder,
            Path(options.out, NAME) if is_folder(options.out) else options.out,
            options.each,
            lambda done, total: show.count(done, total, "scans"),
        )
    if not options.quiet:
        print(f"deskull: {path}", file=sys.stderr)
