"""One function per command that strips: what was parsed goes in, the library does the work.

What is wrong is raised as an error; `cli.py` turns it into one line and exit code 1. The
commands that learn are in `learn_commands.py`.
"""

import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deskull import __version__
from deskull.errors import DeskullError, InputError, OutputError
from deskull.image.formats import WRITABLE, find_suffix, open_image
from deskull.image.volume import Volume, count_frames, load_volume, make_volume
from deskull.image.writing import Batch, check_output_path, find_files, save_image
from deskull.measure.quality import Flag
from deskull.network.engine import count_threads, find_device, find_runtimes
from deskull.network.weights import Weights, list_weights, load_weights
from deskull.result import Result, StepSaver, save_results
from deskull.stripper import Settings, Stripper

logger = logging.getLogger("deskull")
SUFFIXES = {"record": (".json",), "picture": (".png",)}


def strip(options: Namespace) -> None:
    """Strip one scan and write what was asked for."""
    scan = Path(options.image)
    _check_there(scan, options.series)
    outputs = _find_outputs(options, scan)
    _check_outputs(outputs, scan)
    settings = Settings(options.threshold, options.border, not options.no_csf, options.n4)
    with progress(options.quiet) as show, ThreadPoolExecutor(1) as beside:
        show("reading")
        coming = beside.submit(Stripper.load, options.weights, options.device, options.threads)
        frames, count = _load_frames(scan, options.frame, options.series)
        stripper = coming.result()
        steps = _make_steps(options.steps, scan)
        doubts: list[list[Flag]] = []

        def strip_frames() -> Iterator[Result]:
            for number, volume in enumerate(frames):
                show("stripping" + (f" {number + 1}/{count}" if count > 1 else ""))
                result = stripper(volume, settings, None if number else steps)
                doubts.append(result.flags)
                _sum_up(result)
                yield result
            show("writing")

        save_results(strip_frames(), outputs, options.fill, count)
    _tell(scan.name or str(scan), doubts)


def _check_there(path: Path, series: str | None = None) -> None:
    """Let the reader say what is wrong with a missing input before outputs are looked at."""
    if not os.path.exists(path):
        open_image(path, series)


def _load_frames(
    scan: Path, frame: str | None, series: str | None
) -> tuple[Iterable[Volume], int]:
    """Volumes to strip, and how many; the frames of a series are made one by one."""
    if frame != "all":
        return [load_volume(scan, None if frame is None else int(frame), series)], 1
    image, name = open_image(scan, series), scan.name or str(scan)
    count = count_frames(image)
    if count == 1:
        return [make_volume(image, name)], 1
    return (make_volume(image, f"{name}, frame {n}", n) for n in range(count)), count


def _make_steps(folder: str | None, scan: Path) -> StepSaver | None:
    """Make the folder of the steps, once there is something to put into it."""
    if folder is None:
        return None
    _make_folder(Path(folder))
    return StepSaver(Path(folder), scan)


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
    chosen = {name: Path(path) for name, path in wanted.items() if path is not None}
    if chosen or options.steps is not None:
        return chosen
    stem = find_stem(scan)
    return {name: stem.with_name(f"{stem.name}_{name}.nii.gz") for name in ("brain", "mask")}


def find_stem(scan: Path) -> Path:
    """Path of a scan without the suffix of its format; of a folder, the folder itself."""
    scan = scan.absolute() if scan.name in ("", ".", "..") else scan
    if scan.is_dir():
        scan = scan.resolve() if scan.name == ".." else scan
        if not scan.name:
            raise InputError(f"{scan}: no folder of one scan. Name the folder of its DICOM files.")
        return scan
    return scan.with_name(scan.name[: len(scan.name) - len(find_suffix(scan))])


def _check_outputs(outputs: Mapping[str, Path], scan: Path) -> None:
    """Refuse what would harm an input or another output, before any work."""
    seen: dict[Path, str] = {}
    for name, path in outputs.items():
        check_output_path(path, [scan], SUFFIXES.get(name, WRITABLE))
        for file in find_files(path):
            same = seen.setdefault(file.parent.resolve() / file.name, name)
            if same != name:
                raise OutputError(f"{path}: asked for as {same} and as {name}. Choose two names.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
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


def _sum_up(result: Result) -> None:
    """Say, when asked, what was found and how long it took."""
    seconds = ", ".join(f"{step} {value:.2f}" for step, value in result.record["seconds"].items())
    logger.info("%s: brain of %.0f ml; seconds: %s", result.volume.name, result.volume_ml, seconds)


def _tell(name: str, doubts: Sequence[list[Flag]]) -> None:
    """Say each doubt once, and of several frames which have it."""
    found: dict[str, list[tuple[int, str]]] = {}
    for number, flags in enumerate(doubts):
        for flag in flags:
            found.setdefault(flag.name, []).append((number, flag.sentence))
    for doubt, cases in found.items():
        frame, sentence = cases[0]
        where = f" (frame {frame}; {len(cases)} of {len(doubts)} frames)"
        logger.warning("%s: %s: %s%s", name, doubt, sentence, where if len(doubts) > 1 else "")


def batch(options: Namespace) -> None:
    """Strip many scans, and say at the end what failed."""
    from deskull.cohort import Job, make_plan, strip_cohort, take_shard

    settings = Settings(options.threshold, options.border, not options.no_csf, options.n4)
    job = Job(settings, options.fill, options.weights, options.device, options.threads)
    share = ""
    with progress(options.quiet) as show:
        show("looking for scans")
        tasks = make_plan(options.inputs, options.out_dir, options.outputs)
        if options.shard is not None:
            tasks, share = take_shard(tasks, *options.shard), "_{}-of-{}".format(*options.shard)
        outcomes = strip_cohort(
            tasks,
            options.out_dir,
            job,
            workers=options.workers,
            force=options.force,
            share=share,
            observe=lambda now: show(str(now)),
        )
    failed = [outcome.name for outcome in outcomes if outcome.status != "done"]
    table = Path(options.out_dir) / f"deskull_batch{share}.tsv"
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        raise DeskullError(
            f"{len(failed)} of {len(outcomes)} scans failed: {', '.join(failed[:5])}{more}. "
            f"Why is in {table}; run the same again to try them again."
        )
    if not options.quiet:
        print(f"deskull: {len(outcomes)} scans done; table: {table}", file=sys.stderr)


def apply(options: Namespace) -> None:
    """Put one mask on co-registered images."""
    from deskull.apply import apply_mask, load_mask

    if options.out is not None and len(options.images) > 1:
        raise InputError(f"--out names one file, but {len(options.images)} images were given.")
    images = [Path(image) for image in options.images]
    inputs = [Path(options.mask), *images]
    for path in inputs:
        _check_there(path)
    outputs = [_find_brain_name(path, options.out) for path in images]
    for output in outputs:
        check_output_path(output, inputs)
    if len({output.absolute() for output in outputs}) < len(outputs):
        raise OutputError("two images would write one output; give them one at a time with --out.")
    mask = load_mask(options.mask)
    with Batch() as batch:
        for path, output in zip(images, outputs, strict=True):
            image = open_image(path)
            frames = count_frames(image)
            checked = make_volume(image, path.name, 0 if frames > 1 else None)
            brain = apply_mask(mask, checked.source, path.name, options.fill)
            save_image(brain, output, batch)


def _find_brain_name(scan: Path, out: str | None) -> Path:
    stem = find_stem(scan)
    return Path(out) if out is not None else stem.with_name(f"{stem.name}_brain.nii.gz")


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
    from deskull.demo import run_demo

    folder = Path(options.folder)
    stripper = Stripper.load(options.weights, options.device, options.threads)
    result, agreement = run_demo(stripper)
    _make_folder(folder)
    picture = folder / "demo.png"
    result.save(
        brain=folder / "demo_brain.nii.gz", mask=folder / "demo_mask.nii.gz", picture=picture
    )
    save_image(result.volume.source, folder / "demo_T1w.nii.gz")
    print(f"Dice {agreement:.4f} against the exact truth; brain of {result.volume_ml:.0f} ml")
    print(f"Look at {picture}")
