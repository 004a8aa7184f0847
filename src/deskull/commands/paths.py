"""File names on the command line: the scan, its outputs, and what may be overwritten.

`deskull.image.writing` decides where default names of outputs begin, and what may be replaced.
Commands import this module when they run, because it needs the library.
"""

import glob
import os
import re
import shlex
from argparse import Namespace
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from deskull.errors import ImageFileError, OptionError, OutputError
from deskull.image.lookup import find_image, resolve
from deskull.image.writing import find_files, find_start, is_dicom
from deskull.outputs import USUAL, check_packages, find_output, list_outputs
from deskull.result import check_outputs

MAX_FILES_READ = 1000
"""Maximum number of files of a folder that are read to decide whether it is a scan."""


# --- the scan and the outputs of `deskull strip`


def find_strip_paths(options: Namespace) -> tuple[Path, dict[str, Path]]:
    """Find the scan to strip and the path of each output, before any work.

    Parameters
    ----------
    options
        Parsed arguments of `deskull strip`.

    Returns
    -------
    tuple
        Path of the scan, and the path of each output by its name.

    Raises
    ------
    DeskullError
        If there is no such scan, or an output cannot be written.
    """
    names = [*([] if options.image is None else [options.image]), *options.names]
    if not names:
        raise OptionError("no scan given. Try: deskull sub-01_T1w.nii.gz")
    if len(names) > (2 if options.out is None else 1):
        _refuse_names(names)
    new = names[1] if len(names) > 1 else None
    scan = _find_scan(names[0], new)
    if new is not None:
        _check_new(names[0], new)
        options.out = new
    outputs, usual = _find_outputs(options, scan)
    check_packages(outputs)
    if new is not None and is_folder(new):
        _check_new_folder(names[0], new, [outputs[name] for name in USUAL if name in outputs])
    weights = Path(options.weights)
    check_outputs([*outputs.items()], [scan, *weights.glob("*")])
    check_usual(usual)
    _check_steps(outputs.values(), options.steps)
    return scan, outputs


def _find_scan(name: str, out: str | None) -> Path:
    """Find the scan; where there is none, look for a pattern, or two names swapped."""
    try:
        return find_image(name)
    except ImageFileError as error:
        if glob.glob(name):  # not every shell expands patterns
            command = suggest_command([name])
            raise ImageFileError(f"{error} Scans that it matches: `{command}`") from error
        if out is None or not resolve(out).exists():
            raise
        command = shlex.join(["deskull", out, name])
        message = f"{error} {out} exists. The scan comes first: `{command}`"
        raise ImageFileError(message) from error


def _find_outputs(options: Namespace, scan: Path) -> tuple[dict[str, Path], list[Path]]:
    """Find the path of each output, and list the paths that the user did not name."""
    requested = {row.name: getattr(options, row.option) for row in list_outputs("strip")}
    requested = {name: path for name, path in requested.items() if path is not None}
    if not requested and options.steps is None:
        paths = {name: name_output(name, scan) for name in USUAL}
        return paths, [*paths.values()]
    only_folder = is_folder(options.out) and options.mask is None
    if only_folder:
        requested["mask"] = options.out
    paths = {name: place_output(path, name, scan) for name, path in requested.items()}
    return paths, [paths[name] for name in USUAL if only_folder]


def _check_steps(outputs: Iterable[Path], folder: str | None) -> None:
    """Refuse an output that is named like the file of a step."""
    for path in outputs:
        same = folder is not None and path.parent.resolve() == Path(folder).resolve()
        if same and re.match(r"\d\d_", path.name):
            raise OutputError(f"{path}: named like a file of --steps. Choose another name.")


def _check_new(scan: str, out: str) -> None:
    """Refuse an existing OUT without -o: it may be a scan that a glob expanded to."""
    meant = [Path(out)] if is_folder(out) else [Path(out), resolve(out)]
    existing = [file for name in meant for file in find_files(name) if os.path.lexists(file)]
    if not existing or (os.path.isdir(out) and not _holds_dicom(out)):
        return
    both = f" To strip both: `{suggest_command([scan, out])}`." if resolve(scan).exists() else ""
    raise OutputError(
        f"{existing[0]}: exists; only -o replaces files.{both} To replace it: "
        f"`{shlex.join(['deskull', scan, '-o', out])}`"
    )


def _check_new_folder(scan: str, folder: str, paths: Sequence[Path]) -> None:
    """Refuse files that exist in a folder that is given as OUT without -o."""
    placed = [path for path in paths if path.parent == Path(folder)]
    check_usual(placed)
    for path in placed:
        if os.path.lexists(path):
            command = shlex.join(["deskull", scan, "-o", folder])
            raise OutputError(
                f"{path}: exists; only -o replaces files. To replace it: `{command}`"
            )


def _refuse_names(names: Sequence[str]) -> NoReturn:
    """Refuse more names than IN [OUT], and suggest the right command."""
    existing = [name for name in names if os.path.lexists(resolve(name))]
    if len(existing) < 2:
        joined = [" ".join(names[:count]) for count in range(2, len(names) + 1)]
        whole = next(filter(os.path.exists, joined), "")
        quotes = f" A name with spaces needs quotes: {shlex.quote(whole)}" if whole else ""
        raise OptionError(f"{names[-1]}: too many file names; expected IN [OUT].{quotes}")
    command = suggest_command(existing)
    raise OptionError(f"{len(existing)} files; expected one scan. Run: `{command}`")


def _holds_dicom(folder: str) -> bool:
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return any(is_dicom(file) for file in islice(files, MAX_FILES_READ))


def suggest_command(names: Sequence[str]) -> str:
    """Make the command that strips several scans; DICOM files stand for their folder."""
    found = [resolve(name) for name in names]
    scans = dict.fromkeys(str(path.parent if is_dicom(path) else path) for path in found)
    if len(scans) == 1 and is_dicom(found[0]):
        return shlex.join(["deskull", *scans])
    return shlex.join(["deskull", "batch", *scans, "-o", "brains"])


# --- outputs of all commands


def is_folder(name: str | None) -> bool:
    """Whether the name of an output means a folder: an existing one, or one that ends in ``/``."""
    if name is None:
        return False
    return name.endswith(("/", os.sep)) or os.path.isdir(name)


def place_output(path: str, output: str, scan: Path) -> Path:
    """Return the path of a requested output; in a folder it gets its usual name."""
    return Path(path) / name_output(output, scan).name if is_folder(path) else Path(path)


def name_output(output: str, scan: Path) -> Path:
    """Return the default path of an output."""
    start = find_start(scan)
    path, here = start.with_name(start.name + find_output(output).ending), Path.cwd()
    return path.relative_to(here) if scan.is_dir() and path.is_relative_to(here) else path


def check_usual(paths: Sequence[Path]) -> None:
    """Refuse to replace only some of the usual outputs, because a run writes all of them.

    Raises
    ------
    OutputError
        If some of them exist, but not all.
    """
    existing = [path for path in paths if os.path.lexists(path)]
    if existing and len(existing) < len(paths):
        missing = next(path for path in paths if path not in existing)
        raise OutputError(
            f"{existing[0]}: exists, but {missing.name} does not, so no earlier run wrote it. "
            "Move it away, or name the outputs."
        )
