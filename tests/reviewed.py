"""A small batch that was stripped, for the tests of what is made of it."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, load_ball
from deskull import stripper
from deskull.cohort import Job, make_plan, strip_cohort
from deskull.cohort.stripped import find_stripped
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from served import serving

HOSTILE = "<img src=x onerror=alert(1)>\"'.nii.gz"
SCANS = ("one.nii.gz", "b/two.nii.gz", HOSTILE)
OUTPUTS = ("brain", "mask", "probability")


@pytest.fixture(scope="session")
def stripped_once(tmp_path_factory):
    """Folders of three scans and a file that is none, and of what a batch made of them."""
    root = tmp_path_factory.mktemp("reviewed")
    for name in SCANS:
        path = root / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        HEAD.to_filename(path)
    (root / "study" / "bad.nii.gz").write_bytes(b"no image")
    engine = stripper.make_engine
    try:
        tasks = make_plan([root / "study"], root / "out", OUTPUTS)
        strip_cohort(tasks, root / "out", Job(load=load_ball, threads=1))
    finally:
        stripper.make_engine = engine
    return root


@pytest.fixture
def batch(stripped_once, tmp_path):
    """A copy of the batch's output, with its scans beside it."""
    shutil.copytree(stripped_once, tmp_path / "copy")
    return tmp_path / "copy" / "out"


@pytest.fixture
def address(batch):
    """Address of the local page of the batch."""
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        yield page.server.address


def number_of(batch, name):
    """Number of a scan on the local page."""
    return [scan.name for scan in find_stripped(batch)].index(name)


def load(path):
    """Voxels of an image file."""
    return np.asarray(nib.load(path).dataobj)


def edit(record, **fields):
    """Change fields of a record; None takes them out."""
    content = json.loads(record.read_text("utf-8")) | fields
    kept = {name: value for name, value in content.items() if value is not None}
    record.write_text(json.dumps(kept), "utf-8")


def change_settings(record, **settings):
    """Change settings in a record."""
    edit(record, settings=json.loads(record.read_text("utf-8"))["settings"] | settings)
