"""`deskull report`, a page of a batch; `view`, `review` and `web`, local pages."""

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from deskull.commands.options import NOT_MEDICAL, add_command, add_frame, add_option
from deskull.commands.terminal import print_message, progress
from deskull.errors import MaskFileError

if TYPE_CHECKING:
    from deskull.review.viewer import Viewer
    from deskull.review.webpage import WebPage


def add_report(commands: Any) -> None:
    """Add `deskull report`."""
    parser = add_command(
        commands,
        "report",
        "show the scans of a batch on one page, the most doubtful first",
        "deskull batch study/ -o brains && deskull report brains\n"
        "The page is one file that opens from disk and can be sent to others: go through the "
        "scans with the\narrow keys, mark them with p, f and m, download the marks. `deskull "
        "review` saves them\nbeside the data.\n" + NOT_MEDICAL,
    )
    parser.add_argument("folder", metavar="DIR", help="output of deskull batch or deskull-bids")
    parser.add_argument(
        "-o", "--out", metavar="HTML", help="file of the page (default: DIR/deskull_report.html)"
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="write a page for each scan as well, beside its record; in BIDS sub-01.html with "
        "sub-01/figures/",
    )
    _add_no_face(parser)


def add_view(commands: Any) -> None:
    """Add `deskull view`."""
    parser = add_command(
        commands,
        "view",
        "show a scan with its mask in the browser, and correct the mask",
        "deskull view sub-01_T1w.nii.gz\n"
        "Without a mask the scan is stripped at once, and threshold and border can be changed.\n"
        "The corrected mask is saved as <stem>_mask_manual.nii.gz; the automatic mask is kept. "
        "Nothing leaves\nthis machine: the page can only be opened here, and only with its "
        "address.\n" + NOT_MEDICAL,
    )
    parser.add_argument("scan", metavar="SCAN", help="image, or folder of DICOM")
    parser.add_argument(
        "mask",
        nargs="?",
        metavar="MASK",
        help="mask to show (default: <stem>_mask.nii.gz beside the scan)",
    )
    parser.add_argument(
        "--reference", metavar="MASK", help="another mask, to show the difference in colour"
    )
    add_frame(parser)
    add_option(parser, "series")
    _add_page(parser)


def add_review(commands: Any) -> None:
    """Add `deskull review`."""
    parser = add_command(
        commands,
        "review",
        "go through the scans of a batch in the browser: mark them, correct masks",
        "deskull review brains\n"
        "Marks are saved in brains/deskull_review.tsv, corrected masks beside the automatic ones "
        "and listed\nin brains/deskull_corrected.tsv, which `deskull finetune` reads. Through "
        "a tunnel:\n  deskull review brains --port 8888 --no-browser   # there\n"
        "  ssh -L 8888:127.0.0.1:8888 THERE                  # here\n" + NOT_MEDICAL,
    )
    parser.add_argument("folder", metavar="DIR", help="output of deskull batch or deskull-bids")
    _add_page(parser)


def add_web(commands: Any) -> None:
    """Add `deskull web`."""
    parser = add_command(
        commands,
        "web",
        "open the page that strips scans in the browser, for people without a terminal",
        "deskull web\n"
        "Scans are dropped on the page, and the browser does the work: nothing is sent anywhere, "
        "not even to\nthis program. The page can also be hosted: docs/how-to/browser.md.\n"
        + NOT_MEDICAL,
    )
    _add_address(parser)


def _add_no_face(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-face",
        action="store_true",
        help="show only the brain and what lies close to it, to show pictures to others",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    _add_no_face(parser)
    _add_address(parser)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port to listen on (default: a free one)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address and open no browser"
    )


def run_report(options: Namespace) -> None:
    """Write the page of a cohort, and print where it is."""
    from deskull.commands.paths import is_folder
    from deskull.review.report import NAME, write_report

    with progress(options.quiet) as show:
        path = write_report(
            options.folder,
            Path(options.out, NAME) if is_folder(options.out) else options.out,
            options.each,
            show.counter("scans"),
            no_face=options.no_face,
        )
    if not options.quiet:
        print_message(str(path))


def run_view(options: Namespace) -> None:
    """Show one scan with its mask."""
    from deskull.commands.paths import suggest_command
    from deskull.image.lookup import find_image
    from deskull.review.scene import make_entry
    from deskull.review.viewer import Viewer

    scan = Path(os.path.abspath(find_image(options.scan)))
    mask, reference = (
        None if path is None else Path(os.path.abspath(find_image(path)))
        for path in (options.mask, options.reference)
    )
    entry = make_entry(
        scan, mask, options.frame, options.series, reference=reference, no_face=options.no_face
    )
    viewer = Viewer([entry])
    with progress(options.quiet) as show:
        show("opening the scan")
        try:
            viewer.open(0)
        except MaskFileError as error:
            command = suggest_command([options.scan, options.mask or "..."])
            hint = f"Several scans: `{command} && deskull review brains`"
            raise MaskFileError(f"{error} {hint}") from error
    _serve(viewer, options)


def run_review(options: Namespace) -> None:
    """Show the scans of a batch."""
    from deskull.cohort.stripped import find_stripped
    from deskull.review.scene import make_entries
    from deskull.review.viewer import Viewer

    scans = find_stripped(options.folder)
    entries = make_entries(scans, options.no_face)
    _serve(Viewer(entries, f"Review of {scans[0].folder.name}"), options)


def run_web(options: Namespace) -> None:
    """Serve the page that strips scans in the browser."""
    from deskull.review.webpage import find_web_page

    _serve(find_web_page(), options)


def _serve(page: "Viewer | WebPage", options: Namespace) -> None:
    """Answer until interrupted, which is the normal end of a page and no failure."""
    with page.start(options.port) as server:
        print(server.address, flush=True)
        opens = not options.no_browser and _has_screen()
        with _browser(server.address if opens else None) as opened:
            if not options.quiet:
                advice = "If no page opens, open the address" if opened else "Open the address"
                print_message(f"{advice} in a browser. Ctrl-C ends.")
            try:
                server.serve()
            except KeyboardInterrupt:
                if not options.quiet:
                    print_message("the page is closed; everything saved is on disk.")


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
    import webbrowser

    refresh = f'<meta http-equiv="refresh" content="0;url={address}">'
    content = (
        f'<!DOCTYPE html>\n<title>deskull</title>\n{refresh}\n<a href="{address}">deskull</a>\n'
    )
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
