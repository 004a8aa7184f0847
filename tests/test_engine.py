import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deskull.demo import load_demo
from deskull.errors import InputError
from deskull.measure.metrics import dice
from deskull.network import engine
from deskull.network.engine import count_threads, find_device, find_runtime, make_engine
from deskull.network.view import release_memory
from deskull.network.weights import load_weights
from deskull.prepare.conform import conform, make_window
from deskull.prepare.intensity import normalise


@pytest.fixture(scope="module")
def stage():
    return load_weights().locate


@pytest.fixture(scope="module")
def image(stage):
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in stage.window.shape], indexing="ij")
    ball = (x**2 + y**2 + z**2 < 0.2) * 1.0
    return (ball + rng.normal(0, 0.1, stage.window.shape)).astype(np.float32)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_runtimes_agree(stage, image, runtime):
    pytest.importorskip(runtime)
    first = make_engine(stage, "cpu", 2, "onnxruntime")(image)
    other = make_engine(stage, "cpu", 2, runtime)(image)
    assert first.shape == (len(stage.spec.outputs), *stage.window.shape)
    # bfloat16 keeps 8 bits; where float32 is used the two are far nearer.
    assert np.mean((first > 0) == (other > 0)) > 0.998


def test_bfloat16_agrees_with_float32():
    pytest.importorskip("openvino")
    stage, head = load_weights().segment, load_demo()[0]
    window = make_window((0, 0, 0), head.grid, stage.window.shape, 2.0)
    image = normalise(conform(head.data, head.grid, window, fill=0.0))
    exact = engine._use_openvino(stage, "cpu", 2, "f32")(image)[0] > 0
    coarse = engine._use_openvino(stage, "cpu", 2, "bf16")(image)[0] > 0
    assert dice(coarse, exact) >= 0.998


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_same_engine_gives_the_same_bytes(stage, image, runtime):
    pytest.importorskip(runtime)
    run = make_engine(stage, "cpu", 2, runtime)
    assert run(image).tobytes() == run(image).tobytes()


def test_auto_is_the_cpu_where_no_gpu_is(monkeypatch):
    monkeypatch.setattr(engine, "_may_have_gpu", lambda: False)
    assert find_device("auto") == "cpu"


def test_auto_falls_back_with_a_note(monkeypatch, caplog):
    monkeypatch.setattr(engine, "_may_have_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "torch" or None)
    assert find_device("auto") == "cpu"
    assert "using the CPU" in caplog.text


def test_without_any_runtime_the_default_one_is_named_alone(monkeypatch, caplog):
    monkeypatch.setattr(engine, "_may_have_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = "none of onnxruntime, openvino, torch is installed. Run: pip install onnxruntime$"
    with pytest.raises(InputError, match=message):
        find_runtime(find_device("auto"))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "expected auto, cpu"),
        ("cuda:x", "expected auto, cpu"),
        ("cuda:97", "not available"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(InputError, match=message):
        find_device(device)


def test_a_runtime_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="expected one of openvino"):
        find_runtime("cpu", "tensorflow")
    with pytest.raises(InputError, match=r"openvino is not installed.*'deskull\[openvino\]'"):
        find_runtime("cuda:0", "openvino")


@pytest.mark.parametrize(
    ("amx", "installed", "best"),
    [
        (False, ("openvino", "onnxruntime", "torch"), "onnxruntime"),
        (False, ("openvino", "torch"), "openvino"),
        (True, ("openvino", "onnxruntime", "torch"), "openvino"),
        (True, ("onnxruntime", "torch"), "onnxruntime"),
        (True, ("torch",), "torch"),
    ],
)
def test_the_best_runtime_that_is_installed_serves(monkeypatch, amx, installed, best):
    monkeypatch.setattr(engine, "_has_fast_bfloat16", lambda: amx)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: object() if name in installed else None
    )
    assert find_runtime("cpu") == best


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert count_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert count_threads() == 5
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    assert count_threads() >= 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_cpu_engine_needs_no_torch(stage, image, monkeypatch, runtime):
    pytest.importorskip(runtime)
    monkeypatch.setitem(sys.modules, "torch", None)
    make_engine(stage, "cpu", 1, runtime)(image)


def test_threads_that_are_the_first_to_load_do_not_trip_over_each_other():
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from deskull import Stripper\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(lambda _: Stripper.load(device='cpu', threads=1), range(4)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.skipif(sys.platform == "win32", reason="no signals of POSIX")
def test_ctrl_c_after_a_stripper_is_gone_is_an_interrupt_and_no_crash(runtime):
    pytest.importorskip(runtime)
    code = (
        "import gc, signal\n"
        "from deskull.stripper import Stripper\n"
        f"stripper = Stripper.load(device='cpu', threads=1, runtime={runtime!r})\n"
        "del stripper\n"
        "gc.collect()\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    arguments = [sys.executable, "-X", "faulthandler", "-c", code]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n")


GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_freed_memory_is_given_back_before_the_network_runs():
    def measure_mb():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    blocks = [np.ones(2**13) for _ in range(1000)]  # 64 KB each: from the heap, 62 MB in all
    kept, full = blocks.pop(), measure_mb()
    del blocks
    release_memory()
    assert kept.all()
    assert measure_mb() < full - 50
