"""Released weights, made better for one population by a handful of corrected masks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from deskull.learn.dataset import Sources, make_plain_examples
from deskull.learn.export import export
from deskull.learn.losses import hard_dice
from deskull.learn.recipe import Recipe, make_recipe
from deskull.learn.runs import load_released
from deskull.learn.training import Limits, train
from deskull.network.unet import UNet
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
    show
        Called with a line about each step.

    Returns
    -------
    tuple
        Mean Dice on the persons kept apart, before and after.
    """
    recipe = make_finetune_recipe(weights)
    start = UNet(recipe.network)
    tensors = load_file(weights.segment.tensors)
    start.load_state_dict(tensors)
    before = mean_dice(start, validation, recipe)
    train(
        sources,
        recipe,
        folder,
        limits=limits or Limits(),
        validation=validation,
        start=start,
        show=show,
    )
    after = mean_dice(load_released(folder)[1], validation, recipe)
    about = {key: weights.card[key] for key in ("licence", "population", "convention", "data")}
    about["data"] = {
        "began_with": {"name": weights.name, "sha256": weights.digest},
        "persons": sources.persons,
        "persons_kept_apart": validation.persons,
    }
    export({"segment": folder}, folder / "weights", about, base=weights)
    return before, after


@torch.no_grad()
def mean_dice(network: UNet, sources: Sources, recipe: Recipe) -> float:
    """Mean Dice of the brain over the heads as they are, in the network's window."""
    network.eval()
    found = [
        hard_dice(network(example.image[None, None]), example.target[None])[0, 0].item()
        for example in make_plain_examples(sources, recipe)
    ]
    return sum(found) / len(found)
