"""What the name of a BIDS file says, and how one is made: the only place that knows it.

A name is entities in a fixed order, a suffix and an extension:
``sub-01_ses-A_acq-hires_T1w.nii.gz``. Which files are wanted is for others to decide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from deskull.image.names import find_stem

SUFFIXES = ("T1w", "T2w", "PDw", "FLAIR", "T2starw", "inplaneT1", "inplaneT2", "MTw", "UNIT1")
"""Anatomical images to learn from."""

INV2, UNIT1 = "inv-2", "UNIT1"
"""Images of an MP2RAGE acquisition that its mask can be made from."""

MEANS = ("bold", "cbv", "asl", "sbref", "epi", "m0scan")
"""Series of which all frames show the same head: their mean has the least noise."""

KNOWN = (
    *SUFFIXES,
    *("T2star", "PDT2", "PD", "MP2RAGE", "MEGRE", "MESE", "MPM", "MTS", "MTR", "VFA", "IRT1"),
    *("T1rho", "angio", "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap"),
    *("MTsat", "MTRmap", "M0map", "Chimap", "magnitude", "magnitude1", "magnitude2"),
    *MEANS,
    "dwi",
)
"""Images of heads that BIDS has a suffix for."""

MADE = ("mask", "defacemask", "dseg", "probseg")
"""Suffixes of what is made from a scan."""

FOLDERS = ("anat", "func", "dwi", "perf", "fmap", "pet")
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
NUMBERS = ("run", "echo", "flip", "inv", "split", "chunk")
"""Entities that count: ``run-1`` is ``run-01``."""

_PAIR = re.compile(r"([A-Za-z0-9]+)-([A-Za-z0-9+]+)")


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
    hits = [_PAIR.fullmatch(pair) for pair in pairs]
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
    return name.suffix in MADE or name.entities.get("desc", "").startswith("brain")


def find_root(path: Path, name: BidsName) -> Path | None:
    """Find the data set of a file: the folder that holds ``sub-X``; None if there is none."""
    person = f"sub-{name.entities['sub']}"
    return next((parent.parent for parent in path.parents if parent.name == person), None)
