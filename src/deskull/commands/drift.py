"""`deskull drift`: a cohort against the heads that the weights learned from."""

import logging
from argparse import Namespace
from pathlib import Path

from deskull.assess.drift import find_drift, keep_tested, keep_training, tell_drift
from deskull.assess.population import load_population
from deskull.commands.terminal import progress
from deskull.network.weights import load_weights
from deskull.stripper import Stripper

logger = logging.getLogger("deskull")

KEEPERS = {"training": keep_training, "tested": keep_tested}


def drift(options: Namespace) -> None:
    """Say where a cohort differs from the training heads, or keep it as those."""
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
            "%s: made with other weights than %s: what the network doubts cannot be compared",
            options.source,
            weights.name,
        )
    heads = population.heads
    if options.keep is None:
        print("\n".join(tell_drift(find_drift(heads, weights.card), heads, weights.card)))
        return
    folder = weights.segment.tensors.parent
    KEEPERS[options.keep](heads, folder)
    print(f"{folder}: its card now knows {len(heads)} heads as {options.keep}")
