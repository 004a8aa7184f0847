"""`deskull strip`: one scan."""

import glob
import logging
import re
import shlex
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from deskull.commands.doubts import name_scan, tell_doubts, tell_score
from deskull.commands.paths import (
    check_new,
    check_outputs,
    is_folder,
    name_output,
    place_output,
    refuse_many,
    tell_scans,
)
from deskull.commands.terminal import progress, tell_done
from deskull.errors import EmptyMaskError, ImageFileError, OptionError, OutputError
from deskull.image.formats import open_image
from deskull.image.lookup import find_image, resolve
from deskull.image.volume import Volume, check_values, count_frames, load_volume, make_volume
from deskull.image.writing import make_folder
from deskull.measure.quality import Flag
from deskull.measure.score import LOW
from deskull.outputs import USUAL, check_packages, list_outputs
from deskull.prepare.bias import check_n4
from deskull.result import Result, StepSaver, save_results
from deskull.settings import Settings
from deskull.stripper import Stripper

logger = logging.getLogger("deskull")


class Found(NamedTuple):
    """What is reported of a frame."""

    volume_ml: float
    score: int
    flags: Sequence[Flag]

    @property
    def has_brain(self) -> bool:
        """False for a frame without a brain, where others have one."""
        return self.volume_ml > 0


def strip(options: Namespace) -> None:
    """Strip one scan and write the requested outputs."""
    began, settings = time.perf_counter(), make_settings(options)
    scan, outputs = _settle_paths(options)
    if settings.n4:
        check_n4()
    with progress(options.quiet) as show, ThreadPoolExecutor(1) as beside:
        show("reading")
        coming = beside.submit(Stripper.load, options.weights, options.device, options.threads)
        frames, count = _load_frames(scan, options.frame, options.series)
        stripper = coming.result()
        steps = _make_steps(options.steps, scan)
        found: list[Found] = []

        def strip_frames() -> Iterator[Result]:
            for number, volume in enumerate(frames):
                if count > 1:
                    show.count(number, count, "frames")
                else:
                    show("stripping")
                observe = None if any(one.has_brain for one in found) else steps
                result = _strip_frame(volume, stripper, settings, observe, alone=count == 1)
                found.append(Found(result.volume_ml, result.score, result.flags))
                _sum_up(result)
                yield result
            if not any(one.has_brain for one in found):
                raise EmptyMaskError(found[0].flags[0].sentence)
            show("writing")

        replaced = [path for path in outputs.values() if path.exists()]
        save_results(strip_frames(), outputs, count)
    if not options.quiet:
        written = [*outputs.values(), *([Path(options.steps)] if options.steps else [])]
        tell_done(_describe(found, time.perf_counter() - began), written, replaced)
    tell_score(scan, outputs.get("mask"), [one.score if one.has_brain else LOW for one in found])
    tell_doubts(name_scan(scan), [one.flags for one in found])


def make_settings(options: Namespace) -> Settings:
    """Make the settings from the options."""
    chosen = options.threshold, options.border, not options.no_csf, options.n4, options.fill
    return Settings(*chosen)


# --- paths


def _settle_paths(options: Namespace) -> tuple[Path, dict[str, Path]]:
    """Find the scan and the path of each output, before any work."""
    names = [*([] if options.image is None else [options.image]), *options.names]
    if not names:
        raise OptionError("no scan given. Try: deskull sub-01_T1w.nii.gz")
    if len(names) > (2 if options.out is None else 1):
        refuse_many(names)
    bare = names[1] if len(names) > 1 else None
    scan = _find_scan(names[0], bare)
    if bare is not None:
        check_new(names[0], bare)
        options.out = bare
    outputs, usual = _find_outputs(options, scan)
    check_packages(outputs)
    if bare is not None and is_folder(bare):
        for path in outputs.values():
            check_new(names[0], str(path))
    weights = Path(options.weights)
    check_outputs([*outputs.items()], [scan, *weights.glob("*")], usual)
    _check_steps(outputs.values(), options.steps)
    return scan, outputs


def _find_scan(word: str, out: str | None) -> Path:
    """Find the scan; where there is none, look for a pattern, or two names swapped."""
    try:
        return find_image(word)
    except ImageFileError as error:
        if glob.glob(word):  # not every shell expands patterns
            line = tell_scans([word])
            raise ImageFileError(f"{error} Scans that it matches: `{line}`") from error
        if out is None or not resolve(out).exists():
            raise
        line = shlex.join(["deskull", out, word])
        raise ImageFileError(f"{error} {out} exists. The scan comes first: `{line}`") from error


def _find_outputs(options: Namespace, scan: Path) -> tuple[dict[str, Path], list[Path]]:
    """Path of each output, and the paths that the user did not name."""
    asked = {row.name: getattr(options, row.option) for row in list_outputs("strip")}
    asked = {name: word for name, word in asked.items() if word is not None}
    if not asked and options.steps is None:
        paths = {name: name_output(name, scan) for name in USUAL}
        return paths, [*paths.values()]
    alone = is_folder(options.out) and options.mask is None
    if alone:
        asked["mask"] = options.out
    paths = {name: place_output(word, name, scan) for name, word in asked.items()}
    return paths, [paths[name] for name in USUAL if alone]


def _check_steps(outputs: Iterable[Path], folder: str | None) -> None:
    """Refuse an output that is named like the file of a step."""
    for path in outputs:
        same = folder is not None and path.parent.resolve() == Path(folder).resolve()
        if same and re.match(r"\d\d_", path.name):
            raise OutputError(f"{path}: named like a file of --steps. Choose another name.")


def _make_steps(folder: str | None, scan: Path) -> StepSaver | None:
    """Make the folder of the steps, if it is requested."""
    if folder is None:
        return None
    make_folder(Path(folder))
    return StepSaver(Path(folder), scan)


def _load_frames(
    scan: Path, frame: str | None, series: str | None
) -> tuple[Iterable[Volume], int]:
    """Volumes to strip, and their number; the frames of a series are loaded one by one."""
    if frame != "all":
        return [load_volume(scan, None if frame is None else int(frame), series)], 1
    image, name = open_image(scan, series), scan.name or str(scan)
    count = count_frames(image)
    if count == 1:
        return [replace(make_volume(image, name), path=scan)], 1
    volumes = (make_volume(image, f"{name}, frame {n}", n, checked=False) for n in range(count))
    return (replace(volume, path=scan) for volume in volumes), count


def _strip_frame(
    volume: Volume,
    stripper: Stripper,
    settings: Settings,
    observe: StepSaver | None,
    alone: bool,
) -> Result:
    """Strip a volume; among several frames, one without a brain does not stop the others."""
    try:
        check_values(volume.data, volume.name)
        return stripper(volume, settings, observe)
    except (ImageFileError, EmptyMaskError) as error:
        if alone:
            raise
        return stripper.give_up(volume, str(error), settings)


# --- messages


def _sum_up(result: Result) -> None:
    """Log volume, score and the seconds of each step."""
    seconds = ", ".join(f"{step} {value:.2f}" for step, value in result.record.seconds.items())
    message = "%s: brain of %.0f ml, score %d of 100; seconds: %s"
    logger.info(message, result.volume.name, result.volume_ml, result.score, seconds)


def _describe(found: Sequence[Found], seconds: float) -> str:
    """Volume, score and time in one line."""
    alive = [one for one in found if one.has_brain]
    low, high = min(one.volume_ml for one in alive), max(one.volume_ml for one in alive)
    score = min(one.score for one in alive)
    if len(found) == 1:
        return f"{low:.0f} ml, score {score}, {seconds:.1f} s"
    return (
        f"{len(found)} frames, {low:.0f} to {high:.0f} ml, lowest score {score}, {seconds:.1f} s"
    )
