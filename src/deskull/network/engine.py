"""Running a network: ONNX Runtime or OpenVINO on the CPU, or torch on a GPU; on how many cores.

An engine takes a normalised window (X, Y, Z) and gives logits (outputs, X, Y, Z); it knows
nothing of scans. It may be called from several threads at once.
"""

import importlib
import importlib.util
import logging
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import DeskullError, InputError, OptionError, WeightsError
from deskull.network.weights import Stage

logger = logging.getLogger(__name__)
Engine = Callable[[NDArray[np.float32]], NDArray[np.float32]]
RUNTIMES = ("openvino", "onnxruntime", "torch")
"""The fastest first; ONNX Runtime comes with deskull."""
MAX_THREADS = 8
"""Most threads of ONNX Runtime up to which an answer's bytes do not depend on their number."""
_importing = threading.Lock()
_CGROUPS = "sys/fs/cgroup"
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def count_threads() -> int:
    """Count the cores that this process may use: as the environment or the system says.

    Examples
    --------
    >>> count_threads() >= 1
    True
    """
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        requested = os.environ.get(name, "")
        if requested.isdigit() and int(requested) > 0:
            return int(requested)
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    limit = find_cpu_limit()
    return cores if limit is None else max(1, min(cores, int(limit)))


def find_cpu_limit(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups of Linux grant; None if nothing limits it.

    A container or a batch system sets them. Both versions of control groups are read; of a group
    and those above it the narrowest counts.

    Parameters
    ----------
    root
        Root of the file system, below which the groups are mounted.
    """
    return min((limit for limit in _find_limits(root) if limit > 0), default=None)


def _find_limits(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            for folder in _list_groups(root / _CGROUPS, group):
                yield from _read_v2(folder)
        elif "cpu" in controllers.split(","):
            for folder in _list_groups(root / _CGROUPS / controllers, group):
                yield from _read_v1(folder)
            for folder in _list_groups(root / _CGROUPS / "cpu", group):
                yield from _read_v1(folder)


def _list_groups(mount: Path, group: str) -> Iterator[Path]:
    """Folders of a group and those above it; in a container only the uppermost may be there."""
    path = PurePosixPath(group.lstrip("/"))
    for part in (path, *path.parents):
        yield mount / part


def _read_v2(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text("utf-8").split()
        yield int(quota) / int(period)  # "max" is no number: no limit


def _read_v1(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
        yield quota / int((folder / "cpu.cfs_period_us").read_text("utf-8"))  # -1: no limit


def find_device(requested: str) -> str:
    """Choose the device that a network runs on.

    Parameters
    ----------
    requested
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Returns
    -------
    str
        What will be used; "auto" falls back to ``"cpu"`` and says why in the log.

    Raises
    ------
    InputError
        If the name is unknown, or the device is not there.

    Examples
    --------
    >>> find_device("cpu")
    'cpu'
    """
    if not DEVICES.fullmatch(requested):
        raise OptionError(f"device {requested!r}; expected auto, cpu, cuda, cuda:N or mps.")
    if requested == "cpu" or (requested == "auto" and not _may_have_gpu()):
        return "cpu"
    if importlib.util.find_spec("torch") is None:
        problem = "torch is not installed (pip install torch)"
    else:
        import torch

        if requested in ("auto", "mps") and torch.backends.mps.is_available():
            return "mps"
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(requested.partition(":")[2] or 0)
        if requested != "mps" and number < count:
            return f"cuda:{number}"
        problem = f"torch {torch.__version__} sees {count} CUDA devices" + (
            " and no Apple GPU" if requested == "mps" else ""
        )
    if requested != "auto":
        raise InputError(f"device {requested!r} is not available: {problem}. Use --device cpu.")
    if find_runtimes():
        logger.warning("a GPU is present, but %s: using the CPU", problem)
    return "cpu"


def _may_have_gpu() -> bool:
    """Look without importing torch, which costs seconds."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple or Path("/proc/driver/nvidia/version").exists()


def find_runtime(device: str, requested: str | None = None) -> str:
    """Choose what runs the network: the best installed one that serves the device.

    On a processor that multiplies bfloat16 matrices (AMX) that is OpenVINO, on others it is ONNX
    Runtime, which starts sooner.

    Raises
    ------
    InputError
        If the runtime is unknown or not installed, or none is.

    Examples
    --------
    >>> find_runtime("cpu", "onnxruntime")
    'onnxruntime'
    """
    if requested is not None and requested not in RUNTIMES:
        raise OptionError(f"runtime {requested!r}; expected one of {', '.join(RUNTIMES)}.")
    best = "openvino" if _has_fast_bfloat16() else "onnxruntime"
    suited = sorted(RUNTIMES, key=lambda name: name != best) if device == "cpu" else ["torch"]
    for name in suited if requested is None else (requested,):
        if name in suited and importlib.util.find_spec(name) is not None:
            return name
    missing = [requested] if requested else suited
    lacking = f"{missing[0]} is not" if len(missing) == 1 else f"none of {', '.join(missing)} is"
    package = requested or ("onnxruntime" if device == "cpu" else "torch")
    package = "'deskull[openvino]'" if package == "openvino" else package
    raise InputError(
        f"no runtime for device {device!r}: {lacking} installed. Run: pip install {package}"
    )


def find_runtimes() -> dict[str, str]:
    """Find the installed runtimes and their versions.

    Examples
    --------
    >>> "onnxruntime" in find_runtimes()
    True
    """
    found = {}
    for name in RUNTIMES:
        if importlib.util.find_spec(name) is not None:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:  # a module of a package with another name
                found[name] = "of unknown version"
    return found


def make_engine(stage: Stage, device: str, threads: int, runtime: str) -> Engine:
    """Make a network ready to run.

    Parameters
    ----------
    stage
        Network and its window.
    device
        Device, as returned by `find_device`.
    threads
        Cores for the CPU runtimes.
    runtime
        Name of the runtime, from `find_runtime`.

    Raises
    ------
    WeightsError
        If the runtime cannot make a network of what the weights hold.
    """
    makers = {"openvino": _use_openvino, "onnxruntime": _use_onnxruntime, "torch": _use_torch}
    try:
        return makers[runtime](stage, device, threads)
    except (DeskullError, MemoryError, ImportError):
        raise
    except Exception as error:  # whatever a runtime raises
        reason = " ".join(str(error).split())[:200]
        if "bad_alloc" in reason or "allocate" in reason:
            raise MemoryError from error
        raise WeightsError(
            f"network {stage.name!r}: {runtime} cannot run it ({reason}). "
            "Install deskull again, or export the weights again."
        ) from error


def _use_openvino(stage: Stage, device: str, threads: int, precision: str | None = None) -> Engine:
    openvino = _import_openvino()
    core = _make_core()
    precision = precision or ("bf16" if _has_fast_bfloat16() else "f32")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    model = core.read_model(stage.onnx, b"")
    _add_up_in_one_order(model, openvino.opset13)
    compiled = core.compile_model(model, "CPU", settings)

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        request = compiled.create_infer_request()
        answer = request.infer([image[None, None]], share_inputs=True)
        return np.array(answer[0][0], dtype=np.float32)

    return run


@cache
def _make_core() -> Any:
    """Make the one OpenVINO core of this process.

    It stays until the process ends: its CPU plugin sets a stack for signals, and frees it with
    itself but leaves it set, so that the next Ctrl-C would be a segmentation fault.
    """
    return _import_openvino().Core()


def _import_openvino() -> Any:
    """Import OpenVINO without its converter, which calls home as soon as it is imported."""
    with _importing:
        if "openvino" not in sys.modules:
            sys.modules["openvino.tools"] = None  # type: ignore[assignment]
            try:
                importlib.import_module("openvino")
            finally:
                sys.modules.pop("openvino.tools", None)
        return sys.modules["openvino"]


def _add_up_in_one_order(model: Any, ops: Any) -> None:
    """Write each instance norm such that the number of threads changes no bit of it.

    OpenVINO's own splits the sum over a channel among its threads. Here each sum is done by one
    thread, but there is one for every plane; they take a little longer, and round off less.
    """
    for norm in model.get_ordered_ops():
        if norm.get_type_name() == "MVN":
            x, eps = norm.input_value(0), np.float32(norm.get_attributes()["eps"])
            centred = ops.subtract(x, _average(x, ops)).output(0)
            variance = _average(ops.multiply(centred, centred).output(0), ops)
            deviation = ops.sqrt(ops.add(variance, eps))
            normalised = ops.multiply(centred, ops.divide(np.float32(1), deviation))
            for reader in norm.output(0).get_target_inputs():
                reader.replace_source_output(normalised.output(0))


def _average(x: Any, ops: Any) -> Any:
    """Average each channel of (N, C, X, Y, Z): over every plane, then over the planes."""
    _, _, planes, *plane = x.get_shape()
    for kernel in ([1, *plane], [planes, 1, 1]):
        x = ops.avg_pool(x, [1] * 3, [0] * 3, [0] * 3, kernel, exclude_pad=True).output(0)
    return x


def _has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices (AMX); without, float32 is faster."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "amx_bf16" in flags


def _use_onnxruntime(stage: Stage, device: str, threads: int) -> Engine:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it calls home when imported
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # which the builds for Windows have
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, MAX_THREADS)
    options.enable_mem_pattern = False  # it would hold the memory of every layer at once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(stage.onnx, options, providers=["CPUExecutionProvider"])

    after = onnxruntime.RunOptions()  # give memory back, which the next steps need
    after.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = session.run(None, {"image": image[None, None]}, after)
        return np.asarray(answer[0][0], np.float32)

    return run


def _use_torch(stage: Stage, device: str, threads: int) -> Engine:
    import torch

    from deskull.network.unet import load_unet

    network = load_unet(stage).to(device)

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensor: Any = torch.from_numpy(image[None, None]).to(device)
            answer = network(tensor)[0].float().cpu().numpy()
        return np.asarray(answer, np.float32)

    return run
