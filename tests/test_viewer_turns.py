"""One scan of the viewer after the other, in a browser: what comes late finds its own scan."""

import threading

import pytest

from browsing import PATIENCE, browser, downloads, driver, wait_for
from deskull.cohort.stripped import find_stripped
from deskull.prepare.postprocess import clean_mask, move_border
from deskull.review.marks import load_marks
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from reviewed import batch, load, stripped_once
from served import serving

__all__ = ["batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow
RIGHT, LEFT = "\ue014", "\ue012"
FIRST, SECOND = 1, 2  # numbers of two scans with masks


class HeldViewer(Viewer):
    """A server that holds back some answers until they are let through."""

    def __init__(self, batch, is_held):
        super().__init__(make_entries(find_stripped(batch)), "Review")
        self.is_held, self.gate, self.held = is_held, threading.Event(), threading.Event()

    def answer(self, request):
        if self.is_held(request) and request.query["scan"] == str(FIRST):
            self.held.set()
            assert self.gate.wait(PATIENCE)
        return super().answer(request)


def find_masks(batch, what="mask"):
    scans = find_stripped(batch)
    return [load(scans[number].find_output(what)) for number in (FIRST, SECOND)]


def go(browser, key):
    browser.press(key)
    browser.wait("document.body.dataset.ready")


def erase(browser):
    """Count the voxels that a stroke leaves."""
    before = browser.count()
    browser.press("2e")
    browser.draw(2, (-30, 0), (30, 0))
    assert browser.count() < before
    return browser.count()


def let_through(browser, viewer, name):
    """Wait until the page has the answer that was held back."""
    have = f"performance.getEntriesByType('resource').filter((e) => e.name.includes('{name}'))"
    count = browser.run(f"return {have}.length")
    viewer.gate.set()
    browser.wait(f"{have}.length > {count}")


def test_a_mask_that_comes_late_is_not_shown_on_the_next_scan(browser, batch):
    automatic = find_masks(batch)[1]
    viewer = HeldViewer(batch, lambda request: request.path == "mask")
    with serving(viewer) as page:
        small = bytes(1000) + bytes([1]) * 1000 + bytes(automatic.size - 2000)
        assert page.post(f"save?scan={FIRST}&version=", small)[0] == 200
        browser.driver.get(f"{page.server.address}view?scan={FIRST}")
        assert viewer.held.wait(PATIENCE)
        go(browser, RIGHT)
        let_through(browser, viewer, f"mask?scan={FIRST}")
        assert browser.count() == automatic.sum()
        browser.press("s")
        browser.wait_until_said()
    path = find_stripped(batch)[SECOND].find_output("mask")
    saved = path.with_name(path.name.replace("_mask", "_mask_manual"))
    assert load(saved).sum() == automatic.sum()


def test_each_scan_keeps_its_drawing_and_an_undone_one_can_be_marked(browser, batch):
    whole = [mask.sum() for mask in find_masks(batch)]
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        browser.open_viewer(page.server.address, FIRST)
        first = erase(browser)
        go(browser, RIGHT)
        assert browser.count() == whole[1]
        browser.draw(2, (-60, 10), (-50, 10))
        second = browser.count()
        go(browser, LEFT)
        assert browser.count() == first
        assert "not saved before" in browser.text("#said")
        go(browser, RIGHT)
        assert browser.count() == second
        go(browser, LEFT)
        browser.press("z")
        assert browser.count() == whole[0]
        assert "not saved" not in browser.text("#volume")
        browser.press("p")
        assert wait_for(lambda: load_marks(batch.resolve()))


def test_what_is_drawn_while_a_save_runs_is_not_called_saved(browser, batch):
    viewer = HeldViewer(batch, lambda request: request.path == "save")
    with serving(viewer) as page:
        browser.open_viewer(page.server.address, FIRST)
        browser.press("s")
        assert viewer.held.wait(PATIENCE)
        drawn = erase(browser)
        viewer.gate.set()
        browser.wait_until_said()
        assert "drawn meanwhile is not saved" in browser.text("#said")
        assert "not saved" in browser.text("#volume")
        go(browser, RIGHT)
        go(browser, LEFT)
        assert browser.count() == drawn
        other = bytes([1]) * 1000 + bytes(40 * 48 * 44 - 1000)
        assert page.post(f"save?scan={FIRST}&version=&over=1", other)[0] == 200
        browser.press("s")
        browser.wait("!document.getElementById('conflict').hidden")
        browser.press(RIGHT)
        assert browser.run("return document.getElementById('conflict').hidden")


def test_a_slider_of_one_scan_acts_on_this_one_alone(browser, batch):
    probability = find_masks(batch, "probability")[1]
    wanted = move_border(clean_mask(probability >= 0.5), (4, 4, 4), 6)
    viewer = HeldViewer(batch, lambda request: "border" in request.query)
    with serving(viewer) as page:
        browser.open_viewer(page.server.address, FIRST)
        erase(browser)
        browser.set("border", 4)
        assert viewer.held.wait(PATIENCE)
        go(browser, RIGHT)
        browser.set("border", 6)
        viewer.gate.set()
        browser.wait_for_count(int(wanted.sum()))
        assert "your drawing" not in browser.text("#said")
