"""Outputs made again from a mask that was corrected by hand, and the record that says so.

What is made from the mask is replaced: the brain, the distance, the picture. The automatic mask
and its probability stay.
"""

import logging
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.apply import find_brain, load_mask
from deskull.cohort.plan import Task
from deskull.cohort.records import make_fingerprint, read_record
from deskull.cohort.stripped import Stripped
from deskull.errors import DeskullError, GeometryError
from deskull.image.formats import open_image
from deskull.image.orientation import turn_to_ras
from deskull.image.volume import (
    Volume,
    count_frames,
    make_brain_image,
    make_map_image,
    make_volume,
)
from deskull.image.writing import Batch, find_start, save_bytes, save_image
from deskull.measure.metrics import volume_ml
from deskull.picture import encode_picture
from deskull.prepare.postprocess import make_signed_distance
from deskull.tables import make_json

MADE_FROM_MASK = ("brain", "distance", "picture")
"""Outputs that depend on the mask."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remade:
    """What became of the outputs that are made from a mask, after it was corrected.

    Parameters
    ----------
    remade
        File names of the outputs that were made again.
    old
        File names of outputs that are still those of the automatic mask.
    command
        Shell command that makes the old brain again; empty if none is old.
    reason
        Why outputs are old; else empty.
    given
        Names of the scans of the session that got the corrected mask as well.
    refused
        Scans of the session that did not get it, each with the reason.
    """

    remade: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    command: str = ""
    reason: str = ""
    given: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def remake_outputs(
    scan: Stripped, mask: NDArray[np.bool_], volume: Volume, manual: Path
) -> Remade:
    """Make the outputs of a stripped scan again from its corrected mask, and update its record.

    Parameters
    ----------
    scan
        The stripped scan.
    mask
        Corrected mask, (X, Y, Z) bool on the scan's grid.
    volume
        The scan.
    manual
        Path of the corrected mask.
    """
    paths = {name: path for name in MADE_FROM_MASK if (path := scan.find_output(name)) is not None}
    names = tuple(path.name for path in paths.values())
    try:
        with Batch() as batch:
            for name, path in paths.items():
                _save(name, path, mask, volume, find_fill(scan), batch)
        ml = volume_ml(mask, volume.grid.voxel_volume)
        record = _update_record(scan, paths, manual, ml)
        save_bytes(make_json(record), scan.path)
    except DeskullError as error:
        return Remade(old=names, command=make_command(scan, manual), reason=str(error))
    return Remade(remade=names)


def keep_corrections(tasks: Iterable[Task]) -> set[Path]:
    """Let corrected masks count where scans were stripped anew: make the outputs again.

    Parameters
    ----------
    tasks
        Scans that were stripped.

    Returns
    -------
    set
        Records of the scans whose outputs were made again; a warning tells of the others.
    """
    remade = set()
    for task in tasks:
        record = read_record(task)
        if record is None:
            continue
        path = task.record.absolute()
        scan = Stripped(task.name, Path(path.anchor), path, record)
        manual = scan.find_corrected()
        if manual is None or not scan.has_old_outputs:
            continue
        try:
            reason = _remake(scan, manual)
        except DeskullError as error:
            reason = str(error)
        if reason:
            logger.warning(
                "%s: %s does not count, brain and volume are those of the automatic mask: %s",
                *(task.name, manual.name, reason),
            )
        else:
            remade.add(task.record)
    return remade


def _remake(scan: Stripped, manual: Path) -> str:
    """Make the outputs of a scan again; give the reason if it failed."""
    volume, given = load_recorded(scan), load_mask(manual)
    if not given.grid.matches(volume.grid):
        raise GeometryError(f"{manual.name}: lies on another grid than the scan.")
    mask = find_brain(given, volume.grid, volume.name)
    return remake_outputs(scan, mask, volume, manual).reason


def load_recorded(scan: Stripped) -> Volume:
    """Load a scan as it was read when it was stripped, or when it got the mask of another.

    Raises
    ------
    DeskullError
        If it is gone, has changed, or cannot be read.
    """
    path = scan.find_scan()
    image, frame = open_image(path, frame=scan.frame), scan.frame
    request = scan.record.get("request")
    settings = request.get("settings") if isinstance(request, dict) else None
    if isinstance(settings, dict) and settings.get("orientation") == "ras":
        image = turn_to_ras(image)
    if frame is None and scan.record.get("mask_of") and count_frames(image) > 1:
        frame = 0
    return make_volume(image, path.name, frame)


def find_old_outputs(scan: Path, manual: Path) -> Remade:
    """Find the brain beside a scan without a record: nobody knows how it was made."""
    start = find_start(scan)
    brain = start.with_name(f"{start.name}_brain.nii.gz")
    if not brain.is_file():
        return Remade()
    return Remade(old=(brain.name,), command=_make_command(manual, scan, brain))


def make_command(scan: Stripped, manual: Path) -> str:
    """Make the shell command that makes the brain of a stripped scan from the corrected mask."""
    brain = scan.find_output("brain")
    try:
        image = scan.find_scan()
    except DeskullError:
        return ""
    fill = find_fill(scan)
    return "" if brain is None else _make_command(manual, image, brain, fill)


def find_fill(scan: Stripped) -> float:
    """Intensity outside of the brain, as the record says; 0 if it does not."""
    request = scan.record.get("request")
    settings = request.get("settings") if isinstance(request, dict) else None
    try:
        return float(settings["fill"]) if isinstance(settings, dict) else 0.0
    except (KeyError, TypeError, ValueError):
        return 0.0


def _make_command(manual: Path, image: Path, brain: Path, fill: float = 0.0) -> str:
    words = ["deskull", "apply", str(manual), str(image), "--out", str(brain)]
    return shlex.join([*words, "--fill", f"{fill:g}"] if fill else words)


def _save(
    name: str, path: Path, mask: NDArray[np.bool_], volume: Volume, fill: float, batch: Batch
) -> None:
    if name == "brain":
        save_image(make_brain_image(mask, volume.source, fill, volume.frame), path, batch)
    elif name == "distance":
        distance = make_signed_distance(mask, volume.grid.voxel_size)
        save_image(make_map_image(distance, volume.source), path, batch)
    else:
        title = f"{volume.name}: {volume_ml(mask, volume.grid.voxel_volume):.0f} ml, corrected"
        picture = encode_picture(path.suffix, volume.data, mask, volume.grid, title)
        save_bytes(picture, path, batch)


def _update_record(
    scan: Stripped, paths: dict[str, Path], manual: Path, ml: float
) -> dict[str, Any]:
    """Record with fresh fingerprints, and with the corrected mask that the outputs are of."""
    outputs = dict(scan.record["outputs"])
    for name, path in paths.items():
        outputs[name] = {**outputs[name], **make_fingerprint(path)}
    corrected = {"file": manual.name, "volume_ml": round(ml, 3), **make_fingerprint(manual)}
    return {**scan.record, "outputs": outputs, "corrected": corrected}
