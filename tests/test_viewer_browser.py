"""The pages in a real browser, end to end: headless Chromium with WebGL in software."""

import csv
import json
import shutil
import time

import nibabel as nib
import numpy as np
import pytest

from deskull.cohort.stripped import find_stripped
from deskull.review.marks import load_marks
from deskull.review.report import write_report
from deskull.review.viewer import Viewer, make_entries
from reviewed import HOSTILE, batch, edit, stripped_once
from served import serving

__all__ = ["batch", "stripped_once"]

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver")

PATIENCE = 60.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=1400,1000",
    "--disable-background-networking",
)


def find_program(*names):
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {names[0]} here")
    return found


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads):
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(find_program("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


class Browser:
    """What a person does with a page."""

    def __init__(self, driver):
        self.driver = driver

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition):
        """Wait until a JavaScript expression is true, and give its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {condition}: {self.text('body')[:400]}")

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.find(selector).text

    def press(self, keys):
        self.run("document.activeElement.blur()")
        webdriver.ActionChains(self.driver).send_keys(keys).perform()

    def open_viewer(self, address, number):
        self.driver.get(f"{address}view?scan={number}")
        self.wait("document.body.dataset.ready")

    def slide(self, name, value):
        self.run(
            "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
            "slider.dispatchEvent(new Event('input'))",
            name,
            value,
        )

    def draw(self, start, *stops):
        """Drag over the picture; places in pixels from its middle."""
        canvas = self.find("#canvas")
        chain = webdriver.ActionChains(self.driver, duration=60)
        chain.move_to_element_with_offset(canvas, *start).click_and_hold()
        for stop in stops:
            chain.move_to_element_with_offset(canvas, *stop)
        chain.release().perform()

    def count(self):
        """Voxels of the mask."""
        return self.run("return deskull.nv.drawBitmap.reduce((sum, v) => sum + (v > 0), 0)")

    def complaints(self):
        """What the browser complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def browser(driver):
    driver.get("about:blank")
    driver.get_log("browser")
    return Browser(driver)


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

    browser.slide("border", 8)
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
    browser.slide("threshold", 0.05)
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
    browser.slide("opacity", 0)
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
    end = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    np.testing.assert_array_equal(load(path), load(batch / "one_mask.nii.gz"))


def test_a_scan_that_failed_is_said_and_passed_by(browser, address, batch):
    number = number_of(batch, "bad.nii.gz")
    browser.driver.get(f"{address}view?scan={number}")
    browser.wait("document.getElementById('busy').className === 'bad'")
    assert "bad.nii.gz" in browser.text("#busy")


def test_a_review_goes_by_keyboard(browser, address, batch):
    browser.driver.get(address)
    names = [scan.name for scan in find_stripped(batch)]
    assert browser.text("#words h2") == names[0]
    browser.press("f")
    assert browser.text("#words h2") == names[1]
    browser.press("p")
    browser.press("\ue012")  # left
    assert browser.text("#words h2") == names[1]
    browser.wait("document.getElementById('progress').textContent.startsWith('2 of 4')")
    end = time.monotonic() + PATIENCE
    while len(load_marks(batch.resolve())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    marks = load_marks(batch.resolve()).values()
    assert sorted(mark.mark for mark in marks) == ["fail", "pass"]
    browser.press("\ue007")  # enter
    browser.wait("document.body.dataset.ready")
    assert browser.text("#name") == names[1]
    assert "chosen" in browser.find("#marks [data-mark=pass]").get_attribute("class")
    browser.press("m")
    browser.wait("document.querySelector('#marks [data-mark=maybe]').className === 'chosen'")
    browser.press("\ue014")  # right
    browser.wait(f"document.getElementById('name').textContent === {json.dumps(names[2])}")
    browser.wait("document.body.dataset.ready")


def test_a_name_that_is_a_program_does_not_run(browser, address, batch):
    edit(batch / "one_record.json", flags=[{"name": HOSTILE, "sentence": HOSTILE}])
    for number in range(1, 4):
        browser.open_viewer(address, number)
        assert browser.run("return document.querySelectorAll('img').length") == 0
    browser.driver.get(address)
    assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.complaints() == []


def test_the_report_works_from_disk(browser, batch, downloads):
    path = write_report(batch, each=True)
    browser.driver.get(path.as_uri())
    browser.press("\ue014")  # right: the first one has no picture
    browser.wait("document.getElementById('large').width === 1280")
    browser.press("\ue012")
    browser.wait("document.getElementById('large').hidden")
    names = [scan.name for scan in find_stripped(batch)]
    browser.press("f")
    browser.press("p")
    browser.driver.refresh()
    assert browser.text("#progress") == "2 of 4 marked"
    volumes = "[...document.querySelectorAll('#scans tbody tr')].map(r => r.cells[3].textContent)"
    browser.run("document.querySelectorAll('#scans th button')[3].click()")
    shown = browser.run(f"return {volumes}")
    assert shown[-1] == ""  # the one that failed has none, and comes last
    assert [float(v) for v in shown[:-1]] == sorted(float(v) for v in shown[:-1])
    browser.find("#download").click()
    table = downloads / "deskull_review.tsv"
    end = time.monotonic() + PATIENCE
    while not table.exists() and time.monotonic() < end:
        time.sleep(0.05)
    with table.open(newline="") as stream:
        rows = {row["input"]: row["mark"] for row in csv.DictReader(stream, delimiter="\t")}
    assert rows == {names[0]: "fail", names[1]: "pass", names[2]: "", names[3]: ""}
    assert browser.complaints() == []
