"""deskull as a task of Pydra 0.25; see `pydra.py`.

Inputs and outputs are made from `deskull.outputs`.
"""

from typing import Any, ClassVar

from fileformats.generic import File
from pydra import ShellCommandTask
from pydra.engine.specs import ShellOutSpec, ShellSpec, SpecInfo

from deskull.interfaces import COMMAND
from deskull.outputs import OPTIONS, Option, Output, list_outputs

_WRITTEN = ("brain", "mask", "record")


def _make_file(row: Output) -> tuple[str, Any, Any, dict[str, Any]]:
    """Describe an output: a name, True for the usual name, or False for none."""
    how = {
        "argstr": row.flags[0],
        "help_string": row.description,
        "output_file_template": "{image}" + row.ending,
        "keep_extension": False,
    }
    return row.name, str | bool, row.name in _WRITTEN, how


def _make_option(option: Option) -> tuple[Any, ...]:
    how = {"argstr": option.flags[-1], "help_string": option.description}
    if option.name == "threads":
        return "num_threads", int, 1, how
    return option.name, option.kind, how


_IMAGE = {"argstr": "", "help_string": "head scan", "mandatory": True, "position": 1}
_FIELDS = [
    ("image", File, _IMAGE),
    *map(_make_file, list_outputs("strip")),
    *map(_make_option, OPTIONS),
]


class Strip(ShellCommandTask):  # type: ignore[misc]
    """Isolate the brain in one scan.

    >>> from deskull.interfaces.pydra import Strip
    >>> Strip(image="sub-01_T1w.nii.gz", num_threads=2)().output.mask  # doctest: +SKIP
    """

    executable: ClassVar = [*COMMAND, "strip"]
    input_spec = SpecInfo(name="Input", fields=_FIELDS, bases=(ShellSpec,))
    output_spec = SpecInfo(name="Output", fields=[], bases=(ShellOutSpec,))
