"""What holds of a candidate when its files are opened; what does not is told, never fatal."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deskull.errors import DeskullError
from deskull.image.formats import open_image
from deskull.image.geometry import Grid, to_canonical_array
from deskull.image.volume import Volume, load_volume, make_volume
from deskull.learn.layouts import Candidate, is_manual

Row = dict[str, str | bool]

INSIDE = 0.5
"""A mask is where its image exceeds this: also FreeSurfer's brainmask and aseg."""

MOST_LABELS = 500
"""Different values of a label map at most; the finest atlases of a head have about 300."""

LEAST_ALIKE = 0.5
"""Share of a label map's voxels that equal their neighbour at least: of head maps at 1 mm it is
above 0.8, of scans below 0.2."""


@dataclass(frozen=True)
class Finding:
    """Something that was left out.

    Parameters
    ----------
    where
        The file.
    what
        Short and stable: ``no-image``, ``no-mask``, ``unreadable``, ``grids-differ``,
        ``empty-mask`` or ``duplicate``.
    why
        A sentence with the values.
    """

    where: Path
    what: str
    why: str


@dataclass(frozen=True)
class Checked:
    """What is left of a candidate after its files were opened."""

    row: Row | None
    digest: str
    findings: list[Finding]


def check_candidate(candidate: Candidate) -> Checked:
    """Open the files of a candidate and keep what holds."""
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
    """Take the first image and mask that fit each other; tell of all that were tried before."""
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
            findings.append(Finding(path, "unreadable", _tell(error, path)))
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
        return Finding(path, "unreadable", _tell(error, path))
    if mask.grid.matches(image.grid):
        return None
    return Finding(path, "grids-differ", _tell_grids(mask.grid, image))


def _tell(error: DeskullError, path: Path) -> str:
    """Say what is wrong without the file's name, which a finding has."""
    return str(error).removeprefix(f"{path.parent}/").removeprefix(f"{path.name}: ")


def _tell_grids(grid: Grid, image: Volume) -> str:
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
        return Checked(None, "", [Finding(path, "unreadable", _tell(error, path))])
    if not is_label_map(labels.data):
        why = "no mask of this image was found, and it does not look like a label map."
        return Checked(None, "", [Finding(path, "no-mask", why)])
    row = _make_row(candidate, labels.grid, label_map=path)
    return Checked(row, _digest(labels), [])


def is_label_map(data: NDArray[np.float32]) -> bool:
    """Whether an image looks like a label map: few whole numbers in large pieces.

    Parameters
    ----------
    data
        (X, Y, Z).
    """
    few = data[::5, ::5, ::5]
    with np.errstate(invalid="ignore"):
        if not np.array_equal(few, np.round(few)) or not 3 <= len(np.unique(few)) <= MOST_LABELS:
            return False
    here, there = data[:, :, :-1], data[:, :, 1:]
    inside = (here != 0) & (there != 0)
    alike, count = int(((here == there) & inside).sum()), int(inside.sum())
    return count > 0 and alike >= LEAST_ALIKE * count


def _make_row(candidate: Candidate, grid: Grid, **paths: Path) -> Row:
    return {
        "person": candidate.person,
        "session": candidate.session,
        "contrast": candidate.contrast,
        "image": "",
        "mask": "",
        "brain": str(candidate.brain or ""),
        "label_map": "",
        "manual": "mask" in paths and is_manual(paths["mask"]),
        "shape": "x".join(str(n) for n in grid.shape),
        "voxel_size": "x".join(f"{size:.4g}" for size in grid.voxel_size),
        **{name: str(path) for name, path in paths.items()},
    }


def _digest(volume: Volume) -> str:
    """Hash of the voxels, the same however they are stored."""
    voxels = np.ascontiguousarray(to_canonical_array(volume.data, volume.grid))
    return f"{voxels.shape}{hashlib.sha256(voxels.data).hexdigest()}"
