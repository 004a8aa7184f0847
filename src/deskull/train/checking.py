"""Check the heads of an index: by opening their files, and by eye on contact sheets.

What is wrong with a file is a finding, never an error.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deskull.apply import turn_mask
from deskull.errors import DeskullError
from deskull.image.formats import open_image
from deskull.image.grid import Grid, to_canonical_array
from deskull.image.volume import Volume, load_volume, make_volume
from deskull.image.writing import save_bytes
from deskull.picture import Shown, draw_sheets, encode_png
from deskull.train.candidates import Candidate, is_manual
from deskull.train.labels import (
    LABEL_TABLE,
    TISSUE,
    has_label_table,
    is_label_map,
    load_label_table,
    load_tissues,
)

Row = dict[str, str | bool | float]
Observe = Callable[[int, int], None]

INSIDE = 0.5
"""Voxels above it are inside a mask: also of FreeSurfer's brainmask and aseg."""


@dataclass(frozen=True)
class Finding:
    """A file that was left out of an index.

    Parameters
    ----------
    where
        Path of the file.
    what
        Code of the problem: ``no-image``, ``no-mask``, ``unreadable``, ``grids-differ``,
        ``empty-mask`` or ``duplicate``.
    why
        Sentence that explains the problem, with the values found.
    """

    where: Path
    what: str
    why: str


@dataclass(frozen=True)
class Checked:
    """Result of checking a candidate.

    Parameters
    ----------
    row
        Row of the index; None if nothing usable is left.
    digest
        Hash of the voxels, by which duplicates are found.
    findings
        Files that were left out.
    """

    row: Row | None
    digest: str
    findings: list[Finding]


def check_candidate(candidate: Candidate) -> Checked:
    """Open the files of a candidate and keep those that can be used."""
    pair = _check_pair(candidate)
    if candidate.label_map is None:
        return pair
    labels = _check_label_map(candidate)
    findings = pair.findings + labels.findings
    if pair.row is not None and labels.row is not None:
        return Checked({**pair.row, "label_map": labels.row["label_map"]}, pair.digest, findings)
    kept = pair if pair.row is not None else labels
    return Checked(kept.row, kept.digest, findings)


def _check_pair(candidate: Candidate) -> Checked:
    """Take the first image and mask on one grid; report those that were tried before."""
    findings = []
    if not candidate.images:
        why = "a mask without an image; expected the scan from which it was made."
        findings = [Finding(mask, "no-image", why) for mask in candidate.masks]
    for path in candidate.images:
        if not candidate.masks:
            findings.append(Finding(path, "no-mask", "no mask of this image was found."))
            continue
        try:
            image = load_volume(path)
        except DeskullError as error:
            findings.append(Finding(path, "unreadable", _describe(error, path)))
            continue
        for mask in candidate.masks:
            finding = _check_mask(mask, image)
            if finding is None:
                row = _make_row(candidate, image.grid, image=path, mask=mask)
                return Checked(row, _digest(image), findings)
            findings.append(finding)
    return Checked(None, "", findings)


def _check_mask(path: Path, image: Volume) -> Finding | None:
    try:
        source = open_image(path)
        values = np.asarray(source.dataobj)
        if values.dtype.kind in "biuf" and not (values > INSIDE).any():
            return Finding(path, "empty-mask", f"no voxel above {INSIDE}; expected the brain.")
        mask = make_volume(source, path.name)
    except DeskullError as error:
        return Finding(path, "unreadable", _describe(error, path))
    if turn_mask(mask, image.grid).grid.matches(image.grid):
        return None
    return Finding(path, "grids-differ", _describe_grids(mask.grid, image))


def _describe(error: DeskullError, path: Path) -> str:
    """Return an error's message without the file's name, which the finding has."""
    return str(error).removeprefix(f"{path.parent}/").removeprefix(f"{path.name}: ")


def _describe_grids(grid: Grid, image: Volume) -> str:
    if grid.shape != image.grid.shape:
        return f"shape {grid.shape}; expected that of {image.name}, {image.grid.shape}."
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid.shape) - 1)
    gap = np.linalg.norm(grid.to_mm(corners) - image.grid.to_mm(corners), axis=1).max()
    return f"its voxels lie up to {gap:.3g} mm from those of {image.name}; expected one affine."


def _check_label_map(candidate: Candidate) -> Checked:
    path = candidate.label_map or Path()
    try:
        labels = load_volume(path)
    except DeskullError as error:
        return Checked(None, "", [Finding(path, "unreadable", _describe(error, path))])
    if not is_label_map(labels.data):
        why = "no mask of this image was found, and it does not look like a label map."
        return Checked(None, "", [Finding(path, "no-mask", why)])
    row = _make_row(candidate, labels.grid, label_map=path)
    return Checked(row, _digest(labels), [])


def _make_row(candidate: Candidate, grid: Grid, **paths: Path) -> Row:
    return {
        "participant": candidate.participant,
        "session": candidate.session,
        "contrast": candidate.contrast,
        "image": "",
        "mask": "",
        "brain": str(candidate.brain or ""),
        "label_map": "",
        "manual": "mask" in paths and is_manual(paths["mask"]),
        "part": candidate.part,
        "border": candidate.border if "mask" in paths else 0.0,
        "shape": "x".join(str(n) for n in grid.shape),
        "voxel_size": "x".join(f"{size:.4g}" for size in grid.voxel_size),
        **{name: str(path) for name, path in paths.items()},
    }


def _digest(volume: Volume) -> str:
    """Hash the voxels, equal for every way to store them."""
    voxels = np.ascontiguousarray(to_canonical_array(volume.data, volume.grid))
    return f"{voxels.shape}{hashlib.sha256(voxels.data).hexdigest()}"


def save_sheets(
    index: pd.DataFrame, path: str | os.PathLike[str], observe: Observe | None = None
) -> list[Path]:
    """Draw contact sheets: each pair with its mask, each label map with its brain labels.

    Parameters
    ----------
    index
        Index as from `make_index` or `load_index`.
    path
        PNG of the first page, with a dozen heads; the next are ``NAME-2.png`` and so on.
    observe
        Called with the number of rows drawn, and the number of all.

    Returns
    -------
    list
        Paths of the pages.

    Raises
    ------
    InputError
        If an image cannot be read, or a mask is on another grid.
    OutputError
        If a page cannot be written.
    """
    path = Path(path)
    pages: list[Path] = []
    for image in draw_sheets(_load_rows(index, observe)):
        number = len(pages) + 1
        name = path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"
        pages.append(path.with_name(name))
        save_bytes(encode_png(image), pages[-1])
    return pages


def _find_labels(folder: Path) -> dict[str, list[int]]:
    """Find the labels by tissue of the label maps in a folder."""
    if has_label_table(folder):
        return load_label_table(folder / LABEL_TABLE)
    labels: dict[str, list[int]] = load_tissues()["labels"]
    return labels


def _load_rows(index: pd.DataFrame, observe: Observe | None) -> Iterator[Shown]:
    for number, (_, row) in enumerate(index.iterrows(), start=1):
        if observe is not None:
            observe(number, len(index))
        if row["mask"]:
            scan = load_volume(row["image"])
            mask = turn_mask(load_volume(row["mask"]), scan.grid).data > INSIDE
        else:
            scan = load_volume(row["label_map"])
            labels = _find_labels(Path(row["label_map"]).parent)
            mask = np.isin(scan.data, [label for name in TISSUE for label in labels.get(name, ())])
        texts = [*row[["participant", "session", "contrast"]], Path(row["mask"]).name or scan.name]
        yield Shown("   ".join(text for text in texts if text), scan.data, mask, scan.grid)
