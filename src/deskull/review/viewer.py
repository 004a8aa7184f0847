"""What the local page shows and takes: scans by their number, masks, marks.

No address contains a path: a page names a scan by its number, and a file of the page by a name
of `STATIC`. Who may ask at all is decided in `server.py`.
"""

import json
import math
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import DeskullError
from deskull.image.volume import Volume
from deskull.picture.page import encode_page, read_static
from deskull.result import Result
from deskull.review.marks import load_marks, make_mark, save_mark
from deskull.review.pictures import draw_card, draw_picture
from deskull.review.report import PACKAGE, WEBP, make_cohort_page, make_shots
from deskull.review.save_correction import ConflictError, save_correction
from deskull.review.scene import (
    DEFAULTS,
    MAX_BORDER,
    MIN_THRESHOLD,
    Entry,
    Scene,
    decode_mask,
    encode_file,
    encode_mask,
    encode_scan,
    load_corrected,
    load_scene,
    load_shown,
)
from deskull.review.server import (
    BYTES,
    HTML,
    Answer,
    LocalServer,
    RefusedError,
    Request,
    answer_json,
)
from deskull.stripper import Stripper

_SCRIPTS = (
    *(f"editing/{name}.js" for name in ("draw", "history", "shape")),
    *(f"viewer/{name}.js" for name in ("brain3d", "describing", "drawing", "files", "keeping")),
    *(f"viewer/{name}.js" for name in ("keyboard", "panes", "server", "slices", "sliders")),
    *(f"viewer/{name}.js" for name in ("viewer", "windowing")),
    "niivue.umd.js",
)
STATIC = {
    **dict.fromkeys(("viewer/panes.css", "viewer/viewer.css"), "text/css; charset=utf-8"),
    **dict.fromkeys(_SCRIPTS, "text/javascript; charset=utf-8"),
}
"""Media type of each file of the page, by its name below ``static``."""

MAX_POST = 2**29
"""Bytes of a drawing, one for each voxel: 800 along each axis at most."""

MAX_SCENES, MAX_VOXELS = 3, 60_000_000
"""Scans kept open, for the next two that the page fetches ahead; fewer if they are large."""

STEPS = {
    "locate": "looking for the brain",
    "conformed": "running the network",
    "mask_raw": "making the mask",
    "probability": "checking the mask",
}
"""What follows each intermediate image of the stripper, as the page shows it."""

MAX_KEPT = 500
"""Number of scans whose pictures are kept in memory, 100 kB each."""


class StripNow:
    """Strips scans one after the other, with weights that are loaded for the first of them.

    Parameters
    ----------
    load
        Makes the stripper.
    """

    def __init__(self, load: Callable[[], Stripper]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._stripper: Stripper | None = None
        self.steps: dict[int, str] = {}

    def __call__(self, number: int, volume: Volume) -> Result:
        """Strip a scan; `steps` says meanwhile by its number how far it is."""
        with self._lock:
            self.steps[number] = "loading the weights"
            self._stripper = stripper = self._stripper or self._load()
            return stripper(volume, observe=lambda step, *_: self._note(number, step))

    def _note(self, number: int, step: str) -> None:
        self.steps[number] = STEPS.get(step, self.steps[number])


class Viewer:
    """Answers the requests of the page.

    Parameters
    ----------
    entries
        Scans, by their number from 0.
    title
        Title of the page of the cohort; None if there is only a viewer.
    load
        Makes the stripper, when a probability is wanted that was not kept.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        title: str | None = None,
        load: Callable[[], Stripper] = Stripper.load,
    ) -> None:
        self.entries, self.title = list(entries), title
        self._strip_now = StripNow(load)
        self._drafts: dict[int, tuple[str, bytes]] = {}
        self._open: dict[int, Scene] = {}
        self._opening = threading.Lock()
        self._drawing = threading.Lock()
        self._pictures: dict[tuple[str, str, int], tuple[str, bytes, bytes]] = {}

    def start(self, port: int = 0) -> LocalServer:
        """Make the server whose requests this viewer answers."""
        return LocalServer(self.answer, MAX_POST, port)

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
            ("GET", "about"): self._describe,
            ("GET", "count"): self._count,
            ("GET", "scan"): self._give_scan,
            ("GET", "draft"): self._give_draft,
            ("GET", "progress"): self._give_progress,
            ("POST", "strip"): self._strip,
            ("POST", "draft"): self._take_draft,
            ("GET", "mask"): self._give_mask,
            ("GET", "card"): self._draw,
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
        return Answer(read_static(PACKAGE, "viewer/viewer.html"), HTML)

    # --- one scan

    def _count(self, request: Request) -> Answer:
        return answer_json({"count": len(self.entries), "review": self.title is not None})

    def _describe(self, request: Request) -> Answer:
        number, scene = self._find(request)
        entry, files, grid = self.entries[number], scene.files, scene.volume.grid.canonical()
        stripped = entry.stripped
        mark = None if stripped is None else load_marks(stripped.folder).get(stripped.key)
        about = {
            "name": entry.name,
            "number": number,
            "count": len(self.entries),
            "review": self.title is not None,
            "shape": grid.shape,
            "affine": grid.affine.tolist(),
            "oblique": grid.is_oblique,
            "voxel_ml": scene.volume.grid.voxel_volume / 1000,
            "note": scene.pair.note,
            "mask": files.mask.name if files.mask else "",
            "probability": scene.probability is not None,
            "settings": dict(scene.settings),
            "limits": {"threshold": MIN_THRESHOLD, "border": MAX_BORDER},
            "mask_sha256": files.hash_shown(),
            "manual": files.manual.name,
            "version": files.version,
            "flags": [[flag.name, flag.sentence] for flag in stripped.flags] if stripped else [],
            "score": stripped.score if stripped else None,
            "own": scene.probability is not None and entry.is_mask_foreign(files),
            "reference": entry.reference is not None,
            "can_strip": not files.no_face,
            "draft": number in self._drafts,
            **{name: getattr(mark, name, "") for name in ("mark", "marked", "by", "comment")},
            "tags": mark.tags if mark else (),
        }
        return answer_json(about)

    def _give_scan(self, request: Request) -> Answer:
        return Answer(encode_scan(self._find(request)[1].volume))

    def _give_mask(self, request: Request) -> Answer:
        """Give the automatic mask with other settings, or the corrected one."""
        number, scene = self._find(request)
        reference = self.entries[number].reference
        mask: NDArray[np.bool_] | None
        if request.query.get("manual"):
            mask = load_corrected(scene.files).mask
        elif request.query.get("reference") and reference is not None:
            mask = replace(scene.files, no_face=False).load(reference).mask
        else:
            chosen = [_read_number(request, name, scene.settings[name]) for name in DEFAULTS]
            mask = scene.make_mask(*chosen, own=bool(request.query.get("own")))
        assert mask is not None
        return Answer(encode_mask(mask, scene.volume))

    def _take_mask(self, request: Request) -> Answer:
        number, scene = self._find(request)
        mask = decode_mask(request.body, scene.volume)
        version, over = request.query.get("version", ""), bool(request.query.get("over"))
        files, stripped = scene.files, self.entries[number].stripped
        try:
            remade = save_correction(mask, scene.volume, files, version, over, stripped)
        except ConflictError as error:
            raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error
        self._drafts.pop(number, None)
        if stripped is not None:
            self.entries[number] = replace(self.entries[number], stripped=stripped.reload())
        saved = {"version": files.version, "path": str(files.manual), **vars(remade)}
        return answer_json({**saved, "mask_sha256": files.hash_shown()})

    def _strip(self, request: Request) -> Answer:
        """Strip the scan now, and keep its probability for the sliders."""
        number, scene = self._find(request)
        result = self._strip_now(number, scene.volume)
        with self._opening:
            self._open[number] = replace(scene, probability=result.probability)
        flags = [[flag.name, flag.sentence] for flag in result.flags]
        own = self.entries[number].is_mask_foreign(scene.files)
        fresh = {"probability": True, "score": result.score, "flags": flags, "own": own}
        return answer_json(fresh)

    def _give_progress(self, request: Request) -> Answer:
        return answer_json(
            {"step": self._strip_now.steps.get(self._read_scan_number(request), "")}
        )

    def _take_draft(self, request: Request) -> Answer:
        """Keep a drawing that is not saved, while this server runs."""
        number, version = self._read_scan_number(request), request.query.get("version", "")
        self._drafts[number] = version, zlib.compress(request.body, 1)
        return answer_json({})

    def _give_draft(self, request: Request) -> Answer:
        draft = self._drafts.get(self._read_scan_number(request))
        if draft is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such drawing.")
        version, content = draft
        return Answer(zlib.decompress(content), headers={"Deskull-Version": version})

    def _give_file(self, request: Request) -> Answer:
        """Give a drawing back as an image file, for a folder that nothing can be saved in."""
        _, scene = self._find(request)
        return Answer(encode_file(decode_mask(request.body, scene.volume), scene.volume), BYTES)

    def _draw(self, request: Request) -> Answer:
        """Draw a scan with its corrected mask if there is one, and keep the picture."""
        number = self._read_scan_number(request)
        files = self.entries[number].find()
        key = files.version, files.automatic_version, number
        with self._drawing:  # one after the other: each holds a scan in memory
            if key not in self._pictures:
                digest, pair = files.hash_shown(), load_shown(files)
                drawn = draw_card(pair), draw_picture(pair, files.name)
                self._pictures[key] = digest, *drawn
            digest, card, picture = self._pictures[key]
            if len(self._pictures) > MAX_KEPT:
                del self._pictures[next(iter(self._pictures))]
        content = picture if request.path == "picture" else card
        return Answer(content, WEBP, headers={"Deskull-Mask": digest})

    # --- marks

    def _take_mark(self, request: Request) -> Answer:
        """Save a mark, if the mask that the reviewer saw is the one that counts now."""
        try:
            given: Any = json.loads(request.body)
            number, mark = given["scan"], given["mark"]
            seen, comment = given.get("mask_sha256", ""), given.get("comment", "")
            tags = given.get("tags", [])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "expected a scan and a mark.") from error
        entry = self.entries[self._check_number(number)]
        texts = [mark, seen, comment, *tags] if isinstance(tags, list) else [None]
        if entry.stripped is None or not all(isinstance(text, str) for text in texts):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "marks belong to a review.")
        _check_seen(entry, seen)
        made = make_mark(entry.stripped, mark, mask_sha256=seen, tags=tags, comment=comment)
        save_mark(entry.stripped, made)
        return answer_json({"mark": made.mark, "by": made.by, "marked": made.marked})

    # --- numbers and scenes

    def _find(self, request: Request) -> tuple[int, Scene]:
        """Find the number and the scene of the scan of a request."""
        number = self._read_scan_number(request)
        return number, self.open(number)

    def open(self, number: int) -> Scene:
        """Load a scan, unless it is one of those loaded last.

        Raises
        ------
        DeskullError
            If it cannot be shown.
        """
        with self._opening:
            files = self.entries[number].find()  # raises if a file is gone
            scene = self._open.pop(number, None)
            if scene is None or scene.files != files or scene.version != files.automatic_version:
                scene = load_scene(files, self.entries[number].settings)
            self._open[number] = scene
            _forget(self._open)
            return scene

    def _read_scan_number(self, request: Request) -> int:
        text = request.query.get("scan", "0")
        return self._check_number(int(text) if text.isdecimal() and len(text) < 9 else None)

    def _check_number(self, number: object) -> int:
        if type(number) is not int or not 0 <= number < len(self.entries):  # true is no number
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such scan.")
        return number


def _check_seen(entry: Entry, seen: str) -> None:
    """Refuse a mark for another mask than the one that counts now; a failed scan has none."""
    try:
        now = entry.find().hash_shown()
    except DeskullError:
        return
    if seen != now:
        raise RefusedError(
            HTTPStatus.CONFLICT,
            f"{entry.name}: not marked, the picture is not of the mask that counts now. Look at "
            "the scan again.",
        )


def _forget(scenes: dict[int, Scene]) -> None:
    """Drop the scenes that were opened longest ago until the rest fits into `MAX_VOXELS`."""
    while len(scenes) > 1:
        sizes = [math.prod(scene.volume.grid.shape) for scene in scenes.values()]
        if len(scenes) <= MAX_SCENES and sum(sizes) <= MAX_VOXELS:
            break
        del scenes[next(iter(scenes))]


def _read_number(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query.get(name, default))
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name}: expected a number.") from error


def _answer_static(name: str) -> Answer:
    if name not in STATIC:
        raise RefusedError(HTTPStatus.NOT_FOUND, "no such page.")
    return Answer(read_static(PACKAGE, name), STATIC[name])
