"""From checkpoints to released weights: ONNX and safetensors in half precision, and a card."""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from deskull.errors import WeightsError
from deskull.image.writing import save_bytes
from deskull.learn.recipe import Recipe
from deskull.learn.runs import load_released
from deskull.network.unet import UNet
from deskull.network.weights import CARD, FORMAT, Weights

OPSET = 18


def export(
    runs: Mapping[str, Path], folder: Path, about: Mapping[str, Any], base: Weights | None = None
) -> Path:
    """Release the best weights of one or two training runs.

    Parameters
    ----------
    runs
        Folder of the run for each stage: ``"segment"``, and ``"locate"`` if there is one.
    folder
        Where to write; made if missing.
    about
        The words of the card: `licence`, `population`, `convention`, `data`.
    base
        Released weights that give the stages which no run does.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    WeightsError
        If a run holds no checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stages: dict[str, Any] = {}
    for name, run in runs.items():
        recipe, network, step = load_released(run)
        halves = {
            k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()
        }
        save_bytes(save(halves), folder / f"{name}.safetensors")
        network.load_state_dict(halves)
        save_bytes(make_onnx(network, recipe), folder / f"{name}.onnx")
        stages[name] = recipe.to_dict() | {"steps": step}
    if base is not None and base.locate is not None and "locate" not in runs:
        stages["locate"] = base.card["stages"]["locate"]
        save_bytes(base.locate.onnx, folder / "locate.onnx")
        save_bytes(base.locate.tensors.read_bytes(), folder / "locate.safetensors")
    files = [f"{name}.{kind}" for name in stages for kind in ("onnx", "safetensors")]
    card = {
        "format": FORMAT,
        **about,
        "stages": stages,
        "files": {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files},
    }
    path = folder / CARD
    save_bytes((json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode(), path)
    return path


def make_onnx(network: UNet, recipe: Recipe) -> bytes:
    """Write a network as ONNX with its weights stored in half precision.

    The weights are cast to float32 on loading, so that every runtime computes with the very
    same numbers.
    """
    image = torch.zeros(1, 1, *recipe.window.shape)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # of torch about itself
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            (image,),
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise WeightsError("the network could not be written as ONNX.")
    model = program.model_proto
    for entry in list(model.graph.initializer):
        values = numpy_helper.to_array(entry)
        if values.dtype == np.float32 and values.size > 1:
            _store_half(model.graph, entry, values)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:], model.metadata_props[:], model.graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _store_half(
    graph: onnx.GraphProto, entry: onnx.TensorProto, values: np.ndarray[Any, Any]
) -> None:
    """Replace a float32 constant by a float16 one and a cast."""
    name, stored = entry.name, f"{entry.name}.half"
    graph.initializer.remove(entry)
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
    graph.node.insert(0, helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
