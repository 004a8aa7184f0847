"""One function per command that learns: what was parsed goes in, the library does the work."""

import json
import logging
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull.commands import SUFFIXES, progress
from deskull.errors import InputError
from deskull.image.writing import check_output_path
from deskull.network.engine import count_threads, find_device
from deskull.network.weights import load_weights

if TYPE_CHECKING:
    from deskull.learn.dataset import Sources
    from deskull.learn.recipe import Recipe

logger = logging.getLogger("deskull")


def index(options: Namespace) -> None:
    """List the heads with masks of a folder, and say what was left out."""
    from deskull.learn.index import SEPARATORS, make_index, save_index, tell_index
    from deskull.learn.sheets import save_sheets

    folder, out = Path(os.path.abspath(options.folder)), Path(options.out)
    check_output_path(out, [folder], tuple(SEPARATORS))
    if options.pictures:
        check_output_path(options.pictures, [folder], SUFFIXES["picture"])
    with progress(options.quiet) as show:
        table, findings = make_index(
            folder,
            options.pattern,
            options.mask_pattern,
            lambda done, count: show(f"looking at {done}/{count}"),
        )
    for finding in findings:
        where = finding.where
        where = where.relative_to(folder) if where.is_relative_to(folder) else where
        logger.warning("left out: %s: %s: %s", where, finding.what, finding.why)
    if table.empty:
        raise InputError(f"{folder}: nothing left to learn from; see what was left out.")
    save_index(table, out)
    if options.pictures:
        with progress(options.quiet) as show:
            save_sheets(
                table, options.pictures, lambda done, count: show(f"drawing {done}/{count}")
            )
    logger.warning("%s: %s", out, tell_index(table, findings))


def train(options: Namespace) -> None:
    """Train a network from labelled heads."""
    from deskull.learn.recipe import load_recipe
    from deskull.learn.training import Limits, check_batch
    from deskull.learn.training import train as run

    recipe, out = load_recipe(options.recipe), Path(options.out)
    check_batch(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    with progress(options.quiet) as show:
        learnt, kept_apart = _load_parts(options, recipe, show)
        run(
            learnt,
            recipe,
            out,
            limits=Limits(options.steps, options.minutes),
            validation=kept_apart,
            device=find_device(options.device),
            show=show,
        )
    _tell_where(out)


def finetune(options: Namespace) -> None:
    """Make released weights better for one population."""
    from deskull.learn.finetune import finetune as run
    from deskull.learn.finetune import make_finetune_recipe
    from deskull.learn.training import Limits

    weights, out = load_weights(options.weights), Path(options.out)
    with progress(options.quiet) as show:
        learnt, kept_apart = _load_parts(options, make_finetune_recipe(weights), show)
        limits = Limits(options.steps, options.minutes)
        before, after = run(weights, learnt, kept_apart, out, limits=limits, show=show)
    count = len(kept_apart.persons)
    print(f"Dice on {count} persons kept apart: {before:.4f} before, {after:.4f} after")
    print(f"Strip with it: deskull SCAN --weights {out / 'weights'}")


def _load_parts(
    options: Namespace, recipe: "Recipe", show: Callable[[str], None]
) -> tuple["Sources", "Sources"]:
    """Load the heads to learn from and those kept apart, and note who is who."""
    import torch

    from deskull.learn.dataset import load_sources, split_sources
    from deskull.learn.labels import load_label_table

    torch.set_num_threads(options.threads or count_threads())
    out, paths = Path(options.out), [Path(source) for source in options.sources]
    table = load_label_table(options.label_table) if options.label_table else None
    sources = load_sources(paths, recipe, Path(options.cache or out / "cache"), table, show)
    learnt, kept_apart = split_sources(sources, options.validation, recipe.seed)
    _note_split(out, learnt.persons, kept_apart.persons)
    return learnt, kept_apart


def _note_split(out: Path, train: list[str], validation: list[str]) -> None:
    """Write who learnt and who was kept apart; say how many."""
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {"train": train, "validation": validation}
    (out / "split.json").write_text(json.dumps(parts, indent=1) + "\n", "utf-8")
    logger.warning("%d persons to learn from, %d kept apart", len(train), len(validation))


def _tell_where(out: Path) -> None:
    """Say how well the best weights did on the persons kept apart, and where they are."""
    import pandas as pd

    path = out / "validation.tsv"
    if path.exists():
        table = pd.read_csv(path, sep="\t")
        best = table.iloc[int(table["loss"].argmin())]
        logger.warning(
            "best at step %d: validation Dice %.4f, IoU %.4f; see %s",
            best["step"],
            best["dice"],
            best["iou"],
            out / "curves.png",
        )


def export(options: Namespace) -> None:
    """Make weights that can be released from training runs."""
    from deskull.learn.export import export as run

    try:
        about = json.loads(Path(options.about).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{options.about}: not a readable JSON file ({error}).") from error
    runs = {"segment": Path(options.segment)}
    if options.locate:
        runs["locate"] = Path(options.locate)
    print(run(runs, Path(options.out), about))
