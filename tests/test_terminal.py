"""Messages and progress on stderr: a bar or a step on a terminal, plain lines in a log."""

import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from deskull import cli
from deskull.commands import terminal
from deskull.commands.terminal import print_message, progress

SHOWN = """
import logging
from deskull.commands.terminal import LogHandler, print_message, progress
logging.getLogger("deskull").addHandler(LogHandler())
with progress(quiet=False) as show:
    show("looking")
    logging.getLogger("deskull").warning("found %s", "x" * 300)
    show.count(1, 4, "scans", failed=0)
    show.count(2, 4, "scans", failed=1)
    logging.getLogger("deskull").warning("[bold]b.nii[/bold]: failed")
    show.count(3, 4, "scans", failed=1)
    show("writing")
print_message("error: done", "red")
"""


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def show_on_terminal(program, **environment):
    """Everything that a program writes to a terminal of 60 columns."""
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment = {**kept, "TERM": "xterm", "COLUMNS": "60", **environment}
    master, slave = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    while chunk := _read(master):
        seen += chunk
    os.close(master)
    assert process.wait() == 0
    return seen.decode()


def _read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_terminal_shows_steps_and_a_bar_with_failures():
    seen = show_on_terminal(SHOWN)
    for text in ("deskull: looking …", "━", "3/4 scans", "1 failed", "deskull: writing …"):
        assert text in seen


def test_messages_are_printed_whole_above_the_progress():
    lines = show_on_terminal(SHOWN).split("\r\n")
    assert any("deskull: found " + "x" * 300 in line for line in lines)
    assert any(line.endswith("deskull: [bold]b.nii[/bold]: failed") for line in lines)


def test_the_progress_is_erased_at_the_end():
    last = show_on_terminal(SHOWN).split("\r\n")[-2]
    assert last.rpartition("\x1b[K")[2] == "\x1b[31mdeskull:\x1b[0m error: done"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(environment):
    seen = show_on_terminal(SHOWN, **environment)
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", seen)
    assert "deskull: error: done" in seen


def test_a_log_gets_no_colours_and_no_steps(capsys):
    with progress(quiet=False) as show:
        show("looking")
        print_message("error: done", "red")
    assert capsys.readouterr().err == "deskull: error: done\n"


def test_a_log_gets_a_line_for_each_tenth_but_not_too_often(capsys, clock):
    with progress(quiet=False) as show:
        for done in range(101):
            show.count(done, 100, "scans", failed=done // 50)
            clock.seconds += 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "deskull: 10/100 scans, 60.0 per minute, 90 s left, 0 failed"
    assert lines[-1] == "deskull: 100/100 scans, 60.0 per minute, 0 s left, 2 failed"


def test_a_log_gets_a_line_about_slow_work_every_minute(capsys, clock):
    with progress(quiet=False) as show:
        for done in range(5):
            show.count(done, 10_000, "steps", note="loss 0.5")
            clock.seconds += 40
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "deskull: 2/10000 steps, 1.5 per minute, 111 h 5 min left, loss 0.5",
        "deskull: 4/10000 steps, 1.5 per minute, 111 h 4 min left, loss 0.5",
    ]


def test_the_rate_leaves_out_the_work_of_earlier_runs(capsys, clock):
    with progress(quiet=False) as show:
        show.count(50, 100, "scans")
        clock.seconds += 7200
        show.count(60, 100, "scans")
    assert capsys.readouterr().err == "deskull: 60/100 scans, 5.0 per hour, 8 h 0 min left\n"


def test_short_work_gets_no_line_in_a_log(capsys):
    with progress(quiet=False) as show:
        for done in range(4):
            show.count(done, 3, "scans")
    assert capsys.readouterr().err == ""


def test_quiet_shows_no_progress(capsys, clock):
    with progress(quiet=True) as show:
        show("looking")
        for done in range(11):
            show.count(done, 10, "scans")
            clock.seconds += 100
    assert capsys.readouterr().err == ""


def test_rich_is_imported_only_for_a_bar():
    program = "import sys\n" + SHOWN.replace("    show.count", "    0 and show.count")
    program += "assert 'rich' not in sys.modules\n"
    assert "looking" in show_on_terminal(program)


def test_a_message_that_cannot_be_formatted_does_not_stop_the_command(capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    record = logging.LogRecord("deskull", logging.WARNING, "", 0, "%d", ("x",), None)
    terminal.LogHandler().emit(record)
    assert capsys.readouterr().err == ""


def test_an_error_is_one_line_without_colours_in_a_log(tmp_path, capsys):
    assert cli.run([str(tmp_path / "nope.nii.gz")]) == 1
    assert re.fullmatch(
        r"deskull: error: .*nope.nii.gz: no such file\.\n", capsys.readouterr().err
    )
