"""A network as ONNX, in the form that ONNX Runtime computes fastest, and with equal bytes.

Weights are stored in half precision. Of the graph that torch writes only sums are taken in another
order; the network stays the same. What is stored in the file stays the same too: new kernels are
made of the stored ones by operations on constants, which a runtime folds on loading.
"""

import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from deskull.errors import WeightsError
from deskull.image.grid import Shape
from deskull.network.unet import UNet

OPSET = 18
"""Version of the ONNX operators."""

FEW_VOXELS = 1352
"""Where a convolution gives fewer, the runtime cuts its sums otherwise for 3 to 8 threads."""

GROUPS = 4
"""A grouped convolution is cut by groups, for any number of threads in the same way."""


def make_onnx(network: UNet, shape: Shape) -> bytes:
    """Write a network as ONNX with its weights stored in half precision.

    The weights are cast to float32 on loading, so that every runtime computes with the very
    same numbers.

    Parameters
    ----------
    network
        Network to write; it is put into evaluation mode.
    shape
        Number of voxels of its window along x, y, z.

    Raises
    ------
    WeightsError
        If torch cannot write the network.
    """
    image = torch.zeros(1, 1, *shape)
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
    settle(model)
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
    """Silence torch's messages while it writes ONNX."""
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
    """Replace a float32 constant by a float16 constant and a cast."""
    name, stored = entry.name, f"{entry.name}.half"
    graph.initializer.remove(entry)
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
    graph.node.insert(0, helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))


def settle(model: onnx.ModelProto) -> None:
    """Rewrite a graph in place.

    A convolution of nearest-upsampled and other features becomes a transposed convolution of the
    former before they are upsampled, and a convolution of the latter: 8 of 27 products are left,
    and nothing is repeated. A convolution with few voxels is written in groups, so that its bytes
    do not depend on the number of threads.

    Parameters
    ----------
    model
        Model of opset 18 with an input of fixed shape.
    """
    graph = model.graph
    nodes = list(_Rewriter(model).rewrite())
    _replace(graph.node, _drop_unused(nodes, [one.name for one in graph.output]))
    read = {name for node in graph.node for name in node.input}
    _replace(graph.initializer, [one for one in graph.initializer if one.name in read])


class _Rewriter:
    """Nodes of a graph, some of them replaced by others."""

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {one.name: list(one.dims) for one in inferred.initializer} | {
            one.name: [length.dim_value for length in one.type.tensor_type.shape.dim]
            for one in (*inferred.value_info, *inferred.output)
        }
        self.graph = model.graph
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.made: list[NodeProto] = []

    def rewrite(self) -> Iterator[NodeProto]:
        """Nodes in an order in which they can be computed."""
        for node in self.graph.node:
            self.made = []
            if node.op_type != "Conv":
                yield node
            elif (parts := self._find_upsampled(node.input[0])) is not None:
                self._split(node, *parts)
                yield from self.made
            else:
                yield from self._group(node)

    def _group(self, conv: NodeProto) -> list[NodeProto]:
        """Write a convolution with few voxels in groups, another one as it is."""
        filters, *grid = self.shapes[conv.output[0]][1:]
        is_point = max(self.shapes[conv.input[1]][2:]) == 1
        if math.prod(grid) >= FEW_VOXELS or filters % GROUPS or is_point:
            return [conv]
        tiled = f"{conv.output[0]}.tiled"
        tile = helper.make_node("Concat", [conv.input[0]] * GROUPS, [tiled], tiled, axis=1)
        return [tile, _copy(conv, [tiled, *conv.input[1:]], group=GROUPS)]

    def _find_upsampled(self, name: str) -> tuple[str, str] | None:
        """Features before they are upsampled, and those that are concatenated, if so."""
        joined = self.makers.get(name)
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 2:
            return None
        first = self.makers.get(joined.input[0])
        if first is None or first.op_type != "Resize":
            return None
        return first.input[0], joined.input[1]

    def _split(self, conv: NodeProto, deep: str, skip: str) -> None:
        """Convolve deep features, and those beside them, each for itself."""
        name, kernel = conv.output[0], conv.input[1]
        size, channels = self.shapes[kernel][2], self.shapes[deep][1]
        ends = [self._constant([end]) for end in (0, channels, 2**31)]
        axis = self._constant([1])
        first = self._add("Slice", [kernel, ends[0], ends[1], axis], f"{name}.kernel")
        second = self._add("Slice", [kernel, ends[1], ends[2], axis], f"{name}.skip_kernel")
        spread = self._spread(first, size, name)
        pads = [size // 2] * 6
        up = self._add("ConvTranspose", [deep, spread], f"{name}.up", strides=[2] * 3, pads=pads)
        beside = self._add("Conv", [skip, second, *conv.input[2:]], f"{name}.beside", pads=pads)
        self.shapes |= {beside: self.shapes[name], second: self.shapes[kernel]}
        self.made += self._group(self.made.pop())
        self._add("Add", [up, beside], name)

    def _spread(self, kernel: str, size: int, name: str) -> str:
        """Turn a kernel for features repeated twice along each axis into one for the features.

        (out, in, 3, 3, 3) or (out, in, 1, 1, 1) becomes a transposed one, (in, out, 4, 4, 4) or
        (in, out, 2, 2, 2).
        """
        kernel = self._add("Transpose", [kernel], f"{name}.turned", perm=[1, 0, 2, 3, 4])
        back = self._constant([-1, -1, -1])
        ends, axes = self._constant([-size - 1] * 3), self._constant([2, 3, 4])
        kernel = self._add("Slice", [kernel, back, ends, axes, back], f"{name}.flipped")
        for axis in (2, 3, 4):
            pads = np.zeros((2, 2, 5), np.int64)  # one before, or one behind
            pads[0, 0, axis] = pads[1, 1, axis] = 1
            both = [
                self._add("Pad", [kernel, self._constant(pad.ravel())], f"{name}.{axis}{side}")
                for side, pad in enumerate(pads)
            ]
            kernel = self._add("Add", both, f"{name}.{axis}")
        return kernel

    def _add(self, operation: str, inputs: list[str], name: str, **settings: object) -> str:
        self.made.append(helper.make_node(operation, inputs, [name], name, **settings))
        return name

    def _constant(self, values: Iterable[int]) -> str:
        array = np.array(list(values), np.int64)
        name = "constant." + ".".join(map(str, array))
        if name not in self.shapes:
            self.shapes[name] = list(array.shape)
            self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def _copy(node: NodeProto, inputs: list[str], **settings: object) -> NodeProto:
    """Copy a node with other inputs and some other settings."""
    kept = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return helper.make_node(node.op_type, inputs, node.output, node.name, **kept | settings)


def _drop_unused(nodes: list[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """Nodes that the wanted ones are made of."""
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _replace(field: object, values: Iterable[object]) -> None:
    """Put copies of other messages into a repeated field."""
    copies = [type(one).FromString(one.SerializeToString()) for one in values]  # type: ignore[attr-defined]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]
