"""`deskull apply`: one mask for co-registered images."""

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull.apply import find_brain, judge_mask, load_mask
from deskull.commands.doubts import tell_doubts, tell_score
from deskull.commands.paths import check_outputs, is_folder, name_output, place_output
from deskull.commands.terminal import progress, tell_done
from deskull.errors import MaskFileError, OptionError
from deskull.image.derived import make_brain_image
from deskull.image.formats import open_image
from deskull.image.lookup import find_image
from deskull.image.volume import Volume, count_frames, make_volume
from deskull.image.writing import Batch, save_image
from deskull.measure.quality import Flag
from deskull.measure.score import Quality

MAX_DISTANCE_MM = 80.0
"""Maximum distance between the centres of two fields of view around one brain; a slab over the
cerebellum is 50 mm away."""


def apply(options: Namespace) -> None:
    """Apply one mask to co-registered images."""
    began = time.perf_counter()
    if options.out is not None and not is_folder(options.out) and len(options.images) > 1:
        raise OptionError(
            f"-o {options.out}: names one file, but {len(options.images)} images were given. Give "
            "them one at a time, or a folder: -o out/"
        )
    options.mask = str(find_image(options.mask))
    images = [find_image(image) for image in options.images]
    outputs = [_find_output(image, options.out) for image in images]
    named = [(f"brain of {image}", path) for image, path in zip(images, outputs, strict=True)]
    check_outputs(named, [options.mask, *images])
    replaced = [path for path in outputs if path.exists()]
    judged: list[Quality] = []
    with progress(options.quiet) as show, Batch() as batch:
        show("reading")
        mask = _load_mask(options.mask)
        for number, (path, output) in enumerate(zip(images, outputs, strict=True), start=1):
            show(f"stripping {number}/{len(images)}")
            image = open_image(path)
            frames = count_frames(image)
            checked = make_volume(image, path.name, 0 if frames > 1 else None)
            brain = find_brain(mask, checked.grid, path.name)
            frame = None if frames > 1 else 0
            save_image(make_brain_image(brain, checked.source, options.fill, frame), output, batch)
            judged.append(_judge(mask, brain, checked))
    if not options.quiet:
        count = "1 brain" if len(images) == 1 else f"{len(images)} brains"
        tell_done(f"{count}, {time.perf_counter() - began:.1f} s", outputs, replaced)
    for path, quality in zip(images, judged, strict=True):
        tell_score(path, Path(options.mask), [quality.score])
        tell_doubts(path.name, [quality.flags])


def _judge(mask: Volume, brain: NDArray[np.bool_], scan: Volume) -> Quality:
    """Judge whether a mask, also given on the scan's own grid, can be of this head."""
    quality = judge_mask(scan, brain)
    apart = float(np.linalg.norm(mask.grid.centre - scan.grid.centre))
    if apart <= MAX_DISTANCE_MM:
        return quality
    sentence = (
        f"The centre of the mask's field of view lies {apart:.0f} mm from that of the scan. "
        "Check that both headers are right and that the two are co-registered."
    )
    return replace(quality, flags=[Flag("far-apart", sentence), *quality.flags])


def _load_mask(path: str) -> Volume:
    try:
        return load_mask(path)
    except MaskFileError as error:
        usage = "The mask comes first: deskull apply MASK IMAGE..."
        raise MaskFileError(f"{error} {usage}") from error


def _find_output(scan: Path, out: str | None) -> Path:
    return name_output("brain", scan) if out is None else place_output(out, "brain", scan)
