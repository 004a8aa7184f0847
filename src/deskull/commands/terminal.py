"""What commands share: how they show where they are, and how they check their paths."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deskull.errors import InputError
from deskull.image.formats import find_stem, open_image


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """Give a function that shows one word on a terminal's last line, and wipe it at the end."""
    shown = sys.stderr.isatty() and not quiet

    def show(word: str) -> None:
        if shown:
            print(f"\r\x1b[Kdeskull: {word} …", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


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
