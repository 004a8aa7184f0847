"""A cohort of 1,000 scans: what its page weighs, and that it fetches only what is looked at."""

from dataclasses import replace

import pytest

from browsing import browser, downloads, driver
from deskull.cohort.stripped import find_stripped
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


@pytest.fixture
def page(scans, tmp_path):
    """Their report, as it is written to disk."""
    source = scans[0].find_scan()
    pair = load_pair(source, scans[0].find_output("mask"))
    card = to_data_address(draw_card(pair), WEBP)
    picture = to_data_address(draw_picture(pair, "a scan"), WEBP)
    path = tmp_path / "report.html"
    shots = [Shot(scan, card, picture) for scan in scans]
    path.write_bytes(encode_page(make_cohort_page("many", shots)))
    return path


def test_a_scan_weighs_less_than_300_kb(page):
    assert page.stat().st_size < 300_000 * COUNT


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
