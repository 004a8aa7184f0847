"""What the README shows runs: its Python blocks, and its console lines that start with deskull."""

import re
import shlex
from pathlib import Path

import pytest

from ball import run

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
CONSOLES = [
    lines
    for language, text in BLOCKS
    if language == "console" and (lines := re.findall(r"^\$ (deskull .*)$", text, re.MULTILINE))
]


def test_the_readme_has_programs_and_console_lines():
    assert PROGRAMS
    assert CONSOLES


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda text: text.split("\n\n")[-1][:40])
def test_program_runs(demo_place, program):
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("lines", CONSOLES, ids=lambda lines: lines[0])
def test_console_lines_leave_with_0(demo_place, lines):
    for line in lines:
        assert run(*shlex.split(line)[1:]) == 0, line
