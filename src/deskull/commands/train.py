"""`deskull pack`, `train`, `finetune` and `export`: from labelled heads to weights."""

import argparse
import json
import logging
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull.commands.options import add_command, add_device, add_threads, add_weights
from deskull.commands.terminal import progress
from deskull.errors import InputError, OptionError
from deskull.text_files import TABLES

if TYPE_CHECKING:
    from deskull.train.loop import Limits
    from deskull.train.processes import Group
    from deskull.train.recipe import Recipe
    from deskull.train.sources import Sources
    from deskull.train.split import Split, SplitPlan

logger = logging.getLogger("deskull")
RUN_TABLES = ("steps.tsv", "validation.tsv", "test.tsv")
"""Tables that are written into the folder of a run."""


def add_pack(commands: Any) -> None:
    """Add `deskull pack`."""
    parser = add_command(
        commands,
        "pack",
        "put prepared heads into one small file, to train on them elsewhere",
        "deskull pack label_maps/ index.tsv -o heads.npz",
    )
    _add_sources(parser)
    parser.add_argument(
        "-o", "--out", required=True, metavar="NPZ", help="path of the pack, such as heads.npz"
    )
    _add_recipe(parser)


def run_pack(options: Namespace) -> None:
    """Prepare heads for a recipe, and write them into one file."""
    from deskull.image.writing import check_output_path
    from deskull.train.data import load_sources
    from deskull.train.labels import load_label_table
    from deskull.train.pack import PACK, save_pack
    from deskull.train.recipe import load_recipe

    out, recipe = Path(options.out), load_recipe(options.recipe)
    check_output_path(out, options.sources, (PACK,))
    table = load_label_table(options.label_table) if options.label_table else None
    with progress(options.quiet) as show:
        paths = [Path(source) for source in options.sources]
        sources = load_sources(paths, recipe, options.cache and Path(options.cache), table, show)
        save_pack(sources, recipe, out)
    labelled, pairs = len(sources.labelled), len(sources.real)
    size = out.stat().st_size / 1e6
    print(
        f"{out}: {labelled} label maps and {pairs} pairs of {len(sources.participants)} "
        f"participants, {size:.1f} MB"
    )


def add_train(commands: Any) -> None:
    """Add `deskull train`."""
    parser = add_command(
        commands,
        "train",
        "train a network on label maps and pairs",
        "deskull train label_maps/ index.tsv --recipe segment -o runs/mine --minutes 60",
    )
    _add_recipe(parser)
    parser.add_argument(
        "--start",
        metavar="WEIGHTS|RUN",
        help="weights that a new run starts from, such as default (default: random weights)",
    )
    _add_run(parser)
    parser.add_argument(
        "--test",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the participants held out for the test",
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


def run_train(options: Namespace) -> None:
    """Train a network from labelled heads."""
    from deskull.network.engine import find_device
    from deskull.train.finetune import compute_start_digest, load_start, settle_start
    from deskull.train.loop import Limits, Start, train
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
        split = _load_split(options, recipe, plan, limits, group, show)
        digest = compute_start_digest(start.network) if start else ""
        if not settle_start(out, digest, group.is_first) and start:
            logger.warning(
                "%s: the run goes on with its own weights; it did not begin with those of "
                "--start %s, which change nothing",
                *(out, options.start),
            )
        if options.tensorboard and group.is_first:
            enable_tensorboard(out)
        train(
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
            _test_run(out, split.test, group.device)


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


def run_finetune(options: Namespace) -> None:
    """Adapt released weights to one population."""
    from deskull.demo import load_demo
    from deskull.network.engine import find_device
    from deskull.network.weights import load_weights
    from deskull.train.finetune import finetune, make_finetune_recipe
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
        split = _load_split(options, make_finetune_recipe(weights), plan, limits, group, show)
        before, after = finetune(
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
        _test_run(out, split.test, group.device)
    count = len(split.validation.for_evaluation.participants)
    print(f"Dice on {count} validation participants: {before:.4f} before, {after:.4f} after")
    print("The weights were chosen by these participants: on others expect a little less.")
    print(f"Strip with them: deskull SCAN --weights {out / 'weights'}")


# --- what training and fine-tuning share


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        default="segment",
        metavar="NAME|TOML",
        help="segment, locate, article, or a TOML file (default: segment)",
    )


def _add_sources(parser: argparse.ArgumentParser, cache: str = "none") -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="index or table of pairs, folder of label maps, or pack",
    )
    parser.add_argument(
        "--label-table",
        metavar="TOML",
        help="[labels] of the label maps, such as cortex = [3, 42]",
    )
    parser.add_argument(
        "--cache", metavar="DIR", help=f"folder of prepared heads (default: {cache})"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_sources(parser, cache="--out/cache")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the run; an existing run is continued",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="number of steps, counted from the first of the run"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="time limit of this call in minutes"
    )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the participants held out to choose the weights by (default: 0.2)",
    )
    add_threads(parser)
    add_device(parser)


def _check_run(options: Namespace) -> None:
    """Refuse a folder of a run whose tables would replace a source."""
    from deskull.image.writing import check_output_path

    for source in options.sources:
        for name in RUN_TABLES:
            check_output_path(Path(options.out, name), [source], TABLES)


@contextmanager
def _progress(options: Namespace, group: "Group") -> Iterator[Callable[[str], None]]:
    """Show messages and progress in the first process only."""
    if not group.is_first:
        logger.setLevel(logging.ERROR)
    with progress(options.quiet or not group.is_first) as show:
        yield show


def _load_split(
    options: Namespace,
    recipe: "Recipe",
    plan: "SplitPlan",
    limits: "Limits",
    group: "Group",
    show: Callable[[str], None],
) -> "Split":
    """Load the heads, and split their participants."""
    import torch

    from deskull.image.writing import make_folder
    from deskull.network.engine import count_threads
    from deskull.train.data import load_sources
    from deskull.train.labels import load_label_table
    from deskull.train.run_folder import check_same_recipe, find_complete
    from deskull.train.split import settle_split

    torch.set_num_threads(options.threads or count_threads())
    out, paths = Path(options.out), [Path(source) for source in options.sources]
    check_same_recipe(out, recipe)
    table = load_label_table(options.label_table) if options.label_table else None
    cache = Path(options.cache or out / "cache")
    make_folder(out)
    with group.first():
        sources = load_sources(paths, recipe, cache, table, show)
    complete_at = find_complete(out, limits.find_last_step(recipe))
    return settle_split(out, sources, plan, recipe.seed, group.is_first, complete_at)


def _report_run(out: Path, recipe: "Recipe") -> None:
    """Report the best validation, and the commands to run next."""
    from deskull.train.run_folder import find_kept

    best = find_kept(out, recipe)
    if best is not None:
        logger.warning(
            "best at step %d: validation Dice %.4f, IoU %.4f; see %s",
            best["step"],
            best["dice"],
            best["iou"],
            out / "curves.png",
        )
    else:
        logger.warning("no best weights yet: the last weights are those to release")
    logger.warning(
        "continue: the same command; release: deskull export %s --about about.json", out
    )


def _test_run(out: Path, sources: "Sources", device: str) -> None:
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


# --- deskull export


def add_export(commands: Any) -> None:
    """Add `deskull export`."""
    parser = add_command(
        commands,
        "export",
        "make weights that can be released from training runs",
        "deskull export runs/mine --locate runs/locate --about about.json -o my_weights",
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


def run_export(options: Namespace) -> None:
    """Make weights that can be released from training runs."""
    from deskull.demo import load_demo
    from deskull.image.volume import load_volume
    from deskull.image.writing import check_output_path
    from deskull.network.card import CARD
    from deskull.train.export import check_about, export

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
    print(export(runs, Path(options.out), about, check=heads))
