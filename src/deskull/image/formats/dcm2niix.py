"""DICOM files to NIfTI with dcm2niix, the field's own converter.

It gets the files of one image and nothing else, and what it made is counted: a converter that
leaves slices out silently must not go unnoticed.
"""

import errno
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from deskull.errors import ImageFileError
from deskull.image.formats.dicom_header import DicomFile

MADE_EVEN, MADE_UPRIGHT = "Eq_", "Tilt_"
"""In the names of images that dcm2niix adds where slices are uneven, or sheared."""

_STEM = "deskull"
_ARGUMENTS = ("-b", "n", "-z", "n", "-g", "i", "-f", _STEM, "-d", "0")
_COUNT = re.compile(r"^Convert (\d+) DICOM as", re.MULTILINE)
_COMPLAINTS = (
    *("Error", "No valid", "Unsupported", "Unable"),
    *("Slices skipped", r"\d+ images have identical", "Warning"),
)
"""What its lines begin with that say why, maybe after ``Warning: ``; the best comes first."""

_log = logging.getLogger(__name__)


class Conversion(NamedTuple):
    """What came of it.

    Parameters
    ----------
    images
        NIfTI file by what dcm2niix added to its name: ``"ph"``, ``"Eq_1"``; empty for nothing.
    used
        DICOM files that went into them.
    complaint
        Line of its output that may explain why something is missing, and its exit code.
    failed
        Whether its exit code says so.
    """

    images: Mapping[str, Path]
    used: int
    complaint: str
    failed: bool


def find_converter(name: str) -> str:
    """Path of dcm2niix: of its Python package, else the one on PATH.

    Raises
    ------
    ImageFileError
        If there is neither.
    """
    try:
        import dcm2niix

        packaged = str(dcm2niix.bin)
    except ImportError:
        packaged = ""
    found = packaged if os.access(packaged, os.X_OK) else shutil.which("dcm2niix")
    if not found:
        raise ImageFileError(
            f"{name}: DICOM needs the converter dcm2niix, which is not installed. "
            "Run: pip install dcm2niix"
        )
    return found


def convert(files: Sequence[DicomFile], folder: Path, name: str) -> Conversion:
    """Convert the files of one image.

    Parameters
    ----------
    files
        All of one image; none damaged.
    folder
        Empty private folder; the caller removes it.
    name
        Name of the scan in messages.

    Raises
    ------
    ImageFileError
        If dcm2niix is missing or cannot be run.
    OSError
        If there is no space for what it makes.
    """
    converter = find_converter(name)
    given, made = folder / "given", folder / "made"
    given.mkdir()
    made.mkdir()
    for number, one in enumerate(files):
        _place(one, given / f"{number:06d}.dcm")
    try:
        done = subprocess.run(
            [converter, *_ARGUMENTS, "-o", str(made), str(given)],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise ImageFileError(f"{name}: {converter} cannot be run ({error.strerror}).") from error
    report = done.stdout + done.stderr
    _log.debug("%s, exit %d:\n%s", converter, done.returncode, report)
    if "disk full" in report:
        raise OSError(errno.ENOSPC, "dcm2niix: disk full", str(folder))
    images = {path.stem[len(_STEM) :].lstrip("_"): path for path in sorted(made.glob("*.nii"))}
    complaint = f"exit code {done.returncode}"
    for start in _COMPLAINTS:
        if line := re.search(rf"^(?:Warning: )?{start}.*$", report, re.MULTILINE):
            complaint = f"{line[0].strip().rstrip('.')}; {complaint}"
            break
    return Conversion(images, _count(report, images), complaint, done.returncode != 0)


def _place(one: DicomFile, target: Path) -> None:
    """Put a file where dcm2niix looks: a link, or a copy where something comes first."""
    if one.lead:
        with one.path.open("rb") as source, target.open("wb") as copy:
            copy.write(one.lead)
            shutil.copyfileobj(source, copy)
        return
    try:
        target.symlink_to(one.path.absolute())
    except OSError:  # Windows lets few users make links
        shutil.copyfile(one.path, target)


def _count(report: str, images: Mapping[str, Path]) -> int:
    """Files that were converted, as dcm2niix says; else slices of what it made."""
    said = [int(number) for number in _COUNT.findall(report)]
    if said:
        return sum(said)
    raw: list[Any] = [nib.load(path) for suffix, path in images.items() if not is_mended(suffix)]
    return sum(int(np.prod(image.shape[2:], dtype=int)) for image in raw)


def is_mended(suffix: str) -> bool:
    """Whether dcm2niix made an image even or upright, beside the one it read."""
    return MADE_EVEN in suffix or MADE_UPRIGHT in suffix
