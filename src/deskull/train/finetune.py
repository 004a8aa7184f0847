"""Weights that were trained before: the start of a new run, and fine-tuning for one population.

`load_start` fits released weights, or those of a run, to the network of a recipe. `finetune`
trains released weights on with a handful of corrected masks, and releases the result.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from deskull.errors import InputError, WeightsError
from deskull.image.volume import Volume
from deskull.image.writing import make_folder, save_bytes
from deskull.network.card import CARD
from deskull.network.unet import UNet, load_unet
from deskull.network.weights import Weights, load_weights
from deskull.text_files import make_json, read_json
from deskull.train.checkpoint import LAST
from deskull.train.export import export
from deskull.train.loop import Limits, Start, evaluate, train
from deskull.train.losses import average
from deskull.train.processes import join_processes
from deskull.train.recipe import Recipe, make_recipe
from deskull.train.run_folder import RECIPE, load_released, seeded
from deskull.train.sources import Sources
from deskull.typed_json import to_plain

STEPS = 300
"""Number of steps: with few heads, more steps only overfit."""

LEARNING_RATE = 2e-4
"""A tenth of the learning rate that found the weights."""

FROZEN = ("stem", "enter", "down")
"""The encoder: what an edge looks like is kept, its place may move."""

START = "start.json"
"""File in the folder of a run that identifies the weights that it began with."""

OPTIONAL = "refine."
"""Prefix of tensors that weights need not have: untrained, they change nothing."""


def load_trained(name: str | Path) -> list[tuple[Recipe, UNet]]:
    """Load the networks of a training run or of released weights, with their recipes.

    Parameters
    ----------
    name
        Folder of a training run, name of a bundled set, or folder of released weights.

    Returns
    -------
    list of tuple
        The network that the run would release, or `segment` and `locate` of the weights.

    Raises
    ------
    WeightsError
        If there are no such weights, or damaged ones.
    """
    if (Path(name) / RECIPE).is_file():
        return [load_released(Path(name))[:2]]
    try:
        weights = load_weights(name)
    except WeightsError as error:
        hint = "" if (Path(name) / CARD).is_file() else " Or the folder of a training run."
        raise WeightsError(f"{error}{hint}") from error
    stages = filter(None, (weights.segment, weights.locate))
    return [(_find_recipe(weights, stage.name), load_unet(stage)) for stage in stages]


def _find_recipe(weights: Weights, stage: str) -> Recipe:
    """Read the recipe by which a network of released weights was trained."""
    plain = to_plain(weights.card.stages[stage])
    try:
        return make_recipe({one.name: plain[one.name] for one in fields(Recipe)}, stage)
    except InputError as error:
        raise WeightsError(
            f"{weights.name}: the recipe of {stage!r} in {CARD} is damaged: {error}. "
            "Export the weights again."
        ) from error


def load_start(name: str | Path, recipe: Recipe) -> UNet:
    """Load a network with a recipe's architecture and with weights that were trained before.

    Parameters
    ----------
    name
        Name or folder as for `load_trained`; of two networks the one that fits is taken.
    recipe
        Recipe of the new run; its network may add the layer `refine`.

    Raises
    ------
    WeightsError
        If there are no such weights, or none that fit.
    """
    for _, network in load_trained(name):
        begun = _fit(network, recipe)
        if begun is not None:
            return begun
    wanted = recipe.network
    raise WeightsError(
        f"{name}: no network that fits the recipe, whose outputs are {', '.join(wanted.outputs)}, "
        f"filters {', '.join(map(str, wanted.filters))}, patch {wanted.patch} and norm "
        f"{wanted.norm}. Copy [network] from the recipe of those weights: recipe.json of a "
        "run, or what `deskull weights show --json` prints."
    )


def _fit(network: UNet, recipe: Recipe) -> UNet | None:
    """Copy a network's weights into the recipe's network; None if they do not fit."""
    with seeded(recipe.seed, "cpu"):
        begun = UNet(recipe.network)
    try:
        left = begun.load_state_dict(network.state_dict(), strict=False)
    except RuntimeError:  # of other shapes
        return None
    missing = [key for key in left.missing_keys if not key.startswith(OPTIONAL)]
    return None if missing or left.unexpected_keys else begun


def compute_start_digest(network: UNet) -> str:
    """Compute the SHA-256 of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def settle_start(folder: Path, digest: str, writes: bool = True) -> bool:
    """Record the weights that a new run begins with, or compare them with those of a run.

    Parameters
    ----------
    folder
        Folder of the run.
    digest
        What identifies the weights; empty for random ones.
    writes
        Whether this process writes the record.

    Returns
    -------
    bool
        Whether the run begins, or began, with these weights; a run of an older version, which
        has no record, is believed.

    Raises
    ------
    InputError
        If the record cannot be read.
    """
    path = folder / START
    if (folder / LAST).exists():
        return not path.exists() or read_json(path).get("sha256") == digest
    if writes:
        make_folder(folder)
        save_bytes(make_json({"sha256": digest}), path)
    return True


def make_finetune_recipe(weights: Weights) -> Recipe:
    """Take the recipe that made the weights, with small steps and a frozen encoder."""
    recipe = _find_recipe(weights, "segment")
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
        Weights to start from.
    sources
        Corrected pairs to train on, and label maps if there are any, which keep the network
        from forgetting other contrasts.
    validation
        Heads that are held out, by which the best weights are chosen.
    folder
        Folder of the run, which goes on if it was begun.
    limits
        When this call stops.
    device
        Torch device.
    check
        Heads on which the runtimes are compared, see `export.export`.
    show
        Called with one line of progress per step.

    Returns
    -------
    tuple
        Mean Dice before and after, on the validation heads (scans if there are any) by which
        the weights were chosen. It never falls.

    Raises
    ------
    InputError
        If there are pairs of one participant only, the validation set is empty, or the run
        began with other weights.
    KeyboardInterrupt
        After a stop request; nothing is released then.
    """
    recipe = make_finetune_recipe(weights)
    held_out = validation.for_evaluation
    _check_validation(sources, held_out)
    start = load_unet(weights.segment)
    with join_processes(device) as group:
        if not settle_start(folder, weights.digest, group.is_first):
            raise InputError(
                f"{folder}: begun with other weights than {weights.name}, which would change "
                "nothing. Choose another --out."
            )
        before = average(evaluate(start, held_out, recipe, group.device))[0]
        train(
            sources,
            recipe,
            folder,
            limits=limits or Limits(),
            validation=held_out,
            start=Start(start, teaches=True),
            device=group.device,
            show=show,
        )
        after = average(evaluate(load_released(folder)[1], held_out, recipe, group.device))[0]
        if group.is_first:
            about = _describe_weights(weights, sources, validation)
            export({"segment": folder}, folder / "weights", about, weights, check)
    return before, after


def _check_validation(sources: Sources, held_out: Sources) -> None:
    """Check that there are heads to choose weights by: scans if scans are trained on."""
    if not held_out.participants:
        raise InputError("the validation set is empty; expected at least one participant.")
    if sources.real and not held_out.real:
        raise InputError(
            "pairs of 1 participant; expected at least two: one to train on, and one to validate "
            "on, by whom the best weights are chosen."
        )


def _describe_weights(weights: Weights, sources: Sources, validation: Sources) -> dict[str, Any]:
    """Describe the new weights; the names of the participants stay in the run's folder."""
    card = weights.card
    data = {
        "began_with": {"name": weights.name, "sha256": weights.digest, "data": card.data},
        "participants": len(sources.participants),
        "participants_held_out": len(validation.participants),
    }
    return {
        "licence": card.licence,
        "population": card.population,
        "convention": card.convention,
        "data": data,
    }
