"""What the name of a file says: format, participant, session, contrast, what it was made from.

The only place of such rules, for names of BIDS and others. A name is a hint and no more: what is
decided by it is said, and where it matters the file is looked at as well. No file is opened here.
"""

import os
import re
from collections.abc import Mapping, Sequence
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


# --- BIDS: entities in a fixed order, a suffix and an extension

ANATOMICAL = ("T1w", "T2w", "PDw", "FLAIR", "T2starw", "inplaneT1", "inplaneT2", "MTw", "UNIT1")
"""Anatomical images to learn from."""

INV2, UNIT1 = "inv-2", "UNIT1"
"""Images of an MP2RAGE acquisition that its mask can be made from."""

MEANS = ("bold", "cbv", "asl", "sbref", "epi", "m0scan")
"""Series of which all frames show the same head: their mean has the least noise."""

BIDS_SUFFIXES = (
    *ANATOMICAL,
    *("T2star", "PDT2", "PD", "MP2RAGE", "MEGRE", "MESE", "MPM", "MTS", "MTR", "VFA", "IRT1"),
    *("T1rho", "angio", "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap"),
    *("MTsat", "MTRmap", "M0map", "Chimap", "magnitude", "magnitude1", "magnitude2"),
    *MEANS,
    "dwi",
)
"""Images of heads that BIDS has a suffix for."""

BIDS_MADE = ("mask", "defacemask", "dseg", "probseg")
"""Suffixes of what is made from a scan."""

BIDS_FOLDERS = ("anat", "func", "dwi", "perf", "fmap", "pet")
"""Folders of images in that of a participant or session."""

ENTITIES = {  # in the order of names: the key in a name, and the word for it
    "sub": "subject",
    "ses": "session",
    "sample": "sample",
    "task": "task",
    "acq": "acquisition",
    "ce": "ceagent",
    "trc": "tracer",
    "stain": "staining",
    "rec": "reconstruction",
    "dir": "direction",
    "run": "run",
    "mod": "modality",
    "echo": "echo",
    "flip": "flip",
    "inv": "inv",
    "mt": "mt",
    "part": "part",
    "proc": "proc",
    "hemi": "hemi",
    "space": "space",
    "split": "split",
    "recording": "recording",
    "chunk": "chunk",
    "seg": "segmentation",
    "res": "res",
    "den": "den",
    "label": "label",
    "desc": "desc",
}
COUNTING = ("run", "echo", "flip", "inv", "split", "chunk")
"""Entities that count: ``run-1`` is ``run-01``."""

_ENTITY = re.compile(r"([A-Za-z0-9]+)-([A-Za-z0-9+]+)")


@dataclass(frozen=True)
class BidsName:
    """A file name in its parts.

    Parameters
    ----------
    entities
        Value by key, such as ``{"sub": "01", "acq": "hires"}``.
    suffix
        Such as ``"T1w"``.
    """

    entities: Mapping[str, str]
    suffix: str

    def __str__(self) -> str:
        """Write the name without extension, entities in the order of BIDS."""
        known = [key for key in ENTITIES if key in self.entities]
        others = [key for key in self.entities if key not in ENTITIES]
        pairs = [f"{key}-{self.entities[key]}" for key in (*known, *others)]
        return "_".join([*pairs, self.suffix])

    def derive(self, suffix: str, **entities: str) -> "BidsName":
        """Name a file made from this one."""
        return BidsName({**self.entities, **entities}, suffix)


def parse_name(path: PurePath) -> BidsName | None:
    """Read a name like ``sub-01_ses-A_T1w.nii.gz``; None if it is no such name."""
    *pairs, suffix = find_stem(path).split("_")
    hits = [_ENTITY.fullmatch(pair) for pair in pairs]
    if not hits or hits[0] is None or hits[0][1] != "sub" or not suffix.isalnum():
        return None
    if any(hit is None for hit in hits):
        return None
    return BidsName({hit[1]: hit[2] for hit in hits if hit is not None}, suffix)


def find_inversion(name: BidsName) -> str:
    """Which image of an MP2RAGE acquisition it is, such as `INV2`; empty of other images."""
    if name.suffix != "MP2RAGE":
        return UNIT1 if name.suffix == UNIT1 else ""
    return f"inv-{name.entities.get('inv', '').lstrip('0')}"


def is_made(name: BidsName) -> bool:
    """Whether a name says that an image was made from a scan and is no whole head."""
    return name.suffix in BIDS_MADE or name.entities.get("desc", "").startswith("brain")


def find_root(path: Path, name: BidsName) -> Path | None:
    """Find the data set of a file: the folder that holds ``sub-X``; None if there is none."""
    person = f"sub-{name.entities['sub']}"
    return next((parent.parent for parent in path.parents if parent.name == person), None)
