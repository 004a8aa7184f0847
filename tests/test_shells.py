"""Completion scripts and the manual page, tried in the shells and in man."""

import shutil
import subprocess

import pytest

from ball import run
from deskull import __version__
from deskull.commands import COMMANDS, make_parser
from deskull.commands.shells import COMPLETIONS, make_manual
from deskull.network.weights import load_weights
from systems import BASH

CASES = [
    ("deskull ba", {"batch"}),
    ("deskull batch --ou", {"--out", "--out-dir", "--outputs"}),
    ("deskull scan.nii.gz --bo", {"--border"}),  # strip goes unsaid
    ("deskull scan.nii.gz -m sc", {"scan.nii.gz"}),
    ("deskull weights sh", {"show"}),
    ("deskull bids raw out part", {"participant"}),
    ("deskull-bids raw out part", {"participant"}),
    ("deskull-bids raw out participant --orientation r", {"ras"}),
    ("deskull-bids raw out participant --particip", {"--participant-label"}),
]
BASH_TRY = """
source ./completion
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_deskull "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.nii.gz").touch()
    return tmp_path


def complete(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {line.partition("\t")[0] for line in done.stdout.splitlines()} - {""}


@BASH
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(folder, line, expected):
    (folder / "completion").write_text(COMPLETIONS["bash"](make_parser()))
    assert complete(["bash", "-c", BASH_TRY, "bash", *line.split()]) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(folder, line, expected):
    (folder / "completion").write_text(COMPLETIONS["fish"](make_parser()))
    arguments = ["fish", "--no-config", "-c", f"source ./completion; complete -C '{line}'"]
    assert complete(arguments) == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_zsh_completes(folder, line, expected):
    """Call the function with stand-ins for what only zsh's line editor has."""
    (folder / "completion").write_text(COMPLETIONS["zsh"](make_parser()))
    program = """
    setopt extendedglob
    compdef() { }
    compadd() { shift; print -l -- ${(P)1} }
    _describe() { print -l -- ${${(P)2}%%:*} }
    _files() { print -l -- * }
    source ./completion
    words=("$@"); CURRENT=$#; service=$1
    _deskull
    """
    found = complete(["zsh", "-f", "-c", program, "zsh", *line.split()])
    word = line.split()[-1]
    assert {one for one in found if one.startswith(word)} == expected


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_the_completion_option_prints_the_script(shell, capsys):
    assert run("--completion", shell) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (COMPLETIONS[shell](make_parser()), "")


def test_an_unknown_shell_is_wrong_use(capsys):
    assert run("--completion", "tcsh") == 2
    assert "'tcsh' (choose from 'bash', 'zsh', 'fish')" in capsys.readouterr().err


def test_the_manual_page_lists_every_command_and_option():
    page = make_manual(make_parser(), __version__).replace("\\-", "-")
    for name, command in make_parser().commands.items():
        section = page.split(f"\n.SH DESKULL {name.upper()}\n")[1].partition("\n.SH ")[0]
        for flag in command._option_string_actions:
            assert flag in section or "_" in flag, (name, flag)
    assert len(COMMANDS) == page.count("\n.SH DESKULL ")


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man")
def test_man_shows_the_manual_page_without_a_warning(tmp_path):
    (tmp_path / "deskull.1").write_text(make_manual(make_parser(), __version__), "utf-8")
    arguments = ["man", "--warnings", "-l", str(tmp_path / "deskull.1")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "by which the mask's surface is moved" in " ".join(done.stdout.split())


def test_version_prints_name_and_hash_of_the_default_weights(capsys):
    assert run("--version") == 0
    weights = load_weights()
    line = f"deskull {__version__} (weights {weights.name}, {weights.digest[:12]})\n"
    assert capsys.readouterr().out == line
