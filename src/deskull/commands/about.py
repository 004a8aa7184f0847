"""`deskull info`, `weights` and `demo`: what is installed, and whether it works."""

import json
import sys
import textwrap
from argparse import Namespace
from pathlib import Path
from statistics import mean
from typing import Any

from deskull import __version__
from deskull.commands.paths import check_outputs
from deskull.demo import run_demo
from deskull.image.writing import Batch, save_image
from deskull.network.engine import count_threads, find_device, find_runtimes
from deskull.network.weights import Weights, list_weights, load_weights
from deskull.result import save_results
from deskull.stripper import Stripper
from deskull.typed_json import to_plain

MAX_FIELD_LINES, MAX_DATA_LINES = 5, 3
"""Maximum number of lines of a field of a card, and of the field ``data``."""


def info(options: Namespace) -> None:
    """Show what is installed and what would be used."""
    runtimes = find_runtimes()
    facts = {
        "deskull": __version__,
        "python": sys.version.split()[0],
        "runtimes": runtimes,
        "device": find_device("auto"),
        "threads": count_threads(),
        "weights": [_describe(load_weights(name)) for name in list_weights()],
    }
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    print(f"deskull {__version__} (Python {facts['python']})")
    print("runtimes  " + ", ".join(f"{k} {v}" for k, v in runtimes.items()))
    print(f"device    {facts['device']}, {facts['threads']} threads")
    for name in list_weights():
        _show_weights(load_weights(name))


def _describe(weights: Weights) -> dict[str, Any]:
    card = weights.card
    return {
        "name": weights.name,
        "sha256": weights.digest,
        "licence": card.licence,
        "population": card.population,
        "convention": card.convention,
    }


def _show_weights(weights: Weights) -> None:
    for key, value in _describe(weights).items():
        print(f"{'weights' if key == 'name' else '  ' + key:<14}{value}")


def weights(options: Namespace) -> None:
    """List, show or verify weights."""
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


def _describe_card(weights: Weights) -> list[str]:
    """Describe weights in at most twenty lines."""
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
    """Text of a field of the card, of any type."""
    if isinstance(value, dict):
        return "; ".join(map(_to_text, value.values()))
    return "; ".join(map(_to_text, value)) if isinstance(value, list) else str(value)


def demo(options: Namespace) -> None:
    """Strip the bundled synthetic head, and compare the mask with the exact reference."""
    folder = Path(options.out)
    names = {"brain": "demo_brain.nii.gz", "mask": "demo_mask.nii.gz", "picture": "demo.png"}
    outputs = {output: folder / name for output, name in names.items()}
    scan = folder / "demo_T1w.nii.gz"
    paths = [*outputs.items(), ("scan", scan)]
    check_outputs(paths, [], [path for _, path in paths])
    stripper = Stripper.load(options.weights, options.device, options.threads)
    result, agreement = run_demo(stripper)
    with Batch() as batch:
        save_results([result], outputs, batch=batch)
        save_image(result.volume.source, scan, batch)
    print(
        f"Dice {agreement:.4f} against the exact reference; brain volume {result.volume_ml:.0f} ml"
    )
    print(f"Look at {outputs['picture']}")
