"""A BIDS data set as a cohort: a task for each wanted image, and what becomes of it is called.

A mask keeps the entities of its image and says ``desc-brain``; that
of another contrast than T1w names it (``desc-brainT2w``), so that two images which differ only
in their suffix do not meet, and who asks for the mask of the T1w image finds that one alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deskull.cohort.choice import NIBABIES, Choice
from deskull.cohort.dataset import Image, find_images
from deskull.cohort.plan import Gap, Plan, Task, settle_outputs
from deskull.cohort.sessions import rank, share_masks
from deskull.errors import InputError, OutputError
from deskull.image.names import MEANS, find_stem
from deskull.outputs import RECORD, USUAL, Output, find_output

LOGS = "logs"  # folder of the records, as in the data sets of other BIDS Apps
MAKER = "deskull"
B0 = 100.0
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
        Root of the data set, which holds ``sub-*``.
    out_dir
        Root of the derivatives.
    choice
        Which images; every T1w image if not given.
    outputs
        Names in `deskull.outputs.OUTPUTS`; the record is always written.
    one_mask
        Strip one image of each session, and put its mask on the others.

    Returns
    -------
    Plan
        Its gaps are participants without an image, those that are not there, misnamed images,
        and images that would write one file.

    Raises
    ------
    InputError
        If this is no data set, or there is nothing to strip and no participant was named.
    OutputError
        If outputs would lie among the raw images.
    """
    choice, root, out = choice or Choice(), Path(os.path.abspath(bids_dir)), Path(out_dir)
    out = Path(os.path.abspath(out))
    images, gaps = find_images(root, choice)
    _check_place(root, out)
    if not images and not choice.participants:
        raise InputError(_explain_none(root, gaps))
    tasks, clashes = settle_outputs(
        _make_task(image, root, out, outputs, choice.mask_names) for image in images
    )
    ranked = partial(rank, mp2rage=choice.mp2rage)
    if one_mask:
        tasks = share_masks(tasks, prefer=ranked)
    else:
        shared = {image.path: image.acquisition for image in images}
        tasks = share_masks(tasks, lambda task: shared[task.scan], ranked)
    _check_links(tasks, out)
    return Plan(tasks, sorted([*gaps, *clashes], key=lambda gap: gap.name))


def _explain_none(root: Path, gaps: Sequence[Gap]) -> str:
    told = [f"{gap.name}: {gap.reason.rstrip('.')}" for gap in gaps[:3]]
    more = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return (
        f"{root}: nothing to strip; {'; '.join(told)}{more}. Choose contrasts with --suffix, and "
        "see that names are those of BIDS."
    )


# --- what is made of it


def _make_task(
    image: Image, root: Path, out: Path, outputs: Sequence[str], mask_names: str
) -> Task:
    scan, name = image.path, image.name
    rows = [row for row in map(find_output, outputs) if row.bids is not None]
    paths = {row.name: out / _place(row, image, mask_names, root) for row in rows}
    frames = _choose_frames(scan, name.suffix)
    uri = source = f"bids:raw:{scan.relative_to(root).as_posix()}"
    if "mask" in paths:
        uri = f"bids::{paths['mask'].relative_to(out).as_posix()}"
    logs = scan.parent.parent if scan.parent.name == "anat" else scan.parent
    return Task(
        scan.relative_to(root).as_posix(),
        scan,
        paths,
        out / LOGS / logs.relative_to(root) / f"{name}{RECORD}",
        {
            row.name: _make_sidecar(row, row.sidecar, source, frames)
            for row in rows
            if row.sidecar is not None
        },
        frames,
        uri,
    )


def _place(row: Output, image: Image, mask_names: str, root: Path) -> Path:
    """Path of an output below the root of the derivatives."""
    assert row.bids is not None
    folder = image.path.parent.relative_to(root)
    if row.bids_folder:
        folder = Path(folder.parts[0], row.bids_folder)
    contrast = "" if image.wanted == "T1w" else image.wanted
    name = row.bids(image.name, contrast)
    if row.name == "mask" and mask_names == NIBABIES:
        name = image.name.derive("mask", space=image.wanted, desc="brain")
    return folder / f"{name}{row.bids_ending or row.endings[0]}"


def _choose_frames(scan: Path, suffix: str) -> tuple[int, ...] | None:
    """Frames whose mean is stripped: all of series, of diffusion those with a b-value near 0."""
    if suffix != "dwi":
        return () if suffix in MEANS else None
    try:
        words = scan.with_name(f"{find_stem(scan)}.bval").read_text("utf-8").split()
        frames = tuple(n for n, word in enumerate(words) if float(word) <= B0)
    except (OSError, ValueError):
        return (0,)
    return frames or (0,)


def _make_sidecar(
    row: Output, fields: Mapping[str, Any], source: str, frames: tuple[int, ...] | None
) -> dict[str, Any]:
    """Fields of the JSON beside an output."""
    words = row.words[0].upper() + row.words[1:]
    if frames is not None and row.name != "brain":
        chosen = f"frames {', '.join(map(str, frames))}" if frames else "all frames"
        words += f"; of a series, made from the mean of {chosen}"
    filled = {key: source if value == "{source}" else value for key, value in fields.items()}
    return {"Description": words, "Sources": [source], **filled}


# --- where it goes


def _check_place(root: Path, out: Path) -> None:
    """Refuse to write among raw images, or into the data set of another program."""
    home, real = root.resolve(), out.resolve()
    inside = real.relative_to(home).parts if real.is_relative_to(home) else ("",)
    if not inside or inside[0].startswith("sub-"):
        raise OutputError(
            f"{out}: among the raw images; expected a folder of its own, such as "
            f"{root / 'derivatives' / 'deskull'}."
        )
    try:
        fields = json.loads((out / "dataset_description.json").read_text("utf-8"))
        makers = [maker["Name"] for maker in fields["GeneratedBy"]]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        makers = ["another program"]
    if MAKER not in makers:
        raise OutputError(
            f"{out}: holds a data set made by {', '.join(makers)}. Choose a folder of its own."
        )


def _check_links(tasks: Sequence[Task], out: Path) -> None:
    """Refuse a folder of outputs that is a link to elsewhere, such as to the raw images."""
    real = out.resolve()
    for folder in {path.parent for t in tasks for m in t.members for path in m.files.values()}:
        if not folder.resolve().is_relative_to(real):
            raise OutputError(
                f"{folder}: leads by a link to {folder.resolve()}; expected a folder within "
                f"{out}. Remove the link."
            )
