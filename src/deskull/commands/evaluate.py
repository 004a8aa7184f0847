"""`deskull evaluate`: masks against references."""

import logging
import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from deskull.commands.paths import check_usual
from deskull.commands.terminal import progress
from deskull.errors import InputError, OptionError
from deskull.evaluate import (
    Pairing,
    Row,
    Summary,
    find_swapped,
    pair_folders,
    read_pairs,
    summarise,
    to_json,
    to_tsv,
)
from deskull.evaluate import evaluate as run
from deskull.evaluate.pages import make_evaluation_page
from deskull.image.writing import Batch, check_output_path, save_bytes
from deskull.picture.page import encode_page
from deskull.tables import TABLES

logger = logging.getLogger("deskull")

NAMES = ("evaluation.tsv", "evaluation.json", "evaluation.html")
ENDINGS = (".tsv", ".json", ".html")
MAX_NAMED = 3
"""Number of files without a partner that are named."""


def evaluate(options: Namespace) -> None:
    """Compare masks with their references, print the summary, and write the outputs."""
    pairing = _find_pairs(options)
    outputs = _check_outputs(options)
    _tell_unpaired(pairing.unpaired)
    if swapped := find_swapped(pairing.pairs):
        logger.warning(swapped)
    with progress(options.quiet) as show:
        rows = run(pairing.pairs, lambda done, count: show.count(done, count, "pairs"))
    failed = [row for row in rows if row.error]
    if len(failed) == len(rows):
        _refuse(failed, len(rows))
    summaries = summarise(rows)
    if outputs:
        with progress(options.quiet) as show:
            page = make_evaluation_page(
                rows,
                summaries,
                pairing.unpaired,
                lambda done, count: show.count(done, count, "pictures"),
            )
        contents = (
            to_tsv(rows).encode("utf-8", "surrogateescape"),
            to_json(summaries, rows, pairing.unpaired),
            encode_page(page),
        )
        with Batch() as batch:
            for path, content in zip(outputs, contents, strict=True):
                save_bytes(content, path, batch)
    if not options.quiet:
        print(tell_summary(summaries))
    if failed:
        _refuse(failed, len(rows))


def tell_summary(summaries: Sequence[Summary]) -> str:
    """Summary as lines of text: a table, and the worst scans of each method."""
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


def _find_pairs(options: Namespace) -> Pairing:
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


def _name_methods(words: Sequence[str]) -> dict[str, Path]:
    """Path of each method by its name: ``NAME=PATH``, or the name of its folder."""
    methods: dict[str, Path] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        path = Path(word)
        if equals and name and rest and not path.exists():
            path = Path(rest).expanduser()
        else:
            name = path.resolve().name
        if name in methods:
            raise OptionError(
                f"{word}: a second method named {name}; expected different names. "
                "Write NAME=PATH, such as ours=run1/masks."
            )
        methods[name] = path
    return methods


def _check_outputs(options: Namespace) -> list[Path]:
    """Paths of the outputs, if any are wanted."""
    if not options.out:
        return []
    folder = Path(options.out)
    if folder.is_file() or options.out.endswith(ENDINGS):
        raise OptionError(f"-o {folder}: names a file; expected a folder for {', '.join(NAMES)}.")
    paths = [folder / name for name in NAMES]
    for path in paths:
        check_output_path(path, [word for word in options.paths if Path(word).is_file()], ENDINGS)
    check_usual(paths)
    return paths


def _tell_unpaired(unpaired: Sequence[str]) -> None:
    for line in unpaired[:MAX_NAMED]:
        logger.warning(line)
    if len(unpaired) > MAX_NAMED:
        logger.warning("... and %d more files without a partner", len(unpaired) - MAX_NAMED)


def _refuse(failed: Sequence[Row], count: int) -> NoReturn:
    """Raise the first error of some pairs, or of all there are."""
    message = failed[0].error
    if len(failed) == count > 1:
        message = f"none of {count} pairs could be compared; the first: {message}"
    elif count > 1:
        message += f" ({len(failed)} of {count} pairs could not be compared; this is the first.)"
    raise InputError(message)
