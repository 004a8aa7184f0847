"""How fast the report of a large cohort opens in Chromium, and what memory it takes.

    python benchmarks/report_page.py --scans 200
    python benchmarks/report_page.py --page brains/deskull_report.html

Strips the bundled head once, takes its record that many times with volumes and scores of
chance, writes the report (or takes one that is there), opens it three times from disk, scrolls,
goes through all scans by keyboard, and prints seconds, frames and megabytes. The work is in
processor time, which a busy machine changes less. Needs chromium and chromedriver.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from selenium import webdriver

from deskull.cohort import Job, make_plan, strip_cohort
from deskull.demo import HEAD
from deskull.review.report import write_report

WATCH = """
window.times = {};
const watch = setInterval(() => {
  if (document.getElementById("progress")?.textContent) times.ready ??= performance.now();
  if (document.querySelector(".card[data-shown=yes]")) times.picture ??= performance.now();
  if (times.ready && times.picture) clearInterval(watch);
}, 10);
"""
"""Notes when the page reacts (its script has run) and when its first picture is there."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the cohort, open its report, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--page", type=Path, help="a report to measure instead")
    parsed = parser.parse_args(arguments)
    print("| what | value |\n|---|---|")
    if parsed.page is not None:
        open_page(parsed.page.resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        out = make_cohort(Path(folder), parsed.scans)
        began = time.perf_counter()
        page = write_report(out)
        seconds = time.perf_counter() - began
        print(f"| writing the report, a scan | {seconds / parsed.scans:.2f} s |")
        print(f"| size, a scan | {page.stat().st_size / parsed.scans / 1000:.0f} KB |")
        open_page(page)


def make_cohort(folder: Path, count: int) -> Path:
    """Strip one head, and make records of many."""
    out, study, chance = folder / "out", folder / "study", random.Random(0)
    study.mkdir()
    with resources.as_file(resources.files("deskull") / "data" / HEAD) as head:
        shutil.copy(head, study / "head.nii.gz")
    strip_cohort(make_plan([study], out), out, Job())
    first = out / "head_record.json"
    record = json.loads(first.read_text("utf-8"))
    for number in range(count):
        record["input"]["path"] = f"sub-{number:04d}_T1w.nii.gz"
        record["volume_ml"] = chance.gauss(1450, 120)
        record["score"] = min(100, round(chance.gauss(90, 8)))
        (out / f"sub-{number:04d}_record.json").write_text(json.dumps(record), "utf-8")
    first.unlink()
    return out


def open_page(page: Path) -> None:
    """Open a page three times, scroll, go through its scans, and print what it took."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--window-size=1500,950"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.execute_cdp_cmd("Page.enable", {})
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for number in range(1, 4):
            driver.get(page.as_uri())
            ready, picture, loaded = driver.execute_script(
                "const [page] = performance.getEntriesByType('navigation');"
                "return [times.ready, times.picture, page.loadEventEnd].map((ms) => ms / 1000)"
            )
            print(f"| opening, time {number}: reacts | {ready:.2f} s |")
            print(f"| opening, time {number}: first picture | {picture:.2f} s |")
            print(f"| opening, time {number}: all has arrived | {loaded:.2f} s |")
            print(f"| opening, time {number}: work of the page | {measure_work(driver):.2f} s |")
        print(f"| memory of the page, opened | {measure_renderer():.0f} MB |")
        scroll_page(driver)
        count = driver.execute_script("return document.querySelectorAll('.card').length")
        began = time.perf_counter()
        for _ in range(count - 1):
            webdriver.ActionChains(driver, duration=0).send_keys("\ue014").perform()
        print(f"| a step | {1000 * (time.perf_counter() - began) / count:.0f} ms |")
        print(f"| memory of the page, after all scans | {measure_renderer():.0f} MB |")


def scroll_page(driver: webdriver.Chrome) -> None:
    """Scroll as by a wheel for five seconds, and print the frames that the page kept up with."""
    before = measure_work(driver)
    driver.execute_script(
        "window.frames_ = 0; window.began = performance.now();"
        "const count = () => { frames_++; requestAnimationFrame(count) };"
        "requestAnimationFrame(count)"
    )
    gesture = {"x": 700, "y": 500, "yDistance": -15000, "speed": 3000}
    driver.execute_cdp_cmd(
        "Input.synthesizeScrollGesture", gesture | {"gestureSourceType": "mouse"}
    )
    frames, rate = driver.execute_script(
        "return [frames_, 1000 * frames_ / (performance.now() - began)]"
    )
    work = 1000 * (measure_work(driver) - before) / frames
    print(f"| scrolling, frames a second | {rate:.0f} |")
    print(f"| scrolling, work of the page for a frame | {work:.1f} ms |")


def measure_work(driver: webdriver.Chrome) -> float:
    """Seconds of processor time of the page's main thread; other programs do not count."""
    found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def measure_renderer() -> float:
    """Megabytes (PSS) of Chromium's processes that hold pages."""
    total = 0.0
    for process in Path("/proc").iterdir():
        try:
            if b"--type=renderer" in (process / "cmdline").read_bytes():
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += next(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


if __name__ == "__main__":
    main()
