"""Arguments of the commands that show, judge and correct: report, view, review."""

import argparse
from typing import Any

from deskull.arguments.options import NOT_MEDICAL, add_command, add_frame


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
        "-o", "--out", metavar="HTML", help="the page (default: DIR/deskull_report.html)"
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
        "mask", nargs="?", metavar="MASK", help="(default: <stem>_mask.nii.gz beside the scan)"
    )
    parser.add_argument(
        "--reference", metavar="MASK", help="another mask, to show the difference in colour"
    )
    add_frame(parser)
    parser.add_argument("--series", metavar="N", help="number of the series in a DICOM folder")
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
