"""The words of the commands that learn."""

import argparse
from typing import Any

from deskull.arguments.options import add_command, add_device, add_threads, add_weights


def add_index(commands: Any) -> None:
    """Add `deskull index`."""
    parser = add_command(
        commands,
        "index",
        "list the heads with masks to learn from",
        "deskull index NFBS/ -o nfbs.tsv --pictures look.png\n"
        "Knows NFBS, BIDS with derivatives, FreeSurfer, masks beside images (X_mask.nii.gz), "
        "label maps,\ntables of paths; other names by pattern:\n"
        "  --pattern '{person}_{contrast}.nii.gz' --mask-pattern '{person}_{contrast}_seg.nii.gz'",
    )
    parser.add_argument("folder", metavar="DIR", help="folder, or a TSV or CSV of paths")
    parser.add_argument("-o", "--out", required=True, metavar="TSV", help="the table")
    parser.add_argument(
        "--pattern", metavar="NAME", help="of images: {person}, {session}, {contrast}, *"
    )
    parser.add_argument(
        "--mask-pattern", metavar="NAME", help="of masks (default: common names beside images)"
    )
    parser.add_argument(
        "--pictures", metavar="PNG", help="draw every pair; pages go on in NAME-2.png"
    )


def add_train(commands: Any) -> None:
    """Add `deskull train`."""
    parser = add_command(
        commands,
        "train",
        "train a network from label maps and pairs",
        "deskull train label_maps/ index.tsv --recipe segment -o runs/mine --minutes 60",
    )
    parser.add_argument(
        "--recipe",
        default="segment",
        metavar="NAME|TOML",
        help="segment, locate, article, or a file (default: segment)",
    )
    parser.add_argument(
        "--start",
        metavar="WEIGHTS|RUN",
        help="begin a new run with these weights, such as default (default: with random ones)",
    )
    _add_run(parser)
    parser.add_argument(
        "--test", type=float, default=0.0, metavar="SHARE", help="of the persons, for the very end"
    )
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="test on one of K folds")
    parser.add_argument("--fold", type=int, default=0, metavar="I", help="this one, from 0")
    parser.add_argument(
        "--tensorboard", action="store_true", help="log for TensorBoard too, in --out/tensorboard"
    )


def add_finetune(commands: Any) -> None:
    """Add `deskull finetune`."""
    parser = add_command(
        commands,
        "finetune",
        "make released weights better for your scans by a few corrected masks",
        "deskull finetune index.tsv -o runs/ours",
    )
    add_weights(parser)
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="index or table of pairs, folder of label maps",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="of the run; goes on there"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="from the very first")
    parser.add_argument("--minutes", type=float, metavar="M", help="of this call")
    parser.add_argument(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the persons, kept apart to choose the weights by (default: 0.2)",
    )
    parser.add_argument(
        "--label-table", metavar="TOML", help="[labels] of your maps, such as cortex = [3, 42]"
    )
    parser.add_argument("--cache", metavar="DIR", help="of prepared heads (default: in --out)")
    add_threads(parser)
    add_device(parser)


def add_export(commands: Any) -> None:
    """Add `deskull export`."""
    parser = add_command(
        commands,
        "export",
        "make weights from training runs",
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
        help="the words of the card: licence, population, convention, data",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="SCAN",
        help="compare the runtimes on these too, not on the bundled head alone",
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="of the weights")
