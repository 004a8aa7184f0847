"""Files whose content lies elsewhere: pointers of git-annex and Git LFS, and links to nothing."""

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

_ANNEX_TEXT = re.compile(rb"[^\0\n]*annex/objects/[^\0\n]+\n?(/annex/|\Z)")
_LFS_TEXT = b"version https://git-lfs.github.com/spec/"


class Pointer(NamedTuple):
    """What stands in the place of a file's content.

    Parameters
    ----------
    what
        A few words.
    remedy
        How the content is got, as a sentence.
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
        Its first bytes.
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
