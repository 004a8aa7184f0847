"""What goes wrong around the viewer: nothing is lost, and no wrong scan is marked."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from browsing import browser, downloads, driver, wait_for
from deskull.cohort.stripped import find_stripped
from deskull.review.marks import load_marks
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from reviewed import HOSTILE, address, batch, edit, load, number_of, stripped_once
from served import serving
from test_review_browser import SlowViewer

__all__ = ["address", "batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow
RIGHT = "\ue014"
ARE_BLANK = (
    "deskull.panes.every(({ canvas: c }) => !c.width || !c.getContext('2d')"
    ".getImageData(0, 0, c.width, c.height).data.some((v) => v))"
)


def test_a_mark_cannot_hit_a_scan_that_is_not_shown(browser, batch):
    scans = find_stripped(batch)
    viewer = SlowViewer(make_entries(scans), "Review")
    viewer.gates[1].set()
    with serving(viewer) as page:
        browser.open_viewer(page.server.address, 1)
        browser.press(RIGHT)
        assert browser.run(f"return {ARE_BLANK}")
        assert browser.text("#name") == ""
        browser.press("f")
        assert "scan 3 is not shown yet" in browser.text("#said")
        browser.shoot("waiting")
        assert load_marks(batch.resolve()) == {}
        for gate in viewer.gates:
            gate.set()
        browser.wait("document.body.dataset.ready")
        assert not browser.run(f"return {ARE_BLANK}")
        assert browser.text("#name") == scans[2].name
        browser.press("f")
        mark = wait_for(lambda: load_marks(batch.resolve()).get(scans[2].key))
        assert (mark.mark, mark.mask_sha256) == (
            "fail",
            scans[2].record.outputs["mask"].sha256,
        )
        assert [*load_marks(batch.resolve())] == [scans[2].key]


def test_a_drawing_that_is_not_saved_cannot_be_marked(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2e")
    browser.draw(2, (-30, 0), (30, 0))
    browser.press("p")
    assert "this drawing is not saved" in browser.text("#said")
    assert load_marks(batch.resolve()) == {}


def test_a_closed_tab_loses_no_drawing(browser, batch):
    number = number_of(batch, "one.nii.gz")
    viewer = Viewer(make_entries(find_stripped(batch)), "Review")
    with serving(viewer) as page:
        browser.open_viewer(page.server.address, number)
        browser.press("2e")
        browser.draw(2, (-30, 0), (30, 0))
        drawn = browser.count()
        assert wait_for(lambda: viewer._drafts)
        browser.run("location.href = 'about:blank'")
        browser.open_viewer(page.server.address, number)
        assert browser.count() == drawn
        assert "not saved before" in browser.text("#said")
        browser.press("s")
        browser.wait_until_said()
        assert not viewer._drafts
    assert load(batch / "one_mask_manual.nii.gz").sum() == drawn


def test_a_drawing_on_a_mask_that_was_replaced_meanwhile_comes_back_by_redo(browser, batch):
    number = number_of(batch, "one.nii.gz")
    viewer = Viewer(make_entries(find_stripped(batch)), "Review")
    with serving(viewer) as page:
        browser.open_viewer(page.server.address, number)
        whole = browser.count()
        browser.press("2e")
        browser.draw(2, (-30, 0), (30, 0))
        drawn = browser.count()
        assert wait_for(lambda: viewer._drafts)
        browser.run("location.href = 'about:blank'")
        shutil.copyfile(batch / "one_mask.nii.gz", batch / "one_mask_manual.nii.gz")
        browser.open_viewer(page.server.address, number)
        assert browser.count() == whole
        assert "y brings your drawing back" in browser.text("#said")
        assert "not saved" not in browser.text("#volume")
        browser.press("y")
        assert browser.count() == drawn
        assert "not saved" in browser.text("#volume")


def test_two_tabs_that_save_one_mask(browser, address, batch):
    number = number_of(batch, "one.nii.gz")
    browser.open_viewer(address, number)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        browser.open_viewer(address, number)
        browser.press("s")
        browser.wait_until_said()
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(first)
    browser.press("2e")
    browser.draw(2, (-30, 0), (30, 0))
    erased = browser.count()
    browser.press("s")
    browser.wait("!document.getElementById('conflict').hidden")
    assert "saved from another page meanwhile" in browser.text("#said")
    assert browser.count() == erased
    browser.find("#over").click()
    browser.wait_until_said()
    assert load(batch / "one_mask_manual.nii.gz").sum() == erased


def test_a_server_that_is_gone_loses_no_drawing(browser, batch):
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        browser.open_viewer(page.server.address, number_of(batch, "one.nii.gz"))
    browser.press("2e")
    browser.draw(2, (-30, 0), (30, 0))
    drawn = browser.count()
    browser.press("s")
    browser.wait_until_said("bad")
    assert "Does it still run" in browser.text("#said")
    assert browser.count() == drawn


def test_a_folder_that_takes_nothing_gives_a_download(browser, address, batch, downloads):
    (batch / "one_mask_manual.json").mkdir()
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("s")
    browser.wait_until_said("bad")
    browser.find("#download").click()
    browser.wait_until_said()
    path = downloads / "one_mask_manual.nii.gz"
    assert wait_for(path.exists)
    np.testing.assert_array_equal(load(path), load(batch / "one_mask.nii.gz"))


def test_a_scan_that_failed_is_said_and_passed_by(browser, address, batch):
    number = number_of(batch, "bad.nii.gz")
    browser.driver.get(f"{address}view?scan={number}")
    browser.wait("document.getElementById('busy').className === 'bad'")
    assert "bad.nii.gz" in browser.text("#busy")
    browser.press(RIGHT)
    browser.wait("document.body.dataset.ready")
    assert browser.text("#where").startswith("scan 2 of 4")


def test_a_name_that_is_a_program_does_not_run(browser, address, batch):
    edit(batch / "one_record.json", flags=[{"name": HOSTILE, "sentence": HOSTILE}])
    for number in range(1, 4):
        browser.open_viewer(address, number)
        assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.complaints() == []


def test_without_a_face_only_the_brain_is_sent(browser, batch):
    entries = make_entries(find_stripped(batch), no_face=True)
    with serving(Viewer(entries, "Review")) as page:
        number = number_of(batch, "one.nii.gz")
        shown = nib.Nifti1Image.from_bytes(page.get(f"scan?scan={number}")).get_fdata()
        assert "face is hidden" in json.dumps(page.about(number)["note"])
        browser.open_viewer(page.server.address, number)
        browser.shoot("no-face")
    mask = load(batch / "one_mask.nii.gz") > 0
    head = load(batch.parent / "study/one.nii.gz")
    np.testing.assert_allclose(shown[mask], head[mask], atol=0.01)
    assert (shown > shown.min() + 1).sum() < 1.4 * mask.sum()
