"""The descriptors of `deskull` and `deskull-bids` for Boutiques.

They are made from `deskull.outputs` and from the arguments of the command line.
``deploy/generate.py`` writes them to ``deploy/boutiques/``.
"""

import argparse
from typing import Any

from deskull import __version__
from deskull.commands import make_parser
from deskull.outputs import OPTIONS, Option, Output, list_outputs

Descriptions = list[dict[str, Any]]
_LEFT_OUT = ("device", "weights")  # they depend on what lies outside of the container
_LEFT_OUT_OF_BIDS = (
    *_LEFT_OUT, "help", "version", "quiet", "verbose", "debug", "cluster", "shard", "mem_gb"
)  # fmt: skip
_FILES = ("bids_dir", "bids_filter_file")
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
    files = [
        {
            "id": f"{row.name}_file",
            "name": row.name.capitalize(),
            "path-template": _make_key(f"{row.name}_name"),
            "optional": not row.usual,
        }
        for row in outputs
    ]
    return _complete("deskull strip", _DESCRIPTION, inputs, files, 10)


def make_bids_descriptor() -> dict[str, Any]:
    """Make the Boutiques descriptor of ``deskull-bids``.

    Examples
    --------
    >>> make_bids_descriptor()["command-line"].split()[:4]
    ['deskull-bids', '[BIDS_DIR]', '[OUT_DIR]', '[LEVEL]']
    """
    parser = make_parser().commands["bids"]
    description = f"{_DESCRIPTION} Takes a BIDS data set and writes BIDS derivatives (BIDS App)."
    actions = [
        action
        for action in parser._actions
        if action.help and action.dest not in _LEFT_OUT_OF_BIDS
    ]
    inputs = [_describe_action(action) for action in actions]
    files = [
        {
            "id": "derivatives",
            "name": "Derivatives",
            "path-template": "[OUT_DIR]",
            "optional": False,
        }
    ]
    return _complete("deskull-bids", description, inputs, files, 3600)


def _complete(
    command: str, description: str, inputs: Descriptions, files: Descriptions, seconds: int
) -> dict[str, Any]:
    """Complete a descriptor with what all of them have in common."""
    return {
        "name": command.removesuffix(" strip"),
        "schema-version": "0.5",
        "tool-version": __version__,
        "description": description,
        "author": "The deskull developers",
        "command-line": " ".join([command, *(given["value-key"] for given in inputs)]),
        "inputs": inputs,
        "output-files": files,
        "error-codes": [
            {"code": code, "description": meaning} for code, meaning in _CODES.items()
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 1, "walltime-estimate": seconds},
        "tags": {"domain": ["neuroinformatics", "mri"]},
    }


def _describe_action(action: argparse.Action) -> dict[str, Any]:
    """Describe an option of the command line."""
    is_integer = action.metavar == "N"
    kind = "Number" if is_integer or action.type is float else "String"
    described: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " ").capitalize(),
        "type": "Flag" if action.nargs == 0 else "File" if action.dest in _FILES else kind,
        "description": f"{(action.help or '')[0].upper()}{(action.help or '')[1:]}.",
        "value-key": _make_key(action.dest),
        "optional": bool(action.option_strings),
    }
    described |= {"integer": True} if is_integer else {}
    described |= {"value-choices": list(action.choices)} if action.choices else {}
    if action.nargs == "+":
        described |= {"list": True, "list-separator": " "}
    if action.option_strings:
        long = next(flag for flag in action.option_strings if flag.startswith("--"))
        described["command-line-flag"] = long
    return described


def _make_key(name: str) -> str:
    return f"[{name.upper()}]"


def _describe_output(row: Output) -> dict[str, Any]:
    endings = ", ".join(row.endings)
    return {
        "id": f"{row.name}_name",
        "name": f"Name of the {row.name}",
        "type": "String",
        "description": f"File for {row.description}; its name ends in {endings}.",
        "value-key": _make_key(f"{row.name}_name"),
        "optional": not row.usual,
        "command-line-flag": row.flags[0],
    }


def _describe_option(option: Option) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": option.name,
        "name": option.name.replace("_", " ").capitalize(),
        "type": {bool: "Flag", str: "String"}.get(option.kind, "Number"),
        "description": f"{option.description[0].upper()}{option.description[1:]}.",
        "value-key": _make_key(option.name),
        "optional": True,
        "command-line-flag": option.flags[-1],
    }
    described |= {"default-value": 1} if option.name == "threads" else {}
    described |= {"integer": True} if option.kind is int else {}
    described |= {"minimum": option.low} if option.low is not None else {}
    described |= {"maximum": option.high} if option.high is not None else {}
    return described
