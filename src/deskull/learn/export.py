"""From checkpoints to released weights: ONNX and safetensors in half precision, and a card."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from deskull.errors import InputError, WeightsError
from deskull.image.volume import Volume
from deskull.image.writing import make_folder, save_bytes
from deskull.learn.parity import check_parity
from deskull.learn.parts import count_parts
from deskull.learn.recipe import Recipe
from deskull.learn.runs import load_released
from deskull.network.unet import UNet
from deskull.network.weights import CARD, FORMAT, Stage, Weights, load_weights

OPSET = 18
WORDS = ("licence", "population", "convention", "data")
OWN = ("format", "stages", "parity", "files")  # of the card, which no words may replace


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
        Folder of the run for each stage: ``"segment"``, and ``"locate"`` if there is one.
    folder
        Where to write; made if missing.
    about
        The words of the card: `licence`, `population`, `convention`, `data`.
    base
        Released weights that give the stage `locate` where no run does; the bundled ones if
        not given and the segment run's window lies about the brain, which has to be found.
    check
        Heads on which the runtimes are compared with torch; what was found is in the card.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    WeightsError
        If a run holds no checkpoint, or a runtime answers otherwise than torch.
    InputError
        If the words of the card are incomplete.
    OutputError
        If something cannot be written.
    """
    check_about(about)
    released = {name: load_released(run) for name, run in runs.items()}
    around = released["segment"][0].preparation.centre
    if base is None and "locate" not in runs and around == "brain":
        base = load_weights("default")
    make_folder(folder)
    stages: dict[str, Any] = {}
    made: list[Stage] = []
    for name, (recipe, network, step) in released.items():
        halves = {
            k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()
        }
        save_bytes(save(halves), folder / f"{name}.safetensors")
        network.load_state_dict(halves)
        save_bytes(make_onnx(network, recipe), folder / f"{name}.onnx")
        stages[name] = recipe.to_dict() | {"steps": step, "split": count_parts(runs[name])}
        made.append(_make_stage(name, recipe, folder))
    if base is not None and base.locate is not None and "locate" not in runs:
        stages["locate"] = base.card["stages"]["locate"]
        save_bytes(base.locate.onnx, folder / "locate.onnx")
        save_bytes(base.locate.tensors.read_bytes(), folder / "locate.safetensors")
    files = [f"{name}.{kind}" for name in stages for kind in ("onnx", "safetensors")]
    card = {
        "format": FORMAT,
        **about,
        "stages": stages,
        **({"parity": check_parity(made, check)} if check else {}),
        "files": {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files},
    }
    path = folder / CARD
    save_bytes((json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode(), path)
    load_weights(folder)
    return path


def _make_stage(name: str, recipe: Recipe, folder: Path) -> Stage:
    """Describe a network that was just written, as `load_weights` will."""
    return Stage(
        name=name,
        window=recipe.window,
        outputs=recipe.network.outputs,
        centre=recipe.preparation.centre,
        onnx=(folder / f"{name}.onnx").read_bytes(),
        spec=asdict(recipe.network),
        tensors=folder / f"{name}.safetensors",
    )


def check_about(about: object) -> None:
    """Check the words of a card.

    Raises
    ------
    InputError
        If they are no JSON object, some are missing or empty, or they name what export writes.
    """
    if not isinstance(about, Mapping):
        raise InputError(f"words of the card: {about!r:.60}; expected a JSON object.")
    missing = [word for word in WORDS if not about.get(word)]
    if missing:
        raise InputError(
            f"words of the card: {', '.join(missing)} missing or empty; expected "
            f"{', '.join(WORDS)}. Say of whom the heads are and who may use the weights."
        )
    taken = [word for word in OWN if word in about]
    if taken:
        raise InputError(f"words of the card: {', '.join(taken)}; export itself writes these.")


def make_onnx(network: UNet, recipe: Recipe) -> bytes:
    """Write a network as ONNX with its weights stored in half precision.

    The weights are cast to float32 on loading, so that every runtime computes with the very
    same numbers.
    """
    image = torch.zeros(1, 1, *recipe.window.shape)
    with _silent_torch():
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


@contextmanager
def _silent_torch() -> Iterator[None]:
    """Keep torch from talking about itself while it writes ONNX."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _store_half(
    graph: onnx.GraphProto, entry: onnx.TensorProto, values: np.ndarray[Any, Any]
) -> None:
    """Replace a float32 constant by a float16 one and a cast."""
    name, stored = entry.name, f"{entry.name}.half"
    graph.initializer.remove(entry)
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
    graph.node.insert(0, helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
