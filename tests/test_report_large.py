"""A cohort of 1,000 scans: what its page weighs, and that it fetches only what is looked at."""

import base64
from dataclasses import replace

import pytest

from browsing import browser, downloads, driver
from deskull.cohort.stripped import find_stripped
from deskull.image.volume import load_volume
from deskull.picture.page import encode_page
from deskull.review.pictures import draw_card, draw_picture, load_pair
from deskull.review.report import WEBP, Shot, make_cohort_page, to_data_address
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from reviewed import batch, stripped_once
from served import serving

__all__ = ["batch", "browser", "downloads", "driver", "stripped_once"]

COUNT = 1000


@pytest.fixture
def scans(batch):
    """One scan, as often as there are in a large cohort."""
    one = next(scan for scan in find_stripped(batch) if scan.name == "one.nii.gz")
    return [replace(one, name=f"sub-{number:04d}_T1w.nii.gz") for number in range(COUNT)]


def write_page(scans, path):
    """Write the report of scans; what follows each picture makes it one of its own."""
    pair = load_pair(load_volume(scans[0].find_scan()), scans[0].find_output("mask"))
    card, picture = draw_card(pair), draw_picture(pair, "a scan")
    shots = [
        Shot(scan, *(to_data_address(one + b"%d" % number, WEBP) for one in (card, picture)))
        for number, scan in enumerate(scans)
    ]
    path.write_bytes(encode_page(make_cohort_page("many", shots)))
    return path


@pytest.fixture
def page(scans, tmp_path):
    """Their report, as it is written to disk."""
    return write_page(scans, tmp_path / "report.html")


def test_a_scan_weighs_less_than_300_kb(page):
    assert page.stat().st_size < 300_000 * COUNT


def test_cards_and_script_come_before_the_first_picture(page):
    before, found, _ = page.read_text("utf-8").partition("data:image/webp")
    assert found
    assert before.count('class="card') == COUNT
    assert "</script>" in before
    assert len(before) < 5_000 * COUNT


SHOWN = "return document.querySelectorAll('.card[data-shown=yes]').length"


@pytest.mark.slow
def test_a_report_of_a_thousand_scans_shows_only_the_pictures_that_it_passes(browser, page):
    browser.driver.get(page.as_uri())
    browser.wait("document.getElementById('scan-0').dataset.shown === 'yes'")
    assert browser.run(SHOWN) < 30
    gesture = {"x": 700, "y": 500, "yDistance": -12_000, "speed": 4_000}
    mouse = gesture | {"gestureSourceType": "mouse"}
    browser.driver.execute_cdp_cmd("Input.synthesizeScrollGesture", mouse)
    assert browser.run("return scrollY") > 11_000
    assert browser.run(SHOWN) < 200


@pytest.mark.slow
def test_every_picture_is_printed_also_of_scans_never_looked_at(browser, scans, tmp_path):
    page = write_page(scans[:60], tmp_path / "report.html")
    browser.driver.get(page.as_uri())
    browser.wait("document.getElementById('scan-0').dataset.shown === 'yes'")
    assert browser.run(SHOWN) < 30
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).count(b"/Subtype /Image") >= 60


@pytest.mark.slow
def test_without_scripts_the_pictures_are_below_the_cards(browser, scans, tmp_path):
    page = write_page(scans[:5], tmp_path / "report.html")
    off = "Emulation.setScriptExecutionDisabled"
    browser.driver.execute_cdp_cmd(off, {"value": True})
    try:
        browser.driver.get(page.as_uri())
        shown = browser.driver.find_elements("css selector", "noscript > p > img")
        assert [one.is_displayed() for one in shown] == [True] * 5
        assert not browser.find("#bar").is_displayed()
        browser.shoot("without-scripts")
    finally:
        browser.driver.execute_cdp_cmd(off, {"value": False})


@pytest.mark.slow
def test_a_report_of_a_thousand_scans_is_gone_through_by_keyboard(browser, page):
    browser.driver.get(page.as_uri())
    assert browser.run("return document.querySelectorAll('.card').length") == COUNT
    shown = "document.querySelectorAll('.card[data-shown=yes]').length"
    assert browser.run(f"return {shown}") < 30
    browser.wait("document.getElementById('scan-0').dataset.shown === 'yes'")
    browser.press("p")
    browser.press("/")
    browser.type("sub-0999")
    browser.wait("[...document.querySelectorAll('.card')].filter((c) => !c.hidden).length === 1")
    browser.wait("document.getElementById('scan-999').dataset.shown === 'yes'")
    assert f"1 of {COUNT}" in browser.text("#progress")


@pytest.mark.slow
def test_a_review_of_a_thousand_scans_asks_for_the_pictures_in_sight(browser, scans):
    requested = set()

    class Counting(Viewer):
        def answer(self, request):
            if request.path == "card":
                requested.add(request.query["scan"])
            return super().answer(request)

    with serving(Counting(make_entries(scans), "Review")) as page:
        browser.driver.get(page.server.address)
        assert browser.run("return document.querySelectorAll('.card').length") == COUNT
        browser.wait("document.getElementById('scan-0').dataset.shown === 'yes'")
        assert len(requested) < 30
        browser.run("document.getElementById('scan-700').scrollIntoView()")
        browser.wait("document.getElementById('scan-700').dataset.shown === 'yes'")
        assert len(requested) < 60
