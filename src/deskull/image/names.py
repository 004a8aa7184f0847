"""What the name of a head's file says outside BIDS: whose it is, its contrast, or what was made.

No file is opened here. BIDS names are `bids.py`; suffixes are `formats.py`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from deskull.image.formats import find_stem, find_suffix

MASK_WORDS = ("mask_manual", "reference", "mask", "brainmask", "brain_mask", "majority")
"""What follows an image's name in that of its mask, the most trusted first."""

CONTRASTS = {
    "T1w": ("t1w", "t1", "mprage"),
    "T2w": ("t2w", "t2"),
    "FLAIR": ("flair",),
    "PDw": ("pdw", "pd"),
    "T1ce": ("t1ce", "t1c", "t1gd"),
}
"""Name of each contrast, and the words that tell it in a file's name."""

NO_HEADS = ("", ".dcm", ".ima", ".zip", ".img", ".img.gz")
"""Suffixes of what is no head in a file of its own."""


@dataclass(frozen=True)
class HeadName:
    """What a name says of a head.

    Parameters
    ----------
    person, session, contrast
        Empty where the name does not tell.
    """

    person: str
    session: str = ""
    contrast: str = ""


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
            if not name.startswith(".") and find_suffix(name) not in NO_HEADS
        ]
    return sorted(files)


def name_head(path: Path) -> HeadName:
    """Guess person, session and contrast from the name of a file.

    ``sub-`` and ``ses-`` are taken as BIDS means them; else the person is the name without the
    contrast's word, or the folder's name where nothing is left.
    """
    rest = find_stem(path)
    known = {word: name for name, words in CONTRASTS.items() for word in words}
    hits = [m for m in re.finditer(r"[^_\-. ]+", rest) if m[0].lower() in known]
    contrast = known[hits[-1][0].lower()] if hits else ""
    if hits:
        rest = rest[: hits[-1].start()].rstrip("_-. ") + rest[hits[-1].end() :]
    entities = dict(re.findall(r"(?:^|_)(sub|ses)-([A-Za-z0-9]+)", rest))
    person = f"sub-{entities['sub']}" if "sub" in entities else rest.strip("_-. ")
    return HeadName(
        person or path.parent.name,
        f"ses-{entities['ses']}" if "ses" in entities else "",
        contrast,
    )
