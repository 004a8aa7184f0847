"""deskull as a task of Pydra, 0.25 or 1.0, with inputs and outputs made from `deskull.outputs`.

The two generations define tasks differently; either way the task is `Strip`.

>>> from deskull.interfaces.pydra import Strip
>>> Strip(image="sub-01_T1w.nii.gz", num_threads=2)().output.mask  # doctest: +SKIP
"""

from importlib.util import find_spec
from typing import Any

from fileformats.generic import File

from deskull.interfaces import COMMAND, MEMORY_GB, is_default
from deskull.outputs import OPTIONS, Option, list_outputs

__all__ = ["MEMORY_GB", "Strip"]

_MEMBERS = {
    "__module__": __name__,
    "__doc__": "Isolate the brain in one scan.",
    "executable": [*COMMAND, "strip"],
}


def _define_for_0_25() -> Any:
    """Define the task; an output is a name, True for the usual name, or False for none."""
    from pydra import ShellCommandTask
    from pydra.engine.specs import ShellOutSpec, ShellSpec, SpecInfo

    image = {"argstr": "", "help_string": "head scan", "mandatory": True, "position": 1}
    fields: list[tuple[Any, ...]] = [("image", File, image)]
    for row in list_outputs("strip"):
        metadata = {
            "argstr": row.flags[0],
            "help_string": row.description,
            "output_file_template": "{image}" + row.ending,
            "keep_extension": False,
        }
        fields.append((row.name, str | bool, is_default(row), metadata))
    for option in OPTIONS:
        metadata = {"argstr": option.flags[-1], "help_string": option.description}
        default = (1,) if option.name == "threads" else ()
        fields.append((_name_input(option), option.kind, *default, metadata))
    inputs = SpecInfo(name="Input", fields=fields, bases=(ShellSpec,))
    outputs = SpecInfo(name="Output", fields=[], bases=(ShellOutSpec,))
    specs = {"input_spec": inputs, "output_spec": outputs}
    return type("Strip", (ShellCommandTask,), _MEMBERS | specs)


def _define_for_1_0() -> Any:
    """Define the task; an output is a name or True, and those of `is_default` are always made."""
    from pydra.compose import shell

    image = shell.arg(name="image", type=File, argstr="", position=1, help="head scan")
    inputs = {"image": image}
    for option in OPTIONS:
        name, kind = _name_input(option), option.kind
        default = {"num_threads": 1}.get(name, False if kind is bool else None)
        inputs[name] = shell.arg(
            name=name,
            type=kind if default is not None else kind | None,
            default=default,
            argstr=option.flags[-1],
            help=option.description,
        )
    outputs: dict[str, Any] = {"__module__": __name__, "__doc__": "Files that were written."}
    for row in list_outputs("strip"):
        outputs[row.name] = shell.outarg(
            name=row.name,
            type=File if is_default(row) else File | None,
            argstr=row.flags[0],
            path_template="{image}" + row.ending,
            keep_extension=False,
            help=row.description,
            **({} if is_default(row) else {"default": None}),
        )
    members = _MEMBERS | inputs | {"Outputs": type("Outputs", (shell.Outputs,), outputs)}
    return shell.define(type("Strip", (shell.Task,), members))


def _name_input(option: Option) -> str:
    return "num_threads" if option.name == "threads" else option.name


Strip = _define_for_1_0() if find_spec("pydra.compose") else _define_for_0_25()
