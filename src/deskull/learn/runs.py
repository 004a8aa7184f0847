"""The folder of a training run: recipe, checkpoints, logs, curves and pictures.

`recipe.json`, `last.safetensors` (all that resuming needs), `best.safetensors` (the weights
that did best on the persons kept apart), `steps.tsv`, `validation.tsv`, `curves.png`,
`pictures/`. Where there is a folder `tensorboard/`, the logs go there as well.
"""

import copy
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from deskull.errors import InputError, WeightsError, explain_missing
from deskull.image.geometry import make_ras_grid
from deskull.image.writing import make_folder, save_bytes
from deskull.learn.processes import seeded
from deskull.learn.recipe import Recipe, make_recipe
from deskull.learn.synthesis import Example
from deskull.learn.writing import explain_writing
from deskull.network.unet import UNet
from deskull.picture import draw_mosaic, encode_png

logger = logging.getLogger(__name__)
RECIPE, LAST, BEST = "recipe.json", "last.safetensors", "best.safetensors"
BOARD = "tensorboard"
LOG_EVERY = 20
STEP_COLUMNS = ("step", "loss", "dice", "iou", "seconds_per_step")
VALIDATION_COLUMNS = ("step", "loss", "dice", "iou")


@dataclass
class State:
    """What a checkpoint holds."""

    network: UNet
    mean: UNet
    optimiser: torch.optim.Optimizer
    step: int = 0


class Run:
    """One run's folder.

    Parameters
    ----------
    folder
        Made if missing.
    recipe
        Of the run; must be the one that the folder was begun with.
    writes
        False for a process beside the one that writes.

    Raises
    ------
    InputError
        If the folder was begun with another recipe.
    """

    def __init__(self, folder: Path, recipe: Recipe, writes: bool = True) -> None:
        self.folder, self.recipe, self.writes = folder, recipe, writes
        self.pending: list[tuple[float, ...]] = []
        self.board: Any = None
        check_begun(folder, recipe)
        if writes and not (folder / RECIPE).exists():
            make_folder(folder)
            text = json.dumps(recipe.to_dict(), indent=1) + "\n"
            save_bytes(text.encode(), folder / RECIPE)

    def begin(self, start: UNet | None, device: str) -> State:
        """Make the state of a new run, or load that of the last checkpoint."""
        settings = self.recipe.training
        with seeded(self.recipe.seed, "cpu"):
            network = copy.deepcopy(start) or UNet(self.recipe.network)
            mean = UNet(self.recipe.network).to(device)
        network = network.to(device)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        mean.load_state_dict(network.state_dict())
        for name, parameter in network.named_parameters():
            parameter.requires_grad = name.split(".")[0] not in settings.frozen
        moving = [p for p in network.parameters() if p.requires_grad]
        optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(moving)
            if settings.optimiser == "adam"
            else torch.optim.AdamW(moving, weight_decay=settings.weight_decay)
        )
        state = State(network, mean, optimiser)
        if (self.folder / LAST).exists():
            _load_state(state, self.folder / LAST)
        if self.writes:
            self._forget_after(state.step)
            self.board = _open_board(self.folder, state.step)
        return state

    def save(self, state: State) -> None:
        """Write the last checkpoint, whole or not at all."""
        if not self.writes:
            return
        tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in state.mean.state_dict().items()}
        for index, entry in state.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in entry.items()}
        _save_tensors(tensors, self.folder / LAST, state.step)

    def log_step(self, step: int, loss: float, dice: float, iou: float, seconds: float) -> None:
        """Note a step; means of `LOG_EVERY` steps make a row."""
        self.pending.append((loss, dice, iou, seconds))
        if step % LOG_EVERY == 0:
            means = [sum(column) / len(self.pending) for column in zip(*self.pending, strict=True)]
            self._append("steps.tsv", STEP_COLUMNS, (step, *means))
            self.pending = []

    @property
    def has_validated(self) -> bool:
        """Whether the persons kept apart were looked at before."""
        return len(self._read_validation()) > 0

    def log_validation(self, state: State, loss: float, dice: float, iou: float) -> None:
        """Note a look at the persons kept apart; keep the weights if they are the best so far."""
        row = {"loss": round(loss, 5), "dice": round(dice, 5)}  # as the table has them
        best = find_best(self._read_validation(), self.recipe)
        column, sign = _rank_by(self.recipe)
        if not math.isfinite(row[column]):
            logger.warning("step %d: validation %s is %s", state.step, column, row[column])
        elif best is None or sign * row[column] < sign * best[column]:
            _save_tensors(state.mean.state_dict(), self.folder / BEST, state.step)
        self._append("validation.tsv", VALIDATION_COLUMNS, (state.step, loss, dice, iou))
        self._draw_curves()

    def _read_validation(self) -> pd.DataFrame:
        path = self.folder / "validation.tsv"
        if not path.exists():
            return pd.DataFrame(columns=list(VALIDATION_COLUMNS))
        return pd.read_csv(path, sep="\t")

    def _append(self, name: str, columns: tuple[str, ...], row: tuple[float, ...]) -> None:
        if not self.writes:
            return
        path = self.folder / name
        head = "" if path.exists() else "\t".join(columns) + "\n"
        with explain_writing(path), path.open("a", encoding="utf-8") as file:
            file.write(head + f"{row[0]}\t" + "\t".join(f"{x:.5f}" for x in row[1:]) + "\n")
        for column, value in zip(columns[1:], row[1:], strict=True) if self.board else ():
            self.board.add_scalar(f"{path.stem}/{column}", value, row[0])

    def close(self) -> None:
        """Write no more logs."""
        if self.board is not None:
            self.board.close()

    def _forget_after(self, step: int) -> None:
        """Drop rows that a killed run wrote after its last checkpoint."""
        for name, columns in (("steps.tsv", STEP_COLUMNS), ("validation.tsv", VALIDATION_COLUMNS)):
            path = self.folder / name
            if path.exists():
                table = pd.read_csv(path, sep="\t").reindex(columns=list(columns))
                kept = table[table["step"] <= step].to_csv(sep="\t", index=False)
                save_bytes(kept.encode(), path)

    def _draw_curves(self) -> None:
        """Draw loss, Dice and IoU over steps."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.subplots(1, 2)
        for name, label in (("steps.tsv", "training"), ("validation.tsv", "validation")):
            path = self.folder / name
            if not path.exists():
                continue
            table = pd.read_csv(path, sep="\t")
            for column in [c for c in ("loss", "dice", "iou") if c in table.columns]:
                axis = axes[0 if column == "loss" else 1]
                axis.plot(table["step"], table[column], label=f"{label} {column}")
        for axis, title in zip(axes, ("loss", "overlap"), strict=True):
            axis.set(xlabel="step", title=title)
            axis.legend()
        with explain_writing(self.folder / "curves.png"):
            figure.savefig(self.folder / "curves.partial.png")
            os.replace(self.folder / "curves.partial.png", self.folder / "curves.png")

    def draw(self, step: int, example: Example, logits: Tensor, dice: float) -> None:
        """Draw a head kept apart with what the network makes of it."""
        make_folder(self.folder / "pictures")
        image = example.image.numpy()
        mask = np.asarray(logits.numpy() > 0)
        grid = make_ras_grid((0, 0, 0), self.recipe.window.shape, example.voxel_size)
        title = f"step {step}, the worst of the persons kept apart, Dice {dice:.3f}"
        picture = encode_png(draw_mosaic(image, mask, grid, title))
        save_bytes(picture, self.folder / "pictures" / f"step_{step:06d}.png")


def begin_board(folder: Path) -> None:
    """Have a run's logs go to TensorBoard as well, from its next step on.

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise InputError(f"--tensorboard: {explain_missing('tensorboard')}")
    make_folder(folder / BOARD)


def _open_board(folder: Path, step: int) -> Any:
    """Open a run's logs for TensorBoard, forgetting what was noted after a step."""
    if not (folder / BOARD).is_dir() or find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / BOARD), purge_step=step + 1)


def check_begun(folder: Path, recipe: Recipe) -> None:
    """Check that a folder holds no run, or one of this recipe.

    Raises
    ------
    InputError
        If the folder was begun with another recipe, or one that cannot be read.
    """
    path = folder / RECIPE
    if not path.exists():
        return
    wanted = make_recipe(json.loads(json.dumps(recipe.to_dict())), recipe.name)
    if _read_recipe(path, recipe.name) != wanted:
        raise InputError(
            f"{folder}: begun with another recipe (see {path.name}). Choose another --out."
        )


def _read_recipe(path: Path, name: str) -> Recipe:
    """Read the recipe of a run."""
    try:
        return make_recipe(json.loads(path.read_text("utf-8")), name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a readable recipe ({error}). Choose another folder."
        ) from error


def _rank_by(recipe: Recipe) -> tuple[str, int]:
    """Column of the validation's table that tells the best, and the sign that makes it fall."""
    return recipe.training.best, 1 if recipe.training.best == "loss" else -1


def find_best(table: pd.DataFrame, recipe: Recipe) -> dict[str, float] | None:
    """Find the row of the best look at the persons kept apart; None where there is none."""
    column, sign = _rank_by(recipe)
    rows = [{str(k): float(v) for k, v in row.items()} for row in table.to_dict("records")]
    finite = [row for row in rows if math.isfinite(row[column])]
    return min(finite, key=lambda row: sign * row[column]) if finite else None


def load_released(folder: Path) -> tuple[Recipe, UNet, int]:
    """Load the network that a run would release: the best, or the last running mean.

    Returns
    -------
    tuple
        Recipe, network in evaluation mode, and the step that it comes from.

    Raises
    ------
    WeightsError
        If the folder holds no run, or a damaged one.
    InputError
        If its recipe cannot be read.
    """
    if not (folder / LAST).is_file() or not (folder / RECIPE).is_file():
        raise WeightsError(f"{folder}: no {LAST}; expected the folder of a training run.")
    recipe = _read_recipe(folder / RECIPE, folder.name)
    path = folder / BEST if (folder / BEST).is_file() else folder / LAST
    tensors, step = _load_tensors(path)
    if path.name == LAST:
        tensors = _take_part(tensors, "mean")
    network = UNet(recipe.network).eval()
    network.load_state_dict(tensors)
    return recipe, network, step


def _take_part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _save_tensors(tensors: Mapping[str, Tensor], path: Path, step: int) -> None:
    temporary = path.with_suffix(".partial")
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with explain_writing(path):
        save_file(contiguous, temporary, metadata={"step": str(step)})
        os.replace(temporary, path)


def _load_tensors(path: Path) -> tuple[dict[str, Tensor], int]:
    """Load a checkpoint's tensors and the step that it was saved at."""
    try:
        with safe_open(path, "pt") as file:
            step = int((file.metadata() or {}).get("step", 0))
        return load_file(path), step
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint ({error}). Put a copy in its place, or "
            "remove it to begin anew."
        ) from error


def _load_state(state: State, path: Path) -> None:
    tensors, state.step = _load_tensors(path)
    state.network.load_state_dict(_take_part(tensors, "network"))
    state.mean.load_state_dict(_take_part(tensors, "mean"))
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in _take_part(tensors, "optimiser").items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value
    param_groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": param_groups})
