"""deskull as an interface of Nipype.

Nipype counts the cores of a node by `num_threads`, and reads its memory from the node:
`make_node` declares both. Inputs and outputs are made from `deskull.outputs`.
"""

import os
import shlex
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    CommandLine,
    CommandLineInputSpec,
    Directory,
    File,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.pipeline.engine import Node

from deskull import __version__
from deskull.interfaces import COMMAND, MEMORY_GB, is_default
from deskull.outputs import OPTIONS, Option, Output, list_outputs
from deskull.record import load_record

_FILES = {f"{row.option}_file": row for row in list_outputs("strip")}
_TRAITS = {float: (traits.Float, "%g"), int: (traits.Int, "%d"), str: (traits.Str, "%s")}


def _make_file(row: Output) -> Any:
    """Make the input that names an output; the default outputs are named after the scan."""
    name: dict[str, Any] = {}
    if is_default(row):
        template = f"%s{row.ending}"
        name = {"name_source": ["in_file"], "name_template": template, "keep_extension": False}
    return File(argstr=f"{row.flags[0]} %s", desc=row.description, **name)


def _make_option(option: Option) -> Any:
    flag = option.flags[-1]
    if option.kind is bool:
        return traits.Bool(argstr=flag, desc=option.description)
    kind, form = _TRAITS[option.kind]
    return kind(argstr=f"{flag} {form}", desc=option.description)


StripInputSpec = type(
    "StripInputSpec",
    (CommandLineInputSpec,),
    {
        "__module__": __name__,
        "__doc__": "Inputs of `deskull strip`.",
        "in_file": traits.Either(
            File(exists=True),
            Directory(exists=True),
            mandatory=True,
            argstr="%s",
            position=0,
            desc="head scan, or a folder of DICOM",
        ),
        **{name: _make_file(row) for name, row in _FILES.items()},
        **{row.name: _make_option(row) for row in OPTIONS if row.name != "threads"},
        "num_threads": traits.Range(
            low=1, value=1, usedefault=True, nohash=True, argstr="-t %d", desc="cores to use"
        ),
    },
)
StripOutputSpec = type(
    "StripOutputSpec",
    (TraitedSpec,),
    {
        "__module__": __name__,
        "__doc__": "Outputs of `deskull strip`: brain, mask, record, and others that were named.",
        **{
            name: File(exists=is_default(row), desc=row.description)
            for name, row in _FILES.items()
        },
        "score": traits.Float(desc="how far the mask can be trusted, 0 to 100"),
        "flags": traits.List(traits.Str, desc="names of the doubts about the mask"),
        "volume_ml": traits.Float(desc="volume of the mask in millilitres"),
    },
)


class Strip(CommandLine):  # type: ignore[misc]
    """Isolate the brain in one scan.

    >>> from deskull.interfaces.nipype import Strip
    >>> Strip(in_file="sub-01_T1w.nii.gz", num_threads=2).cmdline  # doctest: +SKIP
    """

    _cmd = shlex.join((*COMMAND, "strip"))
    _version = __version__
    input_spec = StripInputSpec
    output_spec = StripOutputSpec

    def _list_outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = super()._list_outputs()
        for name, row in _FILES.items():
            value = getattr(self.inputs, name)
            if not is_default(row) and isdefined(value):
                outputs[name] = os.path.abspath(value)
        record = load_record(Path(outputs["record_file"]))
        if record is not None and record.score is not None:
            outputs["score"], outputs["volume_ml"] = record.score, record.volume_ml
            outputs["flags"] = [flag.name for flag in record.flags]
        return outputs


def make_node(name: str = "deskull", mem_gb: float = MEMORY_GB, **inputs: Any) -> Any:
    """Make a node that declares its cores and memory.

    Parameters
    ----------
    name
        Name of the node.
    mem_gb
        Memory that Nipype reserves for the node, in GB.
    **inputs
        Inputs of `Strip`; `num_threads` is the number of cores that Nipype reserves.
    """
    return Node(Strip(**inputs), name=name, mem_gb=mem_gb)
