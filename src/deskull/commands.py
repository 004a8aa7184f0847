"""One function per command: what was parsed goes in, the library does it, the exit code is 0.

What is wrong is raised as an error; `cli.py` turns it into one line and exit code 1.
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deskull import __version__
from deskull.errors import InputError, OutputError
from deskull.image.formats import WRITABLE, find_suffix, open_image
from deskull.image.volume import Volume, count_frames, load_volume, make_volume
from deskull.image.writing import check_output_path, save_image
from deskull.network.engine import RUNTIMES, count_threads, find_device
from deskull.network.weights import Weights, list_weights, load_weights
from deskull.result import Result, StepSaver, save_results
from deskull.stripper import Settings, Stripper

logger = logging.getLogger("deskull")
SUFFIXES = {"record": (".json",), "picture": (".png",)}


def strip(options: Namespace) -> None:
    """Strip one scan and write what was asked for."""
    scan = Path(options.image)
    outputs = _find_outputs(options, scan)
    _check_outputs(outputs, scan)
    if options.steps:
        _make_folder(Path(options.steps))
    settings = Settings(options.threshold, options.border, not options.no_csf, options.n4)
    with _progress(options.quiet) as show, ThreadPoolExecutor(1) as beside:
        show("reading")
        coming = beside.submit(Stripper.load, options.weights, options.device, options.threads)
        volumes = list(_load_frames(scan, options.frame, options.series))
        stripper = coming.result()
        results: list[Result] = []
        for number, volume in enumerate(volumes):
            show("stripping" + (f" {number + 1}/{len(volumes)}" if len(volumes) > 1 else ""))
            steps = StepSaver(Path(options.steps)) if options.steps and number == 0 else None
            results.append(stripper(volume, settings, steps))
        show("writing")
        save_results(results, outputs, options.fill)
    for result in results:
        _tell(result)


def _load_frames(scan: Path, frame: str | None, series: str | None) -> Iterator[Volume]:
    if frame != "all":
        yield load_volume(scan, None if frame is None else int(frame), series)
        return
    image = open_image(scan, series)
    count = count_frames(image)
    for number in range(count):
        yield make_volume(image, scan.name, number if count > 1 else None)


def _find_outputs(options: Namespace, scan: Path) -> dict[str, Path]:
    """Path of each output asked for; brain and mask beside the scan if none was."""
    wanted = {
        "brain": options.out,
        "mask": options.mask,
        "probability": options.probability,
        "distance": options.distance,
        "corrected": options.corrected,
        "record": options.record,
        "picture": options.picture,
    }
    chosen = {name: Path(path) for name, path in wanted.items() if path}
    if chosen or options.steps:
        return chosen
    stem = find_stem(scan)
    return {name: stem.with_name(f"{stem.name}_{name}.nii.gz") for name in ("brain", "mask")}


def find_stem(scan: Path) -> Path:
    """Path of a scan without the suffix of its format; of a folder, the folder itself."""
    scan = scan.absolute() if scan.name in ("", ".", "..") else scan
    if scan.is_dir():
        return scan.resolve() if scan.name == ".." else scan
    return scan.with_name(scan.name[: len(scan.name) - len(find_suffix(scan))])


def _check_outputs(outputs: Mapping[str, Path], scan: Path) -> None:
    """Refuse what would harm an input or another output, before any work."""
    seen: dict[Path, str] = {}
    for name, path in outputs.items():
        same = seen.setdefault(path.absolute(), name)
        if same != name:
            raise OutputError(f"{path}: asked for as {same} and as {name}. Choose two names.")
        check_output_path(path, [scan], SUFFIXES.get(name, WRITABLE))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """Give a function that shows one word on a terminal's last line, and wipe it at the end."""
    shown = sys.stderr.isatty() and not quiet

    def show(word: str) -> None:
        if shown:
            print(f"\r\x1b[Kdeskull: {word} …", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _tell(result: Result) -> None:
    """Say doubts and, when asked, what was done."""
    name = result.volume.name
    for flag in result.flags:
        logger.warning("%s: %s: %s", name, flag.name, flag.sentence)
    seconds = ", ".join(f"{step} {value:.2f}" for step, value in result.record["seconds"].items())
    logger.info("%s: brain of %.0f ml; seconds: %s", name, result.volume_ml, seconds)


def apply(options: Namespace) -> None:
    """Put one mask on co-registered images."""
    from deskull.apply import apply_mask

    if options.out and len(options.images) > 1:
        raise InputError(f"--out names one file, but {len(options.images)} images were given.")
    inputs = [Path(options.mask), *map(Path, options.images)]
    outputs = []
    for path in map(Path, options.images):
        stem = find_stem(path)
        outputs.append(Path(options.out or stem.with_name(f"{stem.name}_brain.nii.gz")))
        check_output_path(outputs[-1], inputs)
    if len(set(outputs)) < len(outputs):
        raise OutputError("two images would write one output; give them one at a time with --out.")
    mask = load_volume(options.mask)
    for path, output in zip(map(Path, options.images), outputs, strict=True):
        image = open_image(path)
        frames = count_frames(image)
        checked = make_volume(image, path.name, 0 if frames > 1 else None)
        save_image(apply_mask(mask, checked.source, path.name, options.fill), output)


def info(options: Namespace) -> None:
    """Say what is installed and what would be used."""
    from importlib import metadata
    from importlib.util import find_spec

    runtimes = {name: metadata.version(name) for name in RUNTIMES if find_spec(name)}
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
    from deskull.demo import run_demo

    folder = Path(options.folder)
    _make_folder(folder)
    stripper = Stripper.load(options.weights, options.device, options.threads)
    result, agreement = run_demo(stripper)
    picture = folder / "demo.png"
    result.save(
        brain=folder / "demo_brain.nii.gz", mask=folder / "demo_mask.nii.gz", picture=picture
    )
    save_image(result.volume.source, folder / "demo_T1w.nii.gz")
    print(f"Dice {agreement:.4f} against the exact truth; brain of {result.volume_ml:.0f} ml")
    print(f"Look at {picture}")


def train(options: Namespace) -> None:
    """Train a network from labelled heads."""
    import torch

    from deskull.learn.dataset import load_sources
    from deskull.learn.recipe import load_recipe
    from deskull.learn.training import train as run

    recipe = load_recipe(options.recipe)
    torch.set_num_threads(options.threads or count_threads())
    sources = load_sources([Path(source) for source in options.sources], recipe)
    logger.warning("%d label maps, %d pairs", len(sources.labelled), len(sources.real))
    run(
        sources,
        recipe,
        Path(options.out),
        steps=options.steps,
        minutes=options.minutes,
        device="cpu" if options.device == "auto" else options.device,
    )


def export(options: Namespace) -> None:
    """Make weights that can be released from training runs."""
    from deskull.learn.export import export as run

    try:
        about = json.loads(Path(options.about).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{options.about}: not a readable JSON file ({error}).") from error
    runs = {"segment": Path(options.segment)}
    if options.locate:
        runs["locate"] = Path(options.locate)
    print(run(runs, Path(options.out), about))
