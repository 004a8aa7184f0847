"""What the world may do to a run: no room, no memory, no home, odd names, junk for weights."""

import gc
import hashlib
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import ALONE, HEAD, ball, list_files, make_ball_engine, place, run
from conftest import full_disk
from deskull import __version__
from deskull.demo import load_demo
from deskull.errors import WeightsError
from deskull.image.fingerprint import is_unchanged, make_fingerprint
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.network.engine import make_engine
from deskull.network.weights import bundled_folder, load_weights
from deskull.stripper import Stripper
from systems import LINUX
from test_bad_input import check_refusal
from test_properties import make_stripper

__all__ = ["ball", "place"]

TESTS = Path(__file__).parent


# --- no room, no right to write


@pytest.mark.parametrize("option", ALONE)
def test_a_full_disk_at_any_output_leaves_everything_as_it_was(place, capsys, option):
    (place / ALONE[option]).write_text("old")
    with full_disk(200):
        check_refusal(capsys, place, ["scan.nii.gz", option, ALONE[option]], "not written (")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode != 0:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_file_system_that_is_full_keeps_what_it_had(place, small_disk, capsys):
    (small_disk / "brain.nii").write_text("old")
    assert run("scan.nii.gz", "-o", small_disk / "brain.nii", "-m", small_disk / "mask.nii") == 1
    assert "brain.nii: not written (No space left on device)" in capsys.readouterr().err
    assert list_files(small_disk) == {"brain.nii": b"old"}


def test_a_file_system_that_may_only_be_read_is_told(place, small_disk, capsys):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert run("scan.nii.gz", small_disk / "brain.nii") == 1
    assert "no permission to write in" in capsys.readouterr().err
    shutil.copy(place / "scan.nii.gz", place / "other.nii.gz")
    assert run("other.nii.gz") == 0  # and no harm is done elsewhere


def test_a_scan_on_a_file_system_that_may_only_be_read_is_stripped(place, small_disk):
    small = nib.Nifti1Image(np.asarray(HEAD.dataobj).astype(np.int8), HEAD.affine)
    save_image(small, small_disk / "scan.nii.gz")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert run(small_disk / "scan.nii.gz", place / "brain.nii.gz") == 0


# --- no memory

STARVED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import ball
from deskull import result, stripper
from deskull.commands import paths
stripper.make_engine = ball.make_ball_engine
import SimpleITK, scipy.ndimage, isal.igzip
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]), -1))
sys.exit(ball.run("scan.nii.gz", "brain.nii", "-m", "mask.nii", "-d", "distance.nii", "-t", "1"))
"""


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [0, 1, 4, 16, 30, 45, 60, 80, 100, 130, 160, 200, 260, 400])
def test_out_of_memory_at_any_step_is_one_line_and_no_half_file(tmp_path, megabytes):
    data = np.kron(np.asarray(HEAD.dataobj).astype(np.int16), np.ones((2, 2, 2), np.int16))
    affine = HEAD.affine @ np.diag([0.5, 0.5, 0.5, 1])
    save_image(nib.Nifti1Image(data, affine), tmp_path / "scan.nii.gz")
    command = [sys.executable, "-c", STARVED, TESTS, megabytes * 2**20]
    done = subprocess.run(
        [str(word) for word in command], cwd=tmp_path, capture_output=True, timeout=300
    )
    names = sorted(list_files(tmp_path))
    if done.returncode == 0:
        assert names == ["brain.nii", "distance.nii", "mask.nii", "scan.nii.gz"]
        return
    assert done.returncode == 1, done.stderr
    assert names == ["scan.nii.gz"]
    assert b"memory" in done.stderr
    assert b"Traceback" not in done.stderr


# --- no home, odd names


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/nonexistent/home", "/dev/null"])
def test_neither_home_nor_cache_is_needed(place, home):
    small = load_demo()[0]
    data = np.ascontiguousarray(small.data[::3, ::3, ::3]).astype(np.int16)
    affine = small.grid.affine @ np.diag([3, 3, 3, 1])
    save_image(nib.Nifti1Image(data, affine), place / "scan.nii.gz")
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH")}
    homes = {} if home is None else {"HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": home}
    command = [sys.executable, "-m", "deskull", "scan.nii.gz", "-q"]
    done = subprocess.run(command, cwd=place, env=kept | homes, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (place / "scan_brain.nii.gz").exists()


@pytest.mark.parametrize(
    "stem",
    [
        "a" * 200,
        "two words",
        'it\'s "quoted"',
        "Zürich 頭 🧠",
        "line\nbreak",
        "percent%s%d{}",
        "$(rm) `x` ; &",
        "trailing.dots..",
        "combining e\u0301",
    ],
)
def test_any_file_name_will_do(place, stem):
    (place / "scan.nii.gz").rename(place / f"{stem}.nii.gz")
    assert run(f"{stem}.nii.gz", "--record", "r.json", "-m", f"{stem}_mask.nii.gz") == 0
    assert nib.load(place / f"{stem}_mask.nii.gz").shape == HEAD.shape


def test_a_name_that_is_no_text_will_do(place):
    name = os.fsdecode(b"caf\xe9.nii.gz")
    (place / "scan.nii.gz").rename(place / name)
    assert run(name) == 0
    assert (place / os.fsdecode(b"caf\xe9_mask.nii.gz")).exists()


# --- clocks

YEAR = 365 * 24 * 3600


@pytest.fixture
def study(place):
    (place / "study").mkdir()
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        shutil.copy(place / "scan.nii.gz", place / "study" / name)
    return place


def batch(*arguments):
    return run("batch", "study", "-o", "out", *arguments)


def read_records():
    return {path.name: path.read_bytes() for path in Path("out").glob("*_record.json")}


def test_a_clock_that_jumps_in_a_batch_does_no_harm(study, monkeypatch):
    now, jumps = time.time(), itertools.cycle([0, 3 * YEAR, -YEAR, -50 * YEAR])
    monkeypatch.setattr("time.time", lambda: now + next(jumps))
    monkeypatch.setattr(
        "time.gmtime", lambda *_: datetime.fromtimestamp(time.time(), UTC).timetuple()
    )
    assert batch() == 0
    before = read_records()
    assert len(before) == 3
    for content in map(json.loads, before.values()):
        assert content["status"] == "done"
        assert min([*content["seconds"].values(), *content["steps"].values()]) >= 0
    assert batch() == 0
    assert read_records() == before


@pytest.mark.parametrize("years", [-60, -1, 30])
def test_files_of_another_time_are_neither_stripped_again_nor_forgotten(study, years):
    then = time.time() + years * YEAR
    for path in Path("study").iterdir():
        os.utime(path, (then, then))
    assert batch() == 0
    before = read_records()
    assert batch() == 0
    assert read_records() == before
    image = nib.Nifti1Image(np.asarray(HEAD.dataobj) + 1, HEAD.affine)
    save_image(image, Path("study/b.nii.gz"))
    os.utime("study/b.nii.gz", (then - 1, then - 1))  # newer, but looks older
    assert batch() == 0
    after = read_records()
    assert [name for name in after if after[name] != before[name]] == ["b_record.json"]


def test_a_file_that_a_process_writes_is_not_swept_however_old_it_looks(study):
    Path("out").mkdir()
    names = {"alive": os.getppid(), "gone": 2**22 + 1, "of no process": 10**30}
    files = {word: Path(f"out/.deskull-{pid}-0123.part") for word, pid in names.items()}
    for path in files.values():
        path.touch()
        os.utime(path, (0, 0))
    assert batch() == 0
    assert [word for word, path in files.items() if path.exists()] == ["alive"]


def test_one_file_of_a_pair_that_was_put_back_is_noticed(study):
    image = nib.Nifti1Pair(np.asarray(HEAD.dataobj), HEAD.affine)
    image.to_filename("study/b.hdr")
    os.utime("study/b.hdr", (2e9, 2e9))
    fingerprint = make_fingerprint(Path("study/b.hdr"))
    Path("study/b.img").write_bytes(Path("study/b.img").read_bytes()[::-1])
    os.utime("study/b.img", (1e9, 1e9))
    assert not is_unchanged(Path("study/b.hdr"), fingerprint)


# --- another version


def test_what_another_version_made_is_kept_and_told(study, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("deskull.stripper.__version__", "0.0.7")
        assert batch("-q") == 0
    before = read_records()
    assert {json.loads(record)["deskull"] for record in before.values()} == {"0.0.7"}
    assert batch() == 0
    assert read_records() == before
    err = capsys.readouterr().err
    assert "out: 3 scans keep outputs of deskull 0.0.7 with the same weights" in err
    assert f"this is {__version__}. --force strips them again" in err


# --- junk for weights


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(bundled_folder() / "default", tmp_path / "mine")


def put(folder, name, content):
    """Put other content into a file of weights, and its hash onto the card: no accident."""
    (folder / name).write_bytes(content)
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card), "utf-8")


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["DESKULL_BOMB"],)


@pytest.mark.parametrize(
    ("runtime", "name"),
    [
        ("openvino", "segment.onnx"),
        ("onnxruntime", "segment.onnx"),
        ("torch", "segment.safetensors"),
    ],
)
@pytest.mark.parametrize("content", ["pickle", "text", "nothing"])
def test_weights_that_are_no_tensors_are_refused_and_never_run(
    copy, monkeypatch, tmp_path, runtime, name, content
):
    pytest.importorskip(runtime)
    monkeypatch.setenv("DESKULL_BOMB", str(tmp_path / "went off"))
    junk = {"pickle": pickle.dumps(Bomb()), "text": b"hello" * 99, "nothing": b""}[content]
    put(copy, name, junk)
    with pytest.raises(WeightsError, match=f"network 'segment': {runtime} cannot run it"):
        make_engine(load_weights(copy).segment, "cpu", 1, runtime)
    assert not (tmp_path / "went off").exists()


def test_no_source_file_unpickles():
    calls = ("import pickle", "pickle.load", "torch.load(", "allow_pickle=True", "eval(", "exec(")
    found = [
        (path.name, word)
        for path in (TESTS.parent / "src").rglob("*.py")
        for word in calls
        for line in path.read_text("utf-8").splitlines()
        if word in line and ".eval()" not in line and "weights_only=True" not in line
    ]
    assert found == []


# --- many calls


def count_open_files():
    return len(os.listdir("/proc/self/fd"))


def measure_memory():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def strip_often(folder, stripper, count):
    for _ in range(count):
        result = stripper(load_volume(folder / "scan.nii.gz"))
        result.save(brain=folder / "b.nii.gz", mask=folder / "m.mgz", record=folder / "r.json")


@LINUX
@pytest.mark.parametrize("count", [20, pytest.param(3000, marks=pytest.mark.slow)])
def test_many_calls_leave_memory_and_open_files_as_they_were(tmp_path, count):
    small = nib.Nifti1Image(np.asarray(HEAD.dataobj)[::2, ::2, ::2], np.diag([8, 8, 8, 1]))
    save_image(small, tmp_path / "scan.nii.gz")
    stripper = make_stripper(make_ball_engine)
    strip_often(tmp_path, stripper, 10)
    memory, files = measure_memory(), count_open_files()
    strip_often(tmp_path, stripper, count)
    assert count_open_files() <= files
    assert measure_memory() - memory < 12 * 2**20


@LINUX
@pytest.mark.slow
def test_many_calls_of_the_network_leave_memory_as_it_was():
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3])
    small = nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))
    stripper = Stripper.load(device="cpu", threads=2)
    for _ in range(5):
        stripper(small)
    before = measure_memory()
    for _ in range(200):
        stripper(small)
    assert measure_memory() - before < 40 * 2**20


def test_eight_threads_from_file_to_file(place, ball):
    stripper = Stripper.load(device="cpu", threads=1)

    def work(number):
        result = stripper(load_volume(place / "scan.nii.gz"))
        result.save(mask=place / f"{number}.nii.gz", brain=place / f"{number}.mgz")
        return [(place / f"{number}{s}").read_bytes() for s in (".nii.gz", ".mgz")]

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(work, range(8))
    assert others == [first] * 7
