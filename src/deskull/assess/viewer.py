"""What the local page shows and takes: scans by their number, masks, marks.

No address holds a path: a page names a scan by its number, and a file of the page by a name of
`STATIC`. Who may ask at all is `server.py`'s matter.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from deskull.assess.correction import (
    LEAST_THRESHOLD,
    MOST_BORDER,
    ConflictError,
    Files,
    Scene,
    decode_mask,
    encode_file,
    encode_mask,
    encode_scan,
    find_files,
    load_corrected,
    load_scene,
    load_shown,
    save_manual,
)
from deskull.assess.marks import get_key, load_marks, save_mark
from deskull.assess.pair import draw_picture, draw_thumbnail
from deskull.assess.report import WEBP, encode_page, make_shots
from deskull.assess.report_page import make_cohort_page
from deskull.assess.server import (
    BYTES,
    HTML,
    Answer,
    LocalServer,
    RefusedError,
    Request,
    answer_json,
)
from deskull.assess.stripped import Stripped, find_manual
from deskull.image.writing import find_start

STATIC = {
    "niivue.umd.js": "text/javascript; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "viewer.css": "text/css; charset=utf-8",
}
MOST_POST = 2**29
"""Bytes of a drawing: one for each voxel; scans of heads have 800 along each axis at most."""

MOST_KEPT = 500
"""Scans whose pictures are kept, 100 KB each."""

_DEFAULTS = {"threshold": 0.5, "border": 0.0}


@dataclass(frozen=True, eq=False)
class Entry:
    """One scan of the page.

    Parameters
    ----------
    name
        What the page calls it.
    find
        Gives its files, or says why they cannot be shown.
    settings
        Threshold and border of the machine's mask.
    stripped
        Its record, in a review.
    """

    name: str
    find: Callable[[], Files]
    settings: Mapping[str, float]
    stripped: Stripped | None = None


def make_entry(
    scan: Path, mask: Path | None = None, frame: int | None = None, series: str | None = None
) -> Entry:
    """Make the entry of one scan; a mask and a probability beside it are found by their names.

    Parameters
    ----------
    scan
        Image.
    mask
        Of the scan; by default ``X_mask.nii.gz`` beside it, if there is one.
    frame
        Of a 4D scan.
    series
        Of a DICOM folder.
    """
    start = find_start(scan)

    def find(word: str) -> Path | None:
        path = start.with_name(f"{start.name}_{word}.nii.gz")
        return path if path.is_file() else None

    machine = mask or find("mask")
    manual = find_manual(start, machine)
    found = Files(scan.name, scan, machine, find("probability"), manual, frame, series=series)
    return Entry(scan.name, lambda: found, _DEFAULTS)


def make_entries(scans: Sequence[Stripped]) -> list[Entry]:
    """Make the entries of a folder's scans, in their order."""
    return [_make_entry(scan) for scan in scans]


def _make_entry(scan: Stripped) -> Entry:
    given = scan.record.get("settings")
    known = given if isinstance(given, dict) else {}
    settings = {
        name: float(known[name]) if isinstance(known.get(name), int | float) else value
        for name, value in _DEFAULTS.items()
    }
    return Entry(scan.name, lambda: find_files(scan), settings, scan)


class Viewer:
    """What answers the page.

    Parameters
    ----------
    entries
        Scans, by their number from 0.
    title
        Of the page of all; None if there is only a viewer.
    """

    def __init__(self, entries: Sequence[Entry], title: str | None = None) -> None:
        self.entries, self.title = entries, title
        self._open: tuple[int, Scene] | None = None
        self._opening = threading.Lock()
        self._drawing = threading.Lock()
        self._pictures: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def start(self, port: int = 0) -> LocalServer:
        """Make the server that answers with this viewer."""
        return LocalServer(self.answer, MOST_POST, port)

    def answer(self, request: Request) -> Answer:
        """Answer a request.

        Raises
        ------
        RefusedError
            If there is nothing of that name, or another page was faster.
        DeskullError
            If a scan cannot be shown, or something cannot be saved.
        """
        name, folder = request.path, "static/"
        if request.method == "GET" and name.startswith(folder):
            return _answer_static(name.removeprefix(folder))
        known = {
            ("GET", ""): self._show_all,
            ("GET", "view"): self._show_viewer,
            ("GET", "about"): self._tell,
            ("GET", "scan"): self._give_scan,
            ("GET", "mask"): self._give_mask,
            ("GET", "thumbnail"): self._draw,
            ("GET", "picture"): self._draw,
            ("POST", "marks"): self._take_mark,
            ("POST", "save"): self._take_mask,
            ("POST", "download"): self._give_file,
        }
        answer = known.get((request.method, name))
        if answer is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such page.")
        return answer(request)

    # --- pages

    def _show_all(self, request: Request) -> Answer:
        if self.title is None:
            return self._show_viewer(request)
        scans = [entry.stripped for entry in self.entries if entry.stripped is not None]
        page = make_cohort_page(self.title, make_shots(scans, load_marks(scans[0].folder)), True)
        # the page has its own policy, which knows its script; only this cannot be said there
        return Answer(
            encode_page(page), HTML, headers={"Content-Security-Policy": "frame-ancestors 'none'"}
        )

    def _show_viewer(self, request: Request) -> Answer:
        return Answer(_read_static("viewer.html"), HTML)

    # --- one scan

    def _tell(self, request: Request) -> Answer:
        number, scene = self._find(request)
        stripped, files = self.entries[number].stripped, scene.files
        marks = {} if stripped is None else load_marks(stripped.folder)
        about = {
            "name": self.entries[number].name,
            "number": number,
            "count": len(self.entries),
            "review": self.title is not None,
            "shape": scene.volume.grid.canonical().shape,
            "voxel_ml": scene.volume.grid.voxel_volume / 1000,
            "note": scene.pair.note,
            "mask": files.mask.name if files.mask else "",
            "probability": scene.probability is not None,
            "settings": dict(scene.settings),
            "limits": {"threshold": LEAST_THRESHOLD, "border": MOST_BORDER},
            "manual": files.manual.name,
            "version": files.version,
            "flags": [[flag.name, flag.sentence] for flag in stripped.flags] if stripped else [],
            "score": stripped.score if stripped else None,
            "mark": marks.get(get_key(stripped), "") if stripped else "",
        }
        return answer_json(about)

    def _give_scan(self, request: Request) -> Answer:
        return Answer(encode_scan(self._find(request)[1].volume))

    def _give_mask(self, request: Request) -> Answer:
        """Give the machine's mask with other settings, or the corrected one."""
        _, scene = self._find(request)
        if request.query.get("manual"):
            mask = load_corrected(scene.files).mask
            assert mask is not None
        else:
            chosen = [_read_number(request, name, scene.settings[name]) for name in _DEFAULTS]
            mask = scene.make_mask(*chosen)
        return Answer(encode_mask(mask, scene.volume))

    def _take_mask(self, request: Request) -> Answer:
        _, scene = self._find(request)
        mask = decode_mask(request.body, scene.volume)
        version, over = request.query.get("version", ""), bool(request.query.get("over"))
        try:
            save_manual(mask, scene.volume, scene.files, version, over)
        except ConflictError as error:
            raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error
        return answer_json({"version": scene.files.version, "path": str(scene.files.manual)})

    def _give_file(self, request: Request) -> Answer:
        """Give a drawing back as an image file, for a folder that nothing can be saved in."""
        _, scene = self._find(request)
        return Answer(encode_file(decode_mask(request.body, scene.volume), scene.volume), BYTES)

    def _draw(self, request: Request) -> Answer:
        """Draw a scan with its corrected mask if there is one, and keep the picture."""
        number = self._read_scan_number(request)
        files = self.entries[number].find()
        key = files.version, number
        with self._drawing:  # one after the other: each holds a scan in memory
            if key not in self._pictures:
                pair = load_shown(files)
                self._pictures[key] = draw_thumbnail(pair), draw_picture(pair, files.name)
            drawn = self._pictures[key]
            if len(self._pictures) > MOST_KEPT:
                del self._pictures[next(iter(self._pictures))]
        return Answer(drawn[request.path == "picture"], WEBP)

    # --- marks

    def _take_mark(self, request: Request) -> Answer:
        try:
            given: Any = json.loads(request.body)
            number, mark = given["scan"], given["mark"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "expected a scan and a mark.") from error
        entry = self.entries[self._check_number(number)]
        if entry.stripped is None or not isinstance(mark, str):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "marks belong to a review.")
        save_mark(entry.stripped, mark)
        return answer_json({"mark": mark})

    # --- numbers and scenes

    def _find(self, request: Request) -> tuple[int, Scene]:
        """Find the number and the scene of the scan that is asked for."""
        number = self._read_scan_number(request)
        return number, self.open(number)

    def open(self, number: int) -> Scene:
        """Load a scan, unless it is the one loaded last.

        Raises
        ------
        DeskullError
            If it cannot be shown.
        """
        with self._opening:
            files = self.entries[number].find()  # says what vanished since
            if self._open is None or self._open[0] != number or self._open[1].files != files:
                self._open = None  # of two large scans only one fits
                self._open = number, load_scene(files, self.entries[number].settings)
            return self._open[1]

    def _read_scan_number(self, request: Request) -> int:
        word = request.query.get("scan", "0")
        return self._check_number(int(word) if word.isdecimal() and len(word) < 9 else None)

    def _check_number(self, number: object) -> int:
        if type(number) is not int or not 0 <= number < len(self.entries):  # true is no number
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such scan.")
        return number


def _read_number(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query.get(name, default))
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name}: expected a number.") from error


def _answer_static(name: str) -> Answer:
    if name not in STATIC:
        raise RefusedError(HTTPStatus.NOT_FOUND, "no such page.")
    return Answer(_read_static(name), STATIC[name])


def _read_static(name: str) -> bytes:
    return (package_files("deskull.assess") / "static" / name).read_bytes()
