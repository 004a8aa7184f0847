"""A recipe: the frozen settings of a training run, stored with the weights.

Each section is a dataclass. The range of a number is written where the field is defined
(`ranged`), and `check_settings` checks every field of every section by its type and range.
Settings of the window are in `prepare.conform`, those of network and preparation in
`network.card`.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from deskull.errors import InputError
from deskull.network.card import NetworkSpec, PreparationSettings
from deskull.prepare.conform import WindowSettings, make_window_settings
from deskull.settings import BiasSettings

CHANNELS = ("brain", "tissue")
"""Outputs that an example has a target for, in the order of its channels."""

PARTS = ("stem", "enter", "down", "up", "head", "refine")
"""Parts of a network: the first parts of the names of its tensors."""

MAX_BATCH = 128
"""Largest number of examples in a batch; each of them has its own seed."""


def ranged(low: float, high: float, default: Any = MISSING) -> Any:
    """Define a dataclass field whose value, or each of its elements, lies in [low, high].

    Parameters
    ----------
    low, high
        Smallest and largest value allowed.
    default
        Default value; without one the field is required.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     batch: int = ranged(1, 128, 4)
    >>> Settings().batch
    4
    """
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class AugmentSettings:
    """How far training heads may differ from the heads at hand.

    Parameters
    ----------
    rotation
        Largest rotation about each axis in degrees; drawn uniformly in plus or minus.
    any_pose
        Share of heads in any orientation at all (lying on the side, wrong headers).
    scale
        Relative change of size, uniform in 1 plus or minus, and half of it again per axis.
    shear
        Largest off-diagonal entry of the affine; drawn uniformly in plus or minus.
    warp
        Largest amplitude of the smooth deformation in mm.
    shift
        Largest distance along each axis in mm between the window's centre and the brain's.
    field_cut
        Share of heads whose field of view is cut by one to three planes.
    deface
        Share of heads without a face.
    flip
        Share of heads mirrored left to right.
    lesion
        Share of synthetic heads with a tumour, an old stroke or a resection cavity.
    electrodes
        Share of synthetic heads with a subdural grid of electrodes.
    stripped
        Share of synthetic heads that are skull-stripped already.
    phantom
        Share of synthetic examples that show a phantom, without a brain.
    wrap
        Share of cut fields where the part that is cut off wraps around to the other side.
    corruption
        Strength of scanner artefacts: 1 for a bad day at worst, 0 for none.
    misfit
        Relative error of a fitted window's voxel size, uniform in 1 plus or minus.
    tight
        Share of synthetic heads whose cortex touches the dura in places.

    Examples
    --------
    >>> AugmentSettings(rotation=10).keeps_pose
    False
    """

    rotation: float = ranged(0, 180, 20.0)
    any_pose: float = ranged(0, 1, 0.05)
    scale: float = ranged(0, 0.9, 0.2)
    shear: float = ranged(0, 1, 0.08)
    warp: float = ranged(0, 100, 5.0)
    shift: float = ranged(0, 500, 14.0)
    field_cut: float = ranged(0, 1, 0.3)
    deface: float = ranged(0, 1, 0.25)
    flip: float = ranged(0, 1, 0.5)
    lesion: float = ranged(0, 1, 0.12)
    electrodes: float = ranged(0, 1, 0.02)
    stripped: float = ranged(0, 1, 0.02)
    phantom: float = ranged(0, 1, 0.01)
    wrap: float = ranged(0, 1, 0.15)
    corruption: float = ranged(0, 10, 1.0)
    misfit: float = ranged(0, 0.5, 0.1)
    tight: float = ranged(0, 1, 0.5)

    @property
    def keeps_pose(self) -> bool:
        """Whether every head stays in the position and shape in which it was scanned."""
        moves = (self.rotation, self.any_pose, self.scale, self.shear, self.warp, self.shift)
        return not any((*moves, self.flip))


NO_AUGMENTATION = AugmentSettings(**{setting.name: 0.0 for setting in fields(AugmentSettings)})
"""Heads as they are."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are found.

    Parameters
    ----------
    horizon
        Number of steps at which the learning rate reaches its end; a run may stop before.
    batch
        Number of examples per step.
    loss
        Soft Dice, or soft Dice plus cross-entropy; or ``"distance"``: the network's output is
        then the signed distance to the brain's surface in mm, positive inside.
    optimiser
        Adam, or AdamW with `weight_decay`.
    learning_rate
        Highest learning rate, reached after `warmup` steps.
    schedule
        Cosine down to a hundredth of the learning rate at the horizon, or constant.
    warmup
        Number of steps over which the learning rate rises linearly.
    weight_decay
        Weight decay of AdamW.
    ema
        Decay of the running mean of the weights, which is what is released; 0 for none.
    real_share
        Share of examples made from pairs where there are any; the rest are synthetic heads.
    clip
        Largest norm of the gradient; a larger gradient is scaled down to it.
    validate_every
        Number of steps between validations; the best weights are kept.
    best
        Weights that count as the best: those of the lowest validation loss, or of the highest
        validation Dice of the brain.
    frozen
        Parts of the network that are not trained, out of `PARTS`: such as
        ``("stem", "enter", "down")``, the encoder.

    Examples
    --------
    >>> TrainingSettings(horizon=1000).optimiser
    'adamw'
    """

    horizon: int = ranged(1, 2**31)
    batch: int = ranged(1, MAX_BATCH, 1)
    loss: Literal["dice", "dice_and_cross_entropy", "distance"] = "dice_and_cross_entropy"
    optimiser: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = ranged(1e-12, 10, 1e-3)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = ranged(1, 2**31, 100)
    weight_decay: float = ranged(0, 1, 1e-4)
    ema: float = ranged(0, 0.999999, 0.999)
    real_share: float = ranged(0, 1, 0.3)
    clip: float = ranged(1e-9, 1e30, 5.0)
    validate_every: int = ranged(1, 2**31, 250)
    best: Literal["loss", "dice"] = "loss"
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run; only the data are missing.

    Parameters
    ----------
    name
        Name of the recipe's file.
    window, network, training, preparation, augment
        Settings of each section of the file.
    seed
        Seed of the split and of every example.

    Examples
    --------
    >>> recipe = load_recipe("article")
    >>> recipe.window.shape, recipe.training.batch, recipe.augment.keeps_pose
    ((96, 128, 160), 4, True)
    """

    name: str
    window: WindowSettings
    network: NetworkSpec
    training: TrainingSettings
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    seed: int = ranged(0, 2**22, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and strings, ready for JSON."""
        return asdict(self)


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe: one of the package's by name, or a TOML file.

    Raises
    ------
    InputError
        If there is no such recipe, or a field is unknown, missing or out of range.

    Examples
    --------
    >>> load_recipe("segment").window.voxel_size
    'fit'
    """
    folder = resources.files("deskull.train") / "recipes"
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


def make_recipe(sections: dict[str, Any], name: str) -> Recipe:
    """Build a recipe from the sections of its file, a run's recipe.json or a card.

    Parameters
    ----------
    sections
        Plain numbers, lists and strings by section and field.
    name
        Name of the recipe where the sections do not give one.

    Raises
    ------
    InputError
        If a value is out of range.
    KeyError, TypeError, ValueError
        If a section or field is missing or unknown.

    Examples
    --------
    >>> window = {"shape": [32, 32, 32], "voxel_size": 6.0}
    >>> network = {"filters": [4, 8]}
    >>> sections = {"window": window, "network": network, "training": {"horizon": 100}}
    >>> make_recipe(sections, name="small").training.batch
    1
    """
    training, preparation = sections["training"], sections.get("preparation", {})
    recipe = Recipe(
        name=sections.get("name", name),
        window=make_window_settings(sections["window"]),
        network=_make_spec(sections["network"]),
        training=TrainingSettings(**{**training, "frozen": tuple(training.get("frozen", ()))}),
        preparation=PreparationSettings(**{**preparation, "n4": _make_n4(preparation.get("n4"))}),
        augment=AugmentSettings(**sections.get("augment", {})),
        seed=sections.get("seed", 0),
    )
    check_recipe(recipe)
    return recipe


def _make_spec(given: Mapping[str, Any]) -> NetworkSpec:
    lists = {key: tuple(given[key]) for key in ("outputs", "filters") if key in given}
    return NetworkSpec(**{**given, **lists})


def _make_n4(n4: Any) -> BiasSettings | None:
    if n4 is None:
        return None
    _check(isinstance(n4, Mapping), "n4", n4, "shrink = N and iterations = [N, ...]")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in n4.items()}
    return BiasSettings(**values)


def check_recipe(recipe: Recipe) -> None:
    """Check every value of a recipe, and those that depend on each other.

    Raises
    ------
    InputError
        With the field, its value and what was expected.

    Examples
    --------
    >>> check_recipe(load_recipe("segment"))
    """
    check_settings(recipe)
    spec, frozen = recipe.network, recipe.training.frozen
    _check(spec.patch == 1 or spec.patch % 2 == 0, "patch", spec.patch, "1 or an even number")
    _check(len(spec.filters) > 0, "filters", spec.filters, "one number of filters per level")
    outputs = set(spec.outputs)
    valid = outputs <= set(CHANNELS) and "brain" in outputs and len(outputs) == len(spec.outputs)
    _check(valid, "outputs", spec.outputs, f"'brain', and others of {CHANNELS}, each once")
    _check(set(frozen) < set(PARTS), "frozen", frozen, f"some of {PARTS}, not all")
    if recipe.window.is_fitted and recipe.preparation.centre != "brain":
        raise InputError("voxel_size 'fit' with centre 'head'; a window is fitted to the brain")
    shape, multiple = recipe.window.shape, spec.multiple
    if any(n % multiple for n in shape):
        raise InputError(f"window {shape} is not divisible by {multiple}")


def check_settings(settings: Any) -> None:
    """Check each field of a dataclass, nested ones too, by its type and its range.

    Parameters
    ----------
    settings
        Instance of a dataclass; a number without a `ranged` definition may be any finite one.

    Raises
    ------
    InputError
        With the first field that is wrong, its value and what was expected.

    Examples
    --------
    >>> check_settings(TrainingSettings(horizon=0))
    Traceback (most recent call last):
    deskull.errors.InputError: horizon 0; expected a whole number from 1 to 2.14748e+09
    """
    hints = get_type_hints(type(settings))
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        limits = setting.metadata.get("range", (-math.inf, math.inf))
        if is_dataclass(value):
            check_settings(value)
        elif not _is_valid(value, hints[setting.name], limits):
            expected = _describe_type(hints[setting.name], limits)
            raise InputError(f"{setting.name} {value!r}; expected {expected}")


def _is_valid(value: Any, hint: Any, limits: tuple[float, float]) -> bool:
    """Whether a value has the type of its field, and its numbers lie within the limits."""
    kind, options = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_is_valid(value, option, limits) for option in options)
    if kind is Literal:
        return value in options
    if kind is tuple:
        return isinstance(value, tuple) and all(_is_valid(v, options[0], limits) for v in value)
    if hint in (int, float):
        number = type(value) is int or (hint is float and type(value) is float)
        return number and math.isfinite(value) and limits[0] <= value <= limits[1]
    return isinstance(value, hint)


def _describe_type(hint: Any, limits: tuple[float, float]) -> str:
    """Describe what `_is_valid` accepts."""
    kind, options = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_describe_type(option, limits) for option in options)
    if kind is Literal:
        return f"one of {options}" if len(options) > 1 else repr(options[0])
    if kind is tuple:
        return f"a list, each {_describe_type(options[0], limits)}"
    between = "" if math.isinf(limits[1]) else f" from {limits[0]:g} to {limits[1]:g}"
    names = {bool: "true or false", int: f"a whole number{between}", float: f"a number{between}"}
    names |= {str: "text", NoneType: "none"}
    return names.get(hint) or f"a table of {hint.__name__}"


def _check(right: bool, name: str, value: object, expected: str) -> None:
    if not right:
        raise InputError(f"{name} {value!r}; expected {expected}")
