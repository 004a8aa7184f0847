"""The command line: parse, call one function per command, print errors, exit code.

Exit codes: 0 done; 1 failed; 2 wrong use, which the arguments alone show, whatever the files they
name; 130 interrupted.
"""

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deskull.commands import COMMANDS, make_parser, parse
from deskull.commands.terminal import LogHandler, print_message
from deskull.errors import DeskullError, OptionError, explain_missing

WRONG_USE = 2
"""Exit code of argparse."""
NO_MEMORY = ("bad_alloc", "Cannot allocate memory", "can't start new thread")
"""Parts of the messages by which libraries report that memory is exhausted."""


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        Arguments after the program's name; ``IN [OUT]`` without a command means ``strip``.

    Returns
    -------
    int
        Exit code.
    """
    _escape_unprintable_names()
    debug = "--debug" in arguments
    try:
        options = parse(arguments)
        if options is None:
            make_parser().print_help(sys.stderr)
            return WRONG_USE
        with _interruptible(), _logging_to_stderr(options):
            for note in getattr(options, "notes", ()):
                logging.getLogger("deskull").warning(note)
            _run_command(options)
            sys.stdout.flush()
    except DeskullError as error:
        return _fail(str(error), debug, WRONG_USE if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        print_message("interrupted; no half file was left")
        return 130
    except BrokenPipeError:  # the reader of stdout, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if isinstance(error, MemoryError) or any(part in str(error) for part in NO_MEMORY):
            return _fail("not enough memory. Close other programs, or use another machine.", debug)
        return _fail(
            f"an internal error of deskull ({type(error).__name__}: {error}). Please report it "
            "with what --debug prints.",
            debug,
        )
    return 0


def _escape_unprintable_names() -> None:
    """Write characters that stdout cannot encode as escapes, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _run_command(options: argparse.Namespace) -> None:
    """Run the command, and name the extra if a package is missing."""
    _, run_command = COMMANDS[options.command]
    try:
        run_command(options)
    except ModuleNotFoundError as error:
        raise DeskullError(
            f"deskull {options.command}: {explain_missing(error.name or str(error))}"
        ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Clean up on SIGTERM and SIGHUP as on Ctrl-C."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _fail(message: str, debug: bool, code: int = 1) -> int:
    if debug:
        raise
    print_message("error: " + " ".join(message.split()), "red")
    return code


@contextmanager
def _logging_to_stderr(options: argparse.Namespace) -> Iterator[None]:
    """Send the library's log to stderr: warnings, or more, or only errors."""
    logger = logging.getLogger("deskull")
    handler = LogHandler()
    level = logging.INFO if options.verbose else logging.WARNING
    level = logging.ERROR if options.quiet else level
    before = logger.level
    logger.setLevel(logging.DEBUG if options.debug else level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
