"""`deskull index`: the table of heads with masks to train on."""

import logging
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull.commands.options import add_command, add_weights
from deskull.commands.terminal import progress
from deskull.errors import InputError
from deskull.text_files import TABLES

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("deskull")


def add_index(commands: Any) -> None:
    """Add `deskull index`."""
    parser = add_command(
        commands,
        "index",
        "list the heads with masks in a folder, to train on them",
        "deskull index NFBS/ -o nfbs.tsv --pictures look.png\n"
        "Knows NFBS, BIDS with derivatives, FreeSurfer, masks beside images (X_mask.nii.gz), "
        "label maps,\nand tables of paths; other names by pattern:\n"
        "  --pattern '{participant}_{contrast}.nii.gz' "
        "--mask-pattern '{participant}_{contrast}_seg.nii.gz'",
    )
    parser.add_argument("folder", metavar="DIR", help="folder, or table (TSV, CSV) of paths")
    parser.add_argument("-o", "--out", required=True, metavar="TSV", help="table to write")
    parser.add_argument(
        "--pattern",
        metavar="NAME",
        help="names of the images, with {participant}, {session}, {contrast}, *",
    )
    parser.add_argument(
        "--mask-pattern",
        metavar="NAME",
        help="names of the masks (default: common names beside the images)",
    )
    parser.add_argument(
        "--pictures", metavar="PNG", help="draw every pair; further pages are NAME-2.png, ..."
    )
    parser.add_argument(
        "--split",
        metavar="TSV",
        help="table of participant and part (train, validation, test), to fix the parts",
    )
    parser.add_argument(
        "--measure-border",
        action="store_true",
        help="measure the border in mm by which the masks agree best with the weights, and write "
        "it to the table: training then keeps the weights' convention",
    )
    add_weights(parser)


def run_index(options: Namespace) -> None:
    """List the heads with masks of a folder, and report what was left out."""
    from deskull.commands.paths import is_folder
    from deskull.image.writing import check_output_path
    from deskull.train.checking import save_sheets
    from deskull.train.index import describe_index, fix_parts, make_index, save_index

    folder = Path(os.path.abspath(options.folder))
    out = Path(options.out, "index.tsv") if is_folder(options.out) else Path(options.out)
    check_output_path(out, [folder, *([options.split] if options.split else [])], TABLES)
    if options.pictures:
        check_output_path(options.pictures, [folder], (".png",))
    with progress(options.quiet) as show:
        table, findings = make_index(
            folder, options.pattern, options.mask_pattern, show.counter("heads")
        )
    for finding in findings:
        where = finding.where
        where = where.relative_to(folder) if where.is_relative_to(folder) else where
        logger.warning("left out: %s: %s: %s", where, finding.what, finding.why)
    if table.empty:
        raise InputError(f"{folder}: no head to train on; see what was left out.")
    if options.split:
        table = fix_parts(table, options.split)
    if options.measure_border:
        table = _measure_border(table, options)
    save_index(table, out)
    if options.pictures:
        with progress(options.quiet) as show:
            save_sheets(table, options.pictures, show.counter("pictures"))
    logger.warning("%s: %s", out, describe_index(table, findings))


def _measure_border(table: "pd.DataFrame", options: Namespace) -> "pd.DataFrame":
    """Measure and report the border of the data set, and write it into the table."""
    from deskull.stripper import Stripper
    from deskull.train.border import measure_border

    stripper = Stripper.load(options.weights)
    with progress(options.quiet) as show:
        border = measure_border(
            table,
            lambda scan: stripper(scan).mask,
            lambda done, count: show(f"measuring the border on {done}/{count}"),
        )
    logger.warning(
        "border %+.1f mm (%+.1f to %+.1f on %d scans): moved by it, the masks agree best with the "
        "weights '%s' (Dice %.3f before, %.3f with each scan's own). Written to the column "
        "border: training moves the masks by it; empty the column to train on them as they are",
        border.mm,
        border.low,
        border.high,
        border.scans,
        options.weights,
        border.dice,
        border.moved_dice,
    )
    return table.assign(border=[border.mm if mask else 0.0 for mask in table["mask"]])
