"""deskull as an interface of Nipype.

Nipype counts the cores of a node by `num_threads`, and takes its memory from the node:
`make_node` declares both.
"""

import os
from typing import Any

from nipype.interfaces.base import (
    CommandLine,
    CommandLineInputSpec,
    File,
    TraitedSpec,
    traits,
)
from nipype.pipeline.engine import Node

MEMORY_GB = 0.8
"""Declared for a scan of 256 x 256 x 256 voxels; measured is about half."""

_NII = {"name_source": ["in_file"], "keep_extension": False}


class StripInputSpec(CommandLineInputSpec):  # type: ignore[misc]
    """What `deskull strip` takes."""

    in_file = File(exists=True, mandatory=True, argstr="%s", position=0, desc="head scan")
    out_file = File(argstr="-o %s", name_template="%s_brain.nii.gz", desc="brain", **_NII)
    mask_file = File(argstr="-m %s", name_template="%s_mask.nii.gz", desc="mask, 0 and 1", **_NII)
    probability_file = File(argstr="-p %s", desc="probability of the mask")
    distance_file = File(argstr="-d %s", desc="mm to the mask's surface, minus inside")
    record_file = File(argstr="--record %s", desc="what was done, as JSON")
    picture_file = File(argstr="--picture %s", desc="slices with the mask's outline, PNG or SVG")
    border = traits.Float(argstr="-b %g", desc="move the mask's surface by mm, plus grows")
    no_csf = traits.Bool(argstr="--no-csf", desc="leave out the CSF around the brain's tissue")
    fill = traits.Float(argstr="--fill %g", desc="intensity outside of the brain")
    threshold = traits.Float(argstr="--threshold %g", desc="probability from which on it is brain")
    n4 = traits.Bool(argstr="--n4", desc="correct bias first")
    frame = traits.Int(argstr="--frame %d", desc="which frame of a 4D scan, from 0")
    device = traits.Str(argstr="--device %s", desc="auto, cpu, cuda[:N] or mps")
    weights = traits.Str(argstr="--weights %s", desc="bundled set, or absolute path of a folder")
    num_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, argstr="-t %d", desc="cores"
    )


class StripOutputSpec(TraitedSpec):  # type: ignore[misc]
    """What `deskull strip` leaves; the last four if their names were given."""

    out_file = File(exists=True, desc="brain")
    mask_file = File(exists=True, desc="mask, 0 and 1")
    probability_file = File(desc="probability of the mask")
    distance_file = File(desc="mm to the mask's surface, minus inside")
    record_file = File(desc="what was done, as JSON")
    picture_file = File(desc="slices with the mask's outline")


class Strip(CommandLine):  # type: ignore[misc]
    """Isolate the brain in one scan.

    >>> from deskull.interfaces.nipype import Strip
    >>> Strip(in_file="sub-01_T1w.nii.gz", num_threads=2).cmdline  # doctest: +SKIP
    """

    _cmd = "deskull strip"
    input_spec = StripInputSpec
    output_spec = StripOutputSpec

    def _list_outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = super()._list_outputs()
        for name in ("probability_file", "distance_file", "record_file", "picture_file"):
            value = getattr(self.inputs, name)
            if isinstance(value, str):
                outputs[name] = os.path.abspath(value)
        return outputs


def make_node(name: str = "deskull", mem_gb: float = MEMORY_GB, **inputs: Any) -> Any:
    """Make a node that declares its cores and memory.

    Parameters
    ----------
    name
        Of the node.
    mem_gb
        Memory that Nipype keeps free for it.
    inputs
        Of `Strip`; `num_threads` is what Nipype counts.
    """
    return Node(Strip(**inputs), name=name, mem_gb=mem_gb)
