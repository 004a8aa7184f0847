"""The pages in a real browser, end to end: headless Chromium with WebGL in software."""

import json

import nibabel as nib
import numpy as np
import pytest

from browsing import browser, downloads, driver, wait_for
from deskull.cohort.stripped import find_stripped
from deskull.review.viewer import Viewer, make_entries
from reviewed import batch, stripped_once
from served import serving

__all__ = ["batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow


@pytest.fixture
def address(batch):
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        yield page.server.address


def number_of(batch, name):
    return [scan.name for scan in find_stripped(batch)].index(name)


def load(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_mask_is_moved_corrected_and_saved(browser, address, batch):
    machine = load(batch / "one_mask.nii.gz")
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    assert browser.count() == machine.sum()

    browser.set("border", 8)
    browser.wait(f"deskull.nv.drawBitmap.reduce((s, v) => s + v, 0) > {1.2 * machine.sum()}")
    browser.press("z")
    browser.wait(f"deskull.nv.drawBitmap.reduce((s, v) => s + v, 0) === {machine.sum()}")
    assert browser.run("return document.getElementById('border').value") == "0"

    browser.press("2b")
    browser.draw((-150, -330), (0, -330))
    drawn = browser.count()
    assert drawn > machine.sum()
    browser.press("e")
    browser.draw((-30, 0), (30, 0))
    erased = browser.count()
    assert erased < drawn
    browser.press("z")
    assert browser.count() == drawn
    assert "not saved" in browser.text("#volume")

    browser.press("s")
    browser.wait("document.getElementById('said').className === 'good'")
    saved = load(batch / "one_mask_manual.nii.gz")
    assert saved.sum() == drawn
    added = np.argwhere(saved.astype(bool) & ~machine.astype(bool))
    assert len(np.unique(added[:, 2])) == 1  # on the axial slice that was shown
    assert (added[:, 1] > 24).all()  # in front of the middle, as up is on the screen
    assert (added[:, 0] < 24).all()  # on the person's left, as the side of the screen
    np.testing.assert_array_equal(load(batch / "one_mask.nii.gz"), machine)
    assert json.loads((batch / "one_mask_manual.json").read_text())["Manual"] is True

    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    assert browser.count() == drawn
    assert browser.complaints() == []


def test_areas_are_filled_and_cut(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = browser.count()
    square = ((-60, -60), (60, -60), (60, 60), (-60, 60), (-60, -55))
    browser.press("2x")
    browser.draw(*square)
    cut = browser.count()
    assert cut < before
    browser.press("g")
    browser.draw(*square)
    assert browser.count() == before


def test_the_threshold_slider_changes_the_mask(browser, address, batch):
    number = number_of(batch, "one.nii.gz")
    probability = load(batch / "one_probability.nii.gz")
    browser.open_viewer(address, number)
    browser.set("threshold", 0.05)
    wanted = int((probability >= 0.05).sum())
    browser.wait(f"deskull.nv.drawBitmap.reduce((s, v) => s + v, 0) === {wanted}")


def test_the_mask_is_seen_and_hidden(browser, address, batch):
    def count_orange():
        image = browser.run(
            "deskull.nv.drawScene(); const gl = deskull.nv.gl, w = gl.drawingBufferWidth,"
            "h = gl.drawingBufferHeight, p = new Uint8Array(4 * w * h);"
            "gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, p); let n = 0;"
            "for (let i = 0; i < p.length; i += 4) n += p[i] > p[i + 2] + 40; return n"
        )
        return image

    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    shown = count_orange()
    assert shown > 10_000
    browser.set("opacity", 0)
    assert count_orange() < shown / 4


def test_two_tabs_that_save_one_mask(browser, address, batch):
    number = number_of(batch, "one.nii.gz")
    browser.open_viewer(address, number)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        browser.open_viewer(address, number)
        browser.press("s")
        browser.wait("document.getElementById('said').className === 'good'")
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(first)
    browser.press("2e")
    browser.draw((-30, 0), (30, 0))
    erased = browser.count()
    browser.press("s")
    browser.wait("!document.getElementById('conflict').hidden")
    assert "saved from another page meanwhile" in browser.text("#said")
    assert browser.count() == erased
    browser.find("#over").click()
    browser.wait("document.getElementById('said').className === 'good'")
    assert load(batch / "one_mask_manual.nii.gz").sum() == erased


def test_a_server_that_is_gone_loses_no_drawing(browser, batch):
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        browser.open_viewer(page.server.address, number_of(batch, "one.nii.gz"))
    browser.press("2e")
    browser.draw((-30, 0), (30, 0))
    drawn = browser.count()
    browser.press("s")
    browser.wait("document.getElementById('said').className === 'bad'")
    assert "Does it still run" in browser.text("#said")
    assert browser.count() == drawn


def test_a_folder_that_takes_nothing_gives_a_download(browser, address, batch, downloads):
    (batch / "one_mask_manual.json").mkdir()
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("s")
    browser.wait("document.getElementById('said').className === 'bad'")
    browser.find("#download").click()
    browser.wait("document.getElementById('said').className === 'good'")
    path = downloads / "one_mask_manual.nii.gz"
    wait_for(path.exists)
    np.testing.assert_array_equal(load(path), load(batch / "one_mask.nii.gz"))


def test_a_scan_that_failed_is_said_and_passed_by(browser, address, batch):
    number = number_of(batch, "bad.nii.gz")
    browser.driver.get(f"{address}view?scan={number}")
    browser.wait("document.getElementById('busy').className === 'bad'")
    assert "bad.nii.gz" in browser.text("#busy")
