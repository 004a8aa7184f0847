"""Messages, doubts about masks, and progress on stderr.

On a terminal, a step is one line that is erased at the end, and counted work a bar; in a log,
counted work prints a line now and then. stdout is for results.

>>> with progress(quiet=False) as show:
...     show("looking for scans")
...     for done in range(3):
...         show.count(done, 2, "scans", failed=0)
"""

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deskull.measure.quality import Flag

logger = logging.getLogger("deskull")

LOG_SECONDS = 5.0
"""Minimum time between two lines of progress in a log."""
LOG_SILENCE = 60.0
"""Time after which a log gets a line, even if less than another tenth of the work is done."""
_WIPE = "\r\x1b[K"


def print_message(message: str, style: str = "") -> None:
    """Print one line on stderr, above the progress if any is shown.

    Parameters
    ----------
    message
        The message, without the program's name.
    style
        ``"red"`` or ``"yellow"``; used only where colours are supported.
    """
    if Progress.live is not None:
        Progress.live.print_above(f"deskull: {message}")
    else:
        print(_colour("deskull:", style), message, file=sys.stderr, flush=True)


def report_done(outcome: str, written: Sequence[Path], replaced: Sequence[Path]) -> None:
    """Print a result and its files in one line on a terminal; in a log, what was replaced.

    Parameters
    ----------
    outcome
        Summary of the result, such as ``"1524 ml, score 100, 1.8 s"``.
    written
        Files and folders that were written.
    replaced
        Those of the written files that existed before.
    """
    if is_terminal():
        names = [f"{path}{' (replaced)' if path in replaced else ''}" for path in written]
        print(f"{outcome} -> {', '.join(names)}", file=sys.stderr, flush=True)
    elif replaced:
        print_message(f"replaced: {', '.join(map(str, replaced))}")


def warn_of_doubts(
    scan: Path, mask: Path | None, scores: Sequence[int], doubts: Sequence[Sequence["Flag"]]
) -> None:
    """Warn of a low score, and of each doubt about a mask.

    Parameters
    ----------
    scan
        Path of the scan.
    mask
        Path of its mask, if it was written.
    scores
        Score of each frame. A low one is reported whether a doubt explains it or not.
    doubts
        Flags of each frame. Each doubt is reported once, with the frames that have it.
    """
    from deskull.image.lookup import STDIN
    from deskull.measure.score import LOW

    name = "standard input" if str(scan) == STDIN else scan.name or str(scan)
    score = min(scores)
    if score < LOW:
        frame = f" (frame {scores.index(score)})" if len(scores) > 1 else ""
        advice = "check the mask before you use it"
        if mask is not None and str(scan) != STDIN:
            advice += f": {shlex.join(['deskull', 'view', str(scan), str(mask)])}"
        logger.warning("%s: low score: %d of 100%s; %s", name, score, frame, advice)
    found: dict[str, list[tuple[int, str]]] = {}
    for number, flags in enumerate(doubts):
        for flag in flags:
            found.setdefault(flag.name, []).append((number, flag.sentence))
    for doubt, cases in found.items():
        where = _list_frames([number for number, _ in cases], len(doubts))
        logger.warning("%s: %s: %s%s", name, doubt, cases[0][1], where)


def _list_frames(numbers: Sequence[int], count: int) -> str:
    """List the first frames that have a doubt; empty for a scan of a single frame."""
    if count == 1:
        return ""
    frames = ", ".join(map(str, numbers[:5])) + ", ..." * (len(numbers) > 5)
    return f" (frame{'s' * (len(numbers) > 1)} {frames}; {len(numbers)} of {count} frames)"


def is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be overwritten."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _colour(text: str, style: str) -> str:
    """Colour text for a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if not style or os.environ.get("NO_COLOR") or not is_terminal():
        return text
    return f"\x1b[{ {'red': 31, 'yellow': 33}[style] }m{text}\x1b[0m"


class LogHandler(logging.Handler):
    """Print log records of the library as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            print_message(record.getMessage())
        except Exception:
            self.handleError(record)


class Progress:
    """Progress of a command: call it with a step, or count what is done.

    Parameters
    ----------
    quiet
        Whether nothing is shown.
    """

    live: "Progress | None" = None
    """The instance that shows something on the terminal now."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._drawn = is_terminal() and not quiet
        self._step = ""
        self._work: _CountedWork | None = None
        self._bar: Any = None

    def __call__(self, step: str) -> None:
        """Show a step that has no count, such as ``"reading"``; nothing in a log."""
        self._close_bar()
        if self._drawn:
            Progress.live, self._step = self, f"{_WIPE}deskull: {step} …"
            print(self._step, end="", file=sys.stderr, flush=True)

    def count(
        self, done: int, total: int, what: str, *, failed: int | None = None, note: str = ""
    ) -> None:
        """Show how much of the work is done; the rate is measured from the first call.

        Parameters
        ----------
        done, total
            Number of finished and of all items, both with those of earlier runs.
        what
            Plural of the items, such as ``"scans"``.
        failed
            Number of finished items that failed; None where that is not known.
        note
            Text at the end of the line, such as the loss.
        """
        if self._work is None or self._work.what != what:
            self._close_bar()
            self._work = _CountedWork(what, done)
        text = self._work.describe(done, total, failed, note)
        if self._drawn:
            self._draw(done, total, text)
        elif not self._quiet and self._work.is_due(done, total):
            print_message(text)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that shows how many of all items are done.

        Parameters
        ----------
        what
            Plural of the items, such as ``"scans"``.
        """
        return lambda done, total: self.count(done, total, what)

    def _draw(self, done: int, total: int, text: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._close_step()
            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            label = TextColumn("{task.description}", markup=False)
            columns = (TextColumn("deskull:"), BarColumn(24), label)
            self._bar = Bar(
                *columns, console=console, transient=True, refresh_per_second=4,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._bar.add_task("")
            self._bar.start()
            Progress.live = self
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=text)

    def print_above(self, line: str) -> None:
        """Print a line above the progress, which stays."""
        if self._bar is not None:
            self._bar.console.print(line, soft_wrap=True)
        else:
            print(f"{_WIPE}{line}\n{self._step}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Erase the progress from the terminal."""
        self._close_step()
        self._close_bar()

    def _close_step(self) -> None:
        if self._step:
            print(_WIPE, end="", file=sys.stderr, flush=True)
            self._step, Progress.live = "", None

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            Progress.live = None
        self._bar = self._work = None


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Yield a `Progress`, and erase it from the terminal at the end.

    Parameters
    ----------
    quiet
        Whether nothing is shown.
    """
    show = Progress(quiet)
    try:
        yield show
    finally:
        show.close()


class _CountedWork:
    """Counted work, and the last line about it in a log."""

    def __init__(self, what: str, done: int) -> None:
        self.what = what
        self._first, self._began = done, time.monotonic()
        self._last_done, self._last_time = done, self._began

    def describe(self, done: int, total: int, failed: int | None, note: str) -> str:
        """Count, rate, time left and failures, in one line."""
        parts = [f"{done}/{total} {self.what}"]
        seconds = time.monotonic() - self._began
        if done > self._first and seconds > 0:
            rate = (done - self._first) / seconds
            parts += [_to_rate(rate), f"{_to_clock((total - done) / rate)} left"]
        if failed is not None:
            parts.append(f"{failed} failed")
        return ", ".join([*parts, note] if note else parts)

    def is_due(self, done: int, total: int) -> bool:
        """Whether a log should get a line: another tenth is done, or much time has passed."""
        now = time.monotonic()
        silence = now - self._last_time
        tenth = 10 * done // max(1, total) > 10 * self._last_done // max(1, total)
        if silence < LOG_SECONDS or not (tenth or silence >= LOG_SILENCE):
            return False
        self._last_done, self._last_time = done, now
        return True


def _to_rate(rate: float) -> str:
    """Describe a rate, which is given per second."""
    unit, seconds = ("per second", 1) if rate >= 10 else ("per minute", 60)
    if rate * seconds < 1:
        unit, seconds = "per hour", 3600
    return f"{rate * seconds:.1f} {unit}"


def _to_clock(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if seconds >= 100 else f"{seconds:.0f} s"
