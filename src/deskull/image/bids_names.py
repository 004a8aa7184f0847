"""What a name of BIDS says: entities in a fixed order, a suffix and an extension.

The only place of such rules: which entities and suffixes there are, what was derived, whose a
file is. What other names say is `file_names.py`. No file is opened here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from deskull.image.file_names import drop_mask_ending, find_stem

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
_BRAIN_OF = re.compile(r"desc-brain(?:Manual)?([A-Za-z0-9]*)")  # the contrast of a mask


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

    A shell completes the name of a folder with a slash, which is no part of the label.

    Examples
    --------
    >>> name_folder("sub", "01"), name_folder("ses", "ses-A/")
    ('sub-01', 'ses-A')
    """
    return f"{kind}-{label.rstrip('/').removeprefix(f'{kind}-')}"


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


def name_scan_of(mask: PurePath) -> tuple[str, str]:
    """Name the scan that a mask is of, and its contrast, empty where BIDS leaves it out.

    Examples
    --------
    >>> name_scan_of(Path("sub-01_acq-a_desc-brain_mask.nii.gz"))
    ('sub-01_acq-a', '')
    >>> name_scan_of(Path("sub-01_T1w_reference.nii.gz"))
    ('sub-01', 'T1w')
    >>> name_scan_of(Path("sub-01_desc-brainManualT2w_mask.nii.gz"))
    ('sub-01', 'T2w')
    """
    parts = drop_mask_ending(mask).split("_")
    if not _ENTITY.fullmatch(parts[0]):
        return "_".join(parts), ""
    described = "".join(hit[1] for part in parts if (hit := _BRAIN_OF.fullmatch(part)))
    parts = [part for part in parts if part.partition("-")[0] not in DESCRIBING]
    contrast = parts.pop() if len(parts) > 1 and "-" not in parts[-1] else described
    return "_".join(parts), contrast
