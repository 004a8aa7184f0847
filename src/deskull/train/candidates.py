"""Files that may belong together: an image with its masks, or a label map, by name alone.

The finders of `layouts.py` and `bids_layouts.py` make them, `checking.py` opens them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deskull.image.file_names import BRAIN_ENDINGS, MASK_ENDINGS, find_stem, says_manual

Stems = Mapping[tuple[Path, str], Path]


@dataclass(frozen=True)
class Candidate:
    """A possible pair or label map by the names of its files, before any is opened.

    Parameters
    ----------
    participant, session, contrast
        Names as in the index; empty where the file names do not contain them.
    images, masks
        Paths in order of preference: the first two on one grid are the pair.
    brain
        Path of the stripped brain, if there is one.
    label_map
        Path of a whole-head label map, or of what may be one.
    dataset
        Folder in which names of participants are unique; None for the whole folder.
    part, border
        Part of the split and border of the mask in mm, which only a table gives.
    """

    participant: str
    session: str = ""
    contrast: str = ""
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    brain: Path | None = None
    label_map: Path | None = None
    dataset: Path | None = None
    part: str = ""
    border: float = 0.0


Found = tuple[list[Candidate], list[Path]]
Finder = Callable[[Path, list[Path]], Found]


def make_stems(files: Iterable[Path]) -> Stems:
    """Map folder and stem to files; of two formats of one image the first stays.

    Examples
    --------
    >>> stems = make_stems([Path("a/head.nii.gz"), Path("a/head.mgz")])
    >>> stems[Path("a"), "head"].name
    'head.nii.gz'
    """
    stems: dict[tuple[Path, str], Path] = {}
    for file in files:
        stems.setdefault((file.parent, find_stem(file)), file)
    return stems


def is_manual(mask: Path) -> bool:
    """Whether a mask was corrected by hand: by its name, or ``Manual: true`` in its sidecar.

    Examples
    --------
    >>> is_manual(Path("head_mask_manual.nii.gz"))
    True
    """
    if says_manual(mask):
        return True
    return read_json(mask.with_name(f"{find_stem(mask)}.json")).get("Manual") is True


def read_json(path: Path) -> dict[str, object]:
    """Read a sidecar; empty if it is missing or not a JSON object."""
    try:
        fields = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def rank_masks(masks: Iterable[Path]) -> tuple[Path, ...]:
    """Put masks corrected by hand first; otherwise keep the order.

    Examples
    --------
    >>> [path.name for path in rank_masks([Path("a_mask.nii"), Path("a_mask_manual.nii")])]
    ['a_mask_manual.nii', 'a_mask.nii']
    """
    return tuple(sorted(dict.fromkeys(masks), key=lambda mask: not is_manual(mask)))


def find_masks_beside(image: Path, stems: Stems) -> list[Path]:
    """Find the masks in an image's folder with its name, or named as a mask alone."""
    names = [f"{find_stem(image)}_{ending}" for ending in MASK_ENDINGS] + list(MASK_ENDINGS)
    return [stems[image.parent, name] for name in names if (image.parent, name) in stems]


def find_brain_beside(image: Path, stems: Stems) -> Path | None:
    """Find the stripped brain in an image's folder with its name."""
    names = [f"{find_stem(image)}_{ending}" for ending in BRAIN_ENDINGS]
    return next((stems[image.parent, n] for n in names if (image.parent, n) in stems), None)
