"""A recipe: the frozen settings of a training run, stored with the weights.

Each section is a dataclass, read and checked by `typed_json`: every field by its type, and by the
range that is written where it is defined. Settings of the window are in `prepare.conform`, those
of network and preparation in `network.card`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Literal

from deskull.errors import InputError
from deskull.network.card import NetworkSpec, PreparationSettings
from deskull.prepare.conform import WindowSettings
from deskull.typed_json import from_plain, ranged

CHANNELS = ("brain", "tissue")
"""Outputs that an example has a target for, in the order of its channels."""

PARTS = ("stem", "enter", "down", "up", "head", "refine")
"""Parts of a network: the first parts of the names of its tensors."""

MAX_BATCH = 128
"""Largest number of examples in a batch; each of them has its own seed."""


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

    def __post_init__(self) -> None:
        spec, frozen = self.network, self.training.frozen
        valid = spec.patch == 1 or spec.patch % 2 == 0
        _check(valid, "'patch' in network", spec.patch, "1 or an even number")
        _check(len(spec.filters) > 0, "'filters' in network", spec.filters, "a number per level")
        valid = spec.outputs in (CHANNELS[:1], CHANNELS)
        expected = f"{CHANNELS[:1]} or {CHANNELS}, in this order"
        _check(valid, "'outputs' in network", spec.outputs, expected)
        valid, expected = set(frozen) < set(PARTS), f"some of {PARTS}, not all"
        _check(valid, "'frozen' in training", frozen, expected)
        valid = self.preparation.centre == "brain" or not self.window.is_fitted
        expected = "a number of mm, or 'brain' as the centre in preparation"
        _check(valid, "'voxel_size' in window", self.window.voxel_size, expected)
        valid = not any(n % spec.multiple for n in self.window.shape)
        expected = f"edges divisible by {spec.multiple}, as the network needs them"
        _check(valid, "'shape' in window", self.window.shape, expected)


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
        source = folder / f"{name_or_path}.toml"
    elif Path(name_or_path).is_file():
        source = Path(name_or_path)
    else:
        raise InputError(
            f"{name_or_path}: no such recipe or file; expected one of {', '.join(names)} "
            "or a path to a TOML file."
        )
    try:
        sections = tomllib.loads(source.read_text("utf-8"))
        return make_recipe(sections, name=Path(name_or_path).stem)
    except (OSError, ValueError) as error:
        raise InputError(f"{name_or_path}: not a recipe: {str(error).rstrip('.')}.") from error


def make_recipe(sections: object, name: str) -> Recipe:
    """Build a recipe from the sections of its file or of a run's recipe.json.

    Parameters
    ----------
    sections
        Plain numbers, lists and strings by section and field.
    name
        Name of the recipe where the sections do not give one.

    Raises
    ------
    InputError
        With the first field that is missing, unknown, of another type or out of its range.

    Examples
    --------
    >>> window = {"shape": [32, 32, 32], "voxel_size": 6.0}
    >>> network = {"filters": [4, 8]}
    >>> sections = {"window": window, "network": network, "training": {"horizon": 100}}
    >>> make_recipe(sections, name="small").training.batch
    1
    """
    named = {"name": name, **sections} if isinstance(sections, Mapping) else sections
    try:
        return from_plain(Recipe, named)
    except ValueError as error:
        raise InputError(str(error)) from error


def _check(valid: bool, where: str, value: object, expected: str) -> None:
    if not valid:
        raise InputError(f"{where}: {value!r}; expected {expected}")
