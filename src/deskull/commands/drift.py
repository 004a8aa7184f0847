"""`deskull drift`: a cohort compared with the training heads of the weights."""

import logging
from argparse import Namespace
from pathlib import Path

from deskull.commands.terminal import progress
from deskull.errors import OptionError
from deskull.evaluate.drift import (
    describe_drift,
    find_drift,
    load_population,
    store_tested,
    store_training,
)
from deskull.evaluate.pages import make_drift_page
from deskull.image.writing import check_output_path, save_bytes
from deskull.measure.likeness import Likeness
from deskull.network.weights import load_weights
from deskull.picture.page import encode_page
from deskull.stripper import Stripper

logger = logging.getLogger("deskull")

STORES = {"training": store_training, "tested": store_tested}


def drift(options: Namespace) -> None:
    """Report where a cohort differs from the training heads, or store its traits as theirs."""
    if options.out is not None:
        check_output_path(options.out, [], (".html", ".htm"))
        if options.keep is not None:
            raise OptionError(
                "--out with --keep; expected one of them: --keep makes no comparison."
            )
    weights = load_weights(options.weights)
    with progress(options.quiet) as show:
        population = load_population(
            Path(options.source),
            lambda: Stripper.load(options.weights, options.device, options.threads),
            lambda done, count: show.count(done, count, "scans"),
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
        drifts = find_drift(heads, likeness)
        if options.out is not None:
            page = make_drift_page(drifts, population, likeness, weights.name)
            save_bytes(encode_page(page), options.out)
        print("\n".join(describe_drift(drifts, heads, likeness)))
        return
    folder = weights.segment.tensors.parent
    STORES[options.keep](heads, folder)
    print(f"{folder}: {len(heads)} heads stored in the card as {options.keep}")
