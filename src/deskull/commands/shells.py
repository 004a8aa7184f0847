"""Completion scripts for shells and the manual page, all made from the parsers.

`deskull --completion SHELL` prints a script; the wheel brings the same scripts and the manual
page, and installs them where shells and `man` look for them.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from deskull.commands.parsing import Parser


class ShowCompletion(argparse.Action):
    """Print the completion script of a shell."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print the script, and exit."""
        assert isinstance(parser, Parser)
        sys.stdout.write(COMPLETIONS[values](parser))
        parser.exit()


def complete_bash(parser: Parser) -> str:
    """Make the completion script for bash, 3.2 or newer.

    Parameters
    ----------
    parser
        Parser of the program, with its commands.
    """
    cases = []
    for pattern, command in _list_commands(parser):
        flags = " ".join(
            flag for action in _list_options(command) for flag in action.option_strings
        )
        positionals = " ".join(_list_positional_choices(command))
        cases.append(f'    {pattern}) options="{flags}" positionals="{positionals}" ;;')
    return "\n".join(
        [
            "# Completion of deskull for bash. In ~/.bashrc:",
            '#   eval "$(deskull --completion bash)"',
            "_deskull() {",
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '  local command="${COMP_WORDS[1]}" options="" positionals="" choices=""',
            "  local IFS=$' \\n'",
            '  [[ "${1##*/}" == deskull-bids ]] && command=bids',
            '  case "$command:$before" in',
            *_list_choice_cases(parser, 'choices="{}"'),
            "  esac",
            '  case "$command" in',
            *cases,
            "  esac",
            '  if [[ -n "$choices" ]]; then',
            '    COMPREPLY=($(compgen -W "$choices" -- "$word"))',
            '  elif [[ "$word" == -* ]]; then',
            '    COMPREPLY=($(compgen -W "$options" -- "$word"))',
            "  else",
            '    [[ $COMP_CWORD == 1 && "${1##*/}" == deskull ]] \\',
            f'      && positionals="{" ".join(parser.commands)}"',
            "    compopt -o filenames 2> /dev/null",
            '    COMPREPLY=($(compgen -W "$positionals" -- "$word"))',
            "    IFS=$'\\n'",
            '    COMPREPLY+=($(compgen -f -- "$word"))',
            "  fi",
            "}",
            "complete -F _deskull deskull deskull-bids",
            "",
        ]
    )


def complete_zsh(parser: Parser) -> str:
    """Make the completion script for zsh.

    Parameters
    ----------
    parser
        Parser of the program, with its commands.
    """
    cases = []
    for pattern, command in _list_commands(parser):
        flags = " ".join(
            _quote(f"{flag}:{_get_help(command, action)}")
            for action in _list_options(command)
            for flag in action.option_strings
        )
        positionals = " ".join(_list_positional_choices(command))
        cases.append(f"    {pattern}) options=({flags}) positionals=({positionals}) ;;")
    commands = " ".join(
        _quote(f"{name}:{description}") for name, description in _describe(parser).items()
    )
    return "\n".join(
        [
            "#compdef deskull deskull-bids",
            "# Completion of deskull for zsh. In ~/.zshrc, after compinit:",
            '#   eval "$(deskull --completion zsh)"',
            "_deskull() {",
            "  local command=$words[2] before=$words[CURRENT-1]",
            "  local -a options positionals choices commands",
            "  [[ $service == deskull-bids ]] && command=bids",
            f"  commands=({commands})",
            "  case $command:$before in",
            *_list_choice_cases(parser, "choices=({})"),
            "  esac",
            "  case $command in",
            *cases,
            "  esac",
            "  if (( $#choices )); then",
            "    compadd -a choices",
            "  elif [[ $words[CURRENT] == -* ]]; then",
            "    _describe option options",
            "  else",
            "    [[ $CURRENT == 2 && $service == deskull ]] && _describe command commands",
            "    (( $#positionals )) && compadd -a positionals",
            "    _files",
            "  fi",
            "}",
            "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then",
            '  _deskull "$@"',
            "else",
            "  compdef _deskull deskull deskull-bids",
            "fi",
            "",
        ]
    )


def complete_fish(parser: Parser) -> str:
    """Make the completion script for fish.

    Parameters
    ----------
    parser
        Parser of the program, with its commands.
    """
    lines = [
        "# Completion of deskull for fish. In ~/.config/fish/config.fish:",
        "#   deskull --completion fish | source",
        "function __deskull_is",
        "    set -l words (commandline -opc)",
        "    set -l command $words[2]",
        "    string match -q '*deskull-bids' -- $words[1]; and set command bids",
        f'    contains -- "$command" {" ".join(parser.commands)}; or set command strip',
        '    test "$command" = $argv[1]',
        "end",
    ]
    lines += [
        "complete -c deskull -n 'test (count (commandline -opc)) = 1' "
        f"-a {name} -d {_quote(description)}"
        for name, description in _describe(parser).items()
    ]
    for name, command in parser.commands.items():
        start = f"complete -c deskull -c deskull-bids -n '__deskull_is {name}'"
        positionals = " ".join(_list_positional_choices(command))
        lines += [f"{start} -a '{positionals}'"] if positionals else []
        for action in _list_options(command):
            parts = [
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in action.option_strings
            ]
            if action.choices:
                parts.append(f"-x -a '{' '.join(map(str, action.choices))}'")
            elif action.nargs != 0:
                parts.append("-r")
            lines.append(f"{start} {' '.join(parts)} -d {_quote(_get_help(command, action))}")
    return "\n".join([*lines, ""])


COMPLETIONS: Mapping[str, Callable[[Parser], str]] = {
    "bash": complete_bash,
    "zsh": complete_zsh,
    "fish": complete_fish,
}


def make_manual(parser: Parser, version: str) -> str:
    """Make the manual page, as roff.

    Parameters
    ----------
    parser
        Parser of the program, with its commands.
    version
        Version of deskull.
    """
    lines = [
        f'.TH DESKULL 1 "" "deskull {version}" "User Commands"',
        ".SH NAME",
        "deskull, deskull\\-bids \\- isolate the brain in head MRI scans",
        ".SH SYNOPSIS",
        ".B deskull",
        "IN [OUT] [options]",
        ".br",
        ".B deskull",
        "COMMAND ...",
        ".br",
        ".B deskull\\-bids",
        "BIDS_DIR OUT_DIR participant|group [options]",
        ".SH DESCRIPTION",
        _escape_roff(parser.description or ""),
    ]
    for name, command in parser.commands.items():
        lines += [f".SH DESKULL {name.upper()}", _escape_roff(command.description or "")]
        for action in command._actions:
            if action.help != argparse.SUPPRESS:
                lines += [
                    ".TP",
                    f".B {_escape_roff(_make_label(action))}",
                    _escape_roff(_get_help(command, action)),
                ]
        lines += [
            ".PP",
            *(f"{_escape_roff(line)}\n.br" for line in (command.epilog or "").splitlines()),
        ]
    lines += [".SH EXIT STATUS", "0 done, 1 failed, 2 wrong use, 130 interrupted."]
    lines += [".SH SEE ALSO", "https://deskull.github.io/deskull/"]
    return "\n".join([*lines, ""])


def _list_options(parser: Parser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    ]


def _list_positional_choices(parser: Parser) -> list[str]:
    actions = [action for action in parser._actions if not action.option_strings]
    return [str(choice) for action in actions for choice in action.choices or ()]


def _list_choice_cases(parser: Parser, assignment: str) -> list[str]:
    """Make the cases of options that take one of several values."""
    cases = []
    for name, command in parser.commands.items():
        for action in _list_options(command):
            if action.choices:
                pattern = " | ".join(f"{name}:{flag}" for flag in action.option_strings)
                choices = assignment.format(" ".join(map(str, action.choices)))
                cases.append(f"    {pattern}) {choices} ;;")
    return cases


def _list_commands(parser: Parser) -> list[tuple[str, Parser]]:
    """List pattern and parser of each command; `strip`, the default, is last."""
    others = [(name, command) for name, command in parser.commands.items() if name != "strip"]
    return [*others, ("strip | *", parser.commands["strip"])]


def _describe(parser: Parser) -> dict[str, str]:
    """Return the description of each command."""
    return {
        name: (command.description or "").rstrip(".") for name, command in parser.commands.items()
    }


def _get_help(parser: Parser, action: argparse.Action) -> str:
    """Return an option's help in one line."""
    return " ".join(parser._get_formatter()._expand_help(action).split()) if action.help else ""


def _make_label(action: argparse.Action) -> str:
    """Make the heading of an argument in the manual page: its flags and its value."""
    value = action.metavar or "|".join(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else str(value or action.dest.upper())
    return (
        ", ".join(action.option_strings) + f" {value}".rstrip() if action.option_strings else value
    )


def _quote(text: str) -> str:
    """Quote and shorten text for zsh and fish, which interpret nothing but a quote in quotes."""
    return "'" + re.sub(r"(['\\])", r"'\\\1'", textwrap.shorten(text, 90, placeholder=" …")) + "'"


def _escape_roff(text: str) -> str:
    """Escape what roff would interpret."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
