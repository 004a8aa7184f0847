"""`deskull view` and `deskull review`: the local page."""

import os
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deskull.assess.stripped import find_stripped
from deskull.assess.viewer import Viewer, make_entries, make_entry
from deskull.commands.paths import tell_scans
from deskull.commands.terminal import progress
from deskull.errors import MaskFileError
from deskull.image.lookup import find_image


def view(options: Namespace) -> None:
    """Show one scan with its mask."""
    scan = Path(os.path.abspath(find_image(options.scan)))
    mask = None if options.mask is None else Path(os.path.abspath(find_image(options.mask)))
    viewer = Viewer([make_entry(scan, mask, options.frame, options.series)])
    with progress(options.quiet) as show:
        show("opening the scan")
        try:
            viewer.open(0)
        except MaskFileError as error:
            line = tell_scans([options.scan, options.mask or "..."])
            hint = f"Several scans: `{line} && deskull review brains`"
            raise MaskFileError(f"{error} {hint}") from error
    _serve(viewer, options)


def review(options: Namespace) -> None:
    """Show the scans of a batch."""
    scans = find_stripped(options.folder)
    _serve(Viewer(make_entries(scans), f"Review of {scans[0].folder.name}"), options)


def _serve(viewer: Viewer, options: Namespace) -> None:
    """Answer until interrupted, which is how a page ends, and no failure."""
    with viewer.start(options.port) as server:
        print(server.address, flush=True)
        wanted = not options.no_browser and _has_screen()
        with _browser(server.address if wanted else None) as opened:
            if not options.quiet:
                todo = "If no page opens, open the address" if opened else "Open the address"
                print(f"deskull: {todo} in a browser. Ctrl-C ends.", file=sys.stderr)
            try:
                server.serve()
            except KeyboardInterrupt:
                if not options.quiet:
                    words = "the page has ended; what was saved is on disk."
                    print(f"deskull: {words}", file=sys.stderr)


@contextmanager
def _browser(address: str | None) -> Iterator[bool]:
    """Open an address in a browser, unless it is None, and tell whether one took it.

    The browser gets a page that leads there and that only this user can read: all users of the
    machine can read its command line, and the address holds the token.
    """
    try:
        folder = None if address is None else TemporaryDirectory(prefix="deskull-")
    except OSError:
        folder = None
    if address is None or folder is None:
        yield False
        return
    with folder as name:
        yield _open(address, Path(name, "open.html"))


def _open(address: str, page: Path) -> bool:
    lead = f'<meta http-equiv="refresh" content="0;url={address}">'
    content = f'<!DOCTYPE html>\n<title>deskull</title>\n{lead}\n<a href="{address}">deskull</a>\n'
    try:
        page.touch(0o600)
        page.write_text(content, "utf-8")
    except OSError:
        return False
    return webbrowser.open(page.as_uri())


def _has_screen() -> bool:
    """Whether a browser would have a window: else one for terminals might take ours."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
