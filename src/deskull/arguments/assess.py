"""The words of the commands that judge and show."""

import argparse
from typing import Any

from deskull.arguments.options import NOT_MEDICAL, add_command, add_engine, add_frame


def add_evaluate(commands: Any) -> None:
    """Add `deskull evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        "compare masks with references",
        "deskull evaluate masks/ references/ -o evaluation\n"
        "         deskull evaluate ours=run1/ theirs=run2/ references/ --images heads/ -o both\n"
        "         deskull evaluate pairs.tsv\n"
        "Folders are paired by names: the same but for endings such as _mask, _brainmask or "
        "_reference,\nor in BIDS the same entities. A table has the columns prediction and "
        "reference, and if wanted\nmethod, scan and image. Files without a partner are told. With "
        "-o: evaluation.tsv (a row per\nscan), .json (the summary), .html (plots, and pictures of "
        "the worst scans).",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="[NAME=]PREDICTIONS of each method, then REFERENCES: folders or files; or one "
        "table of pairs",
    )
    parser.add_argument("-o", "--out", metavar="DIR", help="write table, summary and page there")
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="the scans themselves, for the pictures (default: masks alone)",
    )


def add_report(commands: Any) -> None:
    """Add `deskull report`."""
    parser = add_command(
        commands,
        "report",
        "show the scans of a batch on one page, those that most need a look first",
        "deskull batch study/ -o brains && deskull report brains\n"
        "The page is one file that opens from disk, and can be sent on: go through the scans with "
        "the arrow\nkeys, mark them with p, f and m, download the marks. `deskull review` saves "
        "them beside the data.\n" + NOT_MEDICAL,
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


def add_view(commands: Any) -> None:
    """Add `deskull view`."""
    parser = add_command(
        commands,
        "view",
        "show a scan with its mask in the browser, and correct the mask",
        "deskull view sub-01_T1w.nii.gz\n"
        "What is corrected is saved as <stem>_mask_manual.nii.gz; the machine's mask is kept. "
        "Nothing leaves\nthis machine: the page answers only here, and only who knows its "
        "address.\n" + NOT_MEDICAL,
    )
    parser.add_argument("scan", metavar="SCAN", help="image, or folder of DICOM")
    parser.add_argument(
        "mask", nargs="?", metavar="MASK", help="(default: <stem>_mask.nii.gz beside the scan)"
    )
    add_frame(parser)
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder")
    _add_page(parser)


def add_review(commands: Any) -> None:
    """Add `deskull review`."""
    parser = add_command(
        commands,
        "review",
        "go through the scans of a batch in the browser: mark them, correct masks",
        "deskull review brains\n"
        "Marks are saved in brains/deskull_review.tsv, corrected masks beside the machine's, and "
        "listed in\nbrains/deskull_corrected.tsv, from which `deskull finetune` learns. Through "
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
        "not even to\nthis program. The page can also be hosted: docs/web.md.\n" + NOT_MEDICAL,
    )
    _add_page(parser)


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, metavar="N", help="(default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def add_drift(commands: Any) -> None:
    """Add `deskull drift`."""
    parser = add_command(
        commands,
        "drift",
        "say where a cohort differs from the heads that the weights learned from",
        "deskull drift brains\n"
        "Of a folder that deskull batch wrote the records are read; scans of another folder or of "
        "a table\n(column image or in) are stripped for it, and nothing is written. For who "
        "trains weights:\n"
        "  deskull drift heads.tsv --weights mine --keep training   # once, after the export\n"
        "  deskull drift others.tsv --weights mine --keep tested    # columns image and mask",
    )
    parser.add_argument("source", metavar="DIR|TSV", help="output of a batch, or scans")
    parser.add_argument(
        "--keep",
        choices=("training", "tested"),
        help="write into the card of the weights that these are the heads they learned from, or "
        "were tested on",
    )
    add_engine(parser)
