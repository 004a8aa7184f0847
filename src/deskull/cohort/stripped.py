"""The stripped scans of a folder: their records and files, and the effect of corrected masks.

A record that points out of the folder is not believed. From a mask corrected by hand (in
`deskull.review`) the outputs are made again; the automatic mask and its probability stay.
"""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.cohort.records import find_recorded
from deskull.errors import DeskullError, ImageFileError, InputError
from deskull.image.derived import turn_to_ras
from deskull.image.fingerprint import is_unchanged, make_fingerprint
from deskull.image.formats import open_image
from deskull.image.lookup import find_manual, is_inside
from deskull.image.volume import Volume, make_mean_volume, make_volume
from deskull.image.writing import Transaction, find_start
from deskull.measure.metrics import volume_ml
from deskull.measure.quality import Flag
from deskull.outputs import OUTPUTS, RECORD, check_packages, find_output
from deskull.record import DONE, FAILED, CorrectedMask, Record, Request, load_record, save_records
from deskull.result import MaskedScan, save_output
from deskull.settings import Settings


@dataclass(frozen=True, eq=False)
class Stripped:
    """One scan of a folder of results.

    Parameters
    ----------
    name
        Path of the scan below the root of the inputs.
    folder
        Real path of the folder of results.
    path
        Real path of the record, below `folder`.
    record
        Content of the record.
    given
        Path of the record as the folder was given, without its links followed; None if unknown.
    """

    name: str
    folder: Path
    path: Path
    record: Record = field(repr=False)
    given: Path | None = None

    @property
    def status(self) -> str:
        """``"done"`` or ``"failed"``."""
        return self.record.status or FAILED

    @property
    def error(self) -> str:
        """Why the scan failed; empty if it did not."""
        return self.record.error

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Doubts about the mask, from the record."""
        return self.record.flags

    @property
    def volume_ml(self) -> float | None:
        """Volume in millilitres of the corrected mask, or else of the automatic one."""
        return self.record.final_ml

    @property
    def score(self) -> int | None:
        """Score from 0 (certainly wrong) to 100; None if the record has none."""
        return self.record.score

    @property
    def seconds(self) -> float | None:
        """Seconds from reading to writing."""
        return sum(self.record.seconds.values()) or None

    def find_output(self, output: str) -> Path | None:
        """Find the path of an output, such as ``"mask"``; None if it is not in the folder."""
        written = self.record.outputs.get(output)
        if written is None:
            return None
        path = self.path.parent / written.path
        return path if is_inside(path, self.folder) and path.is_file() else None

    @property
    def key(self) -> str:
        """Path of the record below the folder; tables name the scan by it."""
        return self.path.relative_to(self.folder).as_posix()

    @property
    def is_corrected(self) -> bool:
        """Whether a mask corrected by hand lies beside the automatic one."""
        return self.find_corrected() is not None

    @property
    def has_old_outputs(self) -> bool:
        """Whether brain and volume are not those of the corrected mask, although there is one."""
        manual, known = self.find_corrected(), self.record.corrected
        return manual is not None and (known is None or not is_unchanged(manual, known))

    @property
    def is_mask_changed(self) -> bool:
        """Whether the automatic mask is no longer the file that deskull wrote."""
        mask, written = self.find_output("mask"), self.record.outputs.get("mask")
        if mask is None or written is None or not written.sha256:
            return False
        return not is_unchanged(mask, written)

    def find_differences(self, usual: Settings | None) -> dict[str, tuple[Any, Any]]:
        """Find the settings other than the usual ones: name to own and usual value."""
        own = self.record.settings
        if own is None or usual is None:
            return {}
        names = (row.name for row in fields(Settings))
        pairs = {name: (getattr(own, name), getattr(usual, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def find_corrected(self) -> Path | None:
        """Find the path of the mask corrected by hand; None if it is not in the folder."""
        mask = self.find_output("mask")
        manual = None if mask is None else find_manual(Path(self.name), mask)
        known = manual is not None and manual.is_file() and is_inside(manual, self.folder)
        return manual if known else None

    def reload(self) -> "Stripped":
        """Read the record again; return the same object if it is gone."""
        record = load_record(self.path)
        return self if record is None else replace(self, record=record)

    def find_scan(self) -> Path:
        """Find the path of the scan itself, which may lie anywhere but must be unchanged.

        Raises
        ------
        ImageFileError
            If it is gone or has changed, or the record does not say where it is.
        """
        known = self.record.input
        if known.file is None:
            raise ImageFileError(
                f"{self.name}: its record does not name the scan. Strip it again with "
                "this version: deskull batch --force"
            )
        path = find_recorded(known.file, self.path, self.given)
        if not path.exists():
            raise ImageFileError(f"{self.name}: the scan is missing; expected it at {path}.")
        if not is_unchanged(path, known):
            raise ImageFileError(
                f"{self.name}: not the scan that was stripped: {path} has changed since. Strip "
                "it again."
            )
        return path


def find_stripped(folder: str | os.PathLike[str]) -> list[Stripped]:
    """Find the stripped scans of a folder; those that most need a look come first.

    Parameters
    ----------
    folder
        Output of ``deskull batch`` or ``deskull-bids``.

    Raises
    ------
    InputError
        If there is no such folder, or no record in it.
    """
    given = root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: no such folder; expected the output of `deskull batch`.")
    root = root.resolve()
    scans = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if not name.endswith(RECORD) or not is_inside(path, root):
                continue
            if (record := load_record(path)) is not None:
                below = path.relative_to(root)
                known = record.input.path or below.as_posix().removesuffix(RECORD)
                scans.append(Stripped(known, root, path, record, given / below))
    if not scans:
        raise InputError(
            f"{folder}: no record (*{RECORD}) in it; expected the output of `deskull batch`."
        )
    places = {Path(*Path(scan.key).parts[:2]) for scan in scans}
    raw = root / "dataset_description.json"
    if raw.is_file() and all(place.parts[0] == "derivatives" for place in places):
        raise InputError(
            f"{folder}: a raw data set, in which nothing is written; expected its derivatives. "
            f"Give {Path(folder) / min(places)}."
        )
    return _sort_worst_first(scans)


def _sort_worst_first(scans: Sequence[Stripped]) -> list[Stripped]:
    """Sort by need of a look.

    Failed scans come first, then masks that were changed or made with other settings than most,
    then low scores, many flags, and volumes far from the median.
    """
    volumes = [scan.volume_ml for scan in scans if scan.volume_ml]
    middle, usual = median(volumes) if volumes else 1.0, find_usual_settings(scans)

    def find_rank(scan: Stripped) -> tuple[bool, bool, float, int, float, str]:
        score = 100.0 if scan.score is None else scan.score
        is_usual = scan.is_corrected or not (scan.is_mask_changed or scan.find_differences(usual))
        off = abs((scan.volume_ml or 0.0) / middle - 1)
        return scan.status == DONE, is_usual, score, -len(scan.flags), -off, scan.name

    return sorted(scans, key=find_rank)


def find_usual_settings(scans: Sequence[Stripped]) -> Settings | None:
    """Find the settings that more than half of the scans were stripped with."""
    known = Counter(scan.record.settings for scan in scans if scan.record.settings)
    settings, count = next(iter(known.most_common(1)), (None, 0))
    return settings if count > known.total() / 2 else None


# --- outputs made again from a corrected mask


@dataclass(frozen=True)
class Remade:
    """The outputs that are made from a mask, after the mask was corrected.

    Parameters
    ----------
    remade
        File names of the outputs that were made again.
    old
        File names of the outputs that are still those of the automatic mask.
    command
        Shell command that makes the old brain again; empty if it is not old.
    reason
        Why outputs are still old; empty if none is.
    given
        Names of the other scans of the session on which the corrected mask was put as well.
    refused
        What else could not be done, each with the reason: the scan or table by its name.
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
        """Title, which tells that the mask was corrected."""
        return f"{super().title}, corrected"


def remake_outputs(
    scan: Stripped, mask: NDArray[np.bool_], volume: Volume, manual: Path
) -> Remade:
    """Make the outputs of a stripped scan again from its corrected mask, and update its record.

    Parameters
    ----------
    scan
        The stripped scan, with its record.
    mask
        Corrected mask, (X, Y, Z) bool on the grid of `volume`.
    volume
        Intensities of the scan.
    manual
        Path of the corrected mask.
    """
    names = [row.name for row in OUTPUTS if row.depends_on_mask]
    paths = {name: path for name in names if (path := scan.find_output(name)) is not None}
    files = tuple(path.name for path in paths.values())
    try:
        corrected = _CorrectedScan(volume, mask, fill=_find_fill(scan))
        check_packages(paths)
        with Transaction() as transaction:
            for name, path in paths.items():
                save_output(corrected, find_output(name), path, transaction)
        ml = volume_ml(mask, volume.grid.voxel_volume)
        save_records([_update_record(scan, paths, manual, ml)], scan.path)
    except DeskullError as error:
        return Remade(old=files, command=make_command(scan, manual), reason=str(error))
    return Remade(remade=files)


def load_recorded(scan: Stripped) -> Volume:
    """Load a scan as it was read when it got its mask; if that is for all frames, their mean.

    Raises
    ------
    DeskullError
        If it is gone, has changed, or cannot be read.
    """
    path, request = scan.find_scan(), scan.record.request
    frame = None if scan.record.mask_of else scan.record.input.frame  # a given mask is for all
    image = open_image(path, frame=frame)
    if isinstance(request, Request) and request.settings.orientation == "ras":
        image = turn_to_ras(image)
    name = path.name
    return make_mean_volume(image, name) if frame is None else make_volume(image, name, frame)


def find_old_outputs(scan: Path, manual: Path) -> Remade:
    """Find the brain beside a scan without a record, of which the settings are not known."""
    start = find_start(scan)
    brain = start.with_name(start.name + find_output("brain").ending)
    if not brain.is_file():
        return Remade()
    return Remade(old=(brain.name,), command=_write_command(manual, scan, brain))


def make_command(scan: Stripped, manual: Path) -> str:
    """Write the shell command that makes the brain of a stripped scan from a corrected mask."""
    brain = scan.find_output("brain")
    try:
        image = scan.find_scan()
    except DeskullError:
        return ""
    return _write_command(manual, image, brain, _find_fill(scan)) if brain else ""


def _find_fill(scan: Stripped) -> float:
    """Find the intensity outside of the brain in the record; by default 0."""
    request, settings = scan.record.request, scan.record.settings
    if isinstance(request, Request):
        return request.settings.fill
    return Settings.fill if settings is None else settings.fill


def _write_command(manual: Path, image: Path, brain: Path, fill: float = Settings.fill) -> str:
    command = ["deskull", "apply", str(manual), str(image), "--out", str(brain)]
    return shlex.join([*command, "--fill", f"{fill:g}"] if fill else command)


def _update_record(scan: Stripped, paths: dict[str, Path], manual: Path, ml: float) -> Record:
    """Make the record with new fingerprints of the outputs, and with the corrected mask."""
    outputs = dict(scan.record.outputs)
    for name, path in paths.items():
        outputs[name] = replace(outputs[name], **vars(make_fingerprint(path)))
    fingerprint = vars(make_fingerprint(manual))
    corrected = CorrectedMask(file=manual.name, volume_ml=round(ml, 3), **fingerprint)
    return replace(scan.record, outputs=outputs, corrected=corrected)
