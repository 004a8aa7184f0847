"""A real browser for tests of pages, end to end: headless Chromium, WebGL in software."""

import os
import shutil
import time

import pytest

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
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
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


def wait_for(find):
    """Wait until a function gives something true, and give it."""
    end = time.monotonic() + PATIENCE
    while not (found := find()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


class Browser:
    """What a user does with a page."""

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

    def type(self, text):
        """Type into the field that has the focus."""
        webdriver.ActionChains(self.driver).send_keys(text).perform()

    def set(self, name, value):
        """Choose or enter a value, as a user does."""
        self.run(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', { bubbles: true }))",
            name,
            value,
        )

    def open_viewer(self, address, number):
        self.driver.get(f"{address}view?scan={number}")
        self.wait("document.body.dataset.ready")

    def draw(self, pane, start, *stops):
        """Drag over a pane; places in pixels from its middle."""
        canvas = self.find(f"#pane{pane}")
        chain = webdriver.ActionChains(self.driver, duration=60)
        chain.move_to_element_with_offset(canvas, *start).click_and_hold()
        for stop in stops:
            chain.move_to_element_with_offset(canvas, *stop)
        chain.release().perform()

    def shoot(self, name):
        """Keep a picture of the page, where a folder for it is named."""
        if folder := os.environ.get("DESKULL_SCREENSHOTS"):
            self.driver.save_screenshot(os.path.join(folder, f"{name}.png"))

    def count(self):
        """Voxels of the mask."""
        return self.run("return deskull.scene.mask.reduce((sum, v) => sum + v, 0)")

    def wait_for_count(self, count):
        self.wait(f"deskull.scene.mask?.reduce((sum, v) => sum + v, 0) === {count}")

    def wait_until_said(self, kind="good"):
        self.wait(f"document.getElementById('said').className === '{kind}'")

    def complaints(self):
        """What the browser complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def browser(driver):
    driver.get("about:blank")
    driver.get_log("browser")
    return Browser(driver)
