"""What a user reads on stderr: messages, and how far long work is.

On a terminal, steps show as one line that is wiped at the end, and counted work as a bar; in a
log, counted work leaves a plain line now and then. stdout is left to results.

>>> with progress(quiet=False) as show:
...     show("looking for scans")
...     for done in range(3):
...         show.count(done, 2, "scans", failed=0)
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG_SECONDS = 5.0
"""Least time between two lines of progress in a log."""
LOG_SILENCE = 60.0
"""Time after which a log gets a line, even if no further tenth of the work is done."""
_WIPE = "\r\x1b[K"


def say(words: str, style: str = "") -> None:
    """Print one line on stderr, above whatever shows progress.

    Parameters
    ----------
    words
        The message, without the program's name.
    style
        ``"red"`` or ``"yellow"``; shown only where colours are wanted.
    """
    if Progress.live is not None:
        Progress.live.print_above(f"deskull: {words}")
    else:
        print(_paint("deskull:", style), words, file=sys.stderr, flush=True)


def tell_done(words: str, written: Sequence[Path], replaced: Sequence[Path]) -> None:
    """Say on a terminal what came out and where it is, in one line; a log needs no such line.

    Parameters
    ----------
    words
        What came out, such as ``"1524 ml, score 100, 1.8 s"``.
    written
        Files and folders.
    replaced
        Those of them that existed before.
    """
    if is_terminal():
        names = [f"{path}{' (replaced)' if path in replaced else ''}" for path in written]
        print(f"{words} -> {', '.join(names)}", file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _paint(words: str, style: str) -> str:
    """Colour words for a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if not style or os.environ.get("NO_COLOR") or not is_terminal():
        return words
    return f"\x1b[{ {'red': 31, 'yellow': 33}[style] }m{words}\x1b[0m"


class LogHandler(logging.Handler):
    """Shows what the library logs as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            say(record.getMessage())
        except Exception:
            self.handleError(record)


class Progress:
    """Shows how far a command is: call it with a step, or count what is done.

    Parameters
    ----------
    quiet
        Show nothing.
    """

    live: "Progress | None" = None
    """The one that has something on the terminal now."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._drawn = is_terminal() and not quiet
        self._step = ""
        self._work: _Work | None = None
        self._bar: Any = None

    def __call__(self, step: str) -> None:
        """Show a step that has no count, such as ``"reading"``; a log says nothing of it."""
        self._close_bar()
        if self._drawn:
            Progress.live, self._step = self, f"{_WIPE}deskull: {step} …"
            print(self._step, end="", file=sys.stderr, flush=True)

    def count(
        self, done: int, total: int, what: str, *, failed: int | None = None, note: str = ""
    ) -> None:
        """Show how much of the work is done; the rate is counted from the first call on.

        Parameters
        ----------
        done, total
            How many there are; those that an earlier run did are part of both.
        what
            Their plural, such as ``"scans"``.
        failed
            How many of those done have failed; None where that is not known.
        note
            More words for the end of the line, such as the loss.
        """
        if self._work is None or self._work.what != what:
            self._close_bar()
            self._work = _Work(what, done)
        words = self._work.tell(done, total, failed, note)
        if self._drawn:
            self._draw(done, total, words)
        elif not self._quiet and self._work.is_news(done, total):
            say(words)

    def _draw(self, done: int, total: int, words: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._close_step()
            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            text = TextColumn("{task.description}", markup=False)
            columns = (TextColumn("deskull:"), BarColumn(24), text)
            self._bar = Bar(
                *columns, console=console, transient=True, refresh_per_second=4,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._bar.add_task("")
            self._bar.start()
            Progress.live = self
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=words)

    def print_above(self, line: str) -> None:
        """Print a line above what is shown, which stays."""
        if self._bar is not None:
            self._bar.console.print(line, soft_wrap=True)
        else:
            print(f"{_WIPE}{line}\n{self._step}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe everything from the terminal."""
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
    """Give what shows progress, and wipe it from the terminal at the end.

    Parameters
    ----------
    quiet
        Show nothing.
    """
    show = Progress(quiet)
    try:
        yield show
    finally:
        show.close()


class _Work:
    """Counted work, and when a log last heard of it."""

    def __init__(self, what: str, done: int) -> None:
        self.what = what
        self._first, self._began = done, time.monotonic()
        self._told, self._told_at = done, self._began

    def tell(self, done: int, total: int, failed: int | None, note: str) -> str:
        """Count, rate, time left and failures, in one line."""
        words = [f"{done}/{total} {self.what}"]
        seconds = time.monotonic() - self._began
        if done > self._first and seconds > 0:
            rate = (done - self._first) / seconds
            words += [_to_rate(rate), f"{_to_clock((total - done) / rate)} left"]
        if failed is not None:
            words.append(f"{failed} failed")
        return ", ".join([*words, note] if note else words)

    def is_news(self, done: int, total: int) -> bool:
        """Whether a log should get a line: another tenth is done, or much time has passed."""
        now = time.monotonic()
        silence = now - self._told_at
        tenth = 10 * done // max(1, total) > 10 * self._told // max(1, total)
        if silence < LOG_SECONDS or not (tenth or silence >= LOG_SILENCE):
            return False
        self._told, self._told_at = done, now
        return True


def _to_rate(rate: float) -> str:
    """Rate in words; `rate` is a second's."""
    unit, seconds = ("a second", 1) if rate >= 10 else ("a minute", 60)
    if rate * seconds < 1:
        unit, seconds = "an hour", 3600
    return f"{rate * seconds:.1f} {unit}"


def _to_clock(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if seconds >= 100 else f"{seconds:.0f} s"
