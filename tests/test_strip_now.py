"""A probability that is computed on demand: as the scan was stripped, or not at all."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from deskull.cohort.stripped import find_stripped
from deskull.image.fingerprint import make_fingerprint
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from deskull.settings import BiasSettings, Settings
from reviewed import batch, change_settings, edit, number_of, stripped_once
from served import serving
from test_bids_suffixes import SERIES

__all__ = ["batch", "stripped_once"]
N4 = {"shrink": 4, "iterations": [50, 50]}


class Noting:
    """A stripper that keeps how it was called."""

    def __init__(self, digest):
        self.weights = SimpleNamespace(name="default", digest=digest)
        self.settings = []

    def __call__(self, volume, settings, observe):
        self.settings.append(settings)
        probability = np.zeros(volume.grid.shape, np.float32)
        return SimpleNamespace(probability=probability, flags=[], score=90)


def strip(batch, digest=None):
    """What the page says to a wish for the probability, and the settings that were used."""
    record = json.loads((batch / "one_record.json").read_text("utf-8"))
    noting = Noting(digest or record["weights"]["sha256"])
    with serving(Viewer(make_entries(find_stripped(batch)), "Review", lambda: noting)) as page:
        status, said = page.post(f"strip?scan={number_of(batch, 'one.nii.gz')}", b"")
    return status, said, noting.settings


@pytest.mark.parametrize(
    ("n4", "wanted"), [(None, False), (N4, BiasSettings(iterations=(50, 50)))]
)
def test_the_probability_is_computed_with_the_settings_of_the_record(batch, n4, wanted):
    change_settings(batch / "one_record.json", threshold=0.3, csf=False, n4=n4)
    status, said, settings = strip(batch)
    assert (status, said["own"]) == (200, False)
    assert settings == [Settings(threshold=0.3, csf=False, n4=wanted)]


def test_with_other_weights_no_probability_is_computed(batch):
    status, said, settings = strip(batch, digest=64 * "0")
    assert (status, settings) == (422, [])
    assert "one.nii.gz: stripped with the weights default (" in said["error"]
    assert "which are not those that this page uses, default (000000000000…)" in said["error"]


def test_of_a_series_no_probability_is_computed(batch):
    record, scan = batch / "one_record.json", batch.parent / "study" / "one.nii.gz"
    SERIES.to_filename(scan)
    known = json.loads(record.read_text("utf-8"))["input"]
    edit(record, input=known | vars(make_fingerprint(scan)))
    status, said, settings = strip(batch)
    assert (status, settings) == (422, [])
    assert "one.nii.gz: its mask is that of a mean of its frames." in said["error"]


def test_a_mask_that_another_scan_gave_is_not_taken_for_the_own_one(batch):
    edit(batch / "one_record.json", mask_of="b/two.nii.gz")
    assert strip(batch)[1]["own"]
