"""A checkpoint: all that a run needs to go on, in two files, and the weights of one step.

`last.safetensors` holds the network and the running mean of its weights; `optimiser_N.safetensors`
the optimiser's moments after the same step N, which is written first and removed last, so that a
killed run has both. Each file is half of what one would be: on the way back from a rented machine
a large file may be refused.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from deskull.errors import WeightsError
from deskull.image.writing import save_bytes
from deskull.network.unet import UNet

LAST, BEST = "last.safetensors", "best.safetensors"
MOMENTS = "optimiser_{}.safetensors"


@dataclass
class State:
    """What a checkpoint contains: networks, optimiser, and the number of steps taken."""

    network: UNet
    mean: UNet
    optimiser: torch.optim.Optimizer
    step: int = 0


def save_state(state: State, folder: Path) -> None:
    """Write a checkpoint, completely or not at all."""
    moments = {
        f"{index}.{name}": value
        for index, entry in state.optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }
    kept = folder / MOMENTS.format(state.step)
    save_weights(moments, kept, state.step)
    tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    tensors |= {f"mean.{k}": v for k, v in state.mean.state_dict().items()}
    save_weights(tensors, folder / LAST, state.step)
    for path in folder.glob(MOMENTS.format("*")):
        if path != kept:
            with suppress(OSError):  # the next checkpoint tries again
                path.unlink()


def load_state(state: State, folder: Path) -> None:
    """Load the last checkpoint into a state.

    Raises
    ------
    WeightsError
        If one of its files is damaged, missing, or of another run.
    """
    tensors, state.step = load_tensors(folder / LAST)
    state.network.load_state_dict(take_part(tensors, "network"))
    state.mean.load_state_dict(take_part(tensors, "mean"))
    moments = take_part(tensors, "optimiser")  # in one file, as older runs have them
    if state.step and not moments:
        moments = load_tensors(folder / MOMENTS.format(state.step))[0]
    entries: dict[int, dict[str, Tensor]] = {}
    param_groups = state.optimiser.state_dict()["param_groups"]
    try:
        for name, value in moments.items():
            index, key = name.split(".", 1)
            entries.setdefault(int(index), {})[key] = value.clone()  # the file can be deleted then
        state.optimiser.load_state_dict({"state": entries, "param_groups": param_groups})
    except (ValueError, KeyError) as error:
        raise WeightsError(
            f"{folder}: the optimiser's moments of step {state.step} are not of this network. "
            f"Put a copy in their place, or begin another run with --start {folder}."
        ) from error


def take_part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of a part of a checkpoint: ``"network"`` or ``"mean"``."""
    prefix = f"{part}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def save_weights(tensors: Mapping[str, Tensor], path: Path, step: int) -> None:
    """Write tensors with the number of their step, completely or not at all."""
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_bytes(save(contiguous, metadata={"step": str(step)}), path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], int]:
    """Load the tensors of a file, and the number of its step.

    Raises
    ------
    WeightsError
        If it is damaged or missing.
    """
    ways = {LAST: "remove it to begin anew", BEST: "remove it to release the last running mean"}
    way = ways.get(path.name, f"begin another run with --start {path.parent}")
    try:
        return load_file(path), read_step(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint ({error}). Put a copy in its place, or {way}."
        ) from error


def read_step(path: Path) -> int:
    """Read the number of the step after which a file was written."""
    with safe_open(path, "pt") as file:
        return int((file.metadata() or {}).get("step", 0))
