"""The viewer by keyboard alone, in a real browser: no mouse is moved in these tests."""

import numpy as np
import pytest

from browsing import browser, downloads, driver, webdriver
from reviewed import address, batch, load, number_of, stripped_once

__all__ = ["address", "batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"
ENTER, ESCAPE, TAB, SHIFT, CONTROL = "\ue007", "\ue00c", "\ue004", "\ue008", "\ue009"
SHAPE = (40, 48, 44)


def type_with(browser, modifiers, keys):
    """Type keys while others are held."""
    chain = webdriver.ActionChains(browser.driver)
    for modifier in modifiers:
        chain.key_down(modifier)
    chain.send_keys(keys)
    for modifier in modifiers:
        chain.key_up(modifier)
    chain.perform()


def find_mask(browser):
    flat = np.array(browser.run("return Array.from(deskull.scene.mask)"), bool)
    return flat.reshape(SHAPE, order="F")


def reach(browser, selector):
    """Press Tab until an element has the focus."""
    for _ in range(90):
        if browser.run(f"return document.activeElement.matches('{selector}')"):
            return
        browser.type(TAB)
    raise AssertionError(f"Tab never reaches {selector}")


def test_a_stroke_is_drawn_undone_and_saved(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = find_mask(browser)
    start = browser.run("return deskull.scene.cross")
    browser.press("2e[[[[[[[" + UP)
    browser.type(ENTER)
    assert "is down" in browser.text("#said")
    type_with(browser, [SHIFT], RIGHT * 5 + UP * 2)
    browser.type(ENTER)
    drawn = find_mask(browser)
    assert browser.run("return deskull.scene.cross") == [start[0] + 5, start[1] + 2, start[2] + 1]
    gone = np.argwhere(before & ~drawn)
    assert {tuple(place) for place in gone} == {
        *((start[0] + x, start[1], start[2] + 1) for x in range(6)),
        *((start[0] + 5, start[1] + y, start[2] + 1) for y in range(3)),
    }
    type_with(browser, [SHIFT], RIGHT * 5)  # the pen is up
    np.testing.assert_array_equal(find_mask(browser), drawn)
    browser.press("z")
    np.testing.assert_array_equal(find_mask(browser), before)  # one step for the whole stroke
    browser.press("ys")
    browser.wait_until_said()
    np.testing.assert_array_equal(load(batch / "one_mask_manual.nii.gz") > 0, drawn)


def test_the_arrows_point_where_the_screen_does(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2r")
    start = browser.run("return deskull.scene.cross")
    type_with(browser, [SHIFT], RIGHT + UP)
    assert browser.run("return deskull.scene.cross") == [start[0] - 1, start[1] + 1, start[2]]
    browser.press("4")
    type_with(browser, [SHIFT], RIGHT)  # to the front, whatever left is
    assert browser.run("return deskull.scene.cross") == [start[0] - 1, start[1] + 2, start[2]]
    type_with(browser, [SHIFT, CONTROL], DOWN)
    step = int(10 / browser.run("return deskull.scene.volume.size[2]") + 0.5)
    assert browser.run("return deskull.scene.cross[2]") == start[2] - step


@pytest.mark.parametrize(("tool", "value"), [("x", False), ("g", True)])
def test_an_area_is_made_of_corners(browser, address, batch, tool, value):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = find_mask(browser)
    x, y, z = browser.run("return deskull.scene.cross")
    browser.press("2" + tool)
    for way in (RIGHT * 4, UP * 3, LEFT * 4, ""):
        browser.type(ENTER)
        type_with(browser, [SHIFT], way)
    browser.type(ENTER)
    area = np.zeros(SHAPE, bool)
    area[x : x + 5, y : y + 3, z] = True  # corners at the centres of voxels; the top edge is out
    after = find_mask(browser)
    np.testing.assert_array_equal(after[area], value)
    np.testing.assert_array_equal(after[~area], before[~area])


def test_an_area_that_is_not_closed_is_dropped(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = find_mask(browser)
    browser.press("2x")
    browser.type(ENTER)
    type_with(browser, [SHIFT], RIGHT * 4)
    browser.type(ENTER)
    browser.type(ESCAPE)
    assert browser.run("return deskull.scene.pen.corners.length") == 0
    np.testing.assert_array_equal(find_mask(browser), before)
    assert browser.find("#undo").get_attribute("disabled")


def test_any_other_action_ends_the_stroke_first(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = find_mask(browser)
    browser.press("2e")
    browser.type(ENTER)
    type_with(browser, [SHIFT], RIGHT * 3)
    erased = find_mask(browser)
    browser.press(UP)  # another slice
    type_with(browser, [SHIFT], RIGHT * 3)
    np.testing.assert_array_equal(find_mask(browser), erased)
    browser.press("z")
    np.testing.assert_array_equal(find_mask(browser), before)


def test_every_button_is_reached_and_pressed(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    count = browser.count()
    for pane in ("pane1", "pane0", "pane2"):
        browser.press("")
        reach(browser, f"#{pane}")
        browser.type(UP)
        assert browser.run("return deskull.scene.axis") == int(pane[-1])
    reach(browser, "[data-tool=eraser]")
    browser.type(ENTER)
    assert browser.run("return document.activeElement.id") == "pane2"
    browser.type(ENTER + ENTER)
    erased = browser.count()
    assert erased < count
    for button, expected in (("undo", count), ("redo", erased), ("holes", count)):
        reach(browser, f"#{button}")
        browser.type(" ")
        assert browser.count() == expected
    reach(browser, "#border")
    browser.type(RIGHT * 20)
    browser.wait(f"deskull.scene.mask.reduce((s, v) => s + v, 0) > {count}")
    reach(browser, "#save")
    browser.type(ENTER)
    browser.wait_until_said()
    assert load(batch / "one_mask_manual.nii.gz").sum() > count


def test_what_has_the_focus_is_seen_and_labelled(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("e" + UP)
    label = browser.find("#pane2").get_attribute("aria-label")
    assert label.startswith("axial 2")
    assert label.endswith("eraser")
    for selector in ("#pane2", "#save", "#border", "#compare"):
        reach(browser, selector)
        outline = browser.run("return getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "2px", selector
