"""The scans of the local page: their files, and what their automatic masks were made with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deskull.cohort.stripped import Stripped, find_manual
from deskull.image.writing import find_start
from deskull.outputs import find_output
from deskull.review.scene import ScanFiles, find_files
from deskull.settings import Settings

DEFAULTS = {"threshold": Settings.threshold, "border": Settings.border}
"""Settings of an automatic mask whose record is not at hand."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One scan of the page.

    Parameters
    ----------
    name
        Name of the scan on the page.
    find
        Returns its files, or raises why they cannot be shown.
    settings
        Threshold and border that the automatic mask was made with.
    stripped
        The stripped scan, in a review.
    reference
        Path of a mask to compare with; None if there is none.
    """

    name: str
    find: Callable[[], ScanFiles]
    settings: Mapping[str, float]
    stripped: Stripped | None = None
    reference: Path | None = None


def make_entry(
    scan: Path,
    mask: Path | None = None,
    frame: int | None = None,
    series: str | None = None,
    *,
    reference: Path | None = None,
    no_face: bool = False,
) -> Entry:
    """Make the entry of one scan; a mask and a probability beside it are found by their names.

    Parameters
    ----------
    scan
        Path of the image.
    mask
        Path of its mask; by default ``X_mask.nii.gz`` beside it, if there is one.
    frame
        Frame of a 4D scan, counted from 0.
    series
        Number of the series in a DICOM folder.
    reference
        Path of another mask to compare with.
    no_face
        Show only what lies within or close to the mask.
    """
    start = find_start(scan)

    def find(output: str) -> Path | None:
        path = start.with_name(start.name + find_output(output).ending)
        return path if path.is_file() else None

    machine = mask or find("mask")
    manual = find_manual(start, machine)
    files = scan.name, scan, machine, find("probability"), manual, frame
    found = ScanFiles(*files, series=series, no_face=no_face)
    return Entry(scan.name, lambda: found, DEFAULTS, reference=reference)


def make_entries(scans: Sequence[Stripped], no_face: bool = False) -> list[Entry]:
    """Make the entries of a folder's scans, in their order."""
    return [_make_entry(scan, no_face) for scan in scans]


def _make_entry(scan: Stripped, no_face: bool) -> Entry:
    known = scan.record.settings or Settings()
    settings = {name: getattr(known, name) for name in DEFAULTS}
    return Entry(scan.name, lambda: find_files(scan, no_face), settings, scan)
