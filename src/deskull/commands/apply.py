"""`deskull apply`: one mask on co-registered images."""

from argparse import Namespace
from pathlib import Path

from deskull.apply import apply_mask, load_mask
from deskull.commands.terminal import find_start
from deskull.errors import OptionError, OutputError
from deskull.image.formats import open_image
from deskull.image.lookup import find_image
from deskull.image.volume import count_frames, make_volume
from deskull.image.writing import Batch, check_output_path, save_image


def apply(options: Namespace) -> None:
    """Put one mask on co-registered images."""
    if options.out is not None and len(options.images) > 1:
        raise OptionError(f"--out names one file, but {len(options.images)} images were given.")
    images = [find_image(image) for image in options.images]
    inputs = [find_image(options.mask), *images]
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
    stem = find_start(scan)
    return Path(out) if out is not None else stem.with_name(f"{stem.name}_brain.nii.gz")
