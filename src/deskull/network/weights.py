"""A released set of weights: a folder with a card, networks as ONNX and safetensors, hashes.

The card (`card.json`) says what the weights are, for whom, from what, and what each file's
SHA-256 is; nothing is run whose hash differs. Nothing is ever fetched, nothing unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from deskull.errors import WeightsError
from deskull.network.digest import compute_digest
from deskull.prepare.conform import WindowSettings, make_window_settings

CARD = "card.json"
FORMAT = 1  # of the card; raised when older code could not read it right


@dataclass(frozen=True)
class Stage:
    """One network and the window that it works on.

    Parameters
    ----------
    name
        ``"locate"`` (finds the brain in the field) or ``"segment"`` (draws its surface).
    window
        The grid that the network sees.
    outputs
        Names of the channels of its answer.
    centre
        What its window lies about: the ``"brain"``, or the middle of the ``"head"``.
    onnx
        The network as ONNX, bytes.
    spec
        What the network is made of, for engines that build it themselves.
    tensors
        File of the same weights as safetensors.
    """

    name: str
    window: WindowSettings
    outputs: tuple[str, ...]
    centre: str
    onnx: bytes
    spec: Mapping[str, Any]
    tensors: Path


@dataclass(frozen=True)
class Weights:
    """Loaded and verified weights.

    Parameters
    ----------
    name
        Of the bundled set, or of the folder.
    digest
        SHA-256 over the hashes of all files: one word for these very weights.
    card
        The card as read.
    segment, locate
        The networks; without `locate` the window goes to the middle of the head.
    """

    name: str
    digest: str
    card: Mapping[str, Any]
    segment: Stage
    locate: Stage | None

    @property
    def n4(self) -> Mapping[str, Any] | None:
        """Settings of the bias correction that the networks were trained behind, if any."""
        preparation = self.card["stages"]["segment"]["preparation"]
        settings: Mapping[str, Any] | None = preparation["n4"]
        return settings


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
    card = _read_card(folder / CARD)
    contents = {
        name: _read_verified(folder / name, wanted)
        for name, wanted in sorted(card["files"].items())
    }
    digest = compute_digest(card["files"])
    try:
        stages = {
            name: _make_stage(name, fields, folder, contents)
            for name, fields in card["stages"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / CARD}: a stage lacks or garbles {error}; export the weights again."
        ) from error
    return Weights(folder.name, digest, card, stages["segment"], stages.get("locate"))


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text("utf-8"))
        version, stages = card["format"], card["stages"]
        complete = {"licence", "population", "convention"} <= set(card)
        complete = complete and bool(dict(card["files"])) and "segment" in dict(stages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: not a readable card of weights ({error}).") from error
    if version != FORMAT:
        raise WeightsError(
            f"{path}: card of format {version}; this deskull reads format {FORMAT}. "
            "Take the deskull that made these weights, or export them again."
        )
    if not complete:
        raise WeightsError(f"{path}: an incomplete card; export the weights again.")
    return dict(card)


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


def _make_stage(
    name: str, fields: Mapping[str, Any], folder: Path, contents: Mapping[str, bytes]
) -> Stage:
    return Stage(
        name=name,
        window=make_window_settings(fields["window"]),
        outputs=tuple(fields["network"]["outputs"]),
        centre=fields["preparation"]["centre"],
        onnx=contents[f"{name}.onnx"],
        spec=fields["network"],
        tensors=folder / f"{name}.safetensors",
    )
