"""The release of weights: ONNX and safetensors in half precision, and a card.

Before the card is written, every runtime is compared with the network that was trained, on whole
heads (`check_parity`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from deskull.errors import InputError, WeightsError
from deskull.image.volume import Volume
from deskull.image.writing import make_folder, save_bytes
from deskull.measure.metrics import dice
from deskull.network.card import (
    CARD,
    DESCRIPTION,
    Card,
    Difference,
    Parity,
    StageCard,
    save_card,
)
from deskull.network.engine import count_threads, find_runtimes, make_engine
from deskull.network.view import Network, Scan, locate
from deskull.network.weights import Stage, Weights, load_weights, make_stage
from deskull.prepare.intensity import make_finite
from deskull.train.graph import make_onnx
from deskull.train.recipe import Recipe
from deskull.train.run_folder import load_released
from deskull.train.split import count_split

GENERATED = ("format", "stages", "parity", "files", "likeness", "more")
"""Fields of the card that deskull writes."""

TRUSTED = "torch"
"""Runtime that the others are compared with."""

MAX_MEAN_DIFFERENCE = 0.005
"""Largest mean difference of probability; bfloat16 gives about 0.001, a wrong layer 0.1."""


def export(
    runs: Mapping[str, Path],
    folder: Path,
    about: Mapping[str, Any],
    base: Weights | None = None,
    check: Sequence[Volume] = (),
) -> Path:
    """Release the best weights of one or two training runs.

    Parameters
    ----------
    runs
        Folder of the run by stage: ``"segment"``, and ``"locate"`` if there is one.
    folder
        Folder of the weights, which is made if missing.
    about
        Description for the card: `licence`, `population`, `convention`, `data`.
    base
        Released weights whose stage `locate` is taken where there is no run for it; the
        bundled ones if not given and the window of the segment run is centred on the brain.
    check
        Heads on which the runtimes are compared with torch; the card has the differences.

    Returns
    -------
    Path
        Path of the card.

    Raises
    ------
    WeightsError
        If a run has no checkpoint, or a runtime differs from torch.
    InputError
        If the description is incomplete.
    OutputError
        If a file cannot be written.
    """
    check_about(about)
    released = {name: load_released(run) for name, run in runs.items()}
    around = released["segment"][0].preparation.centre
    if base is None and "locate" not in runs and around == "brain":
        base = load_weights("default")
    make_folder(folder)
    stages: dict[str, StageCard] = {}
    made: list[Stage] = []
    for name, (recipe, network, step) in released.items():
        halves = {
            k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()
        }
        save_bytes(save(halves), folder / f"{name}.safetensors")
        network.load_state_dict(halves)
        onnx = make_onnx(network, recipe.window.shape)
        save_bytes(onnx, folder / f"{name}.onnx")
        stages[name] = _make_stage_card(recipe, step, runs[name])
        made.append(make_stage(name, stages[name], folder, onnx))
    if base is not None and base.locate is not None and "locate" not in runs:
        stages["locate"] = base.card.stages["locate"]
        save_bytes(base.locate.onnx, folder / "locate.onnx")
        save_bytes(base.locate.tensors.read_bytes(), folder / "locate.safetensors")
    files = [f"{name}.{kind}" for name in stages for kind in ("onnx", "safetensors")]
    card = Card(
        **{name: about[name] for name in DESCRIPTION},
        more={name: value for name, value in about.items() if name not in DESCRIPTION},
        stages=stages,
        parity=check_parity(made, check) if check else None,
        files={f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files},
    )
    path = folder / CARD
    save_card(card, path)
    load_weights(folder)
    return path


def _make_stage_card(recipe: Recipe, step: int, run: Path) -> StageCard:
    """Describe a network by its recipe, and by how it was trained."""
    return StageCard(
        name=recipe.name,
        window=recipe.window,
        network=recipe.network,
        training=asdict(recipe.training),
        preparation=recipe.preparation,
        augment=asdict(recipe.augment),
        seed=recipe.seed,
        steps=step,
        split=count_split(run),
    )


def check_about(about: object) -> None:
    """Check the description for a card.

    Raises
    ------
    InputError
        If it is not a JSON object, a field is missing or empty, or belongs to export itself.

    Examples
    --------
    >>> check_about({"licence": "CC0", "population": "adults", "convention": "closed"})
    Traceback (most recent call last):
    deskull.errors.InputError: card: data missing or empty; expected licence, population, ...
    """
    if not isinstance(about, Mapping):
        raise InputError(f"card: {about!r:.60}; expected a JSON object.")
    missing = [name for name in DESCRIPTION if not about.get(name)]
    if missing:
        raise InputError(
            f"card: {', '.join(missing)} missing or empty; expected {', '.join(DESCRIPTION)}. "
            "Say whose heads they are, and who may use the weights."
        )
    taken = [name for name in GENERATED if name in about]
    if taken:
        raise InputError(f"card: {', '.join(taken)} given; export itself writes these.")


def check_parity(stages: Sequence[Stage], heads: Sequence[Volume]) -> Parity:
    """Compare every installed runtime with torch on the same heads.

    Parameters
    ----------
    stages
        Networks as they are released.
    heads
        Whole heads, at least one.

    Returns
    -------
    Parity
        Differences by stage and runtime, without the names of the heads.

    Raises
    ------
    WeightsError
        If a runtime's probabilities differ by more than `MAX_MEAN_DIFFERENCE`.
    """
    return Parity(len(heads), TRUSTED, **{stage.name: _compare(stage, heads) for stage in stages})


def _compare(stage: Stage, heads: Sequence[Volume]) -> dict[str, Difference]:
    """Return the worst difference of each runtime over the heads."""
    channel, versions, threads = (
        stage.spec.outputs.index("brain"),
        find_runtimes(),
        count_threads(),
    )
    networks = {
        name: Network(stage, make_engine(stage, "cpu", threads, name), threads)
        for name in versions
    }
    worst: dict[str, Difference] = {}
    for head in heads:
        scan = Scan(*make_finite(head.data, head.grid), head.grid)
        middle = locate(scan, None, networks[TRUSTED])
        answers = {
            name: _to_probability(network.look(scan, middle).logits[channel])
            for name, network in networks.items()
        }
        for name in networks.keys() - {TRUSTED}:
            here = _measure(answers[name], answers[TRUSTED], versions[name])
            if here.mean > MAX_MEAN_DIFFERENCE:
                raise WeightsError(
                    f"{stage.name}: {name} {versions[name]} differs from {TRUSTED} by "
                    f"{here.mean:.4f} in the mean over {head.name}; expected at most "
                    f"{MAX_MEAN_DIFFERENCE:g}. Try another version of it."
                )
            if name not in worst or here.mean > worst[name].mean:
                worst[name] = here
    return dict(sorted(worst.items()))


def _to_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def _measure(found: NDArray[np.float32], trusted: NDArray[np.float32], version: str) -> Difference:
    gap = np.abs(found - trusted)
    return Difference(
        version,
        round(float(gap.mean()), 6),
        round(float(gap.max()), 6),
        round(dice(found > 0.5, trusted > 0.5), 6),
    )
