"""The report of stripped scans: one page for the cohort, and on demand one for each scan.

Every page is one file that opens from disk and loads nothing from the network. How the pages
look is in ``templates/`` and ``static/``.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from deskull.cohort.stripped import (
    Stripped,
    find_stripped,
    find_usual_settings,
    make_command,
)
from deskull.errors import DeskullError, InputError
from deskull.image.lookup import find_scan_stem
from deskull.image.writing import make_folder, save_bytes
from deskull.measure.score import LOW
from deskull.outputs import RECORD
from deskull.picture import draw_svg
from deskull.picture.page import encode_page, make_page, read_static, to_data_address
from deskull.picture.plot import Point, draw_chart
from deskull.record import DONE, WeightsName
from deskull.review.marks import MARKS, TAGS, Mark, load_marks
from deskull.review.pictures import PAGE_WIDTH, Pair, draw_card, draw_picture
from deskull.review.scene import find_files, load_shown
from deskull.settings import Settings
from deskull.text_files import make_relative
from deskull.typed_json import to_plain

NAME = "deskull_report.html"
LARGE_PICTURES = 200
"""Number of scans with slices in all planes: with more, the file would be hard to send on."""

WORST = 3
"""Number of scans that the page of a cohort shows at its top, to be looked at first."""

CHANGED = (
    "The mask is not the file that deskull wrote: score, volume and brain are of the mask before. "
    "To keep it, save it in deskull review; to undo it, run deskull batch again."
)

PACKAGE, WEBP = "deskull.review", "image/webp"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """How a scan appears on the page of a cohort.

    Parameters
    ----------
    scan
        The stripped scan.
    card, picture
        Addresses of one large slice in each plane, and of several in all planes: ``data:`` or
        relative to the page; empty if there is none.
    problem
        Why there is no picture, or what to know about it.
    link
        Address of the scan's own page, or empty.
    mark
        The reviewer's judgement; None if there is none.
    mask_sha256
        SHA-256 of the mask in the pictures; empty if they are not made yet.
    median_ml
        Median volume of the cohort; None if unknown.
    usual
        Settings that most scans of the cohort were stripped with; None if there are none.
    """

    scan: Stripped
    card: str = ""
    picture: str = ""
    problem: str = ""
    link: str = ""
    mark: Mark | None = None
    mask_sha256: str = ""
    median_ml: float | None = None
    usual: Settings | None = None

    @property
    def is_done(self) -> bool:
        """Whether the scan has a mask."""
        return self.scan.status == DONE

    @property
    def is_low(self) -> bool:
        """Whether the score is so low that the mask must be looked at."""
        return self.scan.score is not None and self.scan.score < LOW

    @property
    def is_doubtful(self) -> bool:
        """Whether the scan should be looked at: it failed, has doubts or a low score."""
        doubts = self.scan.flags or self.old_command is not None
        return bool(not self.is_done or self.is_low or doubts or self.folder_doubts)

    @cached_property
    def folder_doubts(self) -> list[tuple[str, str]]:
        """Doubts that only the folder shows, each with its sentence; none after a correction."""
        if not self.is_done or self.scan.is_corrected:
            return []
        doubts = []
        if self.scan.is_mask_changed:
            doubts.append(("mask-changed", CHANGED))
        if odd := self.scan.find_differences(self.usual):
            said = ", ".join(f"{name} {own} (most: {usual})" for name, (own, usual) in odd.items())
            doubts.append(("other-settings", f"Not made as most masks of this folder: {said}."))
        return doubts

    @property
    def against_median(self) -> str:
        """Difference of the volume from the cohort's median, in percent."""
        if not self.median_ml or self.scan.volume_ml is None:
            return ""
        return f"{self.scan.volume_ml / self.median_ml - 1:+.0%} of the median"

    @cached_property
    def old_command(self) -> str | None:
        """Command that makes the brain again from the corrected mask; None if it is up to date."""
        manual = self.scan.find_corrected()
        if manual is None or not self.scan.has_old_outputs:
            return None
        return make_command(self.scan, manual)


def write_report(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    each: bool = False,
    observe: Callable[[int, int], None] | None = None,
    *,
    no_face: bool = False,
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
    no_face
        Show only the brain and what lies close to it.

    Returns
    -------
    Path
        Path of the cohort's page.

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
        pair, problem, digest = _load(scan, no_face)
        shot = Shot(scan, problem=problem, mark=marks.get(scan.key), mask_sha256=digest)
        shot = _draw_shot(shot, pair, path.parent, each)
        shots.append(shot if number < LARGE_PICTURES else replace(shot, picture=""))
    title = f"deskull: {scans[0].folder.name}"
    save_bytes(encode_page(make_cohort_page(title, shots)), path)
    return path


def make_shots(scans: Sequence[Stripped], marks: Mapping[str, Mark]) -> list[Shot]:
    """Make what the local page shows of scans; it requests the pictures itself."""
    shots = []
    for number, scan in enumerate(scans):
        addresses = (f"{name}?scan={number}" for name in ("card", "picture", "view"))
        card, picture, link = addresses if scan.status == DONE else ("", "", "")
        shots.append(Shot(scan, card, picture, link=link, mark=marks.get(scan.key)))
    return shots


def make_cohort_page(title: str, shots: Sequence[Shot], served: bool = False) -> str:
    """Make the page of a cohort.

    Parameters
    ----------
    title
        Plain text.
    shots
        The scans, in the order shown at first.
    served
        Whether the local page serves it, which saves marks beside the data; else they are kept
        in the browser and downloaded.
    """
    known = b"\n".join(os.fsencode(shot.scan.path) for shot in shots)
    volumes = [shot.scan.volume_ml for shot in shots if shot.scan.volume_ml is not None]
    middle = median(volumes) if len(volumes) > 2 else None
    usual = find_usual_settings([shot.scan for shot in shots])
    shots = [replace(shot, median_ml=middle, usual=usual) for shot in shots]
    failed = sum(not shot.is_done for shot in shots)
    return make_page(
        PACKAGE,
        "cohort.html",
        script=read_static(PACKAGE, "report.js").decode(),
        title=title,
        shots=shots,
        failed=failed,
        doubtful=sum(shot.is_doubtful for shot in shots) - failed,
        worst=shots[:WORST] if len(shots) > WORST else [],
        charts=_draw_charts(shots),
        served=served,
        marks=MARKS,
        tags=TAGS,
        key=hashlib.sha256(known).hexdigest()[:16],
    )


def _draw_charts(shots: Sequence[Shot]) -> list[Any]:
    """Distributions of the cohort, without those that no scan has."""
    charts = []
    for title, unit, name in (
        ("Volume of the mask", "ml", "volume_ml"),
        ("Score", "of 100", "score"),
        ("Time", "seconds", "seconds"),
    ):
        points = [
            Point(shot.scan.name, value, target=f"scan-{number}", doubtful=shot.is_doubtful)
            for number, shot in enumerate(shots)
            if (value := getattr(shot.scan, name)) is not None
        ]
        charts.append(draw_chart(title, unit, points))
    return [chart for chart in charts if chart]


def make_scan_page(scan: Stripped, picture: str, problem: str = "") -> str:
    """Make the page of one scan.

    Parameters
    ----------
    scan
        The stripped scan.
    picture
        Address of its picture, or empty.
    problem
        Why there is no picture.
    """
    shot = Shot(scan, picture=picture, problem=problem)
    facts = list(_list_facts(scan))
    return make_page(PACKAGE, "scan.html", title=scan.name, shot=shot, facts=facts)


def find_own_names(scan: Stripped) -> tuple[Path, Path | None]:
    """Path of a scan's own page, and in a BIDS data set that of its figure if it has none yet."""
    mask = scan.find_output("mask")
    stem = "" if mask is None else find_scan_stem(mask)
    subject = stem.split("_")[0]
    if mask is None or not (subject.startswith("sub-") and "_desc-brain" in stem):
        return scan.path.with_name(scan.path.name.removesuffix(RECORD) + "_report.html"), None
    root = next((p.parent for p in mask.parents if p.name == subject), scan.folder)
    page = root / f"{stem.removesuffix('_mask').replace('_desc-brain', '_').strip('_')}.html"
    figure, picture = root / subject / "figures" / f"{stem}.svg", scan.find_output("picture")
    is_output = picture is not None and picture.resolve() == figure.resolve()
    return page, None if is_output else figure


def _load(scan: Stripped, no_face: bool) -> tuple[Pair | None, str, str]:
    """Load scan and mask, or say why they cannot be shown; with the SHA-256 of the mask."""
    if scan.status != DONE:
        return None, "", ""
    try:
        files = find_files(scan, no_face)
        digest, pair = files.hash_shown(), load_shown(files)
        return pair, pair.note, digest
    except DeskullError as error:
        logger.warning("%s: no picture: %s", scan.name, error)
        return None, str(error), ""


def _draw_shot(shot: Shot, pair: Pair | None, start: Path, each: bool) -> Shot:
    """Draw the pictures of one scan, and write its own page on demand."""
    if pair is not None:
        card = to_data_address(draw_card(pair), WEBP)
        picture = to_data_address(draw_picture(pair, shot.scan.name), WEBP)
        shot = replace(shot, card=card, picture=picture)
    if each:
        own = _write_scan(shot.scan, pair, shot.problem)
        link = quote(os.fsencode(make_relative(own.resolve(), start.resolve())))
        shot = replace(shot, link=link)
    return shot


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


def _list_facts(scan: Stripped) -> Iterable[tuple[str, str]]:
    """List what a record says, as rows of a table."""
    record, source = scan.record, scan.record.input
    size = _join(source.voxel_size)
    facts = {
        "Volume of the mask": "" if scan.volume_ml is None else f"{scan.volume_ml:.1f} ml",
        "Score": "" if scan.score is None else f"{scan.score} of 100",
        "Shape": _join(source.shape),
        "Voxel size": f"{size} mm" if size else "",
        "Orientation": source.orientation,
        "Settings": _name_all(record.settings),
        "Weights": _name_all(record.weights),
        "Version": f"deskull {record.deskull}" if record.deskull else "",
        "Runtime": f"{record.runtime} on {record.device}" if record.runtime else "",
        "Time": "" if scan.seconds is None else f"{scan.seconds:.1f} s",
        "Finished": record.finished,
        "Scan": f"SHA-256 {source.sha256}" if source.sha256 else "",
    }
    return ((name, value) for name, value in facts.items() if value)


def _join(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)


def _name_all(settings: Settings | WeightsName | None) -> str:
    given = to_plain(settings) if settings is not None else {}
    return ", ".join(f"{name} {json.dumps(value).strip(chr(34))}" for name, value in given.items())
