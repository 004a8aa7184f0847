"""A study of four scans for a cluster; tests that import this are skipped without Dask."""

import socket
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from ball import load_ball
from deskull.cohort import is_done, make_plan
from deskull.cohort.records import make_request
from deskull.network.weights import load_weights
from deskull.stripper import Settings
from studies import read_table, write_scan

distributed = pytest.importorskip("distributed")
if find_spec("dask_jobqueue") is None:
    pytest.skip("no dask_jobqueue", allow_module_level=True)

TESTS = Path(__file__).parent
SCANS = [f"a/{number}.nii" for number in range(4)]
REQUEST = make_request(Settings(), load_weights().digest)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with a study of four scans."""
    monkeypatch.chdir(tmp_path)
    for name in SCANS:
        write_scan(tmp_path / "study" / name)
    return tmp_path


def write_more(study, count):
    """Add scans until the study has `count` of them."""
    for number in range(len(SCANS), count):
        write_scan(study / f"study/b/{number}.nii")
    return make_plan(["study"], "out")


def check_all_there(tasks):
    """Check that every scan was stripped, and has one row."""
    assert all(is_done(task, REQUEST) for task in tasks)
    rows = [(row["input"], row["status"]) for row in read_table()]
    assert rows == [(task.name, "done") for task in tasks]


def load_slow(weights, device, threads):
    """Make a stripper that takes as long as a real one, so that a worker can die meanwhile."""
    quick = load_ball(weights, device, threads)

    def strip(volume, settings):
        time.sleep(0.4)
        return quick(volume, settings)

    return strip


def find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def distributed_config(options):
    import dask

    with dask.config.set(options):
        yield
