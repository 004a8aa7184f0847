"""`deskull index`, `train`, `finetune` and `export`: from labelled heads to weights."""

import json
import logging
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deskull.commands.paths import is_folder
from deskull.commands.terminal import progress
from deskull.demo import load_demo
from deskull.errors import InputError, OptionError
from deskull.image.volume import load_volume
from deskull.image.writing import check_output_path, make_folder
from deskull.network.card import CARD
from deskull.network.engine import count_threads, find_device
from deskull.network.weights import load_weights
from deskull.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from deskull.train.data import Sources
    from deskull.train.processes import Group
    from deskull.train.recipe import Recipe
    from deskull.train.split import Split, SplitPlan

logger = logging.getLogger("deskull")
RUN_TABLES = ("steps.tsv", "validation.tsv", "test.tsv")
"""Written into the folder of a run."""


def index(options: Namespace) -> None:
    """List the heads with masks of a folder, and report what was left out."""
    from deskull.train.checking import save_sheets
    from deskull.train.index import describe_index, fix_parts, make_index, save_index

    folder = Path(os.path.abspath(options.folder))
    out = Path(options.out, "index.tsv") if is_folder(options.out) else Path(options.out)
    check_output_path(out, [folder, *([options.split] if options.split else [])], TABLES)
    if options.pictures:
        check_output_path(options.pictures, [folder], (".png",))
    with progress(options.quiet) as show:
        table, findings = make_index(
            folder,
            options.pattern,
            options.mask_pattern,
            lambda done, count: show.count(done, count, "heads"),
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
            save_sheets(
                table, options.pictures, lambda done, count: show.count(done, count, "pictures")
            )
    logger.warning("%s: %s", out, describe_index(table, findings))


def _measure_border(table: "pd.DataFrame", options: Namespace) -> "pd.DataFrame":
    """Measure the border of the data set, say what it is, and write it into the table."""
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


def train(options: Namespace) -> None:
    """Train a network from labelled heads."""
    from deskull.train.finetune import load_start
    from deskull.train.loop import Limits, Start
    from deskull.train.loop import train as run
    from deskull.train.processes import join_processes
    from deskull.train.recipe import load_recipe
    from deskull.train.run_folder import enable_tensorboard
    from deskull.train.split import SplitPlan

    recipe, out = load_recipe(options.recipe), Path(options.out)
    _check_run(options)
    start = Start(load_start(options.start, recipe)) if options.start else None
    limits, device = Limits(options.steps, options.minutes), find_device(options.device)
    plan = SplitPlan(options.validation, options.test, options.folds, options.fold)
    with join_processes(device) as group, _progress(options, group) as show:
        group.check_batch(recipe.training.batch)
        split = _load_split(options, recipe, plan, group, show)
        if options.tensorboard and group.is_first:
            enable_tensorboard(out)
        run(
            split.train,
            recipe,
            out,
            limits=limits,
            validation=split.validation,
            start=start,
            device=group.device,
            show=show,
        )
        if group.is_first:
            _report_run(out, recipe)
            _test(out, split.test, group.device)


def finetune(options: Namespace) -> None:
    """Adapt released weights to one population."""
    from deskull.train.finetune import finetune as run
    from deskull.train.finetune import make_finetune_recipe
    from deskull.train.loop import Limits
    from deskull.train.processes import join_processes
    from deskull.train.split import SplitPlan

    weights, out = load_weights(options.weights), Path(options.out)
    _check_run(options)
    if not 0 < options.validation < 1:
        raise OptionError(
            f"--validation {options.validation:g}; expected a share above 0 and below 1, such as "
            "0.2, of the participants: they are held out to choose the weights by."
        )
    limits, device = Limits(options.steps, options.minutes), find_device(options.device)
    plan = SplitPlan(options.validation)
    with join_processes(device) as group, _progress(options, group) as show:
        split = _load_split(options, make_finetune_recipe(weights), plan, group, show)
        before, after = run(
            weights,
            split.train,
            split.validation,
            out,
            limits=limits,
            device=group.device,
            check=[load_demo()[0]],
            show=show,
        )
        if not group.is_first:
            return
        _test(out, split.test, group.device)
    count = len(split.validation.for_evaluation.participants)
    print(f"Dice on {count} validation participants: {before:.4f} before, {after:.4f} after")
    print("The weights were chosen by these participants: on others expect a little less.")
    print(f"Strip with them: deskull SCAN --weights {out / 'weights'}")


def _check_run(options: Namespace) -> None:
    """Refuse a folder of a run whose tables would replace a source."""
    for source in options.sources:
        for name in RUN_TABLES:
            check_output_path(Path(options.out, name), [source], TABLES)


@contextmanager
def _progress(options: Namespace, group: "Group") -> Iterator[Callable[[str], None]]:
    """Let the first process alone show messages and progress."""
    if not group.is_first:
        logger.setLevel(logging.ERROR)
    with progress(options.quiet or not group.is_first) as show:
        yield show


def _load_split(
    options: Namespace,
    recipe: "Recipe",
    plan: "SplitPlan",
    group: "Group",
    show: Callable[[str], None],
) -> "Split":
    """Load the heads, and split their participants."""
    import torch

    from deskull.train.data import load_sources
    from deskull.train.labels import load_label_table
    from deskull.train.run_folder import check_same_recipe
    from deskull.train.split import settle_split

    torch.set_num_threads(options.threads or count_threads())
    out, paths = Path(options.out), [Path(source) for source in options.sources]
    check_same_recipe(out, recipe)
    table = load_label_table(options.label_table) if options.label_table else None
    cache = Path(options.cache or out / "cache")
    make_folder(out)
    with group.first():
        sources = load_sources(paths, recipe, cache, table, show)
    return settle_split(out, sources, plan, recipe.seed, group.is_first)


def _report_run(out: Path, recipe: "Recipe") -> None:
    """Report the best validation, and how to go on."""
    import pandas as pd

    from deskull.train.run_folder import find_best

    path = out / "validation.tsv"
    best = find_best(pd.read_csv(path, sep="\t"), recipe) if path.exists() else None
    if best is not None:
        logger.warning(
            "best at step %d: validation Dice %.4f, IoU %.4f; see %s",
            best["step"],
            best["dice"],
            best["iou"],
            out / "curves.png",
        )
    else:
        logger.warning("no validation yet: the last weights are what is released")
    logger.warning("go on: the same command; release: deskull export %s --about card.json", out)


def _test(out: Path, sources: "Sources", device: str) -> None:
    """Measure the run's weights on the test participants, who took no part in training."""
    import pandas as pd

    from deskull.image.writing import save_bytes
    from deskull.train.loop import evaluate
    from deskull.train.losses import average
    from deskull.train.run_folder import load_released

    if not sources.participants:
        return
    recipe, network, step = load_released(out)
    overlaps = evaluate(network, sources.for_evaluation, recipe, device)
    table = pd.DataFrame(overlaps).to_csv(sep="\t", index=False, float_format="%.4f")
    save_bytes(table.encode(), out / "test.tsv")
    logger.warning(
        "weights of step %d on %d test heads: Dice %.4f, IoU %.4f; see %s",
        step,
        len(overlaps),
        *average(overlaps),
        out / "test.tsv",
    )


def export(options: Namespace) -> None:
    """Make weights that can be released from training runs."""
    from deskull.train.export import check_about
    from deskull.train.export import export as run

    check_output_path(Path(options.out, CARD), [options.about], (".json",))
    try:
        about = json.loads(Path(options.about).read_text("utf-8"))
        check_about(about)
    except InputError as error:
        raise InputError(f"{options.about}: {error}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{options.about}: not a readable JSON file ({error}).") from error
    runs = {"segment": Path(options.segment)}
    if options.locate:
        runs["locate"] = Path(options.locate)
    heads = [load_demo()[0], *(load_volume(scan) for scan in options.check)]
    print(run(runs, Path(options.out), about, check=heads))
