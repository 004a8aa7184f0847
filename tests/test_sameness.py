"""The same answer: from run to run, nearly so for any number of threads and every runtime."""

import hashlib
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from deskull.demo import load_demo
from deskull.image.writing import save_image
from deskull.measure.metrics import dice
from deskull.stripper import Stripper


@pytest.fixture(scope="module")
def head():
    """The bundled head at about 3 mm."""
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    return nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))


@pytest.fixture(scope="module")
def first(head):
    return Stripper.load(device="cpu", threads=1, runtime="openvino")(head)


@pytest.mark.parametrize("threads", [2, 4])
def test_the_number_of_threads_changes_next_to_nothing(head, first, threads):
    result = Stripper.load(device="cpu", threads=threads, runtime="openvino")(head)
    assert dice(result.mask, first.mask) >= 0.9999
    np.testing.assert_allclose(result.probability, first.probability, atol=2e-3)


def test_the_same_number_of_threads_changes_nothing(head, first):
    result = Stripper.load(device="cpu", threads=1, runtime="openvino")(head)
    assert result.mask.tobytes() == first.mask.tobytes()
    assert result.probability.tobytes() == first.probability.tobytes()


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
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
        words = ["scan.nii.gz", outputs[0], "-m", outputs[1], "-d", outputs[2]]
        subprocess.run([sys.executable, "-m", "deskull", *words], cwd=tmp_path, check=True)
        files = [tmp_path / output for output in outputs]
        found.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert found[0] == found[1]
