"""A released set of weights: a folder with a card, networks as ONNX and safetensors, hashes.

The card (`card.py`) holds the SHA-256 of each file; nothing is run whose hash differs. Nothing is
ever fetched, nothing unpickled.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deskull.errors import WeightsError
from deskull.network.card import CARD, Card, NetworkSpec, StageCard, load_card
from deskull.network.digest import compute_digest
from deskull.prepare.conform import WindowSettings
from deskull.settings import Settings


@dataclass(frozen=True)
class Stage:
    """One network and the window that it works on.

    Parameters
    ----------
    name
        ``"locate"`` (finds the brain in the field) or ``"segment"`` (draws its surface).
    window
        The grid that the network sees.
    centre
        Place that its window is centred on: the ``"brain"``, or the middle of the ``"head"``.
    onnx
        The network as ONNX, bytes.
    spec
        The network's architecture, for engines that build it themselves.
    tensors
        File of the same weights as safetensors.
    """

    name: str
    window: WindowSettings
    centre: str
    onnx: bytes
    spec: NetworkSpec
    tensors: Path


@dataclass(frozen=True)
class Weights:
    """Loaded and verified weights.

    Parameters
    ----------
    name
        Name of the bundled set, or of the folder.
    digest
        SHA-256 over the hashes of all files, which identifies the weights.
    card
        Description of the weights.
    segment, locate
        Networks that draw the mask and that find the brain; without `locate` the window goes to
        the middle of the head.
    """

    name: str
    digest: str
    card: Card
    segment: Stage
    locate: Stage | None


def bundled_folder() -> Path:
    """Folder of the weights that come with the package.

    Examples
    --------
    >>> bundled_folder().name
    'weights'
    """
    return Path(str(resources.files("deskull"))) / "weights"


def list_weights() -> list[str]:
    """Names of the bundled weights.

    Examples
    --------
    >>> "default" in list_weights()
    True
    """
    return sorted(path.parent.name for path in bundled_folder().glob(f"*/{CARD}"))


def load_weights(name_or_path: str | Path = "default") -> Weights:
    """Load and verify weights.

    Parameters
    ----------
    name_or_path
        Name of a bundled set, or a folder that `deskull export` made.

    Raises
    ------
    WeightsError
        If there is no such set, a file is missing, or a hash differs.

    Examples
    --------
    >>> load_weights("default").segment.spec.outputs[0]
    'brain'
    """
    folder = bundled_folder() / str(name_or_path)
    if str(name_or_path) not in list_weights():
        folder = Path(name_or_path)
    if not (folder / CARD).is_file():
        raise WeightsError(
            f"{name_or_path}: no such weights; expected one of {', '.join(list_weights())}, or a "
            f"folder with a {CARD} as `deskull export` writes it."
        )
    card = load_card(folder / CARD)
    contents = {
        name: _read_verified(folder / name, expected)
        for name, expected in sorted(card.files.items())
    }
    if lacking := [name for name in card.stages if f"{name}.onnx" not in contents]:
        raise WeightsError(
            f"{folder / CARD}: an incomplete card, without the hash of {lacking[0]}.onnx; export "
            "the weights again."
        )
    stages = {
        name: make_stage(name, stage, folder, contents[f"{name}.onnx"])
        for name, stage in card.stages.items()
    }
    digest = compute_digest(card.files)
    return Weights(folder.name, digest, card, stages["segment"], stages.get("locate"))


def _read_verified(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}). Install deskull again, or export the "
            "weights again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsError(
            f"{path}: SHA-256 {found[:12]}…, expected {expected[:12]}…: the file is damaged or "
            "changed. Install deskull again, or export the weights again."
        )
    return content


def make_stage(name: str, card: StageCard, folder: Path, onnx: bytes) -> Stage:
    """Make a network of a set of weights from its part of the card.

    Parameters
    ----------
    name
        Name of the network, ``"segment"`` or ``"locate"``.
    card
        Part of the card that describes the network.
    folder
        Folder of the weights.
    onnx
        Content of its ONNX file.
    """
    tensors = folder / f"{name}.safetensors"
    return Stage(name, card.window, card.preparation.centre, onnx, card.network, tensors)


def find_channel(weights: Weights, settings: Settings) -> int:
    """Find the channel of the network's output that the settings call for.

    Parameters
    ----------
    weights
        Weights, whose network has an output for each kind of mask that it can draw.
    settings
        Settings, which call for the brain with or without its CSF.

    Raises
    ------
    WeightsError
        If the network has no such output.
    """
    name, outputs = "brain" if settings.csf else "tissue", weights.segment.spec.outputs
    if name not in outputs:
        raise WeightsError(
            f"weights {weights.name!r} give {', '.join(outputs)}, not {name}: they cannot leave "
            "out the CSF. Choose others with --weights, or omit --no-csf."
        )
    return outputs.index(name)
