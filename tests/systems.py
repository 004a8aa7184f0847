"""What some systems lack: marks for the tests that need it, each with its reason."""

import os
import shutil
import sys

import pytest


def _need(is_there, what):
    return pytest.mark.skipif(not is_there, reason=f"needs {what}")


LINUX = _need(sys.platform == "linux", "Linux: /proc, or memory limits as it has them")
POSIX = _need(os.name == "posix", "POSIX: signals, modes of files, programs as scripts")
BASH = _need(os.name == "posix" and shutil.which("bash"), "bash")
DEVICES = _need(os.path.exists("/dev/zero"), "/dev/zero")
NOT_ROOT = _need(getattr(os, "geteuid", lambda: 0)() != 0, "a user whom modes of files bind")

CALLS = {
    "mkfifo": "named pipes",
    "openpty": "pseudo-terminals",
    "killpg": "process groups",
}
"""Functions of `os` that not every system has."""


def skip_where_lacking(monkeypatch):
    """Let a test that asks this system for what it lacks be skipped there, with the reason."""
    for name, what in CALLS.items():
        if not hasattr(os, name):
            monkeypatch.setattr(os, name, _make_skip(what), raising=False)
    link = os.symlink

    def make_link(*arguments, **options):
        try:
            link(*arguments, **options)
        except OSError as error:
            if getattr(error, "winerror", error.errno) != 1314:
                raise
            pytest.skip("needs the right to make symbolic links")

    monkeypatch.setattr(os, "symlink", make_link)


def _make_skip(what):
    def skip(*_, **__):
        pytest.skip(f"needs {what}")

    return skip
