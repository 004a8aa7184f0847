"""What the name of a file says: format, participant, session, contrast, what it was made from.

The only place of such rules. A name is a hint and no more: what is decided by it is said, and
where it matters the file is looked at as well. No file is opened here.
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


def find_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix that names the format, in lower case, such as ``".nii.gz"``; else ``""``."""
    name = Path(path).name.lower()
    return next((suffix for suffix in READABLE if name.endswith(suffix)), "")


def find_stem(path: PurePath) -> str:
    """Name of a file without the suffix of its format."""
    return path.name[: len(path.name) - len(find_suffix(path))]


MASK_ENDINGS = ("mask_manual", "reference", "mask", "brainmask", "brain_mask", "majority")
"""What follows an image's name in that of its mask, the most trusted first."""

BRAIN_ENDINGS = ("brain", "stripped")
"""What follows an image's name in that of its stripped brain."""

_MANUAL = "_mask_manual"
_BIDS_MASK = re.compile(r"(?P<start>.+_desc-brain)(?P<manual>Manual)?(?P<contrast>\w*)_mask")

DERIVED_ENDINGS = (*MASK_ENDINGS, *BRAIN_ENDINGS, "probability", "distance", "corrected")
"""What follows an image's name in that of anything deskull makes of it."""

LABEL_ENDINGS = (
    *MASK_ENDINGS,
    *("masks", "seg", "dseg", "aseg", "aparc", "wmparc", "ribbon"),
    *("segmentation", "label", "labels", "a2009s", "DKTatlas", "synthseg"),
)
"""What ends the name of a mask or a label map, whoever made it."""

MADE_ENDINGS = (
    *LABEL_ENDINGS,
    *DERIVED_ENDINGS,
    *("skullstripped", "bet", "probseg", "prob", "biascorr", "restore", "pve"),
)
"""What ends the name of an image made from a scan, whoever made it."""

_REFERENCE_ENDINGS = ("truth", *MASK_ENDINGS, "manual", "ref", "seg", "label", "labels")
"""What ends the name of a mask that is compared with another, the most trusted first."""

_BY_HAND = re.compile(r"truth|reference|ref|manual|majority|gt|groundtruth|ground_truth|expert")
_NO_MASK_ENDINGS = "brain|stripped|probability|probseg|distance|corrected|dseg|preproc|picture"
_NO_MASK = re.compile(rf"(?:^|_)(?:{_NO_MASK_ENDINGS})$")
_BY_TOOL = re.compile(r"[_.-](?:brain|bet|stripped|skullstripped|desc-brain(?:Manual)?)$")
_LONGEST_FIRST = "|".join(sorted(_REFERENCE_ENDINGS, key=len, reverse=True))
_MASK_END = re.compile(rf"(?:^|[_.-])({_LONGEST_FIRST})$")

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
"""Name of each contrast, and its spellings in the name of a file."""


_SESSION = re.compile(
    r"(?:^|[_\-. ])(?P<word>(?:session|ses|visit|timepoint|tp|time)[_\- ]?\d+|(?P<mr>MR\d))"
    r"(?=$|[_\-. ])",
    re.IGNORECASE,
)
_REPETITION = re.compile(r"(?:^|[_\-. ])(?:run|mpr)[_\- ]?\d+(?=$|[_\-. ])", re.IGNORECASE)
_INNER_FOLDERS = ("anat", "mri")
"""Folders of BIDS and FreeSurfer inside of that of a participant or session."""


@dataclass(frozen=True)
class HeadName:
    """What a name says of a head.

    Parameters
    ----------
    participant, session, contrast
        Empty where the name does not say it.
    """

    participant: str
    session: str = ""
    contrast: str = ""


def find_base(path: PurePath, endings: Sequence[str] = DERIVED_ENDINGS) -> str | None:
    """Stem of the image that a file by its name was made from; None of an image.

    Parameters
    ----------
    path
        Path of the file, of which only the name counts, in any case.
    endings
        Endings that may follow the image's name, after ``_``, ``-``, ``.`` or ``+``, also several.

    Returns
    -------
    str or None
        Empty where the name is an ending alone, such as ``mask.nii.gz``.

    Examples
    --------
    >>> find_base(Path("sub-01_T1w_brain_mask.nii.gz"))
    'sub-01_T1w'
    """
    stem = find_stem(path)
    ends = "|".join(re.escape(ending) for ending in endings)
    made = re.search(rf"(?:(?:^|[_.+-])(?:{ends}))+$", stem, re.IGNORECASE)
    return None if made is None else stem[: made.start()]


def says_label(path: PurePath) -> bool:
    """Whether a name ends as those of masks and label maps do."""
    return find_base(path, LABEL_ENDINGS) is not None


def says_made(path: PurePath) -> bool:
    """Whether a name ends as those of brains, probabilities and the like, which are no masks."""
    return _NO_MASK.search(find_stem(path)) is not None


def rank_mask(path: PurePath) -> int | None:
    """Rank of a mask among several of one scan, 0 the most trusted; None if no name of a mask."""
    end = _MASK_END.search(find_stem(path))
    return None if end is None else _REFERENCE_ENDINGS.index(end[1])


def says_reference(path: PurePath) -> bool:
    """Whether the name of a mask, or of its folder, says that it is a reference."""
    parts = re.split(r"[^a-z]+", f"{path.parent.name}_{find_stem(path)}".lower())
    return any(_BY_HAND.fullmatch(part.removesuffix("s")) for part in parts)


def drop_mask_ending(mask: PurePath) -> str:
    """Name of a mask without the endings that say so and name the tool."""
    return _BY_TOOL.sub("", _MASK_END.sub("", find_stem(mask)))


def says_manual(path: PurePath) -> bool:
    """Whether a name is that of a mask corrected by hand."""
    stem = find_stem(path)
    return stem.endswith(_MANUAL) or "_desc-brainManual" in stem


def name_manual(scan: str, mask: str | None = None) -> str:
    """Stem of a mask corrected by hand, from that of the scan and of its automatic mask.

    Examples
    --------
    >>> name_manual("scan"), name_manual("sub-1_T1w", "sub-1_desc-brain_mask")
    ('scan_mask_manual', 'sub-1_desc-brainManual_mask')
    """
    source = scan if mask is None else mask
    in_bids = _BIDS_MASK.fullmatch(source)
    if source.endswith(_MANUAL) or (in_bids and in_bids["manual"]):
        return source
    if in_bids:
        return f"{in_bids['start']}Manual{in_bids['contrast']}_mask"
    if mask is not None and mask.endswith("_mask"):
        return f"{mask}_manual"
    return scan + _MANUAL


def is_foreign(path: PurePath) -> bool:
    """Whether a name is that of an image in a format or packing that deskull does not read."""
    name = path.name.lower()
    packed = re.search(r"\.(nii|mgh|mgz|nrrd|mha|mnc|hdr|img)\.", name) is not None
    return not find_suffix(path) and (packed or name.endswith(FOREIGN))


def name_head(path: Path) -> HeadName:
    """Guess participant, session and contrast from the name of a file.

    ``sub-`` and ``ses-`` are taken as BIDS means them; else the participant is the name without
    the ending of a label map, the word of the contrast, a session (``ses1``, ``visit2``, ``tp3``,
    ``MR1`` beside a number) and a repetition (``run2``), or the folder's name if nothing is left.
    """
    base = find_base(path, LABEL_ENDINGS)
    rest = find_stem(path) if base is None else base
    known = {spelling: name for name, spellings in CONTRASTS.items() for spelling in spellings}
    hits = [m for m in re.finditer(r"[^_\-. ]+", rest) if m[0].lower() in known]
    contrast = known[hits[-1][0].lower()] if hits else ""
    if hits:
        rest = rest[: hits[-1].start()].rstrip("_-. ") + rest[hits[-1].end() :]
    entities = dict(re.findall(r"(?:^|_)(sub|ses)-([A-Za-z0-9]+)", rest))
    session = f"ses-{entities['ses']}" if "ses" in entities else ""
    if "sub" in entities:
        return HeadName(f"sub-{entities['sub']}", session, contrast)
    participant, word = _cut_session(rest)
    return HeadName(participant or _name_folder(path.parent), session or word, contrast)


def _cut_session(name: str) -> tuple[str, str]:
    """Cut a session and a repetition off a participant's name; return it and the session."""
    name = _REPETITION.sub("", name)
    hit = _SESSION.search(name)
    if hit is None:
        return name.strip("_-. "), ""
    rest = (name[: hit.start()] + name[hit.end() :]).strip("_-. ")
    if hit["mr"] and not re.search(r"\d", rest):  # MR1, MR2 may be the participants themselves
        return name.strip("_-. "), ""
    return rest, hit["word"]


def _name_folder(folder: Path) -> str:
    """Name a participant by the folder, passing by those of sessions and of BIDS."""
    while folder.name in _INNER_FOLDERS or (folder.name and not _cut_session(folder.name)[0]):
        folder = folder.parent
    return _cut_session(folder.name)[0]
