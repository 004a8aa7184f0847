"""deskull as a task of Pydra 0.25 (the alpha releases of 1.0 are another world)."""

from typing import Any, ClassVar

from fileformats.generic import File
from pydra import ShellCommandTask
from pydra.engine.specs import ShellOutSpec, ShellSpec, SpecInfo

MEMORY_GB = 0.8
"""To ask a scheduler for, for a scan of 256 x 256 x 256 voxels; measured is about half."""


def _option(kind: Any, flag: str, words: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    return kind, {"argstr": flag, "help_string": words, **more}


def _made(flag: str, ending: str, words: str) -> tuple[Any, Any, dict[str, Any]]:
    """Describe an output that is written unless it is set to False."""
    kind, more = _option(str | bool, flag, words, keep_extension=False)
    return kind, True, {**more, "output_file_template": "{image}" + ending}


_FIELDS = {
    "image": _option(File, "", "head scan", mandatory=True, position=1),
    "brain": _made("-o", "_brain.nii.gz", "brain"),
    "mask": _made("-m", "_mask.nii.gz", "mask, 0 and 1"),
    "record": _made("--record", "_record.json", "what was done, as JSON"),
    "border": _option(float, "-b", "move the mask's surface by mm, plus grows"),
    "no_csf": _option(bool, "--no-csf", "leave out the CSF around the brain's tissue"),
    "fill": _option(float, "--fill", "intensity outside of the brain"),
    "threshold": _option(float, "--threshold", "probability from which on it is brain"),
    "n4": _option(bool, "--n4", "correct bias first"),
    "frame": _option(int, "--frame", "which frame of a 4D scan, from 0"),
    "device": _option(str, "--device", "auto, cpu, cuda[:N] or mps"),
    "weights": _option(str, "--weights", "bundled set, or absolute path of a folder"),
    "num_threads": (int, 1, _option(int, "-t", "cores")[1]),
}


class Strip(ShellCommandTask):  # type: ignore[misc]
    """Isolate the brain in one scan.

    >>> from deskull.interfaces.pydra import Strip
    >>> Strip(image="sub-01_T1w.nii.gz", num_threads=2)().output.mask  # doctest: +SKIP
    """

    executable: ClassVar = ["deskull", "strip"]
    input_spec = SpecInfo(
        name="Input",
        fields=[(name, *field) for name, field in _FIELDS.items()],
        bases=(ShellSpec,),
    )
    output_spec = SpecInfo(name="Output", fields=[], bases=(ShellOutSpec,))
