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

from deskull.arguments.parsing import Parser

Actions = list[argparse.Action]


class Complete(argparse.Action):
    """Prints the completion script of a shell."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print the script, and leave."""
        assert isinstance(parser, Parser)
        sys.stdout.write(COMPLETIONS[values](parser))
        parser.exit()


def complete_bash(parser: Parser) -> str:
    """Make the completion script for bash, 3.2 or newer.

    Parameters
    ----------
    parser
        The program's parser, with its commands.
    """
    options, values = [], []
    for name, command in parser.commands.items():
        words = " ".join(word for action in _list_options(command) for word in _names(action))
        places = " ".join(_list_positional_choices(command))
        pattern = "strip | *" if name == "strip" else name
        options.append(f'    {pattern}) options="{words}" places="{places}" ;;')
        for action in _list_options(command):
            if action.choices:
                names = " | ".join(f"{name}:{word}" for word in _names(action))
                values.append(f'    {names}) choices="{" ".join(map(str, action.choices))}" ;;')
    return "\n".join(
        [
            "# Completion of deskull for bash. In ~/.bashrc:",
            '#   eval "$(deskull --completion bash)"',
            "_deskull() {",
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '  local command="${COMP_WORDS[1]}" options="" places="" choices="" IFS=$\' \\n\'',
            '  [[ "${1##*/}" == deskull-bids ]] && command=bids',
            '  case "$command:$before" in',
            *values,
            "  esac",
            '  case "$command" in',
            *_last(options, "strip | *"),
            "  esac",
            '  if [[ -n "$choices" ]]; then',
            '    COMPREPLY=($(compgen -W "$choices" -- "$word"))',
            '  elif [[ "$word" == -* ]]; then',
            '    COMPREPLY=($(compgen -W "$options" -- "$word"))',
            "  else",
            '    [[ $COMP_CWORD == 1 && "${1##*/}" == deskull ]] \\',
            f'      && places="{" ".join(parser.commands)}"',
            "    compopt -o filenames 2> /dev/null",
            '    COMPREPLY=($(compgen -W "$places" -- "$word"))',
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
        The program's parser, with its commands.
    """
    options, values = [], []
    for name, command in parser.commands.items():
        words = " ".join(
            _quote(f"{word}:{_help(command, action)}")
            for action in _list_options(command)
            for word in _names(action)
        )
        places = " ".join(_list_positional_choices(command))
        pattern = "strip | *" if name == "strip" else name
        options.append(f"    {pattern}) options=({words}) places=({places}) ;;")
        for action in _list_options(command):
            if action.choices:
                names = " | ".join(f"{name}:{word}" for word in _names(action))
                values.append(f"    {names}) choices=({' '.join(map(str, action.choices))}) ;;")
    commands = " ".join(_quote(f"{name}:{words}") for name, words in _describe(parser).items())
    return "\n".join(
        [
            "#compdef deskull deskull-bids",
            "# Completion of deskull for zsh. In ~/.zshrc, after compinit:",
            '#   eval "$(deskull --completion zsh)"',
            "_deskull() {",
            "  local command=$words[2] before=$words[CURRENT-1]",
            "  local -a options places choices commands",
            "  [[ $service == deskull-bids ]] && command=bids",
            f"  commands=({commands})",
            "  case $command:$before in",
            *values,
            "  esac",
            "  case $command in",
            *_last(options, "strip | *"),
            "  esac",
            "  if (( $#choices )); then",
            "    compadd -a choices",
            "  elif [[ $words[CURRENT] == -* ]]; then",
            "    _describe option options",
            "  else",
            "    [[ $CURRENT == 2 && $service == deskull ]] && _describe command commands",
            "    (( $#places )) && compadd -a places",
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
        The program's parser, with its commands.
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
        f"-a {name} -d {_quote(words)}"
        for name, words in _describe(parser).items()
    ]
    for name, command in parser.commands.items():
        start = f"complete -c deskull -c deskull-bids -n '__deskull_is {name}'"
        places = " ".join(_list_positional_choices(command))
        lines += [f"{start} -a '{places}'"] if places else []
        for action in _list_options(command):
            words = [
                f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
                for word in _names(action)
            ]
            if action.choices:
                words.append(f"-x -a '{' '.join(map(str, action.choices))}'")
            elif action.nargs != 0:
                words.append("-r")
            lines.append(f"{start} {' '.join(words)} -d {_quote(_help(command, action))}")
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
        The program's parser, with its commands.
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
        _roff(parser.description or ""),
    ]
    for name, command in parser.commands.items():
        lines += [f".SH DESKULL {name.upper()}", _roff(command.description or "")]
        for action in command._actions:
            if action.help != argparse.SUPPRESS:
                lines += [".TP", f".B {_roff(_label(action))}", _roff(_help(command, action))]
        lines += [".PP", *(f"{_roff(line)}\n.br" for line in (command.epilog or "").splitlines())]
    lines += [".SH EXIT STATUS", "0 done, 1 failed, 2 wrong use, 130 interrupted."]
    lines += [".SH SEE ALSO", "https://deskull.github.io/deskull/"]
    return "\n".join([*lines, ""])


def _list_options(parser: Parser) -> Actions:
    return [
        action
        for action in parser._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    ]


def _names(action: argparse.Action) -> list[str]:
    return list(action.option_strings)


def _list_positional_choices(parser: Parser) -> list[str]:
    places = [action for action in parser._actions if not action.option_strings]
    return [str(choice) for action in places for choice in action.choices or ()]


def _describe(parser: Parser) -> dict[str, str]:
    """Say what each command does, in the words of its description."""
    return {
        name: (command.description or "").rstrip(".") for name, command in parser.commands.items()
    }


def _help(parser: Parser, action: argparse.Action) -> str:
    """Return an option's help in one line."""
    return " ".join(parser._get_formatter()._expand_help(action).split()) if action.help else ""


def _label(action: argparse.Action) -> str:
    value = action.metavar or "|".join(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else str(value or action.dest.upper())
    return ", ".join(action.option_strings) + f" {value}".rstrip() if _names(action) else value


def _last(lines: list[str], start: str) -> list[str]:
    """Put the line whose pattern fits all else at the end."""
    return sorted(lines, key=lambda line: line.strip().startswith(start))


def _quote(words: str) -> str:
    """Quote for zsh and fish: neither reads anything but a quote inside of quotes."""
    return "'" + re.sub(r"(['\\])", r"'\\\1'", textwrap.shorten(words, 90, placeholder=" …")) + "'"


def _roff(words: str) -> str:
    """Escape what roff would read as its own."""
    words = words.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", words, flags=re.MULTILINE)
