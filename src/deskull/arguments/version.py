"""`--version`: what a methods section names, in one line, without importing anything heavy."""

import argparse
import json
import sys
from importlib import resources
from typing import Any

from deskull import __version__
from deskull.network.digest import compute_digest

DEFAULT = "default"


class ShowVersion(argparse.Action):
    """Prints the version of deskull, and name and hash of its default weights."""

    def __init__(self, **options: Any) -> None:
        text = "show version and default weights, and exit"
        super().__init__(**options | {"nargs": 0, "default": argparse.SUPPRESS, "help": text})

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print them, and leave."""
        sys.stdout.write(f"{parser.prog} {describe_version()}\n")
        parser.exit()


def describe_version() -> str:
    """Name the version and the default weights.

    Returns
    -------
    str
        Such as ``0.2.0 (weights default, 1a2b3c4d5e6f)``: the first 12 digits of their SHA-256,
        which `deskull info` and every record give in full.
    """
    card = resources.files("deskull").joinpath("weights", DEFAULT, "card.json")
    digest = compute_digest(json.loads(card.read_text("utf-8"))["files"])
    return f"{__version__} (weights {DEFAULT}, {digest[:12]})"
