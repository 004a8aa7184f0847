"""Whether every runtime gives the answer of the network that was trained, on whole heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import WeightsError
from deskull.image.volume import Volume
from deskull.measure.metrics import dice
from deskull.network.engine import count_threads, find_runtimes, make_engine
from deskull.network.weights import Stage
from deskull.prepare.conform import conform, find_head_centres, make_window
from deskull.prepare.intensity import make_finite, normalise

TRUSTED = "torch"
MOST_MEAN = 0.005
"""Mean difference of probability at most; bfloat16 gives about 0.001, a wrong layer 0.1."""


@dataclass(frozen=True)
class Difference:
    """How far a runtime's answers lie from those of torch, the worst over the heads.

    Parameters
    ----------
    version
        Of the runtime.
    mean, largest
        Absolute difference of the brain's probability.
    dice
        Of the masks; 1 where both are empty.
    """

    version: str
    mean: float
    largest: float
    dice: float


def check_parity(stages: Sequence[Stage], heads: Sequence[Volume]) -> dict[str, Any]:
    """Ask every installed runtime about the same heads.

    Parameters
    ----------
    stages
        Networks as they will be released.
    heads
        Whole heads, one at least.

    Returns
    -------
    dict
        Number of heads, and by stage and runtime the fields of `Difference`: fit for JSON, and
        without the name of any head.

    Raises
    ------
    WeightsError
        If a runtime's probabilities differ by more than `MOST_MEAN`.
    """
    told = {stage.name: _compare(stage, heads) for stage in stages}
    return {"heads": len(heads), "against": TRUSTED, **told}


def _compare(stage: Stage, heads: Sequence[Volume]) -> dict[str, dict[str, Any]]:
    """Worst difference of each runtime over the heads."""
    brain, versions = stage.outputs.index("brain"), find_runtimes()
    engines = {name: make_engine(stage, "cpu", count_threads(), name) for name in versions}
    worst: dict[str, Difference] = {}
    for head in heads:
        image = _show(head, stage)
        answers = {name: _to_probability(ask(image)[brain]) for name, ask in engines.items()}
        for name in engines.keys() - {TRUSTED}:
            here = _measure(answers[name], answers[TRUSTED], versions[name])
            if here.mean > MOST_MEAN:
                raise WeightsError(
                    f"{stage.name}: {name} {versions[name]} differs from {TRUSTED} by "
                    f"{here.mean:.4f} in the mean over {head.name}; expected {MOST_MEAN:g} at "
                    "most. Try another version of it."
                )
            if name not in worst or here.mean > worst[name].mean:
                worst[name] = here
    return {name: vars(worst[name]) for name in sorted(worst)}


def _show(head: Volume, stage: Stage) -> NDArray[np.float32]:
    """Window about the middle of the head, normalised."""
    data, air = make_finite(head.data, head.grid)
    size, shape = stage.window.choose_voxel_size(), stage.window.shape
    centre = np.mean(find_head_centres(data, head.grid, size * min(shape)), axis=0)
    window = make_window(centre, head.grid, shape, size)
    return normalise(conform(data, head.grid, window, fill=air))


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
