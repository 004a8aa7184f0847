"""From names to files that are there: what a user means, images in a folder, files of a pair.

Also what stands in the place of a file's content: standard input and other pipes, pointers of
git-annex and Git LFS, and links to nothing.
"""

import os
import re
import shlex
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from deskull.errors import ImageFileError
from deskull.image.file_names import HEADS, PACKED, find_stem, find_suffix, name_manual

STDIN = "-"
"""Name of standard input in the place of a scan."""

_PAIRS = {".hdr": ".img", ".img": ".hdr"}
_ALIKE = 0.8
_MAX_NAMES = 20_000  # of a folder that are looked at for a hint
_ANNEX_TEXT = re.compile(rb"[^\0\n]*annex/objects/[^\0\n]+\n?(/annex/|\Z)")
_LFS_TEXT = b"version https://git-lfs.github.com/spec/"


def find_image(path: str | os.PathLike[str]) -> Path:
    """Find the file or folder that a path means.

    Parameters
    ----------
    path
        Path as typed: with a ``~``, or without the suffix of its format as FSL's tools have it;
        ``-`` is standard input.

    Raises
    ------
    ImageFileError
        If there is none, or several could be meant.
    """
    path = Path(path).expanduser() if str(path).startswith("~") else Path(path)
    try:
        if str(path) == STDIN or path.exists():
            return path
    except OSError as error:  # such as a name that is too long
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}).") from error
    pointer = find_pointer(path)
    if pointer is not None:
        raise ImageFileError(f"{path}: {pointer}")
    names = _list_images(path.parent)
    found = [path.with_name(name) for name in names if find_stem(Path(name)) == path.name]
    if len(found) > 1:
        raise ImageFileError(
            f"{path}: {len(found)} images have this name: {', '.join(p.name for p in found)}. "
            "Give one with its suffix."
        )
    if not found:
        raise ImageFileError(f"{path}: no such file.{_hint(path, names)}")
    return found[0]


def resolve(path: str | os.PathLike[str]) -> Path:
    """Give what `find_image` finds, or the path as it is if that is nothing.

    Examples
    --------
    >>> resolve("no_such_head").as_posix()
    'no_such_head'
    """
    try:
        return find_image(path)
    except ImageFileError:
        return Path(path)


def _list_images(folder: Path) -> list[str]:
    """Names of images in a folder, sorted; of a .hdr/.img pair the header's."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MAX_NAMES), strict=False)]
    except OSError:
        return []
    return sorted(name for name in names if find_suffix(name) in HEADS and name[0] != ".")


def _hint(path: Path, names: list[str]) -> str:
    """Name what may be meant by a path that is not there."""
    if not path.parent.is_dir():
        return f" There is no folder {path.parent}."
    stem = find_stem(path).lower()
    near = [name for name in names if find_stem(Path(name)).lower() == stem]
    lower = {name.lower(): name for name in reversed(names)}
    near = near or [lower[n] for n in get_close_matches(path.name.lower(), lower, 1, _ALIKE)]
    if not near:
        return ""
    return f" Did you mean {' or '.join(str(path.with_name(name)) for name in near[:3])}?"


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder, sorted; hidden folders are passed by, links are followed."""
    files: list[Path] = []
    seen: set[str] = set()
    for where, folders, names in os.walk(os.path.abspath(folder), followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(where, name)
            for name in names
            if not name.startswith(".") and find_suffix(name) in HEADS
        ]
    return sorted(files)


def name_partner(path: Path) -> Path | None:
    """Name the other file of a .hdr/.img pair; None for single files.

    Examples
    --------
    >>> name_partner(Path("head.hdr")).name, name_partner(Path("head.nii"))
    ('head.img', None)
    """
    suffix = find_suffix(path)
    if suffix[:4] not in _PAIRS:
        return None
    stem, written = path.name[: -len(suffix)], path.name[-len(suffix) :]
    other = _PAIRS[suffix[:4]] + suffix[4:]
    return path.with_name(stem + (other.upper() if written.isupper() else other))


def find_partner(path: Path) -> Path | None:
    """Find the other file of a .hdr/.img pair, in any mixture of letters, packed or plain.

    Returns
    -------
    Path or None
        The usual name if there is no such file; None for single files.
    """
    usual = name_partner(path)
    if usual is None:
        return None
    stem, other = find_stem(usual), find_suffix(usual)[:4]
    suffixes = [other + packed for packed in ("", *PACKED)]
    names = [stem + form for one in suffixes for form in (one, one.upper(), one.title())]
    there = (one for one in (usual, *map(path.with_name, names)) if one.exists())
    return next(there, usual)


# --- what is no plain file


def is_pipe(path: Path) -> bool:
    """Whether a path is standard input (``-``) or another pipe, which can be read once only.

    Examples
    --------
    >>> is_pipe(Path("-")), is_pipe(Path("no_such_file.nii"))
    (True, False)
    """
    if str(path) == STDIN:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISDIR(mode) or stat.S_ISREG(mode))


class Pointer(NamedTuple):
    """What stands in the place of a file's content.

    Parameters
    ----------
    what
        Name of the pointer, such as ``"a git-annex link"``.
    remedy
        Sentence that says how to get the content.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"its content is missing, there is only {self.what}. {self.remedy}"


def find_pointer(path: Path, head: bytes = b"") -> Pointer | None:
    """Find out whether a file is only a pointer to its content.

    Parameters
    ----------
    path
        The file, or a link to nothing.
    head
        First bytes of the file.

    Examples
    --------
    >>> find_pointer(Path("head.nii"), b"version https://git-lfs.github.com/spec/v1").what
    'a Git LFS pointer'
    """
    place = shlex.quote(str(path))
    if path.is_symlink() and not path.exists():
        target = os.readlink(path)
        if "annex" not in Path(target).parts:
            return Pointer(f"a link to {target}", "Repair the link, or copy the file here.")
        return Pointer("a git-annex link", _get_annexed(place))
    if _ANNEX_TEXT.match(head):
        return Pointer("a git-annex pointer", _get_annexed(place))
    if head.startswith(_LFS_TEXT):
        folder = shlex.quote(str(path.parent))
        return Pointer("a Git LFS pointer", f"Get it with `git lfs pull`, run in {folder}.")
    return None


def _get_annexed(place: str) -> str:
    return f"Get it with `datalad get {place}` or `git annex get {place}`."


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies below a folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is none
        return False


def find_scan_stem(path: Path) -> str:
    """Name of an image without the suffix of its format; for a folder of DICOM, its name."""
    return path.name if path.is_dir() else find_stem(path)


def find_manual(scan: Path, mask: Path | None) -> Path:
    """Find the path of the corrected mask, beside the automatic one.

    It is ``X_mask_manual.nii.gz``, or in BIDS ``X_desc-brainManual_mask.nii.gz``; for contrasts
    other than T1w ``X_desc-brainManualT2w_mask.nii.gz``.

    Parameters
    ----------
    scan
        Path of the scan, after which the corrected mask is named if there is no automatic one.
    mask
        Path of the automatic mask, or None. The path of a corrected mask is returned unchanged.
    """
    source = scan if mask is None else mask
    name = name_manual(find_scan_stem(scan), None if mask is None else find_scan_stem(mask))
    return source if name == find_scan_stem(source) else source.with_name(f"{name}.nii.gz")
