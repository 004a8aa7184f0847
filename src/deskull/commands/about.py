"""`--version`, `deskull info`, `weights` and `demo`: what is installed, and whether it works."""

import argparse
import json
import sys
import textwrap
from argparse import Namespace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deskull import __version__
from deskull.commands.options import add_command, add_engine
from deskull.network.digest import compute_digest

if TYPE_CHECKING:
    from deskull.network.weights import Weights

DEFAULT_WEIGHTS = "default"
MAX_FIELD_LINES, MAX_DATA_LINES = 5, 3
"""Maximum number of lines of a field of a card, and of the field ``data``."""


# --- deskull --version


class ShowVersion(argparse.Action):
    """Print the version of deskull, and name and hash of its default weights."""

    def __init__(self, **arguments: Any) -> None:
        text = "show version and default weights, and exit"
        super().__init__(**arguments | {"nargs": 0, "default": argparse.SUPPRESS, "help": text})

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print them, and exit."""
        sys.stdout.write(f"{parser.prog} {_describe_version()}\n")
        parser.exit()


def _describe_version() -> str:
    """Name the version and the default weights.

    Returns
    -------
    str
        A text such as ``0.2.0 (weights default, 1a2b3c4d5e6f)``, with the first 12 digits of the
        SHA-256 that `deskull info` and every record give in full.
    """
    card = resources.files("deskull").joinpath("weights", DEFAULT_WEIGHTS, "card.json")
    digest = compute_digest(json.loads(card.read_text("utf-8"))["files"])
    return f"{__version__} (weights {DEFAULT_WEIGHTS}, {digest[:12]})"


# --- deskull info


def add_info(commands: Any) -> None:
    """Add `deskull info`."""
    parser = add_command(commands, "info", "show what is installed", "deskull info --json")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_info(options: Namespace) -> None:
    """Show what is installed and what would be used."""
    from deskull.network.engine import count_threads, find_device, find_runtimes
    from deskull.network.weights import list_weights, load_weights

    runtimes = find_runtimes()
    sets = [load_weights(name) for name in list_weights()]
    facts = {
        "deskull": __version__,
        "python": sys.version.split()[0],
        "runtimes": runtimes,
        "device": find_device("auto"),
        "threads": count_threads(),
        "weights": [_describe(one) for one in sets],
    }
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    print(f"deskull {__version__} (Python {facts['python']})")
    print("runtimes  " + ", ".join(f"{name} {version}" for name, version in runtimes.items()))
    print(f"device    {facts['device']}, {facts['threads']} threads")
    for one in sets:
        for key, value in _describe(one).items():
            print(f"{'weights' if key == 'name' else '  ' + key:<14}{value}")


def _describe(weights: "Weights") -> dict[str, Any]:
    card = weights.card
    return {
        "name": weights.name,
        "sha256": weights.digest,
        "licence": card.licence,
        "population": card.population,
        "convention": card.convention,
    }


# --- deskull weights


def add_weights_command(commands: Any) -> None:
    """Add `deskull weights`."""
    parser = add_command(
        commands, "weights", "list, show or verify weights", "deskull weights show default"
    )
    parser.add_argument("action", choices=("list", "show", "verify"))
    parser.add_argument(
        "name", nargs="?", default="default", help="name of a bundled set, or folder of weights"
    )
    parser.add_argument(
        "--json", action="store_true", help="with show: print the whole card as JSON"
    )


def run_weights(options: Namespace) -> None:
    """List, show or verify weights."""
    from deskull.network.weights import list_weights, load_weights
    from deskull.typed_json import to_plain

    if options.action == "list":
        print("\n".join(list_weights()))
        return
    loaded = load_weights(options.name)
    if options.action == "show" and options.json:
        print(json.dumps(to_plain(loaded.card), indent=1, ensure_ascii=False))
    elif options.action == "show":
        print("\n".join(_describe_card(loaded)))
    else:
        print(f"{loaded.name}: all {len(loaded.card.files)} files match their SHA-256")


def _describe_card(weights: "Weights") -> list[str]:
    """Describe weights in at most twenty lines."""
    from statistics import mean

    card = weights.card
    fields = _describe(weights) | {"data": card.data or "not documented"}
    for stage in filter(None, (weights.locate, weights.segment)):
        window = stage.window
        size = "fitted to" if window.is_fitted else f"of {window.voxel_size:g} mm about"
        fields[stage.name] = (
            f"{' x '.join(map(str, window.shape))} voxels {size} the {stage.centre}; "
            f"gives {', '.join(stage.spec.outputs)}"
        )
    dice = [one.dice for one in card.likeness.tested] if card.likeness else []
    if dice:
        fields["tested"] = f"{len(dice)} heads: Dice {mean(dice):.3f}, lowest {min(dice):.3f}"
    fields["full card"] = f"deskull weights show {weights.name} --json"
    lines = []
    for key, value in fields.items():
        limit = MAX_DATA_LINES if key == "data" else MAX_FIELD_LINES
        lines_of_field = textwrap.wrap(_to_text(value), 84, max_lines=limit, placeholder=" …")
        lines += [
            f"{'' if number else key:<13}{line}" for number, line in enumerate(lines_of_field)
        ]
    return lines


def _to_text(value: Any) -> str:
    """Write a field of the card, of any type, as text."""
    if isinstance(value, dict):
        return "; ".join(map(_to_text, value.values()))
    return "; ".join(map(_to_text, value)) if isinstance(value, list) else str(value)


# --- deskull demo


def add_demo(commands: Any) -> None:
    """Add `deskull demo`."""
    parser = add_command(
        commands, "demo", "strip a head that comes with deskull", "deskull demo && ls deskull_demo"
    )
    parser.add_argument(
        "-o",
        "--out",
        default="deskull_demo",
        metavar="DIR",
        help="folder of the outputs (default: deskull_demo)",
    )
    add_engine(parser)


def run_demo(options: Namespace) -> None:
    """Strip the bundled synthetic head, and compare the mask with the exact reference."""
    from deskull.commands.paths import check_usual
    from deskull.demo import strip_demo
    from deskull.image.writing import Transaction, save_image
    from deskull.result import check_outputs, save_results
    from deskull.stripper import Stripper

    folder = Path(options.out)
    names = {"brain": "demo_brain.nii.gz", "mask": "demo_mask.nii.gz", "picture": "demo.png"}
    outputs = {output: folder / name for output, name in names.items()}
    scan = folder / "demo_T1w.nii.gz"
    paths = [*outputs.items(), ("scan", scan)]
    check_outputs(paths, [])
    check_usual([path for _, path in paths])
    stripper = Stripper.load(options.weights, options.device, options.threads)
    result, agreement = strip_demo(stripper)
    with Transaction() as transaction:
        save_results([result], outputs, transaction=transaction)
        save_image(result.volume.source, scan, transaction)
    print(f"Dice {agreement:.4f} against the exact reference; mask of {result.volume_ml:.0f} ml")
    print(f"Look at {outputs['picture']}")
