"""The graph that is released: the same network, other sums, and bytes that threads do not move."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from deskull.network.unet import NetworkSpec, UNet
from deskull.train.graph import make_onnx

SHAPE = (32, 48, 32)
PLAIN = NetworkSpec(filters=(4, 8, 16, 32))
SPECS = {
    "plain": PLAIN,
    "patched": replace(PLAIN, patch=2, refine=4),
    "no shortcuts": replace(PLAIN, residual=False),
    "batch norm": replace(PLAIN, norm="batch"),
    "learnt upsampling": replace(PLAIN, upsample="transposed"),
}


def release(spec):
    """Network with weights of half precision, and its ONNX."""
    torch.manual_seed(0)
    network = UNet(spec).eval()
    if network.refine is not None:
        torch.nn.init.normal_(network.refine.change.weight)
    network.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    return network, make_onnx(network, SHAPE)


def run_onnx(released, image, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(released, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


@pytest.mark.parametrize("name", SPECS)
def test_the_graph_computes_what_the_network_does_for_any_number_of_threads(name):
    network, released = release(SPECS[name])
    image = np.random.default_rng(0).normal(size=(1, 1, *SHAPE)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(image)).numpy()
    found = run_onnx(released, image, 1)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    for threads in (3, 8):
        assert run_onnx(released, image, threads).tobytes() == found.tobytes()


def test_nothing_is_repeated_before_it_is_convolved():
    _, released = release(SPECS["plain"])
    assert "Resize" not in {node.op_type for node in onnx.load_from_string(released).graph.node}
