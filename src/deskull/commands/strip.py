"""`deskull strip`: one scan."""

import logging
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deskull.commands.terminal import find_start, progress
from deskull.errors import OutputError
from deskull.image.bids import SUFFIXES as RAW
from deskull.image.bids import parse_name
from deskull.image.formats import open_image
from deskull.image.lookup import find_image
from deskull.image.names import WRITABLE
from deskull.image.volume import Volume, count_frames, load_volume, make_volume
from deskull.image.writing import check_output_path, find_files, make_folder
from deskull.measure.quality import Flag
from deskull.picture import PICTURES
from deskull.result import Result, StepSaver, save_results
from deskull.stripper import Settings, Stripper

logger = logging.getLogger("deskull")
SUFFIXES = {"record": (".json",), "picture": PICTURES}


def strip(options: Namespace) -> None:
    """Strip one scan and write what was asked for."""
    settings, scan = make_settings(options), find_image(options.image)
    outputs = _find_outputs(options, scan)
    _check_outputs(outputs, scan)
    if options.bare_out:
        _check_no_scan(Path(options.out))
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


def make_settings(options: Namespace) -> Settings:
    """Settle what the options say about the mask."""
    return Settings(options.threshold, options.border, not options.no_csf, options.n4)


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
    make_folder(Path(folder))
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
    stem = find_start(scan)
    return {name: stem.with_name(f"{stem.name}_{name}.nii.gz") for name in ("brain", "mask")}


def _check_outputs(outputs: Mapping[str, Path], scan: Path) -> None:
    """Refuse what would harm an input or another output, before any work."""
    seen: dict[Path, str] = {}
    for name, path in outputs.items():
        check_output_path(path, [scan], SUFFIXES.get(name, WRITABLE))
        for file in find_files(path):
            same = seen.setdefault(file.parent.resolve() / file.name, name)
            if same != name:
                raise OutputError(f"{path}: asked for as {same} and as {name}. Choose two names.")


def _check_no_scan(path: Path) -> None:
    """Refuse a raw BIDS scan in the place of OUT: a glob that matched two scans."""
    name = parse_name(path)
    if name and name.suffix in RAW and "desc" not in name.entities and path.exists():
        raise OutputError(
            f"{path}: exists, and its name is that of a raw scan; expected one scan, and a new "
            "name for the brain. Many scans are for `deskull batch`; to replace it, write -o."
        )


def _sum_up(result: Result) -> None:
    """Say, when asked, what was found and how long it took."""
    seconds = ", ".join(f"{step} {value:.2f}" for step, value in result.record["seconds"].items())
    words = "%s: brain of %.0f ml, score %d of 100; seconds: %s"
    logger.info(words, result.volume.name, result.volume_ml, result.score, seconds)


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
