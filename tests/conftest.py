"""Heads of geometry for tests: cheap, exact, and nobody's scan."""

import itertools
import signal
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest

import systems
from deskull.demo import load_demo
from deskull.image.writing import save_image

ORIENTATIONS = [
    "".join(codes)
    for axes in itertools.permutations(["LR", "PA", "IS"])
    for codes in itertools.product(*axes)
]


def make_head(shape=(40, 48, 44), voxel_size=(4.0, 4.0, 4.0), seed=0):
    """A ball of brain in a shell of skull in a shell of scalp, RAS, float32, and its brain."""
    rng = np.random.default_rng(seed)
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, voxel_size, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 0.85) ** 2 + y**2 + (z / 0.9) ** 2)
    head = np.zeros(shape, np.float32)
    head[radius < 88] = 90
    head[radius < 80] = 12
    head[radius < 73] = 100
    head[radius < 50] = 140
    head += rng.normal(0, 2, shape).astype(np.float32)
    affine = np.diag([*voxel_size, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return nib.Nifti1Image(head, affine), radius < 73


def reorient(image, codes):
    """The same image stored in another orientation."""
    wanted = nib.orientations.axcodes2ornt(codes)
    now = nib.orientations.io_orientation(image.affine)
    return image.as_reoriented(nib.orientations.ornt_transform(now, wanted))


@contextmanager
def full_disk(limit):
    """No file may grow beyond so many bytes, as on a disk that is full.

    Kept to the fewest lines: what pytest itself writes to a file falls under it too.
    """
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_a_terminal():
    """Tests send signals that a process begun by nohup or in the background ignores."""
    actions = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, action in actions.items():
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


@pytest.fixture(autouse=True)
def _only_what_the_system_has(monkeypatch):
    systems.skip_where_lacking(monkeypatch)


@pytest.fixture
def head():
    return make_head()[0]


@pytest.fixture
def demo_place(tmp_path, monkeypatch):
    """Work in a folder that holds the scan that README and docs speak of, at 4.5 mm."""
    monkeypatch.chdir(tmp_path)
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    image = nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))
    save_image(image, tmp_path / "sub-01_T1w.nii.gz")
    return tmp_path
