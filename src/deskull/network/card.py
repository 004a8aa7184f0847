"""The card of a set of weights: what they are, for whom, from what, and the hash of each file.

`Card` is the content of `card.json`; `load_card` is its one reader and `save_card` its one
writer. Its key ``format`` is the version of the schema, which is published in the documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deskull.errors import InputError, WeightsError
from deskull.image.writing import save_bytes
from deskull.measure.likeness import Likeness
from deskull.prepare.conform import WindowSettings
from deskull.settings import BiasSettings
from deskull.text_files import make_json, read_json
from deskull.typed_json import from_plain, ranged, rest, to_plain

CARD = "card.json"
FORMAT: Literal[1] = 1
"""Version of the card's schema; raised when older code could not read it right."""

DESCRIPTION = ("licence", "population", "convention", "data")
"""Fields of the card that whoever releases weights writes."""


@dataclass(frozen=True)
class NetworkSpec:
    """The architecture of a network. The metadata ``range`` of a field holds its limits.

    Parameters
    ----------
    outputs
        Name of each output channel, such as ``("brain", "tissue")``.
    filters
        Number of filters per level, from the finest level on; its length is the depth.
    patch
        Edge in voxels of the blocks that the first layer combines: features are computed on a
        grid coarser by this factor, and the last layer returns to the full grid. 1 for a plain
        U-Net.
    norm
        Normalisation of the features.
    dropout
        Share of features dropped after each pooling and concatenation, in [0, 1).
    residual
        Whether the input of a block is added to its output (He et al. 2016).
    upsample
        Repeat the nearest value, or learn a transposed convolution.
    refine
        Number of filters of a last layer that sees the image on the full grid and corrects
        what the coarser features of the patches cannot resolve; 0 for none.

    Examples
    --------
    >>> NetworkSpec(filters=(16, 32, 64), patch=2).multiple
    8
    """

    outputs: tuple[str, ...] = ("brain", "tissue")
    filters: tuple[int, ...] = ranged(1, 4096, (16, 32, 64, 128))
    patch: int = ranged(1, 16, 1)
    norm: Literal["instance", "batch"] = "instance"
    dropout: float = ranged(0, 0.99, 0.0)
    residual: bool = True
    upsample: Literal["nearest", "transposed"] = "nearest"
    refine: int = ranged(0, 256, 0)

    @property
    def multiple(self) -> int:
        """Number that each edge of an input must be divisible by."""
        return self.patch << (len(self.filters) - 1)


@dataclass(frozen=True)
class PreparationSettings:
    """How a scan is prepared before its window is cut out.

    Parameters
    ----------
    n4
        Settings of the N4 bias correction; None for no correction.
    centre
        Centre of the window: that of the ``"brain"`` (found by a `locate` network when the
        weights are used, taken from the mask in training) or that of the ``"head"``.
    soft_masks
        Whether the mask of a pair is resampled linearly, to the share of brain in each voxel
        (True), or by nearest neighbour, to 0 or 1 (False).
    """

    n4: BiasSettings | None = None
    centre: Literal["brain", "head"] = "brain"
    soft_masks: bool = True


@dataclass(frozen=True, kw_only=True)
class StageCard:
    """One network of the weights: the recipe that it was trained by, and what came of it.

    Parameters
    ----------
    name
        Name of the recipe.
    window
        The grid that the network sees.
    network
        The network's architecture.
    training, augment
        Settings of the training, by name; `deskull.train.recipe` reads them.
    preparation
        Settings by which a scan is prepared.
    seed
        Seed of the split and of every example.
    steps
        Number of training steps after which the weights were taken.
    split
        Number of participants in each part of the split, without their names.
    """

    name: str = ""
    window: WindowSettings
    network: NetworkSpec
    training: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings
    augment: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    steps: int = 0
    split: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Difference of a runtime's output from that of torch, on the worst of the heads.

    Parameters
    ----------
    version
        Version of the runtime.
    mean, largest
        Absolute difference of the brain's probability: mean and maximum over the voxels.
    dice
        Dice of the masks; 1 where both are empty.
    """

    version: str
    mean: float
    largest: float
    dice: float


@dataclass(frozen=True)
class Parity:
    """How far the runtimes differ from the one that the weights were trained with.

    Parameters
    ----------
    heads
        Number of heads that were compared.
    against
        The runtime that the others were compared with.
    segment, locate
        Largest difference of each runtime, by its name; empty if the network was not compared.
    """

    heads: int
    against: str
    segment: Mapping[str, Difference] = field(default_factory=dict)
    locate: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a set of weights is.

    Parameters
    ----------
    format
        Version of this schema.
    licence
        Who may use the weights for what.
    population
        Population that the weights were made for.
    convention
        Convention of the mask: what it includes.
    data
        Description of the data that the weights were trained on, in the form that suits it.
    more
        Further fields of the description, as whoever released the weights wrote them.
    stages
        The networks by name: ``segment``, and ``locate`` if there is one.
    parity
        Differences between the runtimes; null if they were not measured.
    files
        SHA-256 of each file, by its name in the folder of the card.
    likeness
        Traits of the training and test heads; null if unknown.
    """

    format: Literal[1] = FORMAT
    licence: Any
    population: Any
    convention: Any
    data: Any = None
    more: Mapping[str, Any] = rest()
    stages: Mapping[str, StageCard]
    parity: Parity | None = None
    files: Mapping[str, str]
    likeness: Likeness | None = None

    @property
    def segment(self) -> StageCard:
        """The network that draws the mask."""
        return self.stages["segment"]


def load_card(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    WeightsError
        If it cannot be read, is of another format, or lacks or garbles a field.
    """
    try:
        plain = read_json(path)
    except InputError as error:
        raise WeightsError(f"{error} Expected the card of a folder of weights.") from error
    version = plain.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path}: card of format {version}; this deskull reads format {FORMAT}. "
            "Use the deskull that made these weights, or export them again."
        )
    try:
        card = from_plain(Card, plain)
    except ValueError as error:
        raise WeightsError(
            f"{path}: the card lacks or garbles {error}. Export the weights again."
        ) from error
    if "segment" not in card.stages or not card.files:
        raise WeightsError(
            f"{path}: an incomplete card, without {'files' if card.stages else 'stages'}; "
            "export the weights again."
        )
    return card


def save_card(card: Card, path: Path) -> None:
    """Write a card, whole.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    save_bytes(make_json(to_plain(card)), path)
