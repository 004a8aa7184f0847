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
from deskull.network.engine import count_threads, find_device
from deskull.network.weights import CARD, load_weights
from deskull.tables import TABLES

if TYPE_CHECKING:
    from deskull.learn.dataset import Sources
    from deskull.learn.parts import Parts
    from deskull.learn.processes import Group
    from deskull.learn.recipe import Recipe
    from deskull.learn.split import SplitPlan

logger = logging.getLogger("deskull")
RUN_TABLES = ("steps.tsv", "validation.tsv", "test.tsv")
"""Written into the folder of a run."""


def index(options: Namespace) -> None:
    """List the heads with masks of a folder, and say what was left out."""
    from deskull.learn.index import make_index, save_index, tell_index
    from deskull.learn.sheets import save_sheets

    folder = Path(os.path.abspath(options.folder))
    out = Path(options.out, "index.tsv") if is_folder(options.out) else Path(options.out)
    check_output_path(out, [folder], TABLES)
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
        raise InputError(f"{folder}: nothing left to learn from; see what was left out.")
    save_index(table, out)
    if options.pictures:
        with progress(options.quiet) as show:
            save_sheets(
                table, options.pictures, lambda done, count: show.count(done, count, "pictures")
            )
    logger.warning("%s: %s", out, tell_index(table, findings))


def train(options: Namespace) -> None:
    """Train a network from labelled heads."""
    from deskull.learn.processes import join_processes
    from deskull.learn.recipe import load_recipe
    from deskull.learn.runs import begin_board
    from deskull.learn.split import SplitPlan
    from deskull.learn.start import load_start
    from deskull.learn.training import Limits, Start, check_batch
    from deskull.learn.training import train as run

    recipe, out = load_recipe(options.recipe), Path(options.out)
    _check_run(options)
    start = Start(load_start(options.start, recipe)) if options.start else None
    limits, device = Limits(options.steps, options.minutes), find_device(options.device)
    plan = SplitPlan(options.validation, options.test, options.folds, options.fold)
    with join_processes(device) as group, _progress(options, group) as show:
        check_batch(recipe, group.count)
        parts = _load_parts(options, recipe, plan, group, show)
        if options.tensorboard and group.is_first:
            begin_board(out)
        run(
            parts.train,
            recipe,
            out,
            limits=limits,
            validation=parts.validation,
            start=start,
            device=group.device,
            show=show,
        )
        if group.is_first:
            _tell_where(out, recipe)
            _test(out, parts.test, group.device)


def finetune(options: Namespace) -> None:
    """Make released weights better for one population."""
    from deskull.learn.finetune import finetune as run
    from deskull.learn.finetune import make_finetune_recipe
    from deskull.learn.processes import join_processes
    from deskull.learn.split import SplitPlan
    from deskull.learn.training import Limits

    weights, out = load_weights(options.weights), Path(options.out)
    _check_run(options)
    if not 0 < options.validation < 1:
        raise OptionError(
            f"--validation {options.validation:g}; expected a share above 0 and below 1, such as "
            "0.2: the persons by whom the weights are chosen."
        )
    limits, device = Limits(options.steps, options.minutes), find_device(options.device)
    plan = SplitPlan(options.validation)
    with join_processes(device) as group, _progress(options, group) as show:
        parts = _load_parts(options, make_finetune_recipe(weights), plan, group, show)
        before, after = run(
            weights,
            parts.train,
            parts.validation,
            out,
            limits=limits,
            device=group.device,
            check=[load_demo()[0]],
            show=show,
        )
    if not group.is_first:
        return
    count = len(parts.validation.judges.persons)
    print(f"Dice on {count} persons kept apart: {before:.4f} before, {after:.4f} after")
    print("The weights were chosen by these persons: on others expect a little less.")
    print(f"Strip with it: deskull SCAN --weights {out / 'weights'}")


def _check_run(options: Namespace) -> None:
    """Refuse a folder of a run whose tables would replace a source."""
    for source in options.sources:
        for name in RUN_TABLES:
            check_output_path(Path(options.out, name), [source], TABLES)


@contextmanager
def _progress(options: Namespace, group: "Group") -> Iterator[Callable[[str], None]]:
    """Let the first process alone say how it goes on."""
    if not group.is_first:
        logger.setLevel(logging.ERROR)
    with progress(options.quiet or not group.is_first) as show:
        yield show


def _load_parts(
    options: Namespace,
    recipe: "Recipe",
    plan: "SplitPlan",
    group: "Group",
    show: Callable[[str], None],
) -> "Parts":
    """Load the heads to learn from and those kept apart, and note who is who."""
    import torch

    from deskull.learn.dataset import load_sources
    from deskull.learn.labels import load_label_table
    from deskull.learn.parts import settle_parts
    from deskull.learn.runs import check_begun

    torch.set_num_threads(options.threads or count_threads())
    out, paths = Path(options.out), [Path(source) for source in options.sources]
    check_begun(out, recipe)
    table = load_label_table(options.label_table) if options.label_table else None
    cache = Path(options.cache or out / "cache")
    make_folder(out)
    with group.first():
        sources = load_sources(paths, recipe, cache, table, show)
    return settle_parts(out, sources, plan, recipe.seed, group.is_first)


def _tell_where(out: Path, recipe: "Recipe") -> None:
    """Say how well the best weights did on the persons kept apart, and where they are."""
    import pandas as pd

    from deskull.learn.runs import find_best

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
        logger.warning("no persons were looked at yet: the last weights are unjudged")
    logger.warning("go on: the same command; release: deskull export %s --about card.json", out)


def _test(out: Path, sources: "Sources", device: str) -> None:
    """Judge the run's weights by persons who neither taught nor chose them."""
    import pandas as pd

    from deskull.image.writing import save_bytes
    from deskull.learn.judging import judge, means
    from deskull.learn.runs import load_released

    if not sources.persons:
        return
    recipe, network, step = load_released(out)
    verdicts = judge(network, sources.judges, recipe, device)
    table = pd.DataFrame(verdicts).to_csv(sep="\t", index=False, float_format="%.4f")
    save_bytes(table.encode(), out / "test.tsv")
    logger.warning(
        "weights of step %d on %d test heads: Dice %.4f, IoU %.4f; see %s",
        step,
        len(verdicts),
        *means(verdicts),
        out / "test.tsv",
    )


def export(options: Namespace) -> None:
    """Make weights that can be released from training runs."""
    from deskull.learn.export import check_about
    from deskull.learn.export import export as run

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
