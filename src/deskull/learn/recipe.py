"""A recipe: frozen settings of window, network and training, stored with the weights."""

import tomllib
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

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
class TrainingSettings:
    """How the weights are found.

    Parameters
    ----------
    horizon
        Steps after which the learning rate has reached its end; a run may stop before.
    batch
        Examples per step.
    learning_rate
        Of AdamW at its highest, after `warmup` steps; falls as a cosine to a hundredth.
    weight_decay
        Of AdamW.
    ema
        Decay of the running mean of the weights, which is what is released.
    real_share
        Share of examples from real pairs where there are any; the rest from label maps.
    clip
        Largest norm of the gradient.
    """

    horizon: int
    batch: int = 1
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.999
    real_share: float = 0.3
    clip: float = 5.0


@dataclass(frozen=True)
class Recipe:
    """All that a training run is made of, but for its data."""

    name: str
    window: WindowSettings
    network: NetworkSpec
    training: TrainingSettings
    augment: AugmentSettings = field(default_factory=AugmentSettings)

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
    window = fields["window"]
    x, y, z = window["shape"]
    recipe = Recipe(
        name=fields.get("name", name),
        window=WindowSettings((x, y, z), float(window["voxel_size"])),
        network=make_spec(fields["network"]),
        training=TrainingSettings(**fields["training"]),
        augment=AugmentSettings(**fields.get("augment", {})),
    )
    if any(n % recipe.network.multiple for n in recipe.window.shape):
        raise ValueError(
            f"window {recipe.window.shape} is not divisible by {recipe.network.multiple}"
        )
    return recipe
