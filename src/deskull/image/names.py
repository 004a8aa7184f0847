"""What the name of a file says: its format; outside BIDS whose head, which contrast, or what made.

A name is a hint and no more: what is decided by it is said, and where it matters the file is
looked at as well. No file is opened here. BIDS names are `bids.py`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

WRITABLE = (".nii.gz", ".nii", ".hdr", ".img", ".mgz", ".mgh")
"""Suffixes of what is written."""

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes that may follow those of an image."""

_PLAIN = (".nii", ".hdr", ".img", ".mgh", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
IMAGES = (*_PLAIN, *(plain + packed for plain in _PLAIN for packed in PACKED))
"""Suffixes of what is one image, or a file of one."""

HEADS = tuple(suffix for suffix in IMAGES if not suffix.startswith(".img"))
"""Suffixes of what stands for one image: of a .hdr/.img pair the header."""

ARCHIVES = (
    ".zip",
    *(".tar", ".tgz", ".tbz", ".tbz2", ".txz"),
    *(f".tar{packed}" for packed in PACKED),
)
"""Suffixes of what may hold a folder of DICOM."""

READABLE = (*IMAGES, ".dcm", ".ima", *ARCHIVES)
_PAIRS = {".hdr": ".img", ".img": ".hdr"}


def find_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix that names the format, in lower case, such as ``".nii.gz"``; else ``""``."""
    name = Path(path).name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix)), "")


def find_stem(path: PurePath) -> str:
    """Name of a file without the suffix of its format."""
    return path.name[: len(path.name) - len(find_suffix(path))]


def name_partner(path: Path) -> Path | None:
    """Name the other file of a .hdr/.img pair; None for single files."""
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


MASK_WORDS = ("mask_manual", "reference", "mask", "brainmask", "brain_mask", "majority")
"""What follows an image's name in that of its mask, the most trusted first."""

BRAIN_WORDS = ("brain", "stripped")
"""What follows an image's name in that of its stripped brain."""

DERIVED_WORDS = (*MASK_WORDS, *BRAIN_WORDS, "probability", "distance", "corrected")
"""What follows an image's name in that of anything deskull makes of it."""

LABEL_WORDS = (
    *MASK_WORDS,
    *("masks", "seg", "dseg", "aseg", "aparc", "wmparc", "ribbon"),
    *("segmentation", "label", "labels"),
)
"""What ends the name of a mask or a label map, whoever made it."""

MADE_WORDS = (
    *LABEL_WORDS,
    *DERIVED_WORDS,
    *("skullstripped", "bet", "probseg", "prob", "biascorr", "restore", "pve"),
)
"""What ends the name of an image made from a scan, whoever made it."""

FOREIGN = (".par", ".rec", ".head", ".brik", ".brik.gz", ".mif", ".mif.gz", ".mih", ".fdf", ".v")
"""Suffixes of image formats that deskull does not read."""

TEXTS = (".json", ".tsv", ".csv", ".txt", ".bval", ".bvec", ".md", ".log", ".html", ".png", ".py")
"""Suffixes of what often lies beside images and is none, whatever its bytes."""

CONTRASTS = {
    "T1w": ("t1w", "t1", "mprage"),
    "T2w": ("t2w", "t2"),
    "FLAIR": ("flair",),
    "PDw": ("pdw", "pd"),
    "T1ce": ("t1ce", "t1c", "t1gd"),
}
"""Name of each contrast, and the words that tell it in a file's name."""


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


def find_base(path: PurePath, words: Sequence[str] = DERIVED_WORDS) -> str | None:
    """Stem of the image that a file by its name was made from; None of an image.

    Parameters
    ----------
    path
        Only its name counts, in any case.
    words
        What may follow the image's name, after ``_``, ``-``, ``.`` or ``+``, also several.

    Returns
    -------
    str or None
        Empty where the name is a word alone, such as ``mask.nii.gz``.

    Examples
    --------
    >>> find_base(Path("sub-01_T1w_brain_mask.nii.gz"))
    'sub-01_T1w'
    """
    stem = find_stem(path)
    ends = "|".join(re.escape(word) for word in words)
    made = re.search(rf"(?:(?:^|[_.+-])(?:{ends}))+$", stem, re.IGNORECASE)
    return None if made is None else stem[: made.start()]


def says_label(path: PurePath) -> bool:
    """Whether a name ends as those of masks and label maps do."""
    return find_base(path, LABEL_WORDS) is not None


def is_foreign(path: PurePath) -> bool:
    """Whether a name is that of an image in a format or packing that deskull does not read."""
    name = path.name.lower()
    packed = re.search(r"\.(nii|mgh|mgz|nrrd|mha|mnc|hdr|img)\.", name) is not None
    return not find_suffix(path) and (packed or name.endswith(FOREIGN))


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
