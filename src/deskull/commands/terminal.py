"""What commands share: how they show where they are, and how they name their outputs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deskull.errors import InputError
from deskull.image.archives import is_pipe
from deskull.image.names import find_stem


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


def find_start(scan: Path) -> Path:
    """Path of a scan without the suffix of its format; of a folder, the folder itself."""
    if is_pipe(scan):
        raise InputError(f"{scan}: a pipe gives outputs no name. Name them with -o and -m.")
    scan = scan.absolute() if scan.name in ("", ".", "..") else scan
    if scan.is_dir():
        scan = scan.resolve() if scan.name == ".." else scan
        if not scan.name:
            raise InputError(f"{scan}: no folder of one scan. Name the folder of its DICOM files.")
        return scan
    return scan.with_name(find_stem(scan))
