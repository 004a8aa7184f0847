"""What the file names on the command line mean: inputs that are there, and names of outputs.

Where the names of outputs begin that nobody asked for, and what may be replaced at all, is decided
in `deskull.image.writing`.
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from deskull.errors import OptionError, OutputError
from deskull.image.lookup import resolve
from deskull.image.names import WRITABLE
from deskull.image.writing import STDIN, check_output_path, find_files, find_start, is_dicom
from deskull.outputs import OUTPUTS, find_output

LOOKED_AT = 1000
"""Files of a folder that are looked at to tell whether it is a scan."""


def is_folder(word: str | None) -> bool:
    """Whether a word for an output means a folder: one that is there, or ends as one does."""
    if word is None:
        return False
    return word.endswith(("/", os.sep)) or os.path.isdir(word)


def place_output(word: str, output: str, scan: Path) -> Path:
    """Path of an output asked for; in a folder it gets its usual name."""
    return Path(word) / name_output(output, scan).name if is_folder(word) else Path(word)


def name_output(output: str, scan: Path) -> Path:
    """Path that an output has where none was asked for."""
    start = find_start(scan)
    path, here = start.with_name(start.name + find_output(output).ending), Path.cwd()
    return path.relative_to(here) if scan.is_dir() and path.is_relative_to(here) else path


def check_outputs(
    outputs: Sequence[tuple[str, Path]], inputs: Iterable[str | Path], usual: Sequence[Path] = ()
) -> None:
    """Refuse what would harm an input or another output, before any work.

    Parameters
    ----------
    outputs
        Name and path of each output.
    inputs
        What must stay.
    usual
        Paths that nobody asked for.

    Raises
    ------
    OutputError
        If an output would harm an input, a DICOM file, another output, or something that an
        earlier run did not write.
    """
    endings = {row.name: row.endings for row in OUTPUTS}
    kept = [Path("/dev/stdin") if str(path) == STDIN else Path(path) for path in inputs]
    seen: dict[tuple[int, int] | Path, tuple[int, str]] = {}
    for number, (name, path) in enumerate(outputs):
        check_output_path(path, kept, endings.get(name, WRITABLE))
        for file in find_files(path):
            first, other = seen.setdefault(_identify(file), (number, name))
            if first != number:
                raise OutputError(f"{path}: asked for as {other} and as {name}. Choose two names.")
    check_usual(usual)


def check_usual(paths: Sequence[Path]) -> None:
    """Refuse to replace a part of the usual outputs: runs write all, so it is someone else's.

    Raises
    ------
    OutputError
        If some of them exist, and not all.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there and len(there) < len(paths):
        missing = next(path for path in paths if path not in there)
        raise OutputError(
            f"{there[0]}: exists, but {missing.name} does not, so it is not from an earlier run "
            "like this. Move it away, or name the outputs."
        )


def _identify(path: Path) -> tuple[int, int] | Path:
    """Give what two names of one file have in common."""
    try:
        stat = path.stat()
    except OSError:
        return path.parent.resolve() / path.name
    return stat.st_dev, stat.st_ino


def check_new(scan: str, out: str) -> None:
    """Refuse an OUT without -o that exists: it may be a scan, brought by a glob.

    Raises
    ------
    OutputError
        If it exists; a folder may, unless DICOM is in it.
    """
    there = [
        file for name in (Path(out), resolve(out)) for file in find_files(name)
        if os.path.lexists(file)
    ]  # fmt: skip
    if not there or (os.path.isdir(out) and not _holds_dicom(out)):
        return
    both = f" For both: `{tell_scans([scan, out])}`." if resolve(scan).exists() else ""
    raise OutputError(
        f"{there[0]}: exists, and without -o nothing is replaced.{both} To replace it: "
        f"`{shlex.join(['deskull', scan, '-o', out])}`"
    )


def tell_scans(words: Sequence[str]) -> str:
    """Line to type for several scans; DICOM files stand for the folder that holds them."""
    found = [resolve(word) for word in words]
    scans = dict.fromkeys(str(path.parent if is_dicom(path) else path) for path in found)
    if len(scans) == 1 and is_dicom(found[0]):
        return shlex.join(["deskull", *scans])
    return shlex.join(["deskull", "batch", *scans, "-o", "brains"])


def refuse_many(words: Sequence[str]) -> NoReturn:
    """Refuse more names than IN [OUT], and say what to type.

    Raises
    ------
    OptionError
        Always.
    """
    there = [word for word in words if os.path.lexists(resolve(word))]
    if len(there) < 2:
        raise OptionError(f"{words[-1]}: too many file names; expected IN [OUT].")
    raise OptionError(f"{len(there)} files; expected one scan. Run: `{tell_scans(there)}`")


def _holds_dicom(folder: str) -> bool:
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return any(is_dicom(file) for file in islice(files, LOOKED_AT))
