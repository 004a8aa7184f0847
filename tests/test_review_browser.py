"""The page of a cohort in a real browser: judged by keyboard, never the wrong scan, from disk."""

import base64
import csv
import json
import threading

import pytest

from browsing import PATIENCE, browser, downloads, driver, wait_for
from deskull.cohort.stripped import find_stripped
from deskull.review.marks import Mark, load_marks, save_mark
from deskull.review.report import write_report
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from reviewed import HOSTILE, batch, edit, stripped_once
from served import serving

__all__ = ["batch", "browser", "downloads", "driver", "stripped_once"]

pytestmark = pytest.mark.slow
RIGHT, LEFT, ENTER, ESCAPE = "\ue014", "\ue012", "\ue007", "\ue00c"
CURRENT = "document.querySelector('.card.current')"
IS_BLANK = (
    "(() => { const c = document.getElementById('large');"
    "return !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v) })()"
)


class SlowViewer(Viewer):
    """A server whose pictures wait until they are let through, scan by scan."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.gates = [threading.Event() for _ in self.entries]

    def answer(self, request):
        if request.path in ("card", "picture", "scan"):
            assert self.gates[int(request.query["scan"])].wait(PATIENCE)
        return super().answer(request)


@pytest.fixture
def address(batch):
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        yield page.server.address


def wait_until_shown(browser, number):
    browser.wait(f"document.getElementById('scan-{number}').dataset.shown === 'yes'")


def current(browser):
    return browser.run(f"return {CURRENT}.dataset.name")


def test_a_mark_cannot_hit_a_scan_whose_picture_is_not_there(browser, batch):
    scans = find_stripped(batch)
    names, folder = [scan.name for scan in scans], batch.resolve()
    viewer = SlowViewer(make_entries(scans), "Review")
    with serving(viewer) as page:
        browser.driver.get(page.server.address)
        browser.press("f")  # the first one failed: there is no picture to wait for
        assert wait_for(lambda: load_marks(folder))[scans[0].key].mark == "fail"
        assert current(browser) == names[1]
        browser.press("p")
        assert "the picture of" in browser.text("#trouble")
        assert "not shown yet" in browser.text("#trouble")
        browser.shoot("refused")
        viewer.gates[1].set()
        wait_until_shown(browser, 1)
        assert len(load_marks(folder)) == 1
        browser.press("p")
        mark = wait_for(lambda: load_marks(folder).get(scans[1].key))
        assert (mark.mark, mark.mask_sha256) == (
            "pass",
            scans[1].record.outputs["mask"].sha256,
        )
        assert current(browser) == names[2]
        browser.press("m")
        assert "not shown yet" in browser.text("#trouble")
        for gate in viewer.gates:
            gate.set()
        wait_until_shown(browser, 2)
        assert scans[2].key not in load_marks(folder)


def test_the_large_picture_is_blank_until_that_of_the_scan_is_there(browser, batch):
    scans = find_stripped(batch)
    viewer = SlowViewer(make_entries(scans), "Review")
    for number in (0, 1):
        viewer.gates[number].set()
    with serving(viewer) as page:
        browser.driver.get(page.server.address)
        browser.press(RIGHT)
        wait_until_shown(browser, 1)
        browser.press(" ")
        browser.wait(f"!{IS_BLANK}")
        browser.press(RIGHT)
        assert browser.run(f"return {IS_BLANK}")
        assert browser.text("#zoom-name") == scans[2].name
        browser.press("p")
        assert load_marks(batch.resolve()) == {}
        viewer.gates[2].set()
        browser.wait(f"!{IS_BLANK}")
        browser.press("p")
        assert [*wait_for(lambda: load_marks(batch.resolve()))] == [scans[2].key]
        for gate in viewer.gates:
            gate.set()


def test_the_next_two_pictures_are_fetched_ahead(browser, batch):
    scans = find_stripped(batch)
    requested = []

    class Noting(Viewer):
        def answer(self, request):
            requested.append((request.path, request.query.get("scan")))
            return super().answer(request)

    with serving(Noting(make_entries(scans), "Review")) as page:
        browser.driver.set_window_size(900, 300)  # so small that no other scan is near
        try:
            browser.driver.get(page.server.address)
            wait_for(lambda: ("card", "2") in requested)
        finally:
            browser.driver.set_window_size(1400, 1000)
    assert {("card", "1"), ("card", "2")} <= set(requested)


def test_a_mask_saved_elsewhere_meanwhile_is_shown_before_it_can_be_marked(browser, batch):
    scans = find_stripped(batch)
    with serving(Viewer(make_entries(scans), "Review")) as page:
        browser.driver.get(page.server.address)
        browser.press(RIGHT)
        wait_until_shown(browser, 1)
        shape = page.about(1)["shape"]
        drawn = (b"\1" * (shape[0] // 2) + bytes(shape[0] // 2)) * (shape[1] * shape[2])
        assert page.post("save?scan=1&version=", drawn)[0] == 200
        browser.press("p")
        browser.wait("document.getElementById('trouble').textContent.includes('Look at')")
        assert load_marks(batch.resolve()) == {}
        assert current(browser) == scans[1].name
        wait_until_shown(browser, 1)
        browser.press("f")
        assert wait_for(lambda: load_marks(batch.resolve()))


def test_a_review_goes_by_keyboard(browser, address, batch):
    browser.driver.get(address)
    names = [scan.name for scan in find_stripped(batch)]
    browser.press("f")
    wait_until_shown(browser, 1)
    browser.press("p")
    assert current(browser) == names[2]
    browser.press("n")
    assert current(browser) == names[3]
    browser.press(LEFT)
    browser.press(LEFT)
    assert current(browser) == names[1]
    browser.press("c")
    browser.type("a little neck" + ENTER + ESCAPE)
    browser.find(".card.current [data-tag='neck kept']").click()
    mark = wait_for(
        lambda: next((m for m in load_marks(batch.resolve()).values() if m.tags), None)
    )
    assert (mark.comment, mark.tags, mark.mark) == ("a little neck", ("neck kept",), "pass")
    assert browser.text("#progress") == "2 of 4 marked"
    pressed = browser.find(".card.current .judge [data-mark=pass]").get_attribute("aria-pressed")
    assert pressed == "true"
    browser.press("?")
    assert "next scan without a mark" in browser.text("#keys")
    browser.shoot("keys")
    browser.press("?")
    browser.press(ENTER)
    browser.wait("document.body.dataset.ready")
    assert browser.text("#name") == names[1]


def test_filters_and_order(browser, address, batch):
    edit(batch / "one_record.json", score=12, flags=[{"name": "rim", "sentence": "Rough."}])

    def shown():
        return browser.run(
            "return [...document.querySelectorAll('.card')].filter((c) => !c.hidden)"
            ".map((c) => c.dataset.name)"
        )

    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        browser.driver.get(page.server.address)
        assert shown()[:2] == ["bad.nii.gz", "one.nii.gz"]
        browser.set("show", "failed")
        assert shown() == ["bad.nii.gz"]
        browser.set("show", "doubtful")
        assert shown() == ["bad.nii.gz", "one.nii.gz"]
        browser.set("show", "all")
        browser.set("high", "50")
        assert shown() == ["bad.nii.gz", "one.nii.gz"]
        browser.set("low", "1")
        assert shown() == ["one.nii.gz"]
        browser.set("low", "0")
        browser.set("high", "100")
        browser.set("search", "TWO")
        assert shown() == ["b/two.nii.gz"]
        browser.set("search", "rough")
        assert shown() == ["one.nii.gz"]
        browser.run("document.querySelector('.chart a[href=\"#scan-0\"]')?.remove()")
        browser.run("location.hash = '#scan-2'")  # as a click on a dot of a plot
        browser.wait(f"{CURRENT}.id === 'scan-2'")
        assert len(shown()) == 4
        browser.set("sort", "name")
        assert shown() == sorted(shown(), key=str.lower)
    assert browser.complaints() == []


def test_a_name_that_is_a_program_does_not_run(browser, address, batch):
    edit(batch / "one_record.json", flags=[{"name": HOSTILE, "sentence": HOSTILE}])
    browser.driver.get(address)
    wait_until_shown(browser, 2)
    assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.complaints() == []


def test_the_report_works_from_disk(browser, batch, downloads):
    path = write_report(batch, each=True)
    browser.driver.get(path.as_uri())
    names = [scan.name for scan in find_stripped(batch)]
    browser.press("f")
    wait_until_shown(browser, 1)
    browser.press(" ")
    browser.wait("document.getElementById('large').width === 1280")
    browser.press(" ")
    browser.press("p")
    browser.driver.refresh()
    assert browser.text("#progress") == "2 of 4 marked"
    browser.find("#download").click()
    table = downloads / "deskull_review.tsv"
    assert wait_for(table.exists)
    (batch / "deskull_review.tsv").write_bytes(table.read_bytes())
    with table.open(newline="") as stream:
        rows = {row["input"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert {name: row["mark"] for name, row in rows.items()} == {
        names[0]: "fail",
        names[1]: "pass",
    }
    scan = find_stripped(batch)[1]
    mark = load_marks(batch)[scan.key]
    assert mark.mask_sha256 == scan.record.outputs["mask"].sha256
    assert browser.complaints() == []


def test_a_download_holds_each_judgement_of_its_own_mask(browser, batch, downloads, monkeypatch):
    for name in ("draw_picture", "draw_card"):  # no picture is looked at
        monkeypatch.setattr(f"deskull.review.report.{name}", lambda *_: b"drawn")
    scans = {scan.name: scan for scan in find_stripped(batch)}
    one, two, odd = (scans[name] for name in ("one.nii.gz", "b/two.nii.gz", HOSTILE))
    said = "2026-06-01T00:00:00Z", "ann", 64 * "1"  # of a mask before the one that counts now
    table = Mark(one.key, one.name, "fail", *said, ("motion",), '"quoted" before')
    save_mark(one, table)
    digest = {scan.key: scan.record.outputs["mask"].sha256 for scan in (one, two, odd)}
    early, late = "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"
    kept = {
        one.key: {"mark": "pass", "mask_sha256": digest[one.key], "marked": early},
        two.key: {"mark": "pass", "mask_sha256": 64 * "2", "marked": late},
        odd.key: {
            "mark": "maybe",
            "mask_sha256": digest[odd.key],
            "marked": late,
            "comment": '"unclosed',
        },
    }
    browser.driver.get(write_report(batch).as_uri())
    key = "'deskull-marks-' + document.getElementById('report').dataset.key"
    browser.run(f"localStorage.setItem({key}, arguments[0])", json.dumps(kept))
    browser.driver.refresh()
    assert browser.text("#progress") == "2 of 4 marked"
    who = browser.text(f"[data-record='{two.key}'] .who")
    assert who == "(pass kept in this browser is of an earlier mask)"
    (downloads / "deskull_review.tsv").unlink(missing_ok=True)
    browser.find("#download").click()
    assert wait_for((downloads / "deskull_review.tsv").exists)
    assert load_marks(downloads) == {
        one.key: table,
        odd.key: Mark(odd.key, odd.name, "maybe", late, "", digest[odd.key], (), '"unclosed'),
    }


def test_the_report_prints(browser, batch):
    browser.driver.get(write_report(batch).as_uri())
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF")
    assert b"/Subtype /Image" in content  # one: all three scans are the same head
