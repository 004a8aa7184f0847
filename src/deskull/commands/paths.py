"""What the file names on the command line mean: inputs that are there, and names of outputs."""

import os
from pathlib import Path

from deskull.errors import InputError
from deskull.image.formats import find_stem, open_image


def check_there(path: Path, series: str | None = None) -> None:
    """Let the reader say what is wrong with a missing input before outputs are looked at."""
    if not os.path.exists(path):
        open_image(path, series)


def find_start(scan: Path) -> Path:
    """Path of a scan without the suffix of its format; of a folder, the folder itself."""
    scan = scan.absolute() if scan.name in ("", ".", "..") else scan
    if scan.is_dir():
        scan = scan.resolve() if scan.name == ".." else scan
        if not scan.name:
            raise InputError(f"{scan}: no folder of one scan. Name the folder of its DICOM files.")
        return scan
    return scan.with_name(find_stem(scan))
