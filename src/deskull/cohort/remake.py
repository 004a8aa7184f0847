"""Outputs made again from a mask that was corrected by hand, and the record that says so.

What is made from the mask is replaced, such as the brain, the distance and the picture. The
automatic mask and its probability stay.
"""

import logging
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull.apply import find_brain, load_mask
from deskull.cohort.plan import Task
from deskull.cohort.records import read_record
from deskull.cohort.stripped import Stripped
from deskull.errors import DeskullError, GeometryError
from deskull.image.derived import turn_to_ras
from deskull.image.fingerprint import make_fingerprint
from deskull.image.formats import open_image
from deskull.image.volume import Volume, count_frames, make_volume
from deskull.image.writing import Batch, find_start
from deskull.measure.metrics import volume_ml
from deskull.outputs import OUTPUTS, check_packages, find_output
from deskull.record import CorrectedMask, Record, Request, save_records
from deskull.result import MaskedScan, save_output
from deskull.settings import Settings

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


class _CorrectedScan(MaskedScan):
    """A scan with a mask corrected by hand."""

    @property
    def title(self) -> str:
        """One line of text, which says so."""
        return f"{super().title}, corrected"


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
    rows = [row for row in OUTPUTS if row.depends_on_mask]
    paths = {row.name: path for row in rows if (path := scan.find_output(row.name)) is not None}
    names = tuple(path.name for path in paths.values())
    try:
        corrected = _CorrectedScan(volume, mask, fill=find_fill(scan))
        check_packages(paths)
        with Batch() as batch:
            for name, path in paths.items():
                save_output(corrected, find_output(name), path, batch)
        ml = volume_ml(mask, volume.grid.voxel_volume)
        record = _update_record(scan, paths, manual, ml)
        save_records([record], scan.path)
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
                "%s: %s is ignored, brain and volume are those of the automatic mask: %s",
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
    frame = scan.record.input.frame
    image = open_image(path, frame=frame)
    request = scan.record.request
    if isinstance(request, Request) and request.settings.orientation == "ras":
        image = turn_to_ras(image)
    if frame is None and count_frames(image) > 1:  # the mask is for all frames
        return replace(make_volume(image, path.name, 0), frame=None)
    return make_volume(image, path.name, frame)


def find_old_outputs(scan: Path, manual: Path) -> Remade:
    """Find the brain beside a scan without a record: nobody knows how it was made."""
    start = find_start(scan)
    brain = start.with_name(start.name + find_output("brain").ending)
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
    request, settings = scan.record.request, scan.record.settings
    if isinstance(request, Request):
        return request.settings.fill
    return Settings.fill if settings is None else settings.fill


def _make_command(manual: Path, image: Path, brain: Path, fill: float = Settings.fill) -> str:
    words = ["deskull", "apply", str(manual), str(image), "--out", str(brain)]
    return shlex.join([*words, "--fill", f"{fill:g}"] if fill else words)


def _update_record(scan: Stripped, paths: dict[str, Path], manual: Path, ml: float) -> Record:
    """Record with fresh fingerprints, and with the corrected mask that the outputs are of."""
    outputs = dict(scan.record.outputs)
    for name, path in paths.items():
        outputs[name] = replace(outputs[name], **vars(make_fingerprint(path)))
    print_of_mask = vars(make_fingerprint(manual))
    corrected = CorrectedMask(file=manual.name, volume_ml=round(ml, 3), **print_of_mask)
    return replace(scan.record, outputs=outputs, corrected=corrected)
