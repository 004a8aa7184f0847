"""The layouts of folders that `deskull index` knows: which files belong together, by their names.

A finder takes a folder and its files, and returns candidates and the files that it leaves to
the next finder. To add a layout, write a finder here and put it into `FINDERS`. No voxel is read:
candidates are checked in `checking.py`. BIDS data sets are `bids_layouts.py`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from deskull.errors import OptionError
from deskull.image.file_names import (
    MASK_ENDINGS,
    HeadName,
    find_base,
    find_stem,
    name_head,
)
from deskull.train.bids_layouts import find_bids
from deskull.train.candidates import (
    Candidate,
    Finder,
    Found,
    Stems,
    find_brain_beside,
    find_masks_beside,
    make_stems,
    rank_masks,
)

FREESURFER_IMAGES = ("orig.mgz", "T1.mgz")
FREESURFER_MASKS = ("brainmask.mgz", "mask.mgz", "aseg.mgz")

_FIELDS = ("participant", "session", "contrast")
_ALIASES = {"person": "participant"}  # of a field, in older patterns


def find_beside(folder: Path, files: list[Path]) -> Found:
    """Find masks beside their images: NFBS and every folder with names like ``X`` and ``X_mask``.

    NFBS is ``A000*/sub-*_T1w.nii.gz`` with ``_T1w_brainmask`` and ``_T1w_brain``. An image
    without a mask may be a label map.

    Examples
    --------
    >>> files = [Path("d/a_T1w.nii.gz"), Path("d/a_T1w_mask.nii.gz")]
    >>> (pair,), rest = find_beside(Path("d"), files)
    >>> pair.participant, pair.masks[0].name
    ('a', 'a_T1w_mask.nii.gz')
    """
    stems = make_stems(files)
    candidates, used = [], set()
    for file in files:
        if find_base(file) is not None:
            continue
        masks = find_masks_beside(file, stems)
        used.update(masks)
        candidates.append(make_candidate(name_head(file), file, masks, stems))
    orphans = [f for f in files if f not in used and _is_mask(f) and not _has_base(f, stems)]
    return candidates + [Candidate("", masks=(mask,)) for mask in orphans], []


def make_candidate(head: HeadName, image: Path, masks: list[Path], stems: Stems) -> Candidate:
    """Make a candidate for a pair, or for a label map where there is no mask."""
    names = (head.participant, head.session, head.contrast)
    if not masks:
        return Candidate(*names, label_map=image)
    return Candidate(*names, (image,), rank_masks(masks), find_brain_beside(image, stems))


def _is_mask(file: Path) -> bool:
    return find_stem(file).endswith(MASK_ENDINGS) and find_base(file) is not None


def _has_base(file: Path, stems: Stems) -> bool:
    return (file.parent, find_base(file)) in stems


def find_freesurfer(folder: Path, files: list[Path]) -> Found:
    """Find FreeSurfer's and FastSurfer's subjects: ``SUBJECT/mri`` with an image or a mask.

    Time points of a longitudinal study (``A.long.BASE``) are one participant, that of the base.

    Examples
    --------
    >>> files = [Path("d/bert/mri/orig.mgz"), Path("d/bert/mri/brainmask.mgz")]
    >>> (pair,), rest = find_freesurfer(Path("d"), files)
    >>> pair.participant, rest
    ('bert', [])
    """
    known = {*FREESURFER_IMAGES, *FREESURFER_MASKS}
    wanted = {file for file in files if file.parent.name == "mri" and file.name in known}
    subjects = {file.parent.parent for file in wanted}
    bases = dict(s.name.split(".long.", 1) for s in subjects if ".long." in s.name)
    candidates = []
    for subject in sorted(s for s in subjects if not s.name.startswith("fsaverage")):
        time = subject.name.split(".long.")[0]
        head = name_head(subject.with_name(bases.get(time, subject.name)))
        images = [subject / "mri" / name for name in FREESURFER_IMAGES]
        masks = [subject / "mri" / name for name in FREESURFER_MASKS]
        candidates.append(
            Candidate(
                head.participant,
                head.session or (time if time in bases else ""),
                "T1w",
                tuple(image for image in images if image in wanted),
                rank_masks(mask for mask in masks if mask in wanted),
                dataset=find_dataset_above(subject),
            )
        )
    return candidates, [file for file in files if subjects.isdisjoint(file.parents)]


def find_dataset_above(path: Path) -> Path | None:
    """Find the folder of the ``derivatives`` that contain a path.

    Examples
    --------
    >>> find_dataset_above(Path("study/derivatives/freesurfer/sub-01")).as_posix()
    'study'
    """
    return next((p.parent for p in path.parents if p.name == "derivatives"), None)


FINDERS: tuple[Finder, ...] = (find_freesurfer, find_bids, find_beside)
"""Tried one after the other."""

KNOWN_LAYOUTS = (
    "NFBS (sub-*_T1w with _T1w_brainmask), BIDS (sub-*/ with desc-brain_mask in a derivative "
    "data set), FreeSurfer (SUBJECT/mri with brainmask.mgz or aseg.mgz), X with X_mask, "
    "X_brainmask, X_reference, X_majority or X_mask_manual, and label maps"
)
"""Shown where none fits."""


def make_pattern_finder(pattern: str, mask_pattern: str | None = None) -> Finder:
    """Make a finder for flat folders with names of their own.

    Parameters
    ----------
    pattern
        Name of an image with ``{participant}`` and optionally ``{session}``, ``{contrast}``
        and ``*``; matched against the end of the path below the folder, or against all of it
        if it holds a ``/``.
    mask_pattern
        The same for masks; without ``/`` a mask lies beside its image. By default the names
        that `find_beside` knows.

    Raises
    ------
    OptionError
        If a pattern has no ``{participant}``, or an unknown field.

    Examples
    --------
    >>> find = make_pattern_finder("{participant}.nii", "{participant}_m.nii")
    >>> (pair,), _ = find(Path("d"), [Path("d/p1.nii"), Path("d/p1_m.nii")])
    >>> pair.participant, pair.masks[0].name
    ('p1', 'p1_m.nii')
    """
    image_rule = _make_rule(pattern)
    mask_rule = None if mask_pattern is None else _make_rule(mask_pattern)

    def find_pattern(folder: Path, files: list[Path]) -> Found:
        masks = {} if mask_rule is None else _match(mask_rule, folder, files)
        images = _match(image_rule, folder, [file for file in files if file not in masks])
        stems = make_stems(files)
        if mask_rule is None:
            images = {file: fields for file, fields in images.items() if find_base(file) is None}
            partners = {image: find_masks_beside(image, stems) for image in images}
        else:
            partners = _match_partners(images, masks)
        candidates = []
        for image, fields in images.items():
            head = name_head(image)
            named = HeadName(
                fields["participant"],
                fields.get("session", head.session),
                fields.get("contrast", head.contrast),
            )
            candidates.append(make_candidate(named, image, partners[image], stems))
        used = {mask for partner in partners.values() for mask in partner}
        orphans = [Candidate("", masks=(mask,)) for mask in masks if mask not in used]
        return candidates + orphans, []

    return find_pattern


def _make_rule(pattern: str) -> re.Pattern[str]:
    """Make a regular expression whose groups are the fields, and the folder if none is named."""
    rule = "" if "/" in pattern else "(?P<folder>(?:.*/)?)"
    seen: set[str] = set()
    for part in re.split(r"(\{\w*\}|\*)", pattern):
        name = part.strip("{}")
        if part == "*":
            rule += "[^/]*"
        elif part == name:
            rule += re.escape(part)
        elif name not in (*_FIELDS, *_ALIASES):
            raise OptionError(
                f"pattern {pattern}: unknown field {part}; expected {{participant}}, {{session}} "
                "or {contrast}."
            )
        else:
            name = _ALIASES.get(name, name)
            rule += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
    if "participant" not in seen:
        raise OptionError(
            f"pattern {pattern}: no {{participant}} in it; expected one, as in "
            "'{participant}_{contrast}.nii.gz'."
        )
    return re.compile(rule)


def _match(rule: re.Pattern[str], folder: Path, files: list[Path]) -> dict[Path, dict[str, str]]:
    hits = {f: rule.fullmatch(f.relative_to(folder).as_posix()) for f in files}
    return {file: hit.groupdict() for file, hit in hits.items() if hit}


def _match_partners(
    images: Mapping[Path, Mapping[str, str]], masks: Mapping[Path, Mapping[str, str]]
) -> dict[Path, list[Path]]:
    """Find the masks of each image: those that agree in every field of both patterns."""
    names = sorted(
        {n for f in images.values() for n in f} & {n for f in masks.values() for n in f}
    )
    by_fields: dict[tuple[str, ...], list[Path]] = {}
    for mask, fields in masks.items():
        by_fields.setdefault(tuple(fields[name] for name in names), []).append(mask)
    return {
        image: by_fields.get(tuple(fields[name] for name in names), [])
        for image, fields in images.items()
    }
