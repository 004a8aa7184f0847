"""How fast the report of a large cohort opens in Chromium, and what memory it takes.

    python benchmarks/report_page.py --scans 200

Strips the bundled head once, takes its record that many times with volumes and scores of
chance, writes the report, opens it three times from disk, goes through all scans by keyboard,
and prints seconds and megabytes. Needs chromium and chromedriver.
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the cohort, open its report, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=200)
    count = parser.parse_args(arguments).scans
    with tempfile.TemporaryDirectory() as folder:
        out = make_cohort(Path(folder), count)
        began = time.perf_counter()
        page = write_report(out)
        seconds = time.perf_counter() - began
        print("| what | value |\n|---|---|")
        print(f"| writing the report, a scan | {seconds / count:.2f} s |")
        print(f"| size, a scan | {page.stat().st_size / count / 1000:.0f} KB |")
        open_page(page, count)


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


def open_page(page: Path, count: int) -> None:
    """Open a page three times, go through its scans, and print what it took."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--window-size=1500,950"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        for number in range(1, 4):
            driver.get(page.as_uri())
            loaded = driver.execute_script(
                "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
            )
            print(f"| opening, time {number} | {loaded:.2f} s |")
        print(f"| memory of the page, opened | {measure_renderer():.0f} MB |")
        began = time.perf_counter()
        for _ in range(count - 1):
            webdriver.ActionChains(driver, duration=0).send_keys("\ue014").perform()
        print(f"| a step | {1000 * (time.perf_counter() - began) / count:.0f} ms |")
        print(f"| memory of the page, after all scans | {measure_renderer():.0f} MB |")


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
