"""The command line: parse, call one function per command, print errors, exit code.

Exit codes: 0 done, 1 failed, 2 wrong use, which the words alone show, whatever the files they
name; 130 interrupted. Nothing heavy is imported before a command runs, so that --help answers at
once.
"""

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deskull.arguments import COMMANDS, make_parser, parse
from deskull.commands.terminal import LogHandler, say
from deskull.errors import DeskullError, OptionError, explain_missing

WRONG_USE = 2  # as argparse leaves
NO_MEMORY = ("bad_alloc", "Cannot allocate memory", "can't start new thread")  # of any library


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        As after the program's name; ``IN [OUT]`` without a command means ``strip``.

    Returns
    -------
    int
        Exit code.
    """
    _let_any_name_be_printed()
    debug = "--debug" in arguments
    try:
        options = parse(arguments)
        if options is None:
            make_parser().print_help(sys.stderr)
            return WRONG_USE
        with _interruptible(), _talking(options):
            for words in getattr(options, "notes", ()):
                logging.getLogger("deskull").warning(words)
            _call(options)
            sys.stdout.flush()
    except DeskullError as error:
        return _fail(str(error), debug, WRONG_USE if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        say("interrupted; no half file was left")
        return 130
    except BrokenPipeError:  # the reader of our output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return _fail("not enough memory. Close other programs, or use another machine.", debug)
        return _fail(
            f"an internal error of deskull ({type(error).__name__}: {error}). Please report it "
            "with "
            "what --debug prints.",
            debug,
        )
    return 0


def _let_any_name_be_printed() -> None:
    """Write escapes for what stdout has no letters for, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _call(options: argparse.Namespace) -> None:
    """Import what does the command, and do it."""
    try:
        module = importlib.import_module(f"deskull.commands.{COMMANDS[options.command][1]}")
        getattr(module, options.command)(options)
    except ModuleNotFoundError as error:
        raise DeskullError(
            f"deskull {options.command}: {explain_missing(error.name or str(error))}"
        ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a kind kill, and a terminal that closes, clean up as Ctrl-C does."""

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
    say("error: " + " ".join(message.split()), "red")
    return code


@contextmanager
def _talking(options: argparse.Namespace) -> Iterator[None]:
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
