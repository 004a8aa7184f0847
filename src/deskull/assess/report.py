"""Reports of stripped scans: a page for the cohort, and if wanted one for each scan.

Every page is one file that opens from disk and asks nothing of the network. What is on them
is `report_page.py`.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deskull.assess.correction import find_files, load_shown
from deskull.assess.marks import get_key, load_marks
from deskull.assess.page import to_data_address
from deskull.assess.pair import PAGE_WIDTH, Pair, draw_picture, draw_thumbnail
from deskull.assess.report_page import Shot, make_cohort_page, make_scan_page
from deskull.assess.stripped import ENDING, Stripped, find_stem, find_stripped
from deskull.cohort.records import DONE
from deskull.errors import DeskullError, InputError
from deskull.image.writing import make_folder, save_bytes
from deskull.picture import draw_svg

NAME = "deskull_report.html"
LARGE_PICTURES = 500
"""Of a larger cohort only the worst have more than a thumbnail, or no browser would open it."""

WEBP = "image/webp"

logger = logging.getLogger(__name__)


def write_report(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    each: bool = False,
    observe: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report of a folder of results.

    Parameters
    ----------
    folder
        Output of ``deskull batch`` or ``deskull-bids``.
    out
        Path of the cohort's page; by default `NAME` in the folder.
    each
        Write a page for each scan as well: ``X_report.html`` beside its record. In a BIDS data
        set ``sub-01.html`` at its top, with the picture as
        ``sub-01/figures/sub-01_desc-brain_mask.svg``.
    observe
        Called with the number of scans done, and of all.

    Returns
    -------
    Path
        Of the cohort's page.

    Raises
    ------
    InputError
        If there are no results.
    OutputError
        If a page cannot be written.
    """
    scans = find_stripped(folder)
    path = Path(out) if out is not None else Path(folder) / NAME
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: not the name of a page; expected one that ends in .html.")
    marks, shots = load_marks(scans[0].folder), []
    for number, scan in enumerate(scans):
        if observe is not None:
            observe(number, len(scans))
        shot = _report_scan(scan, path.parent, marks.get(get_key(scan), ""), each)
        shots.append(shot if number < LARGE_PICTURES else replace(shot, picture=""))
    title = f"deskull: {scans[0].folder.name}"
    save_bytes(encode_page(make_cohort_page(title, shots)), path)
    return path


def encode_page(page: str) -> bytes:
    """Make a page's bytes; of names that are no text in any language, what can be shown."""
    return page.encode("utf-8", "replace")


def _report_scan(scan: Stripped, start: Path, mark: str, each: bool) -> Shot:
    """Draw one scan, and write its own page if wanted; what fails is said on the page."""
    pair, problem = _load(scan)
    thumbnail = picture = link = ""
    if pair is not None:
        thumbnail = to_data_address(draw_thumbnail(pair), WEBP)
        picture = to_data_address(draw_picture(pair, scan.name), WEBP)
        problem = pair.note
    if each:
        own = _write_scan(scan, pair, problem)
        link = _to_address(own, start)
    return Shot(scan, thumbnail, picture, problem, link, mark)


def _load(scan: Stripped) -> tuple[Pair | None, str]:
    """Scan and mask, or why they cannot be shown."""
    if scan.status != DONE:
        return None, ""
    try:
        return load_shown(find_files(scan)), ""
    except DeskullError as error:
        logger.warning("%s: no picture: %s", scan.name, error)
        return None, str(error)


def _write_scan(scan: Stripped, pair: Pair | None, problem: str) -> Path:
    picture = ""
    if pair is not None:
        picture = to_data_address(draw_picture(pair, scan.name, PAGE_WIDTH), WEBP)
    path, figure = find_own_names(scan)
    if figure is not None and pair is not None and pair.mask is not None:
        make_folder(figure.parent)
        svg = draw_svg(pair.volume.data, pair.mask, pair.volume.grid, scan.name)
        save_bytes(svg, figure)
    save_bytes(encode_page(make_scan_page(scan, picture, problem)), path)
    return path


def find_own_names(scan: Stripped) -> tuple[Path, Path | None]:
    """Path of a scan's own page, and in a BIDS data set that of its figure."""
    mask = scan.find_output("mask")
    stem = "" if mask is None else find_stem(mask)
    person = stem.split("_")[0]
    if mask is None or not (person.startswith("sub-") and "_desc-brain" in stem):
        return scan.path.with_name(scan.path.name.removesuffix(ENDING) + "_report.html"), None
    root = next((p.parent for p in mask.parents if p.name == person), scan.folder)
    return (
        root / f"{stem.removesuffix('_mask').replace('_desc-brain', '_').strip('_')}.html",
        root / person / "figures" / f"{stem}.svg",
    )


def _to_address(path: Path, start: Path) -> str:
    """Address of a file as seen from a page in `start`."""
    from urllib.parse import quote

    relative = Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
    return quote(os.fsencode(relative))


def make_shots(scans: Sequence[Stripped], marks: dict[str, str]) -> list[Shot]:
    """Make what the local page shows of scans: pictures come when asked for."""
    return [
        Shot(
            scan,
            f"thumbnail?scan={number}" if scan.status == DONE else "",
            f"picture?scan={number}" if scan.status == DONE else "",
            link=f"view?scan={number}" if scan.status == DONE else "",
            mark=marks.get(get_key(scan), ""),
        )
        for number, scan in enumerate(scans)
    ]
