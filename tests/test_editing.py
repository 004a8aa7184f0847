"""The editing tools of the viewer, which need no browser: their own tests, run by node."""

import shutil
import subprocess
from pathlib import Path

import pytest


def test_the_editing_tools():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    place = Path(__file__).with_name("editing.mjs")
    done = subprocess.run([node, "--test", place], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
    assert "# tests 0" not in done.stdout
