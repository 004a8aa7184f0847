"""A plugin for pytest that hides what Windows lacks: `PYTHONPATH=tests pytest -p other_system`.

It shows on any machine whether the tests import, and skip with a reason, where POSIX is missing.
What Windows does otherwise (paths, open files, encodings) only its own machine shows.
"""

import os
import signal
import sys

import pytest

MODULES = ("resource", "fcntl", "termios", "pty", "tty", "pwd", "grp")
SIGNALS = ("SIGKILL", "SIGHUP", "SIGSTOP", "SIGCONT", "SIGUSR1", "SIGUSR2", "SIGALRM")
CALLS = ("mkfifo", "openpty", "killpg", "sched_getaffinity")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    """Hide it before the first test module is imported, and after pytest's own plugins are."""
    for name in MODULES:
        sys.modules[name] = None
    for name in SIGNALS:
        delattr(signal, name)
    for name in CALLS:
        delattr(os, name)
    os.symlink = _refuse


def _refuse(*_, **__):
    raise OSError(1314, "A required privilege is not held by the client")
