"""Meaning of file names on the command line: existing inputs, and names of outputs.

`deskull.image.writing` decides where default names of outputs begin, and what may be replaced.
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from deskull.errors import OptionError, OutputError
from deskull.image.lookup import STDIN, resolve
from deskull.image.names import WRITABLE
from deskull.image.writing import check_output_path, find_files, find_start, is_dicom
from deskull.outputs import OUTPUTS, find_output

MAX_FILES_READ = 1000
"""Maximum number of files of a folder that are read to decide whether it is a scan."""


def is_folder(word: str | None) -> bool:
    """Whether an output's name means a folder: an existing one, or one that ends in ``/``."""
    if word is None:
        return False
    return word.endswith(("/", os.sep)) or os.path.isdir(word)


def place_output(word: str, output: str, scan: Path) -> Path:
    """Path of a requested output; in a folder it gets its usual name."""
    return Path(word) / name_output(output, scan).name if is_folder(word) else Path(word)


def name_output(output: str, scan: Path) -> Path:
    """Default path of an output."""
    start = find_start(scan)
    path, here = start.with_name(start.name + find_output(output).ending), Path.cwd()
    return path.relative_to(here) if scan.is_dir() and path.is_relative_to(here) else path


def check_outputs(
    outputs: Sequence[tuple[str, Path]], inputs: Iterable[str | Path], usual: Sequence[Path] = ()
) -> None:
    """Refuse outputs that would overwrite an input or another output, before any work.

    Parameters
    ----------
    outputs
        Name and path of each output.
    inputs
        Paths that must not change.
    usual
        Default paths, which the user did not name.

    Raises
    ------
    OutputError
        If an output would overwrite an input, a DICOM file, another output, or a file that no
        earlier run wrote.
    """
    endings = {row.name: row.endings for row in OUTPUTS}
    kept = [Path("/dev/stdin") if str(path) == STDIN else Path(path) for path in inputs]
    seen: dict[tuple[int, int] | Path, tuple[int, str]] = {}
    for number, (name, path) in enumerate(outputs):
        check_output_path(path, kept, endings.get(name, WRITABLE))
        for file in find_files(path):
            first, other = seen.setdefault(_identify(file), (number, name))
            if first != number:
                raise OutputError(f"{path}: requested as {other} and as {name}. Choose two names.")
    check_usual(usual)


def check_usual(paths: Sequence[Path]) -> None:
    """Refuse to replace only some of the usual outputs: a run writes all, so the file is not ours.

    Raises
    ------
    OutputError
        If some of them exist, but not all.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there and len(there) < len(paths):
        missing = next(path for path in paths if path not in there)
        raise OutputError(
            f"{there[0]}: exists, but {missing.name} does not, so no earlier run wrote it. "
            "Move it away, or name the outputs."
        )


def _identify(path: Path) -> tuple[int, int] | Path:
    """Identity of a file, whatever its name."""
    try:
        stat = path.stat()
    except OSError:
        return path.parent.resolve() / path.name
    return stat.st_dev, stat.st_ino


def check_new(scan: str, out: str) -> None:
    """Refuse an existing OUT without -o: it may be a scan that a glob expanded to.

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
    both = f" To strip both: `{tell_scans([scan, out])}`." if resolve(scan).exists() else ""
    raise OutputError(
        f"{there[0]}: exists; only -o replaces files.{both} To replace it: "
        f"`{shlex.join(['deskull', scan, '-o', out])}`"
    )


def tell_scans(words: Sequence[str]) -> str:
    """Command for several scans; DICOM files stand for their folder."""
    found = [resolve(word) for word in words]
    scans = dict.fromkeys(str(path.parent if is_dicom(path) else path) for path in found)
    if len(scans) == 1 and is_dicom(found[0]):
        return shlex.join(["deskull", *scans])
    return shlex.join(["deskull", "batch", *scans, "-o", "brains"])


def refuse_many(words: Sequence[str]) -> NoReturn:
    """Refuse more names than IN [OUT], and suggest the right command.

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
    return any(is_dicom(file) for file in islice(files, MAX_FILES_READ))
