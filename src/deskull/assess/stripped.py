"""The stripped scans of a folder, as their records tell: what became of each, and its files.

Nothing here opens an image, and no record is believed that points out of the folder; how the
scans are judged, shown and corrected is in the modules beside this one.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from deskull.cohort.plan import ENDINGS
from deskull.cohort.records import DONE, FAILED, is_unchanged, load_record
from deskull.errors import ImageFileError, InputError
from deskull.image import names as image_names
from deskull.measure.quality import Flag

ENDING = ENDINGS["record"]
MANUAL_WORD = "_mask_manual"
_BIDS_MASK = re.compile(r"(?P<start>.+_desc-brain)(?P<manual>Manual)?(?P<contrast>\w*)_mask")


@dataclass(frozen=True, eq=False)
class Stripped:
    """One scan of a folder of results.

    Parameters
    ----------
    name
        What the run called it: its path below the root of the inputs.
    folder
        Of the results, real path.
    path
        Of the record, below `folder`.
    record
        Its content.
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
        """Why it failed, else empty."""
        return str(self.record.get("error", ""))

    @property
    def flags(self) -> list[Flag]:
        """Doubts."""
        given = self.record.get("flags")
        found = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        return [Flag(str(one.get("name", "")), str(one.get("sentence", ""))) for one in found]

    @property
    def volume_ml(self) -> float | None:
        """Of the mask."""
        return _to_number(self.record.get("volume_ml"))

    @property
    def frame(self) -> int | None:
        """Which frame of a 4D scan it is of, from 0; None of a 3D one."""
        given = self.record.get("input")
        frame = given.get("frame") if isinstance(given, dict) else None
        return frame if isinstance(frame, int) else None

    @property
    def score(self) -> float | None:
        """0 (surely wrong) to 100; None where the record has none."""
        return _to_number(self.record.get("score"))

    @property
    def seconds(self) -> float | None:
        """From reading to writing."""
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
    def is_corrected(self) -> bool:
        """Whether a person saved a mask beside that of the machine."""
        mask = self.find_output("mask")
        manual = None if mask is None else find_manual(Path(self.name), mask)
        return manual is not None and manual.is_file() and is_inside(manual, self.folder)

    def find_scan(self) -> Path:
        """Path of the scan itself, which may lie anywhere, but must be the one that was stripped.

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
    """Find the records of a folder, the scans that most need a look first.

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
            if name.endswith(ENDING) and is_inside(path, root):
                scans += _read(path, root)
    if not scans:
        raise InputError(
            f"{folder}: no record (*{ENDING}) in it; expected the output of `deskull batch`."
        )
    return sort_worst_first(scans)


def _read(path: Path, root: Path) -> list[Stripped]:
    """Read a record; none where the file is not one of ours."""
    record = load_record(path)
    if record is None:
        return []
    known = path.relative_to(root).as_posix().removesuffix(ENDING)
    return [Stripped(str(record["input"].get("path") or known), root, path, record)]


def sort_worst_first(scans: Sequence[Stripped]) -> list[Stripped]:
    """Put what failed first, then low scores, many flags, and volumes far from the median."""
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
    """Path of the mask that a person corrects, beside the one that the machine made.

    Parameters
    ----------
    scan
        Names the mask where there is no other.
    mask
        The machine's; a manual one is its own.

    Returns
    -------
    Path
        ``X_mask_manual.nii.gz``, or in BIDS ``X_desc-brainManual_mask.nii.gz``, of a contrast
        that is no T1w ``X_desc-brainManualT2w_mask.nii.gz``.
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
