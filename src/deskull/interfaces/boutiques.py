"""The descriptor of deskull for Boutiques; ``python -m deskull.interfaces.boutiques`` prints it.

It is made from `deskull.outputs`. That of the release lies in ``deploy/boutiques/``.
"""

import sys
from typing import Any

from deskull import __version__
from deskull.outputs import OPTIONS, Option, Output, list_outputs
from deskull.tables import make_json

_LEFT_OUT = ("device", "weights")  # nothing outside of the container is named
_DESCRIPTION = (
    "Isolates the brain in a head MRI scan of any contrast (skull stripping, brain extraction), "
    "on the scan's own grid, without a GPU and without a network. For research; not a medical "
    "device."
)
_SCAN = {
    "id": "in_file",
    "name": "Scan",
    "type": "File",
    "description": "Head scan: NIfTI, MGH/MGZ, NRRD, MetaImage, MINC, Analyze, or a DICOM file or "
    "zip.",
    "value-key": "[IN_FILE]",
    "optional": False,
}
_CODES = {
    1: "Failed; one line on stderr says why, and nothing was written.",
    2: "Wrong use of the command line.",
    130: "Interrupted; no half file was left.",
}


def make_descriptor() -> dict[str, Any]:
    """Make the Boutiques descriptor of ``deskull strip``.

    Examples
    --------
    >>> make_descriptor()["output-files"][0]["path-template"]
    '[BRAIN_NAME]'
    """
    outputs = list_outputs("strip")
    options = [option for option in OPTIONS if option.name not in _LEFT_OUT]
    inputs = [_SCAN, *map(_describe_output, outputs), *map(_describe_option, options)]
    return {
        "name": "deskull",
        "schema-version": "0.5",
        "tool-version": __version__,
        "description": _DESCRIPTION,
        "author": "The deskull developers",
        "command-line": " ".join(["deskull strip", *(given["value-key"] for given in inputs)]),
        "inputs": inputs,
        "output-files": [
            {
                "id": f"{row.name}_file",
                "name": row.name.capitalize(),
                "path-template": _make_key(f"{row.name}_name"),
                "optional": not row.usual,
            }
            for row in outputs
        ],
        "error-codes": [{"code": code, "description": words} for code, words in _CODES.items()],
        "suggested-resources": {"cpu-cores": 2, "ram": 1, "walltime-estimate": 10},
        "tags": {"domain": ["neuroinformatics", "mri"]},
    }


def _make_key(name: str) -> str:
    return f"[{name.upper()}]"


def _describe_output(row: Output) -> dict[str, Any]:
    endings = ", ".join(row.endings)
    return {
        "id": f"{row.name}_name",
        "name": f"Name of the {row.name}",
        "type": "String",
        "description": f"File for {row.words}; its name ends in {endings}.",
        "value-key": _make_key(f"{row.name}_name"),
        "optional": not row.usual,
        "command-line-flag": row.flags[0],
    }


def _describe_option(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": option.name,
        "name": option.name.replace("_", " ").capitalize(),
        "type": {bool: "Flag", str: "String"}.get(option.kind, "Number"),
        "description": f"{option.words[0].upper()}{option.words[1:]}.",
        "value-key": _make_key(option.name),
        "optional": True,
        "command-line-flag": option.flags[-1],
    }
    described |= {"default-value": 1} if option.name == "threads" else {}
    described |= {"integer": True} if option.kind is int else {}
    described |= {"minimum": option.low} if option.low is not None else {}
    described |= {"maximum": option.high} if option.high is not None else {}
    return described


if __name__ == "__main__":
    sys.stdout.buffer.write(make_json(make_descriptor()))
