"""`deskull view` and `deskull review`: the local page."""

import os
import sys
import webbrowser
from argparse import Namespace
from pathlib import Path

from deskull.assess.stripped import find_stripped
from deskull.assess.viewer import Viewer, make_entries, make_entry
from deskull.commands.terminal import check_there, progress


def view(options: Namespace) -> None:
    """Show one scan with its mask."""
    scan = Path(os.path.abspath(options.scan))
    mask = None if options.mask is None else Path(os.path.abspath(options.mask))
    for path in (scan, mask):
        if path is not None:
            check_there(path)
    viewer = Viewer([make_entry(scan, mask, options.frame, options.series)])
    with progress(options.quiet) as show:
        show("opening the scan")
        viewer.open(0)
    _serve(viewer, options)


def review(options: Namespace) -> None:
    """Show the scans of a batch."""
    scans = find_stripped(options.folder)
    _serve(Viewer(make_entries(scans), f"Review of {scans[0].folder.name}"), options)


def _serve(viewer: Viewer, options: Namespace) -> None:
    """Answer until interrupted, which is how a page ends, and no failure."""
    with viewer.start(options.port) as server:
        print(server.address, flush=True)
        opened = not options.no_browser and _has_screen() and webbrowser.open(server.address)
        if not options.quiet:
            todo = "" if opened else "Open the address in a browser. "
            print(f"deskull: {todo}Ctrl-C ends.", file=sys.stderr)
        try:
            server.serve()
        except KeyboardInterrupt:
            if not options.quiet:
                print("deskull: the page has ended; what was saved is on disk.", file=sys.stderr)


def _has_screen() -> bool:
    """Whether a browser would have a window: else one for terminals might take ours."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
