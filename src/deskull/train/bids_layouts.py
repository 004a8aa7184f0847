"""Pairs in BIDS data sets: raw images, and masks in any derivative data set below or beside.

Only names and sidecars are read here; candidates are checked in `checking.py`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deskull.image.bids_names import (
    ANATOMICAL,
    DESCRIBING,
    BidsName,
    find_root,
    parse_name,
)
from deskull.image.file_names import find_base, find_stem
from deskull.image.lookup import list_images
from deskull.train.candidates import (
    Candidate,
    Found,
    Stems,
    find_brain_beside,
    find_masks_beside,
    make_stems,
    rank_masks,
    read_json,
)


@dataclass(frozen=True)
class _Scan:
    """A file of a BIDS data set: its place, and what its name says."""

    path: Path
    root: Path
    name: BidsName

    @property
    def key(self) -> frozenset[tuple[str, str]]:
        """Entities that an image and its mask have in common."""
        return frozenset(p for p in self.name.entities.items() if p[0] not in DESCRIBING)


def find_bids(folder: Path, files: list[Path]) -> Found:
    """Find raw BIDS images with masks from derivatives, or beside them under common names.

    A mask (``desc-brain_mask``, ``desc-brainManual_mask``, of a contrast that is no T1w
    ``desc-brainT2w_mask`` and so on) belongs to the images that its
    sidecar names as sources, else to those with the same entities. Where a mask does not fit
    the raw image, the prepared one of its own data set (``desc-preproc``) is the next to try.
    """
    files = files + _list_beside(folder, files)
    scans = [scan for file in files if (scan := _parse(file)) is not None]
    raws = _find_raw_roots({scan.root for scan in scans})
    groups: dict[tuple[Path, frozenset[tuple[str, str]]], list[_Scan]] = {}
    for scan in scans:
        groups.setdefault((raws[scan.root], scan.key), []).append(scan)
    stems = make_stems(files)
    candidates = [c for (root, _), group in groups.items() for c in _pair(group, root, stems)]
    known = {scan.path for scan in scans}
    used = {mask for candidate in candidates for mask in candidate.masks}
    return candidates, [
        f for f in files if f not in known | used and not _is_made(f, stems, known)
    ]


def _parse(path: Path) -> _Scan | None:
    """Read a name like ``sub-01_ses-A_T1w`` below a folder ``sub-01``."""
    name = parse_name(path)
    root = None if name is None else find_root(path, name)
    if name is None or root is None:
        return None
    return _Scan(path, root, name)


def _is_made(file: Path, stems: Stems, known: set[Path]) -> bool:
    """Whether a file's name says that it was made from an image of the data set."""
    base = find_base(file)
    return base is not None and stems.get((file.parent, base)) in known


def _pair(group: list[_Scan], root: Path, stems: Stems) -> list[Candidate]:
    """Make candidates of files with equal entities: one per contrast, and one per lone mask."""
    by_role: dict[str, list[_Scan]] = {}
    for scan in group:
        by_role.setdefault(scan.name.role, []).append(scan)
    images = sorted(by_role.get("image", []), key=lambda scan: scan.root != root)
    images += by_role.get("prepared", [])
    masks = [scan.path for scan in by_role.get("mask", [])]
    sources = {mask: _find_sources(mask) for mask in masks}
    used: set[Path] = set()
    candidates = []
    for suffix in dict.fromkeys(scan.name.suffix for scan in images):
        same = tuple(scan.path for scan in images if scan.name.suffix == suffix)
        names = {image.name for image in same}
        fitting = [mask for mask in masks if not sources[mask] or sources[mask] & names]
        used.update(fitting)
        fitting += [mask for image in same for mask in find_masks_beside(image, stems)]
        brains = [scan.path for scan in by_role.get("brain", []) if scan.name.suffix == suffix]
        brains += [brain for i in same if (brain := find_brain_beside(i, stems)) is not None]
        candidates.append(
            Candidate(
                group[0].name.participant,
                group[0].name.session,
                "T1ce" if suffix == "T1w" and "ce" in group[0].name.entities else suffix,
                same,
                rank_masks(fitting),
                next(iter(brains), None),
                dataset=root,
            )
        )
    lone = [Candidate("", masks=(mask,), dataset=root) for mask in masks if mask not in used]
    return candidates + lone


def _find_sources(mask: Path) -> set[str]:
    """Find the names of the anatomical images from which a mask was made, in its sidecar."""
    fields = read_json(mask.with_name(f"{find_stem(mask)}.json"))
    given = [
        source for field in ("Sources", "RawSources") for source in _to_list(fields.get(field))
    ]
    paths = [Path(str(source).rpartition(":")[2]) for source in given]
    return {path.name for path in paths if find_stem(path).rpartition("_")[2] in ANATOMICAL}


def _to_list(given: object) -> list[object]:
    """Return a list of what a sidecar gives as a list, as one value, or not at all."""
    if isinstance(given, list):
        return given
    return [] if given is None else [given]


def _list_beside(folder: Path, files: Iterable[Path]) -> list[Path]:
    """List the files of derivative data sets beside a raw one that were made from it."""
    folder = Path(os.path.abspath(folder))
    if not any(scan.root == folder for file in files if (scan := _parse(file)) is not None):
        return []
    places = [folder.parent, folder.parent / "derivatives"]
    near = [other for place in places if place.is_dir() for other in sorted(place.iterdir())]
    raws = [n for n in near if not _is_derivative(n) and any(n.glob("sub-*"))]
    made = [n for n in near if _is_derivative(n) and _find_raw(n, raws) == folder]
    return [file for other in made for file in list_images(other)]


def _is_derivative(root: Path) -> bool:
    if root.parent.name == "derivatives":
        return True
    return read_json(root / "dataset_description.json").get("DatasetType") == "derivative"


def _find_raw_roots(roots: set[Path]) -> dict[Path, Path]:
    """Find the raw data set of each data set: itself, or that of a derivative."""
    raws = sorted(root for root in roots if not _is_derivative(root))
    return {root: root if root in raws else _find_raw(root, raws) for root in roots}


def _find_raw(root: Path, raws: list[Path]) -> Path:
    """Find the raw data set of a derivative: named by it, around it, or the only one beside it."""
    around = [raw for raw in raws if raw in root.parents or root in raw.parents]
    named = [raw for raw in raws if raw in _find_links(root)]
    home = root.parent.parent if root.parent.name == "derivatives" else root.parent
    beside = [raw for raw in raws if raw.parent == home]
    choices = named or around or (beside if len(beside) == 1 else [])
    return choices[-1] if choices else root


def _find_links(root: Path) -> set[Path]:
    """Find the folders that a derivative's description names as its sources."""
    fields = read_json(root / "dataset_description.json")
    links = fields.get("DatasetLinks")
    given = list(links.values()) if isinstance(links, dict) else []
    for source in _to_list(fields.get("SourceDatasets")):
        given += [source["URL"]] if isinstance(source, dict) and "URL" in source else []
    paths = [str(link).removeprefix("file://") for link in given]
    return {Path(os.path.normpath(root / path)) for path in paths}
