"""deskull as a task of Pydra 1.0; see `pydra.py`.

Inputs and outputs are made from `deskull.outputs`.
"""

from typing import Any

from fileformats.generic import File
from pydra.compose import shell

from deskull.interfaces import COMMAND
from deskull.outputs import OPTIONS, Option, Output, list_outputs

_WRITTEN = ("brain", "mask", "record")


def _make_option(option: Option) -> Any:
    name = option.name
    default: Any = False if option.kind is bool else None
    if option.name == "threads":
        name, default = "num_threads", 1
    kind: Any = option.kind if default is not None else option.kind | None
    return shell.arg(
        name=name, type=kind, default=default, argstr=option.flags[-1], help=option.description
    )


def _make_output(row: Output) -> Any:
    """Describe an output; those that are not always written are asked for by a name or True."""
    always = row.name in _WRITTEN
    kind: Any = File if always else File | None
    return shell.outarg(
        name=row.name,
        type=kind,
        argstr=row.flags[0],
        path_template="{image}" + row.ending,
        keep_extension=False,
        help=row.description,
        **({} if always else {"default": None}),
    )


_IMAGE = shell.arg(name="image", type=File, argstr="", position=1, help="head scan")
_INPUTS = [_IMAGE, *map(_make_option, OPTIONS)]
_OUTPUTS = [_make_output(row) for row in list_outputs("strip")]
_Outputs = type(
    "Outputs",
    (shell.Outputs,),
    {"__module__": __name__, "__doc__": "What `deskull strip` leaves."}
    | {field.name: field for field in _OUTPUTS},
)
Strip = shell.define(
    type(
        "Strip",
        (shell.Task,),
        {
            "__module__": __name__,
            "__doc__": "Isolate the brain in one scan.",
            "executable": [*COMMAND, "strip"],
            "Outputs": _Outputs,
        }
        | {field.name: field for field in _INPUTS},
    )
)
