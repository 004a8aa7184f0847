"""A recipe: frozen settings of window, network and training, stored with the weights."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from deskull.errors import InputError
from deskull.image.geometry import Shape
from deskull.learn.augment import AugmentSettings
from deskull.network.unet import NetworkSpec, make_spec


@dataclass(frozen=True)
class WindowSettings:
    """The network's grid: voxels along x, y, z, and their edge in mm."""

    shape: Shape
    voxel_size: float


@dataclass(frozen=True)
class PreparationSettings:
    """What is done to a scan before the network sees its window.

    Parameters
    ----------
    n4
        Settings of the bias correction, ``shrink`` and ``iterations``; None for none.
    centre
        Where the window lies: about the ``"brain"`` (found by a `locate` network at the time
        of use, taken from the mask in training) or about the middle of the ``"head"``.
    soft_masks
        Whether masks of pairs become shares of a voxel (True), or are read off at the nearest
        voxel (False).
    """

    n4: Mapping[str, Any] | None = None
    centre: Literal["brain", "head"] = "brain"
    soft_masks: bool = True


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are found.

    Parameters
    ----------
    horizon
        Steps after which the learning rate has reached its end; a run may stop before.
    batch
        Examples per step.
    loss
        Soft Dice alone, or with cross-entropy.
    optimiser
        Adam, or AdamW with `weight_decay`.
    learning_rate
        At its highest, after `warmup` steps.
    schedule
        Falling as a cosine to a hundredth at the horizon, or constant.
    ema
        Decay of the running mean of the weights, which is what is released; 0 for none.
    real_share
        Share of examples from real pairs where there are any; the rest from label maps.
    clip
        Largest norm of the gradient.
    validate_every
        Steps between looks at the persons kept apart; the best weights are kept.
    frozen
        Parts of the network that stay as they are, by the first word of their names: such as
        ``("stem", "enter", "down")``, the way down.
    """

    horizon: int
    batch: int = 1
    loss: Literal["dice", "dice_and_cross_entropy"] = "dice_and_cross_entropy"
    optimiser: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.999
    real_share: float = 0.3
    clip: float = 5.0
    validate_every: int = 250
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """All that a training run is made of, but for its data."""

    name: str
    window: WindowSettings
    network: NetworkSpec
    training: TrainingSettings
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and words, fit for JSON."""
        return asdict(self)


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe: one of the package's by name, or a TOML file.

    Raises
    ------
    InputError
        If there is none of that name, or a field is unknown or missing.
    """
    folder = resources.files("deskull.learn") / "recipes"
    names = sorted(Path(entry.name).stem for entry in folder.iterdir())
    if name_or_path in names:
        text = (folder / f"{name_or_path}.toml").read_text("utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text("utf-8")
    else:
        raise InputError(
            f"{name_or_path}: no such recipe or file; expected one of {', '.join(names)} "
            "or a path to a TOML file."
        )
    try:
        return make_recipe(tomllib.loads(text), name=Path(name_or_path).stem)
    except (tomllib.TOMLDecodeError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"{name_or_path}: not a recipe: {error}.") from error


def make_recipe(fields: dict[str, Any], name: str) -> Recipe:
    """Build a recipe from the tables of its file or of a checkpoint."""
    window, training = fields["window"], fields["training"]
    x, y, z = window["shape"]
    recipe = Recipe(
        name=fields.get("name", name),
        window=WindowSettings((x, y, z), float(window["voxel_size"])),
        network=make_spec(fields["network"]),
        training=TrainingSettings(**{**training, "frozen": tuple(training.get("frozen", ()))}),
        seed=int(fields.get("seed", 0)),
        preparation=PreparationSettings(**fields.get("preparation", {})),
        augment=AugmentSettings(**fields.get("augment", {})),
    )
    if any(n % recipe.network.multiple for n in recipe.window.shape):
        raise ValueError(
            f"window {recipe.window.shape} is not divisible by {recipe.network.multiple}"
        )
    return recipe
