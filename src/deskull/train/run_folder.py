"""The folder of a training run: recipe, checkpoints, logs, curves and pictures.

`recipe.json`, the last checkpoint and `best.safetensors`, the weights with the best validation
(`checkpoint.py`), `steps.tsv`, `validation.tsv`, `curves.png`, `pictures/`. If there is a folder
`tensorboard/`, the logs are written there as well.
"""

import copy
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from torch import Tensor

from deskull.errors import InputError, WeightsError, explain_missing
from deskull.image.grid import make_ras_grid
from deskull.image.writing import make_folder, save_bytes
from deskull.network.unet import UNet
from deskull.picture import draw_mosaic, encode_png
from deskull.train.checkpoint import (
    BEST,
    LAST,
    State,
    load_state,
    load_tensors,
    read_step,
    save_state,
    save_weights,
    take_part,
)
from deskull.train.recipe import Recipe, make_recipe
from deskull.train.synthesis import Example
from deskull.typed_json import to_plain

logger = logging.getLogger(__name__)
RECIPE = "recipe.json"
BOARD = "tensorboard"
CURVE_POINTS = 200
"""Largest number of points of a curve; of more steps each point is a mean."""

STEP_COLUMNS = ("step", "loss", "dice", "iou", "seconds_per_step")
VALIDATION_COLUMNS = ("step", "loss", "dice", "iou")


class Run:
    """The folder of one run.

    Parameters
    ----------
    folder
        Path of the folder, which is made if missing.
    recipe
        Recipe of the run; equal to the one that the folder was begun with.
    writes
        Whether this process writes; True for one process of a run.

    Raises
    ------
    InputError
        If the folder was begun with another recipe.
    """

    def __init__(self, folder: Path, recipe: Recipe, writes: bool = True) -> None:
        self.folder, self.recipe, self.writes = folder, recipe, writes
        self.board: Any = None
        check_same_recipe(folder, recipe)
        if writes and not (folder / RECIPE).exists():
            make_folder(folder)
            text = json.dumps(to_plain(recipe), indent=1) + "\n"
            save_bytes(text.encode(), folder / RECIPE)

    def begin(self, start: UNet | None, device: str) -> State:
        """Make the state of a new run, or load that of the last checkpoint."""
        settings = self.recipe.training
        with seeded(self.recipe.seed, "cpu"):
            network = copy.deepcopy(start) or UNet(self.recipe.network)
            mean = UNet(self.recipe.network).to(device)
        network = network.to(device)
        cast(Any, network).to(memory_format=torch.channels_last_3d)  # typed since torch 2.14
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
        begun = (self.folder / LAST).exists()
        if begun:
            load_state(state, self.folder)
        if self.writes:
            self._drop_rows_after(state.step if begun else -1)
            self.board = _open_board(self.folder, state.step)
        return state

    def save(self, state: State) -> None:
        """Write the last checkpoint, completely or not at all."""
        if self.writes:
            save_state(state, self.folder)

    def log_step(self, step: int, loss: float, dice: float, iou: float, seconds: float) -> None:
        """Log a step."""
        self._append("steps.tsv", STEP_COLUMNS, (step, loss, dice, iou, seconds))

    def list_validated(self) -> list[int]:
        """List the steps after which the run has been validated."""
        return [int(step) for step in _read_validation(self.folder)["step"]]

    def log_validation(self, state: State, loss: float, dice: float, iou: float) -> None:
        """Log a validation; keep the weights if they are the best so far."""
        row = {"loss": round(loss, 5), "dice": round(dice, 5)}  # as in the table
        best = find_kept(self.folder, self.recipe)
        column, sign = _rank_by(self.recipe)
        if not math.isfinite(row[column]):
            logger.warning("step %d: validation %s is %s", state.step, column, row[column])
        elif best is None or sign * row[column] < sign * best[column]:
            save_weights(state.mean.state_dict(), self.folder / BEST, state.step)
        self._append("validation.tsv", VALIDATION_COLUMNS, (state.step, loss, dice, iou))
        self.draw_curves()

    def _append(self, name: str, columns: tuple[str, ...], row: tuple[float, ...]) -> None:
        if not self.writes:
            return
        path = self.folder / name
        text = path.read_text("utf-8") if path.exists() else "\t".join(columns) + "\n"
        text += f"{row[0]}\t" + "\t".join(f"{x:.5f}" for x in row[1:]) + "\n"
        save_bytes(text.encode(), path)
        for column, value in zip(columns[1:], row[1:], strict=True) if self.board else ():
            self.board.add_scalar(f"{path.stem}/{column}", value, row[0])

    def close(self) -> None:
        """Close the logs of TensorBoard."""
        if self.board is not None:
            self.board.close()

    def _drop_rows_after(self, step: int) -> None:
        """Drop the rows that a killed run wrote after its last checkpoint."""
        for name, columns in (("steps.tsv", STEP_COLUMNS), ("validation.tsv", VALIDATION_COLUMNS)):
            path = self.folder / name
            if path.exists():
                table = pd.read_csv(path, sep="\t").reindex(columns=list(columns))
                kept = table[table["step"] <= step].to_csv(sep="\t", index=False)
                save_bytes(kept.encode(), path)

    def draw_curves(self) -> None:
        """Draw loss, Dice and IoU over the steps, as far as there are any."""
        from matplotlib.figure import Figure

        if not self.writes:
            return
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.subplots(1, 2)
        for name, label in (("steps.tsv", "training"), ("validation.tsv", "validation")):
            table = _read_curve(self.folder / name)
            for column in [c for c in ("loss", "dice", "iou") if c in table.columns]:
                axis = axes[0 if column == "loss" else 1]
                axis.plot(table["step"], table[column], marker=".", label=f"{label} {column}")
        for axis, title in zip(axes, ("loss", "overlap"), strict=True):
            axis.set(xlabel="step", title=title)
            if axis.lines:
                axis.legend()
        picture = BytesIO()
        figure.savefig(picture, format="png")
        save_bytes(picture.getvalue(), self.folder / "curves.png")

    def draw(self, step: int, example: Example, logits: Tensor, dice: float) -> None:
        """Draw a validation head with the network's mask."""
        make_folder(self.folder / "pictures")
        image = example.image.numpy()
        mask = np.asarray(logits.numpy() > 0)
        grid = make_ras_grid((0, 0, 0), self.recipe.window.shape, example.voxel_size)
        title = f"step {step}, worst validation head, Dice {dice:.3f}"
        picture = encode_png(draw_mosaic(image, mask, grid, title))
        save_bytes(picture, self.folder / "pictures" / f"step_{step:06d}.png")


def _read_curve(path: Path) -> pd.DataFrame:
    """Read a table of a run; a long one as the means of `CURVE_POINTS` parts."""
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path, sep="\t")
    width = -(-len(table) // CURVE_POINTS)
    return table if width <= 1 else table.groupby(np.arange(len(table)) // width).mean()


def enable_tensorboard(folder: Path) -> None:
    """Write the logs of a run to TensorBoard as well, from its next step on.

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise InputError(f"--tensorboard: {explain_missing('tensorboard')}")
    make_folder(folder / BOARD)


def _open_board(folder: Path, step: int) -> Any:
    """Open the logs for TensorBoard, dropping what was logged after a step."""
    if not (folder / BOARD).is_dir() or find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / BOARD), purge_step=step + 1)


def check_same_recipe(folder: Path, recipe: Recipe) -> None:
    """Check that a folder has no run, or one with this recipe.

    Raises
    ------
    InputError
        If the folder was begun with another recipe, or one that cannot be read.
    """
    path = folder / RECIPE
    if not path.exists():
        return
    if _read_recipe(path, recipe.name) != recipe:
        raise InputError(
            f"{folder}: begun with another recipe (see {path.name}). Choose another --out."
        )


def find_complete(folder: Path, last_step: int) -> int | None:
    """Return the number of steps of a run that has taken them all; None of any other."""
    if not (folder / LAST).exists():
        return None
    step = load_tensors(folder / LAST)[1]
    return step if step >= last_step else None


def _read_recipe(path: Path, name: str) -> Recipe:
    """Read the recipe of a run."""
    try:
        return make_recipe(json.loads(path.read_text("utf-8")), name)
    except (OSError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"{path}: not a readable recipe ({reason}). Choose another folder."
        ) from error


def _rank_by(recipe: Recipe) -> tuple[str, int]:
    """Return the column that ranks validations, and the sign by which the best is the lowest."""
    return recipe.training.best, 1 if recipe.training.best == "loss" else -1


def find_best(table: pd.DataFrame, recipe: Recipe) -> dict[str, float] | None:
    """Find the row of the best validation; None if there is none.

    Parameters
    ----------
    table
        Rows of ``validation.tsv``.
    recipe
        Recipe that says what the best is.

    Examples
    --------
    >>> from deskull.train.recipe import load_recipe
    >>> table = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.4], "dice": [0.8, 0.9]})
    >>> find_best(table, load_recipe("segment"))["step"]
    2.0
    """
    column, sign = _rank_by(recipe)
    rows = [{str(k): float(v) for k, v in row.items()} for row in table.to_dict("records")]
    finite = [row for row in rows if math.isfinite(row[column])]
    return min(finite, key=lambda row: sign * row[column]) if finite else None


def find_kept(folder: Path, recipe: Recipe) -> dict[str, float] | None:
    """Find the validation of the weights that a run keeps as the best; None if there are none."""
    try:
        step = read_step(folder / BEST)
    except (OSError, SafetensorError):  # none yet, removed, or damaged
        return None
    table = _read_validation(folder)
    return find_best(table[table["step"] == step], recipe)


def _read_validation(folder: Path) -> pd.DataFrame:
    path = folder / "validation.tsv"
    if not path.exists():
        return pd.DataFrame(columns=list(VALIDATION_COLUMNS))
    return pd.read_csv(path, sep="\t")


def load_released(folder: Path) -> tuple[Recipe, UNet, int]:
    """Load the network that a run would release: the best one, or the last running mean.

    Returns
    -------
    tuple
        Recipe, network in evaluation mode, and the number of its step.

    Raises
    ------
    WeightsError
        If the folder has no run, or a damaged one.
    InputError
        If its recipe cannot be read.
    """
    if not (folder / LAST).is_file() or not (folder / RECIPE).is_file():
        raise WeightsError(f"{folder}: no {LAST}; expected the folder of a training run.")
    recipe = _read_recipe(folder / RECIPE, folder.name)
    path = folder / BEST if (folder / BEST).is_file() else folder / LAST
    tensors, step = load_tensors(path)
    if path.name == LAST:
        tensors = take_part(tensors, "mean")
    network = UNet(recipe.network).eval()
    network.load_state_dict(tensors)
    return recipe, network, step


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch's own generators within a block, and restore them afterwards.

    Examples
    --------
    >>> with seeded(3, "cpu"):
    ...     first = torch.rand(())
    >>> with seeded(3, "cpu"):
    ...     bool(first == torch.rand(()))
    True
    """
    where = torch.device(device)
    devices = [where.index or 0] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
