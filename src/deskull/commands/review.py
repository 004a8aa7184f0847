"""`deskull report`, a page of a batch; `view`, `review` and `web`, local pages."""

import os
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deskull.cohort.stripped import find_stripped
from deskull.commands.paths import is_folder, tell_scans
from deskull.commands.terminal import progress
from deskull.errors import MaskFileError
from deskull.image.lookup import find_image
from deskull.review.report import NAME, write_report
from deskull.review.scene import make_entries, make_entry
from deskull.review.viewer import Viewer
from deskull.review.webpage import WebPage, find_web_page


def report(options: Namespace) -> None:
    """Write the page of a cohort, and print where it is."""
    with progress(options.quiet) as show:
        path = write_report(
            options.folder,
            Path(options.out, NAME) if is_folder(options.out) else options.out,
            options.each,
            lambda done, total: show.count(done, total, "scans"),
            no_face=options.no_face,
        )
    if not options.quiet:
        print(f"deskull: {path}", file=sys.stderr)


def view(options: Namespace) -> None:
    """Show one scan with its mask."""
    scan = Path(os.path.abspath(find_image(options.scan)))
    mask, reference = (
        None if path is None else Path(os.path.abspath(find_image(path)))
        for path in (options.mask, options.reference)
    )
    chosen = {"reference": reference, "no_face": options.no_face}
    viewer = Viewer([make_entry(scan, mask, options.frame, options.series, **chosen)])
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
    entries = make_entries(scans, options.no_face)
    _serve(Viewer(entries, f"Review of {scans[0].folder.name}"), options)


def web(options: Namespace) -> None:
    """Serve the page that strips scans in the browser."""
    _serve(find_web_page(), options)


def _serve(page: Viewer | WebPage, options: Namespace) -> None:
    """Answer until interrupted, which is the normal end of a page and no failure."""
    with page.start(options.port) as server:
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
                    message = "the page is closed; everything saved is on disk."
                    print(f"deskull: {message}", file=sys.stderr)


@contextmanager
def _browser(address: str | None) -> Iterator[bool]:
    """Open an address in a browser, unless it is None, and return whether that worked.

    The browser is given a page that redirects there and that only this user can read: all users
    of the machine can read its command line, and the address contains the token.
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
    """Whether a browser would have a window: a text browser would take over the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
