"""deskull as a process of its own: imports, sockets, files, signals and exit codes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD
from deskull.cli import COMMANDS
from deskull.demo import load_demo
from deskull.image.writing import save_image
from systems import LINUX, POSIX

DESKULL = [sys.executable, "-m", "deskull"]

HELP = """
import contextlib, io, sys
from deskull.cli import run
for arguments in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        run(arguments.split())
heavy = {"numpy", "scipy", "nibabel", "openvino", "onnxruntime", "torch", "rich"}
print("HEAVY", *sorted(heavy & set(sys.modules)))
"""

# Every look at the network ends the process at once, also from a thread or while it exits.
NO_NETWORK = """
import os, sys
def watch(event, details):
    if event.startswith("socket."):
        os.write(2, f"NETWORK {event} {details}".encode())
        os._exit(99)
sys.addaudithook(watch)
"""
COMMAND_LINE = """
from deskull.cli import run
sys.exit(run(["scan.nii.gz", "-o", "brain.nii", "-d", "d.nii", "--picture", "p.png", "-q"]))
"""
LIBRARY = """
import deskull
deskull.strip("scan.nii.gz").save(brain="brain.nii")
"""

# A signal that comes when the first half of a file is written.
INTERRUPTED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import ball
from deskull import stripper
from deskull.image import writing
write = writing._write
def write_half(path, parts, compress):
    write(path, parts[:1], compress)
    os.kill(os.getpid(), int(sys.argv[2]))
    write(path.with_name("went-on"), parts, compress)
writing._write = write_half
stripper.make_engine = ball.make_ball_engine
sys.exit(ball.run("scan.nii.gz"))
"""


# How many kB a process takes at most that strips all frames.
LONG = """
import sys
sys.path.insert(0, sys.argv[1])
import ball
from deskull import stripper
stripper.make_engine = ball.make_ball_engine
ball.run("scan.nii.gz", "--frame", "all", "-m", "mask.nii", "-q")
# not ru_maxrss, which begins with that of the process that started this one
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture
def place(tmp_path):
    """A folder with one scan that the network knows as a head, at about 4 mm."""
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    affine = head.grid.affine @ np.diag([3, 3, 3, 1])
    save_image(nib.Nifti1Image(data, affine), tmp_path / "scan.nii.gz")
    return tmp_path


def start(arguments, folder, **environment):
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        timeout=120,
    )


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_help_has_an_example_for_every_command_and_imports_nothing_heavy(tmp_path):
    lines = [f"{name} --help" for name in COMMANDS]
    done = start([sys.executable, "-c", HELP, "--help", "--version", *lines], tmp_path)
    out = done.stdout.decode()
    assert out.count("example: deskull") == len(COMMANDS) + 1
    examples = [line for line in out.splitlines() if line.startswith("example: ")]
    for name in COMMANDS:
        call = {"strip": "deskull sub-01", "bids": "deskull-bids"}.get(name, f"deskull {name}")
        assert any(call in line for line in examples), name
    assert out.splitlines()[-1] == "HEAVY"


def test_deskull_alone_shows_its_help_and_exits_with_2(tmp_path):
    done = start(DESKULL, tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"usage: deskull")


def test_a_missing_scan_exits_with_1_and_no_traceback(tmp_path):
    done = start([*DESKULL, "nope.nii.gz"], tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"deskull: error: nope.nii.gz: no such file.\n"


def test_debug_shows_the_traceback(tmp_path):
    done = start([*DESKULL, "nope.nii.gz", "--debug"], tmp_path)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


def test_non_ascii_names_work_in_an_ascii_locale(place):
    folder = place / 'it\'s "a" ñ 頭'
    folder.mkdir()
    (place / "scan.nii.gz").rename(folder / "sub é.nii.gz")
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = [*DESKULL, folder / "sub é.nii.gz", "-v"]
    done = start(arguments, place, **poor, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert list_names(folder) == ["sub é.nii.gz", "sub é_brain.nii.gz", "sub é_mask.nii.gz"]
    assert b"mask of" in done.stderr


@pytest.mark.parametrize("program", [COMMAND_LINE, LIBRARY], ids=["command line", "library"])
def test_no_socket_is_opened_and_nothing_is_written_to_the_home_folder(place, program):
    home = place / "home"
    home.mkdir()
    arguments = [sys.executable, "-c", NO_NETWORK + program]
    done = start(arguments, place, HOME=str(home), USERPROFILE=str(home))
    assert (done.returncode, done.stderr) == (0, b"")
    assert (place / "brain.nii").exists()
    assert list_names(home) == []


def test_a_closed_pipe_is_no_error(tmp_path):
    with subprocess.Popen(
        [*DESKULL, "weights", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_terminal_shows_progress_and_keeps_only_the_messages(place):
    master, terminal = os.openpty()
    arguments = [*DESKULL, "scan.nii.gz", "-v", "-m", "m.nii"]
    done = subprocess.run(
        arguments, cwd=place, stdout=subprocess.PIPE, stderr=terminal, timeout=120
    )
    os.close(terminal)
    seen = os.read(master, 10_000).decode()
    os.close(master)
    assert (done.returncode, done.stdout) == (0, b"")
    for word in ("reading", "stripping", "writing"):
        assert f"deskull: {word} …" in seen
    left = [line.rpartition("\x1b[K")[2].strip() for line in seen.split("\n")]
    done = [line for line in left if re.fullmatch(r"\d+ ml, score \d+, \d+\.\d s -> m\.nii", line)]
    assert len(done) == 1
    others = [line for line in left if line and line not in done]
    assert all(line.startswith("deskull: scan.nii.gz: ") for line in others)


@POSIX
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_middle_of_writing_leaves_no_half_file(tmp_path, name):
    save_image(HEAD, tmp_path / "scan.nii.gz")
    for output in ("brain", "mask"):
        (tmp_path / f"scan_{output}.nii.gz").write_text("old")
    tests = Path(__file__).parent
    number = int(getattr(signal, name))
    done = start([sys.executable, "-c", INTERRUPTED, tests, number], tmp_path)
    assert done.returncode == 130
    assert done.stderr == b"deskull: interrupted; no half file was left\n"
    assert list_names(tmp_path) == ["scan.nii.gz", "scan_brain.nii.gz", "scan_mask.nii.gz"]
    for output in ("brain", "mask"):
        assert (tmp_path / f"scan_{output}.nii.gz").read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5, 2.0, 2.5])
def test_a_kill_at_any_time_leaves_all_or_nothing(place, seconds):
    with subprocess.Popen([*DESKULL, "scan.nii.gz"], cwd=place, stderr=subprocess.PIPE) as process:
        time.sleep(seconds)
        process.terminate()
        process.wait(60)
    nothing, everything = ["scan.nii.gz"], ["scan.nii.gz", "scan_brain.nii.gz", "scan_mask.nii.gz"]
    if process.returncode == 0:
        assert list_names(place) == everything
    else:  # a kill between the last file and the end of the process finds all of them
        assert list_names(place) in (nothing, everything)


@pytest.mark.slow
@LINUX
def test_a_long_series_needs_memory_for_its_voxels_and_masks_only(tmp_path):
    head = np.kron(np.asarray(HEAD.dataobj).astype(np.int16), np.ones((2, 2, 2), np.int16))
    frames = np.repeat(head[..., None], 100, axis=-1)
    affine = HEAD.affine @ np.diag([0.5, 0.5, 0.5, 1])
    save_image(nib.Nifti1Image(frames, affine), tmp_path / "scan.nii.gz")
    done = start([sys.executable, "-c", LONG, Path(__file__).parent], tmp_path)
    volumes_and_probabilities = 8 * frames.size
    assert int(done.stdout) * 1024 < volumes_and_probabilities + 2 * frames.nbytes
