"""A released set of weights: a folder with a card, networks as ONNX and safetensors, hashes.

The card (`card.py`) holds the SHA-256 of each file; nothing is run whose hash differs. Nothing is
ever fetched, nothing unpickled.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deskull.errors import WeightsError
from deskull.network.card import CARD, Card, NetworkSpec, StageCard, load_card
from deskull.network.digest import compute_digest
from deskull.prepare.conform import WindowSettings
from deskull.settings import BiasSettings


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
        What its window lies about: the ``"brain"``, or the middle of the ``"head"``.
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

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the channels of its answer."""
        return self.spec.outputs


@dataclass(frozen=True)
class Weights:
    """Loaded and verified weights.

    Parameters
    ----------
    name
        Name of the bundled set, or of the folder.
    digest
        SHA-256 over the hashes of all files: one word for these very weights.
    card
        Description of the weights.
    segment, locate
        The networks; without `locate` the window goes to the middle of the head.
    """

    name: str
    digest: str
    card: Card
    segment: Stage
    locate: Stage | None

    @property
    def n4(self) -> BiasSettings | None:
        """Settings of the bias correction that the networks were trained behind, if any."""
        return self.card.segment.preparation.n4


def bundled_folder() -> Path:
    """Folder of the weights that come with the package."""
    return Path(str(resources.files("deskull"))) / "weights"


def list_weights() -> list[str]:
    """Names of the bundled weights."""
    return sorted(path.parent.name for path in bundled_folder().glob(f"*/{CARD}"))


def load_weights(name_or_path: str | Path = "default") -> Weights:
    """Load and verify weights.

    Parameters
    ----------
    name_or_path
        A bundled set by name, or a folder that `deskull export` made.

    Raises
    ------
    WeightsError
        If there is no such set, a file is missing, or a hash differs.
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
        name: _read_verified(folder / name, wanted) for name, wanted in sorted(card.files.items())
    }
    digest = compute_digest(card.files)
    stages = {
        name: _make_stage(name, stage, folder, contents) for name, stage in card.stages.items()
    }
    return Weights(folder.name, digest, card, stages["segment"], stages.get("locate"))


def _read_verified(path: Path, wanted: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}). Install deskull again, or export the "
            "weights again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise WeightsError(
            f"{path}: SHA-256 {found[:12]}…, expected {wanted[:12]}…: the file is damaged or "
            "changed. Install deskull again, or export the weights again."
        )
    return content


def _make_stage(name: str, stage: StageCard, folder: Path, contents: Mapping[str, bytes]) -> Stage:
    file = f"{name}.onnx"
    if file not in contents:
        raise WeightsError(
            f"{folder / CARD}: an incomplete card, without the hash of {file}; export the weights "
            "again."
        )
    return Stage(
        name=name,
        window=stage.window,
        centre=stage.preparation.centre,
        onnx=contents[file],
        spec=stage.network,
        tensors=folder / f"{name}.safetensors",
    )
