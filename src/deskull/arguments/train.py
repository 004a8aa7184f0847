"""Arguments of the commands that train: index, train, finetune, export."""

import argparse
from typing import Any

from deskull.arguments.options import add_command, add_device, add_threads, add_weights


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


def add_train(commands: Any) -> None:
    """Add `deskull train`."""
    parser = add_command(
        commands,
        "train",
        "train a network on label maps and pairs",
        "deskull train label_maps/ index.tsv --recipe segment -o runs/mine --minutes 60",
    )
    parser.add_argument(
        "--recipe",
        default="segment",
        metavar="NAME|TOML",
        help="segment, locate, article, or a TOML file (default: segment)",
    )
    parser.add_argument(
        "--start",
        metavar="WEIGHTS|RUN",
        help="weights that a new run begins with, such as default (default: random weights)",
    )
    _add_run(parser)
    parser.add_argument(
        "--test",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the participants for the test",
    )
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="test on one of K folds")
    parser.add_argument(
        "--fold", type=int, default=0, metavar="I", help="number of the fold, from 0"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write the logs for TensorBoard too, to --out/tensorboard",
    )


def add_finetune(commands: Any) -> None:
    """Add `deskull finetune`."""
    parser = add_command(
        commands,
        "finetune",
        "adapt released weights to your scans with a few corrected masks",
        "deskull finetune index.tsv -o runs/ours",
    )
    add_weights(parser)
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="index or table of pairs, or folder of label maps",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the run, which goes on if begun",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="number of steps, counted from the first of the run"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="longest time of this call")
    parser.add_argument(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the participants held out to choose the weights by (default: 0.2)",
    )
    parser.add_argument(
        "--label-table",
        metavar="TOML",
        help="[labels] of the label maps, such as cortex = [3, 42]",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help="folder of prepared heads (default: --out/cache)"
    )
    add_threads(parser)
    add_device(parser)


def add_export(commands: Any) -> None:
    """Add `deskull export`."""
    parser = add_command(
        commands,
        "export",
        "make weights that can be released from training runs",
        "deskull export runs/mine --locate runs/locate --about card.json -o my_weights",
    )
    parser.add_argument("segment", metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--locate",
        metavar="RUN",
        help="run of the network that finds the brain (default: the bundled one, if needed)",
    )
    parser.add_argument(
        "--about",
        required=True,
        metavar="JSON",
        help="description for the card: licence, population, convention, data",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="SCAN",
        help="scans on which the runtimes are compared, besides the bundled head",
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder of the weights")
