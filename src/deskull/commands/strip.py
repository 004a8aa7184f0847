"""`deskull strip`: one scan; `deskull apply`: one mask for co-registered images."""

import logging
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deskull.commands.options import (
    NOT_MEDICAL,
    add_command,
    add_engine,
    add_fill,
    add_option,
    add_strip_settings,
    make_settings,
    to_frame,
)
from deskull.commands.terminal import progress, report_done, warn_of_doubts
from deskull.errors import EmptyMaskError, ImageFileError, MaskFileError, OptionError
from deskull.outputs import list_outputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deskull.image.volume import Volume
    from deskull.measure.quality import Flag
    from deskull.measure.score import Quality
    from deskull.result import Result, StepSaver
    from deskull.settings import Settings
    from deskull.stripper import Stripper

logger = logging.getLogger("deskull")
MAX_DISTANCE_MM = 80.0
"""Maximum distance between the centres of two fields of view around one brain; a slab over the
cerebellum is 50 mm away."""


# --- deskull strip


def add_strip(commands: Any) -> None:
    """Add `deskull strip`."""
    parser = add_command(
        commands,
        "strip",
        "isolate the brain in one scan",
        "deskull sub-01_T1w.nii.gz brain.nii.gz -m mask.nii.gz\n"
        "Without any output option, <stem>_brain.nii.gz and <stem>_mask.nii.gz are written "
        "beside the scan.\nOUT must not exist; -o OUT replaces a file, but never an input. Many "
        "scans: deskull batch\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="IN [OUT]",
        help="scan (of DICOM a folder, file or zip; - is standard input), and a new file for the "
        "brain",
    )
    parser.add_argument("-i", "--image", metavar="IN", help="the same as IN")
    for row in list_outputs("strip"):
        parser.add_argument(
            *row.flags, metavar=row.metavar, help=f"write {row.description}{row.more}"
        )
    parser.add_argument("--steps", metavar="DIR", help="folder for the result of each step")
    add_strip_settings(parser)
    parser.add_argument(
        "--frame",
        type=_to_frame,
        metavar="N|all",
        help="frame of a 4D scan to strip, from 0; all gives 4D outputs (picture and steps show "
        "the first frame)",
    )
    add_option(parser, "series")
    add_engine(parser)


def _to_frame(text: str) -> str:
    return text if text == "all" else str(to_frame(text))


class FrameSummary(NamedTuple):
    """What is reported of a frame."""

    volume_ml: float
    score: int
    flags: "Sequence[Flag]"

    @property
    def has_brain(self) -> bool:
        """False for a frame without a brain, where others have one."""
        return self.volume_ml > 0


def run_strip(options: Namespace) -> None:
    """Strip one scan and write the requested outputs."""
    from concurrent.futures import ThreadPoolExecutor

    from deskull.commands.paths import find_strip_paths
    from deskull.measure.score import LOW
    from deskull.prepare.bias import check_n4
    from deskull.result import save_results
    from deskull.stripper import Stripper

    began, settings = time.perf_counter(), make_settings(options)
    scan, outputs = find_strip_paths(options)
    if settings.n4:
        check_n4()
    with progress(options.quiet) as show, ThreadPoolExecutor(1) as executor:
        show("reading")
        loading = executor.submit(Stripper.load, options.weights, options.device, options.threads)
        frames, count = _load_frames(scan, options.frame, options.series)
        stripper = loading.result()
        steps = _make_steps(options.steps, scan)
        summaries: list[FrameSummary] = []

        def strip_frames() -> "Iterator[Result]":
            for number, volume in enumerate(frames):
                if count > 1:
                    show.count(number, count, "frames")
                else:
                    show("stripping")
                observe = None if any(one.has_brain for one in summaries) else steps
                result = _strip_frame(
                    volume, stripper, settings, observe, count == 1, "brain" in outputs
                )
                summaries.append(FrameSummary(result.volume_ml, result.score, result.flags))
                _log_result(result)
                yield result
            if not any(one.has_brain for one in summaries):
                raise EmptyMaskError(summaries[0].flags[0].sentence)
            show("writing")

        replaced = [path for path in outputs.values() if path.exists()]
        save_results(strip_frames(), outputs, count)
    if not options.quiet:
        written = [*outputs.values(), *([Path(options.steps)] if options.steps else [])]
        report_done(_describe_frames(summaries, time.perf_counter() - began), written, replaced)
    scores = [one.score if one.has_brain else LOW for one in summaries]
    warn_of_doubts(scan, outputs.get("mask"), scores, [one.flags for one in summaries])


def _make_steps(folder: str | None, scan: Path) -> "StepSaver | None":
    """Make the folder of the steps, if it is requested."""
    from deskull.image.writing import make_folder
    from deskull.result import StepSaver

    if folder is None:
        return None
    make_folder(Path(folder))
    return StepSaver(Path(folder), scan)


def _load_frames(
    scan: Path, frame: str | None, series: str | None
) -> "tuple[Iterable[Volume], int]":
    """Load the volumes to strip, and count them; the frames of a series are loaded one by one."""
    from deskull.image.formats import open_image
    from deskull.image.lookup import is_pipe
    from deskull.image.volume import count_frames, load_volume, make_volume

    if frame != "all":
        return [load_volume(scan, None if frame is None else int(frame), series)], 1
    image, name = open_image(scan, series), scan.name or str(scan)
    count, path = count_frames(image), None if is_pipe(scan) else scan
    if count == 1:
        return [replace(make_volume(image, name), path=path)], 1
    volumes = (make_volume(image, f"{name}, frame {n}", n, checked=False) for n in range(count))
    return (replace(volume, path=path) for volume in volumes), count


def _strip_frame(
    volume: "Volume",
    stripper: "Stripper",
    settings: "Settings",
    observe: "StepSaver | None",
    alone: bool,
    filled: bool,
) -> "Result":
    """Strip a volume; among several frames, one without a brain does not stop the others.

    `filled` says that the fill value will be needed, so that it can be refused before.
    """
    from deskull.image.derived import check_fill
    from deskull.image.volume import check_values

    if filled:
        check_fill(settings.fill, volume.source)
    try:
        check_values(volume.data, volume.name)
        return stripper(volume, settings, observe)
    except (ImageFileError, EmptyMaskError) as error:
        if alone:
            raise
        return stripper.make_empty_result(volume, str(error), settings)


def _log_result(result: "Result") -> None:
    """Log volume, score and the seconds of each step."""
    seconds = ", ".join(f"{step} {value:.2f}" for step, value in result.record.seconds.items())
    message = "%s: mask of %.0f ml, score %d of 100; seconds: %s"
    logger.info(message, result.volume.name, result.volume_ml, result.score, seconds)


def _describe_frames(summaries: Sequence[FrameSummary], seconds: float) -> str:
    """Describe volume, score and time in one line."""
    brains = [one for one in summaries if one.has_brain]
    low, high = min(one.volume_ml for one in brains), max(one.volume_ml for one in brains)
    score = min(one.score for one in brains)
    if len(summaries) == 1:
        return f"{low:.0f} ml, score {score}, {seconds:.1f} s"
    return (
        f"{len(summaries)} frames, {low:.0f} to {high:.0f} ml, lowest score {score}, "
        f"{seconds:.1f} s"
    )


# --- deskull apply


def add_apply(commands: Any) -> None:
    """Add `deskull apply`."""
    parser = add_command(
        commands,
        "apply",
        "apply one mask to co-registered images of the same participant",
        "deskull apply T1w_mask.nii.gz T2w.nii.gz bold.nii.gz\n"
        "Each output is written beside its image: <stem>_brain.nii.gz.",
    )
    parser.add_argument("mask", metavar="MASK", help="mask of 0 and 1, or a probability map")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image on any grid, 3D or 4D")
    parser.add_argument(
        "-o", "--out", metavar="FILE|DIR/", help="the brain of one image, or a folder for all"
    )
    add_fill(parser)
    add_option(parser, "series", " (of one image)")


def run_apply(options: Namespace) -> None:
    """Apply one mask to co-registered images."""
    from deskull.apply import find_brain
    from deskull.commands.paths import is_folder, name_output, place_output
    from deskull.image.derived import make_brain_image
    from deskull.image.formats import open_image
    from deskull.image.lookup import find_image
    from deskull.image.volume import count_frames, has_contrast, make_first_volume
    from deskull.image.writing import Transaction, save_image
    from deskull.result import check_outputs

    began, out = time.perf_counter(), options.out
    if out is not None and not is_folder(out) and len(options.images) > 1:
        raise OptionError(
            f"-o {out}: names one file, but {len(options.images)} images were given. Give "
            "them one at a time, or a folder: -o out/"
        )
    if options.series is not None and len(options.images) > 1:
        raise OptionError(
            f"--series {options.series}: of one image, but {len(options.images)} were given. Give "
            "them one at a time."
        )
    mask_path = find_image(options.mask)
    paths = [find_image(image) for image in options.images]
    outputs = [
        name_output("brain", path) if out is None else place_output(out, "brain", path)
        for path in paths
    ]
    named = [(f"brain of {path}", output) for path, output in zip(paths, outputs, strict=True)]
    check_outputs(named, [mask_path, *paths])
    replaced = [output for output in outputs if output.exists()]
    judged: dict[Path, Quality] = {}
    with progress(options.quiet) as show, Transaction() as transaction:
        show("reading")
        mask = _load_mask(mask_path)
        for number, (path, output) in enumerate(zip(paths, outputs, strict=True), start=1):
            show(f"stripping {number}/{len(paths)}")
            image = open_image(path, options.series)
            volume = make_first_volume(image, path.name)
            frame = None if count_frames(image) > 1 else 0
            brain = find_brain(mask, volume.grid, path.name)
            made = make_brain_image(brain, volume.source, options.fill, frame, path.name)
            save_image(made, output, transaction)
            if has_contrast(volume.data):
                judged[path] = _judge(mask, brain, volume)
    if not options.quiet:
        count = "1 brain" if len(paths) == 1 else f"{len(paths)} brains"
        report_done(f"{count}, {time.perf_counter() - began:.1f} s", outputs, replaced)
    for path, quality in judged.items():
        warn_of_doubts(path, mask_path, [quality.score], [quality.flags])


def _load_mask(path: Path) -> "Volume":
    from deskull.apply import load_mask

    try:
        return load_mask(path)
    except MaskFileError as error:
        usage = "The mask comes first: deskull apply MASK IMAGE..."
        raise MaskFileError(f"{error} {usage}") from error


def _judge(mask: "Volume", brain: "NDArray[np.bool_]", scan: "Volume") -> "Quality":
    """Judge whether a mask, also given on the scan's own grid, can be of this head."""
    from deskull.apply import judge_mask
    from deskull.measure.quality import Flag

    quality = judge_mask(scan, brain)
    difference = mask.grid.centre - scan.grid.centre
    distance = float((difference @ difference) ** 0.5)
    if distance <= MAX_DISTANCE_MM:
        return quality
    sentence = (
        f"The centre of the mask's field of view lies {distance:.0f} mm from that of the scan. "
        "Check that both headers are right and that the two are co-registered."
    )
    return replace(quality, flags=[Flag("far-apart", sentence), *quality.flags])
