"""Networks trained before, released or of a run, and a new run that begins with one."""

from pathlib import Path

from deskull.errors import WeightsError
from deskull.learn.processes import seeded
from deskull.learn.recipe import Recipe, make_recipe
from deskull.learn.runs import RECIPE, load_released
from deskull.network.unet import UNet, load_unet
from deskull.network.weights import CARD, load_weights

GROWS = "refine."
"""What a recipe may have and the weights need not: it begins as a change of nothing."""


def load_trained(name: str | Path) -> list[tuple[Recipe, UNet]]:
    """Load the networks of a training run or of released weights, and the recipes they came from.

    Parameters
    ----------
    name
        The folder of a training run, a bundled set by name, or a folder of weights.

    Returns
    -------
    list of tuple
        The network that a run would release; of weights `segment` and, if there, `locate`.

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
    stages = {"segment": weights.segment, "locate": weights.locate}
    recipes = weights.card["stages"]
    return [(make_recipe(recipes[k], k), load_unet(v)) for k, v in stages.items() if v]


def load_start(name: str | Path, recipe: Recipe) -> UNet:
    """Load a network of the recipe's kind with weights that were trained before.

    Parameters
    ----------
    name
        As `load_trained` takes it; of weights with two networks the one that fits.
    recipe
        Of the new run; it may add the last look on the full grid.

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
        f"{wanted.norm}. Take [network] over from the recipe of those weights: recipe.json of a "
        "run, or what `deskull weights show --json` prints."
    )


def _fit(network: UNet, recipe: Recipe) -> UNet | None:
    """Give the recipe's network these weights, if they fit."""
    with seeded(recipe.seed, "cpu"):
        begun = UNet(recipe.network)
    try:
        left = begun.load_state_dict(network.state_dict(), strict=False)
    except RuntimeError:  # of other shapes
        return None
    missing = [key for key in left.missing_keys if not key.startswith(GROWS)]
    return None if missing or left.unexpected_keys else begun
