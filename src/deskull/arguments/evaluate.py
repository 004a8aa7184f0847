"""Arguments of the commands that compare masks with references and cohorts with training heads."""

from typing import Any

from deskull.arguments.options import add_command, add_engine


def add_evaluate(commands: Any) -> None:
    """Add `deskull evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        "compare masks with references",
        "deskull evaluate masks/ references/ -o evaluation\n"
        "         deskull evaluate ours=run1/ theirs=run2/ references/ --images heads/ -o both\n"
        "         deskull evaluate pairs.tsv\n"
        "Folders are paired by names, which may differ in endings such as _mask, _brainmask or "
        "_reference;\nin BIDS the entities must agree. A table has the columns prediction and "
        "reference, and optionally\nmethod, scan and image. Files without a partner are "
        "reported. With -o: evaluation.tsv (a row per\nscan), .json (the summary), .html (plots, "
        "and pictures of the worst scans).",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="[NAME=]PREDICTIONS of each method, then REFERENCES: folders or files; or one "
        "table of pairs",
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", help="folder for the table, the summary and the page"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="folder of the scans, for the pictures (default: masks alone)",
    )


def add_drift(commands: Any) -> None:
    """Add `deskull drift`."""
    parser = add_command(
        commands,
        "drift",
        "compare a cohort with the training heads of the weights",
        "deskull drift brains\n"
        "For the output of deskull batch, the records are read; scans of another folder or of a "
        "table\n(column image or in) are stripped, and nothing is written. If you train "
        "weights:\n"
        "  deskull drift heads.tsv --weights mine --keep training   # once, after the export\n"
        "  deskull drift others.tsv --weights mine --keep tested    # columns image and mask",
    )
    parser.add_argument("source", metavar="DIR|TSV", help="output of a batch, or scans")
    parser.add_argument(
        "--keep",
        choices=("training", "tested"),
        help="write into the card of the weights that these are their training heads, or heads "
        "they were tested on",
    )
    parser.add_argument(
        "-o", "--out", metavar="HTML", help="write a page as well: each trait over its range"
    )
    add_engine(parser)
