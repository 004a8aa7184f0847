"""`deskull evaluate`: masks and references; `deskull drift`: a cohort and training heads."""

import logging
import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deskull.commands.options import add_command, add_engine
from deskull.commands.terminal import progress
from deskull.errors import InputError, OptionError
from deskull.text_files import TABLES

if TYPE_CHECKING:
    from deskull.evaluate import Pairing, Row, Summary

logger = logging.getLogger("deskull")

NAMES = ("evaluation.tsv", "evaluation.json", "evaluation.html")
ENDINGS = (".tsv", ".json", ".html")
MAX_NAMED = 3
"""Number of files without a partner that are named."""


# --- deskull evaluate


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


def run_evaluate(options: Namespace) -> None:
    """Compare masks with their references, print the summary, and write the outputs."""
    from deskull.evaluate import evaluate, find_swapped, summarise, to_json, to_tsv
    from deskull.evaluate.pages import make_evaluation_page
    from deskull.image.writing import Transaction, save_bytes
    from deskull.picture.page import encode_page

    pairing = _find_pairs(options)
    outputs = _check_outputs(options)
    _warn_of_unpaired(pairing.unpaired)
    if swapped := find_swapped(pairing.pairs):
        logger.warning(swapped)
    with progress(options.quiet) as show:
        rows = evaluate(pairing.pairs, show.counter("pairs"))
    failed = [row for row in rows if row.error]
    if len(failed) == len(rows):
        _raise_first(failed, len(rows))
    summaries = summarise(rows)
    if outputs:
        with progress(options.quiet) as show:
            page = make_evaluation_page(
                rows, summaries, pairing.unpaired, show.counter("pictures")
            )
        contents = (
            to_tsv(rows).encode("utf-8", "surrogateescape"),
            to_json(summaries, rows, pairing.unpaired),
            encode_page(page),
        )
        with Transaction() as transaction:
            for path, content in zip(outputs, contents, strict=True):
                save_bytes(content, path, transaction)
    if not options.quiet:
        print(_describe_summaries(summaries))
    if failed:
        _raise_first(failed, len(rows))


def _describe_summaries(summaries: "Sequence[Summary]") -> str:
    """Describe summaries in lines of text: a table, and the worst scans of each method."""
    head = ("method", "scans", "Dice", "95 % interval", "worst", "IoU", "HD95 mm", "volume ml")
    table = [head]
    for one in summaries:
        values = one.estimates
        overlap = values["dice"]
        table.append(
            (
                one.method,
                str(one.scans - one.failed),
                _digits(overlap.mean, ".4f"),
                f"{_digits(overlap.low, '.4f')} to {_digits(overlap.high, '.4f')}",
                _digits(overlap.worst, ".4f"),
                _digits(values["iou"].mean, ".4f"),
                _digits(values["hd95_mm"].mean, ".2f"),
                _digits(values["difference_ml"].mean, "+.1f"),
            )
        )
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    for one in summaries:
        worst = ", ".join(f"{row.pair.scan} {row.values['dice']:.4f}" for row in one.worst)
        lines.append(f"worst of {one.method}: {worst or 'none'}")
    return "\n".join(lines)


def _digits(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "–"


def _find_pairs(options: Namespace) -> "Pairing":
    """Read the pairs of a table, or pair the files of folders."""
    from deskull.evaluate import pair_folders, read_pairs

    *predictions, last = options.paths
    if not predictions:
        if Path(last).suffix.lower() not in TABLES:
            raise OptionError(
                f"{last}: only one path; expected PREDICTIONS and REFERENCES, or a table of pairs "
                f"that ends in {' or '.join(TABLES)}."
            )
        if options.images:
            raise OptionError("--images with a table; name the scans in its column image.")
        return read_pairs(Path(last))
    images = Path(options.images) if options.images else None
    return pair_folders(_name_methods(predictions), Path(last), images)


def _name_methods(predictions: Sequence[str]) -> dict[str, Path]:
    """Find the path of each method by its name: ``NAME=PATH``, or the name of its folder."""
    methods: dict[str, Path] = {}
    for prediction in predictions:
        name, equals, rest = prediction.partition("=")
        path = Path(prediction)
        if equals and name and rest and not path.exists():
            path = Path(rest).expanduser()
        else:
            name = path.resolve().name
        if name in methods:
            raise OptionError(
                f"{prediction}: a second method named {name}; expected different names. "
                "Write NAME=PATH, such as ours=run1/masks."
            )
        methods[name] = path
    return methods


def _check_outputs(options: Namespace) -> list[Path]:
    """List the paths of the outputs, if any are requested."""
    from deskull.commands.paths import check_usual
    from deskull.image.writing import check_output_path

    if not options.out:
        return []
    folder = Path(options.out)
    if folder.is_file() or options.out.endswith(ENDINGS):
        raise OptionError(f"-o {folder}: names a file; expected a folder for {', '.join(NAMES)}.")
    paths = [folder / name for name in NAMES]
    inputs = [path for path in options.paths if Path(path).is_file()]
    for path in paths:
        check_output_path(path, inputs, ENDINGS)
    check_usual(paths)
    return paths


def _warn_of_unpaired(unpaired: Sequence[str]) -> None:
    for line in unpaired[:MAX_NAMED]:
        logger.warning(line)
    if len(unpaired) > MAX_NAMED:
        logger.warning("... and %d more files without a partner", len(unpaired) - MAX_NAMED)


def _raise_first(failed: "Sequence[Row]", count: int) -> NoReturn:
    """Raise the first error of the pairs that could not be compared."""
    message = failed[0].error
    if len(failed) == count > 1:
        message = f"none of {count} pairs could be compared; the first: {message}"
    elif count > 1:
        message += f" ({len(failed)} of {count} pairs could not be compared; this is the first.)"
    raise InputError(message)


# --- deskull drift


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


def run_drift(options: Namespace) -> None:
    """Report where a cohort differs from the training heads, or store its traits as theirs."""
    from deskull.evaluate import drift
    from deskull.evaluate.pages import make_drift_page
    from deskull.image.writing import check_output_path, save_bytes
    from deskull.measure.likeness import Likeness
    from deskull.network.weights import load_weights
    from deskull.picture.page import encode_page
    from deskull.stripper import Stripper

    if options.out is not None:
        check_output_path(options.out, [], (".html", ".htm"))
        if options.keep is not None:
            raise OptionError(
                "--out with --keep; expected one of them: --keep makes no comparison."
            )
    weights = load_weights(options.weights)
    with progress(options.quiet) as show:
        population = drift.load_population(
            Path(options.source),
            lambda: Stripper.load(options.weights, options.device, options.threads),
            show.counter("scans"),
        )
    for name, error in population.failed:
        logger.warning("left out: %s: %s", name, error)
    if population.weights != {weights.digest}:
        logger.warning(
            "%s: made with other weights than %s: traits of the network's output cannot be "
            "compared",
            options.source,
            weights.name,
        )
    heads = population.heads
    if options.keep is None:
        likeness = weights.card.likeness or Likeness()
        drifts = drift.find_drift(heads, likeness)
        if options.out is not None:
            page = make_drift_page(drifts, population, likeness, weights.name)
            save_bytes(encode_page(page), options.out)
        print("\n".join(drift.describe_drift(drifts, heads, likeness)))
        return
    folder = weights.segment.tensors.parent
    keep = drift.store_training if options.keep == "training" else drift.store_tested
    keep(heads, folder)
    print(f"{folder}: {len(heads)} heads stored in the card as {options.keep}")
