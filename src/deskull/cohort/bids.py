"""A BIDS data set as a cohort: a task for each requested image, and the names of its outputs.

A mask keeps the entities of its image and has ``desc-brain``; for contrasts other than T1w it
names them (``desc-brainT2w``), so that images which differ only in their suffix do not clash.
Images are found in `bids_images.py`; the data set of derivatives is in `bids_derivatives.py`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deskull.cohort.bids_derivatives import LOGS, check_place
from deskull.cohort.bids_images import NIBABIES, Choice, Image, find_images
from deskull.cohort.plan import Gap, Plan, Task, remove_clashes, share_masks
from deskull.errors import InputError, OutputError
from deskull.image.bids_names import MEANS
from deskull.image.file_names import find_stem
from deskull.outputs import RECORD, USUAL, Output, find_output

MAX_B0 = 100.0
"""Largest b-value, in s/mm2, of diffusion-weighted frames that show the head as T2w ones do."""


def make_bids_plan(
    bids_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    choice: Choice | None = None,
    outputs: Sequence[str] = USUAL,
    one_mask: bool = False,
) -> Plan:
    """Find the images of a data set, and name their derivatives.

    Parameters
    ----------
    bids_dir
        Root folder of the data set, which holds ``sub-*``.
    out_dir
        Root folder of the derivatives.
    choice
        Which images are requested; by default every T1w image.
    outputs
        Names in `deskull.outputs.OUTPUTS`; the record is always written.
    one_mask
        Whether one image of each session is stripped, and its mask put on the others.

    Returns
    -------
    Plan
        A task for each image. The gaps are participants that are missing or have no image,
        misnamed images, and images that would write the same file.

    Raises
    ------
    InputError
        If this is not a BIDS data set, or there is nothing to strip and no participant was named.
    OutputError
        If outputs would lie among the raw images.
    """
    choice, root, out = choice or Choice(), Path(os.path.abspath(bids_dir)), Path(out_dir)
    out = Path(os.path.abspath(out))
    images, gaps = find_images(root, choice)
    check_place(root, out)
    if not images and not choice.participants:
        raise InputError(_explain_none(root, gaps))
    mask_names = choice.mask_names
    tasks, clashes = remove_clashes(
        [_make_task(image, root, out, outputs, mask_names) for image in images]
    )
    acquisitions = {image.path: image.acquisition for image in images}
    tasks = share_masks(tasks, None if one_mask else acquisitions.__getitem__, choice.mp2rage)
    _check_links(tasks, out)
    return Plan(tasks, sorted([*gaps, *clashes], key=lambda gap: gap.name))


def _explain_none(root: Path, gaps: Sequence[Gap]) -> str:
    listed = [f"{gap.name}: {gap.reason.rstrip('.')}" for gap in gaps[:3]]
    more = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return (
        f"{root}: nothing to strip; {'; '.join(listed)}{more}. Choose contrasts with --suffix, "
        "and check that the names follow BIDS."
    )


def _make_task(
    image: Image, root: Path, out: Path, outputs: Sequence[str], mask_names: str
) -> Task:
    scan, name = image.path, image.name
    rows = [row for row in map(find_output, outputs) if row.bids is not None]
    paths = {row.name: out / _name_output(row, image, mask_names, root) for row in rows}
    frames = _choose_frames(image)
    uri = source = f"bids:raw:{scan.relative_to(root).as_posix()}"
    if "mask" in paths:
        uri = f"bids::{paths['mask'].relative_to(out).as_posix()}"
    logs = scan.parent.parent if scan.parent.name == "anat" else scan.parent
    sidecars = {
        row.name: _make_sidecar(row, row.sidecar, source, frames)
        for row in rows
        if row.sidecar is not None
    }
    record = out / LOGS / logs.relative_to(root) / f"{name}{RECORD}"
    return Task(scan.relative_to(root).as_posix(), scan, paths, record, sidecars, frames, uri)


def _name_output(row: Output, image: Image, mask_names: str, root: Path) -> Path:
    """Name an output by its path below the root of the derivatives."""
    assert row.bids is not None
    folder = image.path.parent.relative_to(root)
    if row.bids_folder:
        folder = Path(folder.parts[0], row.bids_folder)
    contrast = "" if image.contrast == "T1w" else image.contrast
    name = row.bids(image.name, contrast)
    if row.name == "mask" and mask_names == NIBABIES:
        name = image.name.derive("mask", space=image.contrast, desc="brain")
    return folder / f"{name}{row.bids_ending or row.endings[0]}"


def _choose_frames(image: Image) -> tuple[int, ...] | None:
    """Choose the frames whose mean is stripped: all of a series, of diffusion the b = 0 ones."""
    if image.name.suffix != "dwi":
        return () if image.name.suffix in MEANS else None
    path = image.path.with_name(f"{find_stem(image.path)}.bval")
    try:
        values = path.read_text("utf-8").split()
        frames = tuple(n for n, value in enumerate(values) if float(value) <= MAX_B0)
    except (OSError, ValueError):
        return (0,)
    return frames or (0,)


def _make_sidecar(
    row: Output, fields: Mapping[str, Any], source: str, frames: tuple[int, ...] | None
) -> dict[str, Any]:
    """Make the fields of the JSON file beside an output."""
    text = row.description[0].upper() + row.description[1:]
    if frames is not None and row.name != "brain":
        chosen = f"frames {', '.join(map(str, frames))}" if frames else "all frames"
        text += f"; made from the mean of {chosen} of the series"
    filled = {key: source if value == "{source}" else value for key, value in fields.items()}
    return {"Description": text, "Sources": [source], **filled}


def _check_links(tasks: Sequence[Task], out: Path) -> None:
    """Refuse a folder of outputs that is a link to another place, such as the raw images."""
    real = out.resolve()
    for folder in {path.parent for t in tasks for m in t.members for path in m.files.values()}:
        if not folder.resolve().is_relative_to(real):
            raise OutputError(
                f"{folder}: is a link to {folder.resolve()}; expected a folder within "
                f"{out}. Remove the link."
            )
