"""The stripped scans of a folder, as their records describe them, and the files of each.

No image is opened here, and a record that points out of the folder is not believed. How scans
are judged, shown and corrected is in `deskull.review`.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

from deskull.errors import ImageFileError, InputError
from deskull.image import names as image_names
from deskull.image.fingerprint import is_unchanged
from deskull.measure.quality import Flag
from deskull.outputs import RECORD
from deskull.record import DONE, FAILED, Record, load_record
from deskull.settings import Settings


@dataclass(frozen=True, eq=False)
class Stripped:
    """One scan of a folder of results.

    Parameters
    ----------
    name
        Name of the scan: its path below the root of the inputs.
    folder
        Folder of the results, as a real path.
    path
        Path of the record, below `folder`.
    record
        Content of the record.
    """

    name: str
    folder: Path
    path: Path
    record: Record = field(repr=False)

    @property
    def status(self) -> str:
        """``"done"`` or ``"failed"``."""
        return self.record.status or FAILED

    @property
    def error(self) -> str:
        """Why it failed; empty if it did not."""
        return self.record.error

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Doubts about the mask."""
        return self.record.flags

    @property
    def volume_ml(self) -> float | None:
        """Volume in millilitres of the mask that counts: the corrected one if there is one."""
        return self.record.final_ml

    @property
    def score(self) -> int | None:
        """Score from 0 (certainly wrong) to 100; None if the record has none."""
        return self.record.score

    @property
    def seconds(self) -> float | None:
        """Seconds from reading to writing."""
        seconds = self.record.seconds.values()
        return sum(seconds) if seconds else None

    def find_output(self, output: str) -> Path | None:
        """Path of an output, such as ``"mask"``; None if there is none in the folder."""
        written = self.record.outputs.get(output)
        if written is None:
            return None
        path = self.path.parent / written.path
        return path if is_inside(path, self.folder) and path.is_file() else None

    @property
    def key(self) -> str:
        """Path of the record below the folder, by which tables name the scan."""
        return self.path.relative_to(self.folder).as_posix()

    @property
    def is_corrected(self) -> bool:
        """Whether a mask corrected by hand lies beside the automatic one."""
        return self.find_corrected() is not None

    @property
    def has_old_outputs(self) -> bool:
        """Whether brain and volume are still those of another mask than the corrected one."""
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
        """Path of the mask corrected by hand; None if there is none in the folder."""
        mask = self.find_output("mask")
        manual = None if mask is None else find_manual(Path(self.name), mask)
        known = manual is not None and manual.is_file() and is_inside(manual, self.folder)
        return manual if known else None

    def reload(self) -> "Stripped":
        """Read the record again; the same if it is gone."""
        record = load_record(self.path)
        return self if record is None else replace(self, record=record)

    def find_scan(self) -> Path:
        """Path of the scan itself, which may lie anywhere but must be unchanged.

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
        path = Path(os.path.normpath(self.path.parent / known.file))
        if not path.exists():
            raise ImageFileError(f"{self.name}: the scan is missing; expected it at {path}.")
        if not is_unchanged(path, known):
            raise ImageFileError(
                f"{self.name}: not the scan that was stripped: {path} has changed since. Strip "
                "it again."
            )
        return path


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies below a folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is none
        return False


def find_stripped(folder: str | os.PathLike[str]) -> list[Stripped]:
    """Find the records of a folder, sorted so that scans that most need a look come first.

    Parameters
    ----------
    folder
        Output of ``deskull batch`` or ``deskull-bids``.

    Returns
    -------
    list
        As `sort_worst_first` gives them.

    Raises
    ------
    InputError
        If there is no such folder, or no record in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: no such folder; expected the output of `deskull batch`.")
    root = root.resolve()
    scans = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.endswith(RECORD) and is_inside(path, root):
                scans += _read(path, root)
    if not scans:
        raise InputError(
            f"{folder}: no record (*{RECORD}) in it; expected the output of `deskull batch`."
        )
    return sort_worst_first(scans)


def _read(path: Path, root: Path) -> list[Stripped]:
    """Read a record; the list is empty if the file is not a record of deskull."""
    record = load_record(path)
    if record is None:
        return []
    known = path.relative_to(root).as_posix().removesuffix(RECORD)
    return [Stripped(record.input.path or known, root, path, record)]


def sort_worst_first(scans: Sequence[Stripped]) -> list[Stripped]:
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


def find_stem(path: Path) -> str:
    """Name of an image without the suffix of its format; of a folder of DICOM its own."""
    return path.name if path.is_dir() else image_names.find_stem(path)


def find_manual(scan: Path, mask: Path | None) -> Path:
    """Path of the corrected mask, beside the automatic one.

    Parameters
    ----------
    scan
        Path of the scan, which names the corrected mask if there is no automatic one.
    mask
        Path of the automatic mask; that of a corrected mask is returned as it is.

    Returns
    -------
    Path
        ``X_mask_manual.nii.gz``, or in BIDS ``X_desc-brainManual_mask.nii.gz``; for contrasts
        other than T1w ``X_desc-brainManualT2w_mask.nii.gz``.
    """
    source = scan if mask is None else mask
    name = image_names.name_manual(find_stem(scan), None if mask is None else find_stem(mask))
    return source if name == find_stem(source) else source.with_name(f"{name}.nii.gz")
