"""A recipe: frozen settings of window, network and training, stored with the weights."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deskull.errors import InputError
from deskull.learn.augment import AugmentSettings
from deskull.network.unet import NetworkSpec, make_spec
from deskull.prepare.conform import WindowSettings, make_window_settings

CHANNELS = ("brain", "tissue")
"""What examples can teach, in the order in which they hold it."""

PARTS = ("stem", "enter", "down", "up", "head", "refine")
"""Of a network, the first words of its tensors' names."""

MOST_EXAMPLES = 128
"""In a batch; each has a seed of its own."""


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
        Soft Dice alone, or with cross-entropy; or of the signed distance to the surface, which
        the network's answer is then, in mm, plus inside.
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
    best
        What makes them the best: the lowest loss, or the highest Dice of the brain.
    frozen
        Parts of the network that stay as they are, by the first word of their names: such as
        ``("stem", "enter", "down")``, the way down.
    """

    horizon: int
    batch: int = 1
    loss: Literal["dice", "dice_and_cross_entropy", "distance"] = "dice_and_cross_entropy"
    optimiser: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    weight_decay: float = 1e-4
    ema: float = 0.999
    real_share: float = 0.3
    clip: float = 5.0
    validate_every: int = 250
    best: Literal["loss", "dice"] = "loss"
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
    except KeyError as error:
        raise InputError(
            f"{name_or_path}: not a recipe: no {error}; expected the sections [window] with shape "
            "and voxel_size, [network], and [training] with horizon."
        ) from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise InputError(f"{name_or_path}: not a recipe: {error}.") from error


def make_recipe(fields: dict[str, Any], name: str) -> Recipe:
    """Build a recipe from the tables of its file or of a checkpoint."""
    window, training = fields["window"], fields["training"]
    recipe = Recipe(
        name=fields.get("name", name),
        window=make_window_settings(window),
        network=make_spec(fields["network"]),
        training=TrainingSettings(**{**training, "frozen": tuple(training.get("frozen", ()))}),
        seed=int(fields.get("seed", 0)),
        preparation=PreparationSettings(**fields.get("preparation", {})),
        augment=AugmentSettings(**fields.get("augment", {})),
    )
    check_recipe(recipe)
    return recipe


RANGES = {  # lowest and highest value
    "seed": (0, 2**22),
    "voxel_size": (0.1, 20),
    "fill": (0.1, 1),
    "patch": (1, 16),
    "dropout": (0, 0.99),
    "refine": (0, 256),
    "horizon": (1, 2**31),
    "batch": (1, MOST_EXAMPLES),
    "learning_rate": (1e-12, 10),
    "warmup": (1, 2**31),
    "weight_decay": (0, 1),
    "ema": (0, 0.999999),
    "real_share": (0, 1),
    "clip": (1e-9, 1e30),
    "validate_every": (1, 2**31),
    "rotation": (0, 180),
    "any_pose": (0, 1),
    "scale": (0, 0.9),
    "shear": (0, 1),
    "warp": (0, 100),
    "shift": (0, 500),
    "field_cut": (0, 1),
    "deface": (0, 1),
    "flip": (0, 1),
    "lesion": (0, 1),
    "electrodes": (0, 1),
    "stripped": (0, 1),
    "phantom": (0, 1),
    "wrap": (0, 1),
    "corruption": (0, 10),
    "misfit": (0, 0.5),
    "tight": (0, 1),
}


def check_recipe(recipe: Recipe) -> None:
    """Refuse values that no run could use.

    Raises
    ------
    InputError
        With the field, its value and what was expected.
    """
    for settings in (
        recipe,
        recipe.window,
        recipe.network,
        recipe.training,
        recipe.preparation,
        recipe.augment,
    ):
        for name, hint in get_type_hints(type(settings)).items():
            _check_value(name, getattr(settings, name), hint)
    spec, frozen = recipe.network, recipe.training.frozen
    _check(_are_whole(spec.filters), "filters", spec.filters, "whole numbers above 0")
    _check(spec.patch == 1 or spec.patch % 2 == 0, "patch", spec.patch, "1 or an even number")
    outputs = set(spec.outputs)
    fine = outputs <= set(CHANNELS) and "brain" in outputs and len(outputs) == len(spec.outputs)
    _check(fine, "outputs", spec.outputs, f"'brain', and others of {CHANNELS}, each once")
    _check(set(frozen) < set(PARTS), "frozen", frozen, f"some of {PARTS}, not all")
    size = recipe.window.voxel_size
    if size != "fit":
        _check_value("voxel_size", size, float)
    elif recipe.preparation.centre != "brain":
        raise InputError("voxel_size 'fit' with centre 'head'; a window is fitted to the brain")
    shape, multiple = recipe.window.shape, spec.multiple
    _check(_are_whole(shape), "shape", shape, "whole numbers above 0")
    if any(n % multiple for n in shape):
        raise InputError(f"window {shape} is not divisible by {multiple}")
    n4 = recipe.preparation.n4
    if n4 is not None:
        right = set(n4) == {"shrink", "iterations"} and _are_whole(
            [n4["shrink"], *n4["iterations"]]
        )
        _check(right, "n4", n4, "shrink = N and iterations = [N, ...]")


def _check_value(name: str, value: Any, hint: Any) -> None:
    """Check a value by its type, the words that it may be, and its range."""
    if get_origin(hint) is Literal:
        _check(value in get_args(hint), name, value, f"one of {get_args(hint)}")
    if hint is bool:
        _check(isinstance(value, bool), name, value, "true or false")
    if hint in (int, float):
        low, high = RANGES[name]
        kinds = int if hint is int else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool)
        right = right and math.isfinite(value) and low <= value <= high
        kind = "a whole number" if hint is int else "a number"
        _check(right, name, value, f"{kind} from {low:g} to {high:g}")


def _are_whole(values: Any) -> bool:
    return len(values) > 0 and all(type(n) is int and n > 0 for n in values)


def _check(right: bool, name: str, value: object, expected: str) -> None:
    if not right:
        raise InputError(f"{name} {value!r}; expected {expected}")
