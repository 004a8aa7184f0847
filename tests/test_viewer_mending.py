"""A bad mask is mended by mouse alone and by keyboard alone; JUnit reports the seconds."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from browsing import browser, downloads, driver
from deskull.demo import find_demo
from deskull.measure.metrics import dice
from deskull.review.scene import make_entry
from deskull.review.viewer import Viewer
from mending import BadMask, ByKeyboard, ByMouse, mend
from served import serving

__all__ = ["browser", "downloads", "driver"]

pytestmark = pytest.mark.slow
HEADS = ("demo", "robex_T1w", "fs01_T1w", "seg3d_T1w")


def find_head(name):
    """A scan and a good mask of it."""
    if name == "demo":
        return find_demo(), find_demo().with_name("demo_T1w_truth.nii.gz")
    if "DESKULL_TEST_DATA" not in os.environ:
        pytest.skip("DESKULL_TEST_DATA is not set")
    folder = Path(os.environ["DESKULL_TEST_DATA"]) / "heads"
    return folder / f"{name}.nii.gz", folder / f"{name}_reference.nii.gz"


@pytest.mark.parametrize("hand", [ByMouse, ByKeyboard])
@pytest.mark.parametrize("head", HEADS)
def test_a_bad_mask_is_mended_by_one_hand(browser, tmp_path, head, hand, record_property):
    scan, good = find_head(head)
    mask = BadMask(tmp_path / "bad.nii.gz", good)
    with serving(Viewer([make_entry(scan, mask.path)])) as page:
        browser.open_viewer(page.server.address, 0)
        seconds = mend(hand(browser), mask)
        browser.shoot(f"mended-{head}-{hand.__name__}")
    (saved,) = tmp_path.glob("*manual*.nii.gz")
    mended = np.asarray(nib.as_closest_canonical(nib.load(saved)).dataobj) > 0
    before, after = dice(mask.bad, mask.good), dice(mended, mask.good)
    assert before < 0.92
    assert after > 0.97
    record_property("seconds", round(seconds))
