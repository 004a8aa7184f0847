"""Released weights, made better for one population by a handful of corrected masks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deskull.errors import InputError
from deskull.image.volume import Volume
from deskull.learn.dataset import Sources
from deskull.learn.export import export
from deskull.learn.judging import judge, means
from deskull.learn.processes import join_processes
from deskull.learn.recipe import Recipe, make_recipe
from deskull.learn.runs import load_released
from deskull.learn.training import Limits, Start, train
from deskull.network.unet import load_unet
from deskull.network.weights import Weights

STEPS = 300  # of few heads; more only learns them by heart
LEARNING_RATE = 2e-4  # a tenth of what found the weights
FROZEN = ("stem", "enter", "down")  # what an edge looks like stays known; where it lies may move


def make_finetune_recipe(weights: Weights) -> Recipe:
    """Take the recipe that the weights were made by, with small steps and a frozen way down."""
    recipe = make_recipe(dict(weights.card["stages"]["segment"]), "segment")
    training = replace(
        recipe.training,
        horizon=STEPS,
        learning_rate=LEARNING_RATE,
        schedule="cosine",
        warmup=20,
        ema=0.99 if recipe.training.ema else 0.0,
        real_share=0.7,
        validate_every=25,
        best="dice",
        frozen=FROZEN,
    )
    return replace(recipe, name=f"{recipe.name}, finetuned", training=training)


def finetune(
    weights: Weights,
    sources: Sources,
    validation: Sources,
    folder: Path,
    *,
    limits: Limits | None = None,
    device: str = "cpu",
    check: Sequence[Volume] = (),
    show: Callable[[str], None] = lambda line: None,
) -> tuple[float, float]:
    """Train released weights on, and release the result into ``folder / "weights"``.

    Parameters
    ----------
    weights
        Where to begin.
    sources
        Corrected pairs, and label maps if there are any: they keep the network from
        forgetting other contrasts.
    validation
        Persons kept apart, by whom the best weights are chosen.
    folder
        Of the run; goes on there.
    limits
        When to stop.
    device
        A torch device.
    check
        Heads on which the runtimes are compared, see `export`.
    show
        Called with a line about each step.

    Returns
    -------
    tuple
        Mean Dice before and after on the persons kept apart, by whom the weights were chosen:
        on scans where there are any. It never falls.

    Raises
    ------
    InputError
        If there are pairs of one person only, or nobody is kept apart.
    KeyboardInterrupt
        If interrupted; nothing is released then.
    """
    recipe = make_finetune_recipe(weights)
    judges = validation.judges
    _check_persons(sources, judges)
    start = load_unet(weights.segment)
    with join_processes(device) as group:
        before = means(judge(start, judges, recipe, group.device))[0]
        train(
            sources,
            recipe,
            folder,
            limits=limits or Limits(),
            validation=judges,
            start=Start(start, teaches=True),
            device=group.device,
            show=show,
        )
        after = means(judge(load_released(folder)[1], judges, recipe, group.device))[0]
        if group.is_first:
            about = _tell_about(weights, sources, validation)
            export({"segment": folder}, folder / "weights", about, weights, check)
    return before, after


def _check_persons(sources: Sources, judges: Sources) -> None:
    """Refuse to choose weights by nobody, or for scans by painted heads."""
    if not judges.persons:
        raise InputError("nobody is kept apart to choose the weights by; expected one at least.")
    if sources.real and not judges.real:
        raise InputError(
            "pairs of 1 person; expected those of two at least: one to learn from, and one kept "
            "apart to choose the weights by."
        )


def _tell_about(weights: Weights, sources: Sources, validation: Sources) -> dict[str, Any]:
    """Words of the new card; who the persons are stays in the run's folder."""
    about = {key: weights.card[key] for key in ("licence", "population", "convention")}
    began = {"name": weights.name, "sha256": weights.digest, "data": weights.card.get("data")}
    about["data"] = {
        "began_with": began,
        "persons": len(sources.persons),
        "persons_kept_apart": len(validation.persons),
    }
    return about
