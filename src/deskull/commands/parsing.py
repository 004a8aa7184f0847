"""A parser whose errors are one line, with a suggestion where one is near."""

import argparse
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn

from deskull.errors import OptionError

OF_OTHER_TOOLS = {
    "--model": "write --weights",
    "--save_bet_mask": "write -m FILE",
    "--disable_tta": "there is no test-time augmentation; leave it out",
    "-input": "write -i FILE",
    "-prefix": "write -o FILE",
    "-mode": "there is only one mode; leave it out",
    **dict.fromkeys(
        ("-R", "-S", "-B", "-Z", "-F", "-A"), "BET's modes are not needed; leave it out"
    ),
    "-n": "-m FILE alone writes the mask and no brain",
    "-r": "no radius is needed; leave it out",
    "-s": "no skull image is made; leave it out",
}
"""Options of SynthStrip, BET, HD-BET and 3dSkullStrip that deskull lacks, and the alternatives."""


class Parser(argparse.ArgumentParser):
    """Parser of a command.

    Its errors are raised as `OptionError`, one line each.
    """

    commands: Mapping[str, "Parser"]
    """Parsers of the commands by name; only in the parser of the program."""

    def error(self, message: str) -> NoReturn:
        """Raise an error for invalid arguments."""
        no_value = re.fullmatch(r"argument ((--?[\w-]+)\S*): expected one argument", message)
        if no_value:
            action = self._option_string_actions[no_value[2]]
            message = f"{no_value[1]}: no value; expected {no_value[2]} {action.metavar}"
        if re.search(r"invalid choice: '\w+(,\w+)+'", message):
            message += "; separate names by spaces"
        end = "" if message.endswith("?") else "."
        raise OptionError(f"{message}{end} See: {self.prog} --help")

    def parse_command(self, arguments: list[str]) -> argparse.Namespace:
        """Parse the arguments of the program, which begin with the name of a command.

        argparse takes a list of names from one place only; here options may stand among them.

        Parameters
        ----------
        arguments
            Name of a command and its arguments, or options of the program itself.

        Returns
        -------
        argparse.Namespace
            Values of the options, each ``~`` expanded.

        Raises
        ------
        OptionError
            If an argument is unknown, empty, superfluous, or has a wrong value.
        """
        command = self.commands.get(arguments[0], self)
        command.check_arguments(arguments[1:])
        options, rest = self.parse_known_args(arguments)
        values, name = vars(options), command.list_argument
        for argument in rest:
            if argument.startswith("-") and argument != "-":
                command.refuse_unknown(argument)
            if name is None:
                command.error(f"{argument}: too many arguments")
        if name is not None:
            rest = values[name] = [*values[name], *rest]
        if "" in (*values.values(), *rest):
            command.error("an empty argument; is a shell variable not set?")
        return argparse.Namespace(**{name: expand(value) for name, value in values.items()})

    @property
    def list_argument(self) -> str | None:
        """Name of the argument that takes a list; None if the command has none."""
        lists = [a.dest for a in self._actions if not a.option_strings and a.nargs in ("*", "+")]
        return lists[0] if lists else None

    def refuse_unknown(self, option: str) -> NoReturn:
        """Refuse an unknown option, and suggest the nearest known one."""
        name = option.partition("=")[0]
        near = find_near(name, self._option_string_actions, 0.6) if name[1:2] == "-" else None
        if name in OF_OTHER_TOOLS:
            hint = f" An option of another tool: {OF_OTHER_TOOLS[name]}."
        else:
            hint = f" Did you mean {near}?" if near else ""
        raise OptionError(f"{name}: unknown option of {self.prog}.{hint} See: {self.prog} --help")

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """Refuse arguments that argparse would misread: ``-mask`` as ``-m ask``, ``-g 0.1``."""
        for argument, following in pairwise([*arguments, ""]):
            name = argument.partition("=")[0]
            if argument == "--":
                return
            if re.match(r"-[A-Za-z]{2}", name):
                if name in OF_OTHER_TOOLS:
                    self.refuse_unknown(name)
                if f"-{name}" in self._option_string_actions:
                    self.error(f"{name}: did you mean -{name}?")
            if argument in ("-g", "--gpu") and re.fullmatch(r"-?[\d.]+", following):
                self.error(
                    f"{argument} {following}: asks for the GPU here and takes no value; BET's "
                    "gradient threshold has no equivalent, leave it out"
                )


class StoreFill(argparse.Action):
    """Store the fill value, with a note where BET's ``-f`` was probably meant."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the number, and add a note to one between 0 and 1."""
        setattr(namespace, self.dest, values)
        if option_string == "-f" and 0 < values < 1:
            add_note(
                namespace,
                f"-f {values:g}: used as the intensity outside of the brain. BET's fractional "
                "intensity threshold has no equivalent here: leave it out, and move the surface "
                "of the mask, if you must, with --border MM",
            )


def add_note(options: argparse.Namespace, note: str) -> None:
    """Add a message that is shown when the command starts."""
    options.notes = [*getattr(options, "notes", []), note]


def expand(value: Any) -> Any:
    """Expand a ``~`` that the shell left, as in ``--weights=~/mine``."""
    if isinstance(value, str) and value.startswith("~"):
        return os.path.expanduser(value)
    return [expand(one) for one in value] if isinstance(value, list) else value


def find_near(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Find the known name closest to another one, if any is close enough."""
    return next(iter(get_close_matches(name, known, 1, cutoff)), None)
