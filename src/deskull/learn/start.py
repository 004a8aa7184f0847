"""The weights that a new run begins with: released ones, or those of another run."""

from pathlib import Path

from deskull.errors import WeightsError
from deskull.learn.processes import seeded
from deskull.learn.recipe import Recipe
from deskull.learn.runs import RECIPE, load_released
from deskull.network.unet import UNet, load_unet
from deskull.network.weights import load_weights

GROWS = "refine."
"""What a recipe may have and the weights need not: it begins as a change of nothing."""


def load_start(name: str | Path, recipe: Recipe) -> UNet:
    """Load a network of the recipe's kind with weights that were trained before.

    Parameters
    ----------
    name
        The folder of a training run, a bundled set by name, or a folder of weights: of its two
        networks the one that fits.
    recipe
        Of the new run; it may add the last look on the full grid.

    Raises
    ------
    WeightsError
        If there are no such weights, or none that fit.
    """
    if (Path(name) / RECIPE).is_file():
        networks = [load_released(Path(name))[1]]
    else:
        weights = load_weights(name)
        networks = [load_unet(stage) for stage in (weights.segment, weights.locate) if stage]
    for network in networks:
        begun = _fit(network, recipe)
        if begun is not None:
            return begun
    wanted = recipe.network
    raise WeightsError(
        f"{name}: no network that fits the recipe, whose outputs are {', '.join(wanted.outputs)}, "
        f"filters {', '.join(map(str, wanted.filters))}, patch {wanted.patch} and norm "
        f"{wanted.norm}. Take [network] over from the recipe of those weights."
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
