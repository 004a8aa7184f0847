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
from safetensors.torch import load_file, save

from deskull.errors import WeightsError
from deskull.learn.recipe import Recipe, make_recipe
from deskull.network.unet import UNet
from deskull.network.weights import CARD, FORMAT

OPSET = 18


def export(runs: Mapping[str, Path], folder: Path, about: Mapping[str, Any]) -> Path:
    """Release the running mean of one or two training runs as a set of weights.

    Parameters
    ----------
    runs
        Folder of the run for each stage: ``"segment"``, and ``"locate"`` if there is one.
    folder
        Where to write; made if missing.
    about
        The words of the card: `licence`, `population`, `convention`, `data`.

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
        recipe, network, step = _load_mean(run)
        tensors = {k: v.half().contiguous() for k, v in network.state_dict().items()}
        (folder / f"{name}.safetensors").write_bytes(save(tensors))
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
        (folder / f"{name}.onnx").write_bytes(make_onnx(network, recipe))
        fields = recipe.to_dict()
        stages[name] = {
            "window": fields["window"],
            "network": fields["network"],
            "training": fields["training"] | {"steps": step},
            "augment": fields["augment"],
        }
    files = [f"{name}.{kind}" for name in runs for kind in ("onnx", "safetensors")]
    card = {
        "format": FORMAT,
        **about,
        "preparation": {"n4": None},
        "stages": stages,
        "files": {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files},
    }
    path = folder / CARD
    path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def _load_mean(run: Path) -> tuple[Recipe, UNet, int]:
    """Load the running mean of the weights from a run's last checkpoint."""
    checkpoint = run / "last.safetensors"
    if not checkpoint.is_file():
        raise WeightsError(f"{run}: no {checkpoint.name}; expected the folder of a training run.")
    recipe = make_recipe(json.loads((run / "recipe.json").read_text("utf-8")), run.name)
    tensors = load_file(checkpoint)
    network = UNet(recipe.network).eval()
    network.load_state_dict(
        {k.removeprefix("mean."): v for k, v in tensors.items() if k.startswith("mean.")}
    )
    steps = [int(v) for k, v in tensors.items() if k == "optimiser.0.step"]
    return recipe, network, steps[0] if steps else 0


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
