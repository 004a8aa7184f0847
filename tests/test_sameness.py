"""The same answer: from run to run, for any number of threads, and nearly so for every runtime."""

import hashlib
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from conftest import make_head
from deskull.demo import load_demo
from deskull.image.grid import Grid
from deskull.image.writing import save_image
from deskull.measure.metrics import dice
from deskull.network import engine
from deskull.network.weights import load_weights
from deskull.prepare.bias import correct_bias
from deskull.prepare.conform import conform, make_window, to_native
from deskull.prepare.intensity import normalise
from deskull.prepare.postprocess import make_signed_distance
from deskull.settings import BiasSettings
from deskull.stripper import Stripper


@pytest.fixture(scope="module")
def head():
    """The bundled head at about 3 mm."""
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    return nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))


@pytest.fixture(scope="module")
def first(head):
    return Stripper.load(device="cpu", threads=1, runtime="onnxruntime")(head)


@pytest.mark.parametrize("threads", [1, 2, 7, 32])
def test_the_number_of_threads_changes_no_bit(head, first, threads):
    result = Stripper.load(device="cpu", threads=threads, runtime="onnxruntime")(head)
    assert result.mask.tobytes() == first.mask.tobytes()
    assert result.probability.tobytes() == first.probability.tobytes()


@pytest.mark.parametrize("threads", [2, 4])  # OpenVINO starts no more than there are cores
def test_the_number_of_threads_changes_no_bit_with_openvino(head, threads):
    pytest.importorskip("openvino")
    first, result = (
        Stripper.load(device="cpu", threads=n, runtime="openvino")(head) for n in (1, threads)
    )
    assert result.mask.tobytes() == first.mask.tobytes()
    assert result.probability.tobytes() == first.probability.tobytes()


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_the_number_of_threads_changes_no_bit_of_a_network(precision):
    pytest.importorskip("openvino")
    stage = load_weights().locate
    image = np.random.default_rng(0).normal(size=stage.window.shape).astype(np.float32)
    one, two = (engine._use_openvino(stage, "cpu", n, precision)(image) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def turn(image):
    """The same voxels on axes that are parallel to none."""
    sine, cosine = np.sin(0.3), np.cos(0.3)
    turned = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return nib.Nifti1Image(image.dataobj, turned @ image.affine)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_changes_no_bit_of_the_way_to_the_network_and_back(threads):
    scan = turn(make_head()[0])
    data, grid = np.asarray(scan.dataobj), Grid(scan.shape, scan.affine)
    mask = make_head()[1]

    def work(count):
        window = make_window((0, 0, 0), grid, (48, 56, 48), 3.0)
        seen = conform(data, grid, window, fill=0.0, threads=count)
        back, _ = to_native(normalise(seen), window, grid, threads=count)
        distance = make_signed_distance(mask, grid.voxel_size, count)
        corrected, _ = correct_bias(data, grid.voxel_size, BiasSettings(2, (2,)), count)
        return [array.tobytes() for array in (seen, back, distance, corrected)]

    assert work(threads) == work(1)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_every_runtime_gives_one_mask(head, first, runtime):
    pytest.importorskip(runtime)
    result = Stripper.load(device="cpu", threads=2, runtime=runtime)(head)
    assert dice(result.mask, first.mask) >= 0.998


@pytest.mark.slow
def test_two_processes_write_equal_bytes(tmp_path, head):
    save_image(head, tmp_path / "scan.nii.gz")
    found = []
    for number in range(2):
        outputs = [f"b{number}.nii.gz", f"m{number}.mgz", f"d{number}.nii"]
        arguments = ["scan.nii.gz", outputs[0], "-m", outputs[1], "-d", outputs[2]]
        subprocess.run([sys.executable, "-m", "deskull", *arguments], cwd=tmp_path, check=True)
        files = [tmp_path / output for output in outputs]
        found.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert found[0] == found[1]
