"""What the name of a file says: format, participant, session, contrast, what it was made from.

The only place of such rules. A name is a hint and no more: what is decided by it is said, and
where it matters the file is looked at as well. No file is opened here.
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
    *("segmentation", "label", "labels"),
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


def name_scan_of(mask: PurePath) -> tuple[str, str]:
    """Name the scan that a mask is of, and its contrast, empty where BIDS leaves it out.

    Examples
    --------
    >>> name_scan_of(Path("sub-01_acq-a_desc-brain_mask.nii.gz"))
    ('sub-01_acq-a', '')
    >>> name_scan_of(Path("sub-01_T1w_reference.nii.gz"))
    ('sub-01', 'T1w')
    """
    parts = _BY_TOOL.sub("", _MASK_END.sub("", find_stem(mask))).split("_")
    if not _ENTITY.fullmatch(parts[0]):
        return "_".join(parts), ""
    parts = [part for part in parts if part.partition("-")[0] not in DESCRIBING]
    contrast = parts.pop() if len(parts) > 1 and "-" not in parts[-1] else ""
    return "_".join(parts), contrast


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
    the contrast's word, or the folder's name where nothing is left.
    """
    rest = find_stem(path)
    known = {spelling: name for name, spellings in CONTRASTS.items() for spelling in spellings}
    hits = [m for m in re.finditer(r"[^_\-. ]+", rest) if m[0].lower() in known]
    contrast = known[hits[-1][0].lower()] if hits else ""
    if hits:
        rest = rest[: hits[-1].start()].rstrip("_-. ") + rest[hits[-1].end() :]
    entities = dict(re.findall(r"(?:^|_)(sub|ses)-([A-Za-z0-9]+)", rest))
    participant = f"sub-{entities['sub']}" if "sub" in entities else rest.strip("_-. ")
    session = f"ses-{entities['ses']}" if "ses" in entities else ""
    return HeadName(participant or path.parent.name, session, contrast)


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

DESCRIBING = ("desc", "label", "res", "den", "hemi")
"""Entities that say what a file is, not of which scan."""

_DERIVED = {"space", "desc", "label", "res"}  # entities of what was made from raw images
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

    @property
    def participant(self) -> str:
        """Such as ``"sub-01"``."""
        return f"sub-{self.entities['sub']}"

    @property
    def session(self) -> str:
        """Such as ``"ses-A"``; empty if the name has none."""
        return f"ses-{self.entities['ses']}" if "ses" in self.entities else ""

    @property
    def is_raw(self) -> bool:
        """Whether the name is that of a scan, and not of what was made from one."""
        return not _DERIVED & set(self.entities) and not is_made(self)

    @property
    def role(self) -> str:
        """Role in a pair: ``image``, ``prepared``, ``mask`` or ``brain``; else empty."""
        described = self.entities.get("desc", self.entities.get("label", ""))
        if "space" in self.entities:
            return ""
        if self.suffix == "mask":
            contrast = described.removeprefix("brain").removeprefix("Manual")
            known = described.startswith("brain") and contrast in ("", *ANATOMICAL)
            return "mask" if known else ""
        if self.suffix not in ANATOMICAL or "label" in self.entities:
            return ""
        return {"": "image", "preproc": "prepared", "brain": "brain"}.get(described, "")

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


def name_folder(kind: str, label: str) -> str:
    """Name the folder of a participant or session, its label given with or without the kind.

    Examples
    --------
    >>> name_folder("sub", "01"), name_folder("ses", "ses-A")
    ('sub-01', 'ses-A')
    """
    return f"{kind}-{label.removeprefix(f'{kind}-')}"


def is_folder_of(kind: str, name: str) -> bool:
    """Whether a folder is that of a participant (``"sub"``) or session (``"ses"``)."""
    return re.fullmatch(rf"{kind}-[A-Za-z0-9+]+", name) is not None


def find_folder(kind: str, path: PurePath) -> str:
    """Find a participant's or session's folder in a path below the data set; else empty."""
    return next((part for part in path.parts[:2] if part.startswith(f"{kind}-")), "")


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
    return next((p.parent for p in path.parents if p.name == name.participant), None)
