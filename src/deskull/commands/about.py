"""`deskull info`, `weights` and `demo`: what is installed, and whether it works."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from deskull import __version__
from deskull.demo import run_demo
from deskull.image.writing import make_folder, save_image
from deskull.network.engine import count_threads, find_device, find_runtimes
from deskull.network.weights import Weights, list_weights, load_weights
from deskull.stripper import Stripper


def info(options: Namespace) -> None:
    """Say what is installed and what would be used."""
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
    fields = {key: card[key] for key in ("licence", "population", "convention")}
    return {"name": weights.name, "sha256": weights.digest, **fields}


def _show_weights(weights: Weights) -> None:
    for key, value in _describe(weights).items():
        print(f"{'weights' if key == 'name' else '  ' + key:<14}{value}")


def weights(options: Namespace) -> None:
    """List, show or verify weights."""
    if options.action == "list":
        print("\n".join(list_weights()))
        return
    loaded = load_weights(options.name)
    if options.action == "show":
        print(json.dumps(loaded.card, indent=1, ensure_ascii=False))
    else:
        print(f"{loaded.name}: all {len(loaded.card['files'])} files are as released")


def demo(options: Namespace) -> None:
    """Strip the bundled synthetic head, and compare with its truth."""
    folder = Path(options.out)
    stripper = Stripper.load(options.weights, options.device, options.threads)
    result, agreement = run_demo(stripper)
    make_folder(folder)
    picture = folder / "demo.png"
    result.save(
        brain=folder / "demo_brain.nii.gz", mask=folder / "demo_mask.nii.gz", picture=picture
    )
    save_image(result.volume.source, folder / "demo_T1w.nii.gz")
    print(f"Dice {agreement:.4f} against the exact truth; brain of {result.volume_ml:.0f} ml")
    print(f"Look at {picture}")
