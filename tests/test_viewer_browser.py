"""The viewer in a real browser, end to end: looking, correcting and saving."""

import threading

import nibabel as nib
import numpy as np
import pytest

from ball import load_ball
from browsing import PATIENCE, browser, downloads, driver, wait_for
from deskull import stripper
from deskull.cohort.stripped import find_stripped
from deskull.prepare.postprocess import clean_mask, move_border
from deskull.review.scene import make_entries, make_entry
from deskull.review.viewer import Viewer
from reviewed import address, batch, change_settings, load, number_of, stripped_once
from served import serving

__all__ = ["address", "batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow
UP = "\ue013"


@pytest.fixture
def strip_ball(monkeypatch):
    """Strippers that find the ball of the test head."""
    monkeypatch.setattr(stripper, "make_engine", stripper.make_engine)  # load_ball replaces it
    return lambda: load_ball("default", "cpu", 1)


def get_pixels(browser, pane):
    """Pixels of a pane, (rows, columns, RGB)."""
    return np.array(
        browser.run(
            f"const c = document.getElementById('pane{pane}');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return [c.height, c.width, ...d]"
        )
    )


def count_orange(browser, pane=2):
    height, width, *flat = get_pixels(browser, pane)
    pixels = np.array(flat).reshape(height, width, 4).astype(int)
    return int((pixels[..., 0] > pixels[..., 2] + 60).sum())


# --- correcting


def test_a_mask_is_moved_corrected_and_saved(browser, address, batch):
    automatic = load(batch / "one_mask.nii.gz")
    brain = load(batch / "one_brain.nii.gz")
    number = number_of(batch, "one.nii.gz")
    browser.open_viewer(address, number)
    assert browser.count() == automatic.sum()

    browser.set("border", 8)
    browser.wait(f"deskull.scene.mask.reduce((s, v) => s + v, 0) > {1.2 * automatic.sum()}")
    browser.press("z")
    browser.wait_for_count(automatic.sum())
    assert browser.run("return document.getElementById('border').value") == "0"

    browser.press("2b")
    browser.draw(2, (-150, -330), (0, -330))
    drawn = browser.count()
    assert drawn > automatic.sum()
    browser.press("e")
    browser.draw(2, (-30, 0), (30, 0))
    erased = browser.count()
    assert erased < drawn
    browser.press("z")
    assert browser.count() == drawn
    browser.press("y")
    assert browser.count() == erased
    browser.press("z")
    assert "not saved" in browser.text("#volume")
    browser.shoot("brush")

    browser.press("s")
    browser.wait_until_said()
    assert "one_brain.nii.gz made again from it" in browser.text("#said")
    saved = load(batch / "one_mask_manual.nii.gz")
    assert saved.sum() == drawn
    added = np.argwhere(saved.astype(bool) & ~automatic.astype(bool))
    assert len(np.unique(added[:, 2])) == 1  # on the axial slice that was shown
    assert (added[:, 1] > 24).all()  # in front of the middle, as up is on the screen
    assert (added[:, 0] < 24).all()  # on the subject's left, as the side of the screen
    np.testing.assert_array_equal(load(batch / "one_mask.nii.gz"), automatic)
    new = load(batch / "one_brain.nii.gz")
    np.testing.assert_array_equal(new[automatic > 0], brain[automatic > 0])
    assert (new != 0).sum() > (brain != 0).sum()

    browser.open_viewer(address, number)
    assert browser.count() == drawn


def test_areas_are_filled_and_cut(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    before = browser.count()
    square = ((-60, -60), (60, -60), (60, 60), (-60, 60), (-60, -55))
    browser.press("2x")
    browser.draw(2, *square)
    assert browser.count() < before
    browser.press("g")
    browser.draw(2, *square)
    assert browser.count() == before


def test_a_brush_works_in_every_plane_and_as_a_ball(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    for view, axis in (("2", 2), ("3", 1), ("4", 0)):
        before = np.array(browser.run("return Array.from(deskull.scene.mask)"))
        browser.press(view + "e]]]]")
        browser.draw(axis, (0, 0), (5, 0))
        after = np.array(browser.run("return Array.from(deskull.scene.mask)"))
        where = np.argwhere((before != after).reshape(batch_shape(), order="F"))
        assert len(np.unique(where[:, axis])) == 1
        browser.press("z")
        browser.find("#ball").click()
        browser.draw(axis, (0, 0), (5, 0))
        after = np.array(browser.run("return Array.from(deskull.scene.mask)"))
        where = np.argwhere((before != after).reshape(batch_shape(), order="F"))
        assert len(np.unique(where[:, axis])) > 1
        browser.press("z")
        browser.find("#ball").click()


def batch_shape():
    return (40, 48, 44)


def test_slices_between_two_are_interpolated(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2x")
    big = ((-400, -400), (400, -400), (400, 400), (-400, 400), (-400, -395))
    first = browser.run("return deskull.scene.cross[2]")
    assert browser.find("#interpolate").get_attribute("disabled")
    browser.draw(2, *big)
    for _ in range(4):
        browser.press(UP)
    browser.draw(2, *big)
    browser.press("i")
    sums = browser.run(
        "const { mask } = deskull.scene, n = 40 * 48; return Array.from({ length: 44 }, (_, z) =>"
        " mask.subarray(z * n, (z + 1) * n).reduce((s, v) => s + v, 0))"
    )
    assert sums[first : first + 5] == [0] * 5
    assert sums[first - 1] > 0
    assert sums[first + 5] > 0
    assert "Made the 3 axial slices between" in browser.text("#said")


def test_a_dot_in_two_good_slices_mends_those_between(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    whole = browser.count()
    browser.press("2x")
    browser.draw(2, (-400, -400), (400, -400), (400, 400), (-400, 400), (-400, -395))
    assert browser.count() < whole
    browser.press("b" + "\ue015")
    browser.draw(2, (0, 0), (1, 0))
    browser.press(UP + UP)
    browser.draw(2, (0, 0), (1, 0))
    browser.find("#interpolate").click()
    assert browser.count() == pytest.approx(whole, rel=0.02)


def test_pieces_holes_and_the_surface(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    whole = browser.count()
    browser.press("2b")
    browser.draw(2, (-300, -330), (-290, -330))
    assert browser.count() > whole
    browser.find("#largest").click()
    assert browser.count() == whole
    browser.press("e")
    browser.draw(2, (0, 0), (2, 0))
    browser.find("#holes").click()
    assert browser.count() == whole
    browser.find("#smooth").click()
    assert 0.9 * whole < browser.count() < 1.1 * whole


def test_the_threshold_slider_changes_the_mask(browser, address, batch):
    probability = load(batch / "one_probability.nii.gz")
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.set("threshold", 0.05)
    browser.wait_for_count(int((probability >= 0.05).sum()))


def test_settings_between_and_beyond_the_steps_of_the_sliders_are_kept(browser, batch):
    automatic = load(batch / "one_mask.nii.gz")
    probability = load(batch / "one_probability.nii.gz")
    change_settings(batch / "one_record.json", border=10.1)
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        browser.open_viewer(page.server.address, number_of(batch, "one.nii.gz"))
        browser.press("2e")
        browser.draw(2, (-30, 0), (30, 0))
        browser.find("#reset").click()
        browser.wait_for_count(int(automatic.sum()))
        assert browser.text("#border-value") == "+10.1 mm"
        browser.set("threshold", 0.4)
        expected = move_border(clean_mask(probability >= 0.4), (4, 4, 4), 10.1)
        browser.wait_for_count(int(expected.sum()))


def test_a_scan_without_a_mask_is_stripped_at_once(browser, tmp_path, batch, strip_ball):
    scan = tmp_path / "one.nii.gz"
    scan.write_bytes((batch.parent / "study" / "one.nii.gz").read_bytes())
    with serving(Viewer([make_entry(scan)], load=strip_ball)) as page:
        browser.open_viewer(page.server.address, 0)
        browser.wait_for_count(int(load(batch / "one_mask.nii.gz").sum()))
        browser.wait("!document.getElementById('threshold').disabled")
        browser.set("threshold", 0.05)
        browser.wait_for_count(int((load(batch / "one_probability.nii.gz") >= 0.05).sum()))
    assert [path.name for path in tmp_path.glob("*.nii.gz")] == ["one.nii.gz"]


def test_the_progress_of_stripping_is_shown_on_the_picture(browser, tmp_path, batch, strip_ball):
    scan = tmp_path / "one.nii.gz"
    scan.write_bytes((batch.parent / "study" / "one.nii.gz").read_bytes())
    gate = threading.Event()

    def load():
        assert gate.wait(PATIENCE)
        return strip_ball()

    with serving(Viewer([make_entry(scan)], load=load)) as page:
        browser.open_viewer(page.server.address, 0)
        browser.wait("document.getElementById('busy').textContent.includes('loading the weights')")
        gate.set()
        browser.wait("!document.getElementById('threshold').disabled")
        browser.wait("document.getElementById('busy').textContent === ''")


def test_a_probability_that_was_not_kept_is_computed_on_demand(browser, batch, strip_ball):
    probability = load(batch / "one_probability.nii.gz")
    (batch / "one_probability.nii.gz").unlink()
    entries = make_entries(find_stripped(batch))
    with serving(Viewer(entries, "Review", load=strip_ball)) as page:
        browser.open_viewer(page.server.address, number_of(batch, "one.nii.gz"))
        assert browser.find("#threshold").get_attribute("disabled")
        browser.find("#strip").click()
        browser.wait("!document.getElementById('threshold').disabled")
        browser.set("threshold", 0.05)
        browser.wait_for_count(int((probability >= 0.05).sum()))


def test_a_mask_from_elsewhere_can_be_given_up_for_the_own_one(
    browser, tmp_path, batch, strip_ball
):
    scan, bad = batch.parent / "study" / "one.nii.gz", tmp_path / "bad.nii.gz"
    own = nib.load(batch / "one_mask.nii.gz")
    nib.Nifti1Image(np.roll(np.asarray(own.dataobj), 4, axis=0), None, own.header).to_filename(bad)
    with serving(Viewer([make_entry(scan, bad)], load=strip_ball)) as page:
        browser.open_viewer(page.server.address, 0)
        browser.find("#strip").click()
        browser.wait("!document.getElementById('threshold').disabled")
        np.testing.assert_array_equal(find_mask(browser, own.shape), load(bad) > 0)
        browser.find("#reset").click()
        browser.wait("document.getElementById('volume').textContent.includes('not saved')")
        np.testing.assert_array_equal(find_mask(browser, own.shape), own.get_fdata() > 0)
        browser.press("z")
        np.testing.assert_array_equal(find_mask(browser, own.shape), load(bad) > 0)


def find_mask(browser, shape):
    flat = np.array(browser.run("return Array.from(deskull.scene.mask)"), bool)
    return flat.reshape(shape, order="F")


# --- looking


def test_the_mask_is_seen_and_hidden(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2h")
    browser.set("fill", 0.6)
    filled = count_orange(browser)
    browser.press("o")
    outline = count_orange(browser)
    assert 0 < outline < filled / 4
    browser.find("#outline").click()
    assert count_orange(browser) == 0
    browser.shoot("no-outline")


def test_left_and_right_are_swapped_on_demand(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2bh")
    browser.draw(2, (-200, -200), (-195, -200))
    added = "deskull.scene.mask.reduce((s, v, i) => s + v * (i % 40 < 20 ? 1 : -1), 0)"
    left = browser.run(f"return {added}")
    browser.press("zr")
    browser.draw(2, (-200, -200), (-195, -200))
    assert browser.run(f"return {added}") < 0 < left


def test_slices_zoom_window_and_the_value_under_the_mouse(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2")
    before = browser.run("return deskull.scene.cross[2]")
    browser.press(UP)
    assert browser.run("return deskull.scene.cross[2]") == before + 1
    scale = browser.run("return deskull.panes[0].frame.scale")
    browser.press("++")
    assert browser.run("return deskull.panes[0].frame.scale") > 1.5 * scale
    browser.press("0")
    assert browser.run("return deskull.panes[0].frame.scale") == scale
    black, white = browser.run("return deskull.scene.window")
    for preset in ("full", "bright", "head"):
        browser.find(f"[data-preset={preset}]").click()
        assert browser.run("return deskull.scene.window") != [black, white]
    browser.set("white", white / 2)
    assert browser.run("return deskull.scene.window")[1] == pytest.approx(white / 2, rel=0.02)
    browser.press("l")
    browser.draw(2, (10, 10), (12, 10))
    place, value = browser.text("#under").split(": ")
    at = tuple(int(number) for number in place.split())
    assert float(value) == pytest.approx(load(batch.parent / "study/one.nii.gz")[at], abs=0.1)


def test_two_masks_are_compared(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("2h")
    browser.set("compare", "automatic")
    browser.wait("deskull.scene.other !== null")
    browser.press("e")
    browser.draw(2, (-30, 0), (30, 0))
    browser.set("fill", 1)
    browser.find("#difference").click()
    height, width, *flat = get_pixels(browser, 2)
    pixels = np.array(flat).reshape(height, width, 4).astype(int)
    blue = pixels[..., 2] > pixels[..., 0] + 80
    columns = np.nonzero(blue)[1]
    assert blue.sum() > 500
    assert abs(columns.mean() / width - 0.5) < 0.1  # where the eraser was
    browser.shoot("difference")


def test_all_views_and_the_brain_in_3d(browser, address, batch):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    shown = (
        "[...document.querySelectorAll('#picture canvas')].filter((c) => c.offsetParent).length"
    )
    for key, count in (("1", 4), ("2", 1), ("3", 1), ("4", 1), ("5", 2), ("6", 1)):
        browser.press(key)
        assert browser.run(f"return {shown}") == count
    browser.wait("window.niivue !== undefined")
    browser.set("depth", 0.1)
    browser.shoot("3d")
    browser.press("1")
    assert browser.run(f"return {shown}") == 4
    browser.press("?")
    assert "interpolate between" in browser.text("#keys")
    assert browser.complaints() == []


def test_a_snapshot_is_a_picture(browser, address, batch, downloads):
    browser.open_viewer(address, number_of(batch, "one.nii.gz"))
    browser.press("k")
    path = downloads / "one.nii.gz_view.png"
    assert wait_for(path.exists)
    assert path.read_bytes().startswith(b"\x89PNG")
