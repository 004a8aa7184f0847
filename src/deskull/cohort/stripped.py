"""The stripped scans of a folder, as their records describe them, and the files of each.

No image is opened here, and a record that points out of the folder is not believed. How scans
are judged, shown and corrected is in `deskull.review`.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from deskull.cohort.records import DONE, FAILED, is_unchanged, load_record
from deskull.errors import ImageFileError, InputError
from deskull.image import names as image_names
from deskull.measure.quality import Flag
from deskull.outputs import RECORD

MANUAL_WORD = "_mask_manual"
_BIDS_MASK = re.compile(r"(?P<start>.+_desc-brain)(?P<manual>Manual)?(?P<contrast>\w*)_mask")


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
    record: Mapping[str, Any] = field(repr=False)

    @property
    def status(self) -> str:
        """``"done"`` or ``"failed"``."""
        return DONE if self.record.get("status") == DONE else FAILED

    @property
    def error(self) -> str:
        """Why it failed; empty if it did not."""
        return str(self.record.get("error", ""))

    @property
    def flags(self) -> list[Flag]:
        """Doubts about the mask."""
        given = self.record.get("flags")
        found = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        return [Flag(str(one.get("name", "")), str(one.get("sentence", ""))) for one in found]

    @property
    def volume_ml(self) -> float | None:
        """Volume in millilitres of the mask that counts: the corrected one if there is one."""
        corrected = _to_number(self.correction.get("volume_ml"))
        return _to_number(self.record.get("volume_ml")) if corrected is None else corrected

    @property
    def correction(self) -> Mapping[str, Any]:
        """What the record says of the corrected mask that the outputs are of; else empty."""
        given = self.record.get("corrected")
        return given if isinstance(given, dict) else {}

    @property
    def frame(self) -> int | None:
        """Frame of a 4D scan, counted from 0; None for a 3D scan."""
        given = self.record.get("input")
        frame = given.get("frame") if isinstance(given, dict) else None
        return frame if isinstance(frame, int) else None

    @property
    def score(self) -> float | None:
        """Score from 0 (certainly wrong) to 100; None if the record has none."""
        return _to_number(self.record.get("score"))

    @property
    def seconds(self) -> float | None:
        """Seconds from reading to writing."""
        given = self.record.get("seconds")
        values = [_to_number(value) for value in given.values()] if isinstance(given, dict) else []
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    def find_output(self, output: str) -> Path | None:
        """Path of an output, such as ``"mask"``; None if there is none in the folder."""
        outputs = self.record.get("outputs")
        entry = outputs.get(output) if isinstance(outputs, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            return None
        path = self.path.parent / entry["path"]
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
        manual = self.find_corrected()
        return manual is not None and not is_unchanged(manual, self.correction)

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
        given = self.record.get("input")
        known: dict[str, Any] = given if isinstance(given, dict) else {}
        if not isinstance(known.get("file"), str):
            raise ImageFileError(
                f"{self.name}: its record does not say where the scan is. Strip it again with "
                "this version: deskull batch --force"
            )
        path = Path(os.path.normpath(self.path.parent / known["file"]))
        if not path.exists():
            raise ImageFileError(f"{self.name}: the scan is gone; expected it at {path}.")
        if not is_unchanged(path, known):
            raise ImageFileError(
                f"{self.name}: not the scan that was stripped: {path} has changed since. Strip "
                "it again."
            )
        return path


def _to_number(given: object) -> float | None:
    if isinstance(given, int | float) and abs(given) <= sys.float_info.max:  # not NaN either
        return float(given)
    return None


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
    return [Stripped(str(record["input"].get("path") or known), root, path, record)]


def sort_worst_first(scans: Sequence[Stripped]) -> list[Stripped]:
    """Sort: failed scans, then low scores, many flags, and volumes far from the median."""
    volumes = [scan.volume_ml for scan in scans if scan.volume_ml]
    middle = median(volumes) if volumes else 1.0

    def find_rank(scan: Stripped) -> tuple[bool, float, int, float, str]:
        score = 100.0 if scan.score is None else scan.score
        off = abs((scan.volume_ml or 0.0) / middle - 1)
        return scan.status == DONE, score, -len(scan.flags), -off, scan.name

    return sorted(scans, key=find_rank)


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
    stem = find_stem(source)
    in_bids = _BIDS_MASK.fullmatch(stem)
    if stem.endswith(MANUAL_WORD) or (in_bids and in_bids["manual"]):
        return source
    if in_bids:
        name = f"{in_bids['start']}Manual{in_bids['contrast']}_mask"
    elif mask is not None and stem.endswith("_mask"):
        name = stem.removesuffix("_mask") + MANUAL_WORD
    else:
        name = find_stem(scan) + MANUAL_WORD
    return source.with_name(f"{name}.nii.gz")
