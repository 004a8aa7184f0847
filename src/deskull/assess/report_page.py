"""HTML of the report: the page of a cohort, and the page of one scan.

Text and addresses in, text out; no file is read but the page's own style and script.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from deskull.assess.chart import Dot, make_dot_chart
from deskull.assess.marks import MARKS, get_key
from deskull.assess.page import NOT_MEDICAL, escape, make_page
from deskull.assess.stripped import Stripped
from deskull.assess.svg import STYLE
from deskull.cohort.records import DONE
from deskull.measure.score import LOW


@dataclass(frozen=True)
class Shot:
    """How a scan looks on the page of a cohort.

    Parameters
    ----------
    scan
        Which.
    thumbnail, picture
        Addresses of pictures, ``data:`` or below the page's own; empty if there is none.
    problem
        Why there is none.
    link
        Address of the scan's own page, or empty.
    mark
        Given before: one of `MARKS`, or empty.
    """

    scan: Stripped
    thumbnail: str = ""
    picture: str = ""
    problem: str = ""
    link: str = ""
    mark: str = ""


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
    key = hashlib.sha256(known).hexdigest()
    enter = " · <kbd>Enter</kbd> open the scan" if any(shot.link for shot in shots) else ""
    keys = _KEYS.format(enter=enter)
    rows = "".join(_make_row(number, shot) for number, shot in enumerate(shots))
    button = "" if served else '<button id="download">Download marks (TSV)</button>'
    heads = "".join(
        f'<th{" class=number" if number else ""} aria-sort="none"><button>{name}</button></th>'
        for name, number in _COLUMNS
    )
    body = (
        f'<main id="report" data-served="{"yes" if served else ""}" data-key="{key[:16]}">'
        f'<header><div><h1>{escape(title)}</h1><p>{_sum_up(shots)}</p></div><p class="screen">'
        f'<span id="progress" aria-live="polite"></span> {button}</p></header>'
        f'<div class="charts">{_make_charts(shots)}</div>'
        f'<div class="split"><div class="list"><table id="scans"><thead><tr>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><aside id="stage" class="screen">'
        '<canvas id="large" role="img" hidden></canvas>'
        f'<div id="choices">{_CHOICES}</div><div id="words"></div>{keys}'
        f'</aside></div><p id="trouble" role="alert"></p><p class="soft">{NOT_MEDICAL}</p></main>'
    )
    static = files("deskull.assess") / "static"
    style, script = ((static / name).read_text("utf-8") for name in ("report.css", "report.js"))
    return make_page(title, body, style=STYLE + style, script=script)


_COLUMNS = (
    ("Mark", False),
    ("Scan", False),
    ("Score", True),
    ("Volume, ml", True),
    ("Doubts", False),
)
_CHOICES = "".join(
    f'<button data-mark="{mark}"><kbd>{mark[0]}</kbd> {mark}</button>' for mark in MARKS
)
_KEYS = (
    '<p class="soft keys"><kbd>←</kbd> <kbd>→</kbd> go through the scans · <kbd>p</kbd> pass, '
    "<kbd>f</kbd> fail, <kbd>m</kbd> maybe, and on to the next · <kbd>u</kbd> unmark{enter}</p>"
)


def _sum_up(shots: Sequence[Shot]) -> str:
    """Say how many scans there are, failed, and are in doubt."""
    failed = sum(shot.scan.status != DONE for shot in shots)
    doubtful = sum(_is_doubtful(shot.scan) for shot in shots) - failed
    words = [f"{len(shots)} scans" if len(shots) != 1 else "1 scan"]
    words += [f"{failed} failed"] if failed else []
    words += [f"{doubtful} with doubts" if doubtful else "no doubts"]
    return f"{', '.join(words)}. Those that most need a look come first."


def _is_doubtful(scan: Stripped) -> bool:
    low = scan.score is not None and scan.score < LOW
    return scan.status != DONE or bool(scan.flags) or low


def _make_charts(shots: Sequence[Shot]) -> str:
    charts = []
    for title, unit, name in (
        ("Brain volume", "ml", "volume_ml"),
        ("Score", "of 100", "score"),
        ("Time", "seconds", "seconds"),
    ):
        dots = [
            Dot(value, shot.scan.name, f"scan-{number}", _is_doubtful(shot.scan))
            for number, shot in enumerate(shots)
            if (value := getattr(shot.scan, name)) is not None
        ]
        charts.append(make_dot_chart(title, unit, dots))
    return "".join(charts)


def _make_row(number: int, shot: Shot) -> str:
    scan = shot.scan
    score = "" if scan.score is None else f"{scan.score:.0f}"
    volume = "" if scan.volume_ml is None else f"{scan.volume_ml:.0f}"
    low = " doubtful" if scan.score is not None and scan.score < LOW else ""
    doubts = "".join(_make_doubt(flag.name, flag.sentence) for flag in scan.flags)
    if scan.status != DONE:
        doubts = _make_doubt("failed", scan.error, "flag bad")
    elif shot.problem:
        doubts += _make_doubt("picture", shot.problem)
    if scan.is_corrected:
        doubts += _make_doubt("corrected", "by hand; the picture shows that mask.", "flag good")
    name = escape(scan.name)
    heading = f'<a href="{escape(shot.link)}">{name}</a>' if shot.link else name
    image = ""
    if shot.thumbnail:
        image = f'<img loading="lazy" decoding="async" alt="" src="{escape(shot.thumbnail)}">'
    record = escape(get_key(scan))
    return (
        f'<tr id="scan-{number}" data-record="{record}" data-name="{name}" '
        f'data-picture="{escape(shot.picture)}" data-mark="{escape(shot.mark)}">'
        f'<td class="mark">{escape(shot.mark)}</td>'
        f'<td><div class="name">{heading}</div>{image}</td>'
        f'<td class="number{low}">{score}</td><td class="number">{volume}</td>'
        f"<td>{doubts}</td></tr>\n"
    )


def _make_doubt(name: str, sentence: str, kind: str = "flag") -> str:
    return f'<div><b class="{kind}">{escape(name)}</b> <small>{escape(sentence)}</small></div>'


def make_scan_page(scan: Stripped, picture: str, problem: str = "") -> str:
    """Make the page of one scan.

    Parameters
    ----------
    scan
        Which.
    picture
        Address of its picture, or empty.
    problem
        Why there is no picture.
    """
    doubts = "".join(_make_doubt(flag.name, flag.sentence) for flag in scan.flags)
    if scan.status != DONE:
        doubts = _make_doubt("failed", scan.error, "flag bad")
    shown = f"<p>No picture: {escape(problem)}</p>" if problem else ""
    if picture:
        words = "slices with the outline of the mask"
        shown = f'<img class="large" alt="{words}" src="{escape(picture)}">'
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _tell(scan)
    )
    body = (
        f"<main><h1>{escape(scan.name)}</h1>{doubts or '<p>No doubts.</p>'}{shown}<h2>Facts</h2>"
        f'<table class="facts">{facts}</table><p class="soft">{NOT_MEDICAL}</p></main>'
    )
    style = (files("deskull.assess") / "static" / "report.css").read_text("utf-8")
    return make_page(scan.name, body, style=style)


def _tell(scan: Stripped) -> list[tuple[str, str]]:
    """Name and words of what a record says, for a table."""
    record = scan.record
    given = record.get("input")
    source = given if isinstance(given, dict) else {}
    weights = record.get("weights")
    facts = {
        "Volume of the mask": "" if scan.volume_ml is None else f"{scan.volume_ml:.1f} ml",
        "Score": "" if scan.score is None else f"{scan.score:.0f} of 100",
        "Shape": _join(source.get("shape")),
        "Voxel size": f"{size} mm" if (size := _join(source.get("voxel_size"))) else "",
        "Orientation": str(source.get("orientation") or ""),
        "Settings": _name_all(record.get("settings")),
        "Weights": _name_all(weights),
        "Version": f"deskull {record['deskull']}" if "deskull" in record else "",
        "Runtime": f"{record['runtime']} on {record.get('device')}" if "runtime" in record else "",
        "Time": "" if scan.seconds is None else f"{scan.seconds:.1f} s",
        "Finished": str(record.get("finished") or ""),
        "Scan": str(source.get("sha256") or "") and f"SHA-256 {source['sha256']}",
    }
    return [(name, words) for name, words in facts.items() if words]


def _join(values: object) -> str:
    given = values if isinstance(values, list) else []
    known = all(isinstance(value, int | float) for value in given)
    return " × ".join(f"{value:g}" for value in given) if known else ""


def _name_all(fields: object) -> str:
    given = fields if isinstance(fields, dict) else {}
    return ", ".join(f"{name} {json.dumps(value).strip(chr(34))}" for name, value in given.items())
