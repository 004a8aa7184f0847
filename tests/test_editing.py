"""What of the viewer needs no browser, editing and keeping what is drawn: tests run by node."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["editing.mjs", "keeping.mjs"])
def test_what_needs_no_browser(name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    place = Path(__file__).with_name(name)
    done = subprocess.run([node, "--test", place], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
    assert "# tests 0" not in done.stdout
