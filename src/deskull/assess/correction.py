"""A mask corrected by hand: what the page draws on, and how it comes back to disk.

A page sees a scan with its axes nearest to RAS+, and so does its drawing; what is saved lies
on the scan's own grid, beside the machine's mask, which is never touched.
"""

import csv
import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from deskull import __version__
from deskull.apply import load_mask
from deskull.assess.pair import Pair, load_pair
from deskull.assess.stripped import Stripped, find_manual, find_stem, is_inside
from deskull.errors import EmptyMaskError, GeometryError, InputError, OutputError
from deskull.image.geometry import Box, find_box, from_canonical_array, to_canonical_array
from deskull.image.volume import Volume, make_mask_image
from deskull.image.writing import Batch, save_bytes, save_image
from deskull.prepare.postprocess import clean_mask, make_signed_distance
from deskull.tables import make_tsv

CORRECTED = "deskull_corrected.tsv"
"""Pairs of a folder that a person corrected: a table that ``deskull finetune`` reads."""

LEAST_THRESHOLD, MOST_BORDER = 0.02, 20.0
"""Of the sliders: least probability, and most mm."""

_one_at_a_time = threading.Lock()


class ConflictError(InputError):
    """The mask was saved from elsewhere since the page read it."""


@dataclass(frozen=True)
class Files:
    """The files of one scan.

    Parameters
    ----------
    name
        What messages call it.
    scan
        The image.
    mask, probability
        Made by the machine; None if there is none.
    manual
        Where a corrected mask is, or will be.
    frame
        Of a 4D scan.
    folder
        Which `manual` must lie in, if any.
    series
        Of a DICOM folder.
    """

    name: str
    scan: Path
    mask: Path | None
    probability: Path | None
    manual: Path
    frame: int | None = None
    folder: Path | None = None
    series: str | None = None

    def load(self, mask: Path | None) -> Pair:
        """Load the scan with a mask, as `load_pair` does."""
        return load_pair(self.scan, mask, self.frame, self.series)

    @property
    def version(self) -> str:
        """State of the corrected mask: changes with each save; empty if there is none."""
        try:
            stat = self.manual.stat()
        except OSError:
            return ""
        return f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"


def find_files(scan: Stripped) -> Files:
    """Find the files of a stripped scan.

    Raises
    ------
    InputError
        If the scan is gone or has changed, or its mask is gone.
    """
    image, mask = scan.find_scan(), scan.find_output("mask")
    if mask is None:
        other = scan.record.get("mask_of")
        why = f"it has the mask of {other}" if other else "its mask was not kept, or is gone"
        raise InputError(f"{scan.name}: {why}.")
    manual, probability = find_manual(image, mask), scan.find_output("probability")
    return Files(scan.name, image, mask, probability, manual, scan.frame, scan.folder)


def load_corrected(files: Files) -> Pair:
    """Load a scan with its corrected mask.

    Raises
    ------
    DeskullError
        As for `load_pair`; also if a link leads the mask out of the folder.
    """
    if files.folder is not None and not is_inside(files.manual, files.folder):
        raise InputError(f"{files.manual}: a link leads it out of {files.folder}.")
    return files.load(files.manual)


def load_shown(files: Files) -> Pair:
    """Load a scan with its corrected mask if there is one, else with the machine's."""
    if files.version:
        return load_corrected(files)
    return files.load(files.mask)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan with what masks can be made from."""

    files: Files
    pair: Pair
    probability: NDArray[np.float32] | None
    settings: Mapping[str, float]
    """Threshold and border of the machine's mask."""
    _distances: dict[float, NDArray[np.float32]] = field(default_factory=dict, init=False)

    @property
    def volume(self) -> Volume:
        """The scan."""
        return self.pair.volume

    @cached_property
    def _box(self) -> Box:
        """Part of the field that any threshold and border may reach."""
        inside: NDArray[np.bool_] | None = self.pair.mask
        if self.probability is not None:
            inside = self.probability >= LEAST_THRESHOLD
        assert inside is not None
        x, y, z = (math.ceil(MOST_BORDER / size) + 1 for size in self.volume.grid.voxel_size)
        return find_box(inside, (x, y, z))

    def _measure(self, threshold: float) -> NDArray[np.float32]:
        """Millimetres to the surface within the box, kept for the next border."""
        distance = self._distances.get(threshold)
        if distance is None:
            if self.probability is None:
                assert self.pair.mask is not None
                inside = self.pair.mask[self._box]
            else:
                inside = clean_mask(self.probability[self._box] >= threshold)
            distance = make_signed_distance(inside, self.volume.grid.voxel_size)
            self._distances.clear()
            self._distances[threshold] = distance
        return distance

    def make_mask(self, threshold: float, border: float) -> NDArray[np.bool_]:
        """Make the mask that the machine would have made with other settings.

        Parameters
        ----------
        threshold
            Of the probability; without one it does nothing.
        border
            Millimetres, as of ``--border``; without a probability from the machine's mask.

        Returns
        -------
        NDArray[np.bool_]
            (X, Y, Z) on the scan's grid.

        Raises
        ------
        InputError
            If a value is out of range.
        """
        if not (LEAST_THRESHOLD <= threshold < 1 and abs(border) <= MOST_BORDER):
            raise InputError(
                f"threshold {threshold:g}, border {border:g}; expected {LEAST_THRESHOLD:g} to 1, "
                f"and {-MOST_BORDER:g} to {MOST_BORDER:g} mm."
            )
        same = {"threshold": threshold, "border": border} == dict(self.settings)
        if self.pair.mask is not None and (same or self.probability is None):
            if same or border == self.settings["border"]:
                return self.pair.mask
            border -= self.settings["border"]
        made = np.zeros(self.volume.grid.shape, bool)
        if self.probability is not None and border == 0:
            made[self._box] = clean_mask(self.probability[self._box] >= threshold)
        elif self.probability is not None or self.pair.mask is not None:
            made[self._box] = self._measure(threshold) <= border
        return made


def load_scene(files: Files, settings: Mapping[str, float]) -> Scene:
    """Load a scan, its mask and its probability.

    Parameters
    ----------
    files
        Of the scan.
    settings
        ``threshold`` and ``border`` that the machine's mask was made with.

    Raises
    ------
    DeskullError
        As for `load_pair`.
    """
    pair = files.load(files.mask)
    probability = None
    if files.probability is not None:
        given = load_mask(files.probability)
        if given.grid.matches(pair.volume.grid):
            probability = np.nan_to_num(given.data)
    return Scene(files, pair, probability, settings)


# --- on the way to the page


def encode_scan(volume: Volume) -> bytes:
    """Make the NIfTI file that a page shows: axes nearest to RAS+, straight, 16 bits.

    An oblique scan is shown in its own planes, so that a drawing's voxels are the scan's.
    """
    data = to_canonical_array(volume.data, volume.grid)
    finite = data[np.isfinite(data)]
    low, high = float(finite.min()), float(finite.max())
    slope = (high - low) / 65534 or 1.0
    scaled = np.nan_to_num((data - low) / slope, nan=0, posinf=65534, neginf=0) - 32767
    affine = np.diag([*volume.grid.canonical().voxel_size, 1.0])
    affine[:3, 3] = -np.diag(affine)[:3] * (np.array(data.shape) - 1) / 2
    image = nib.Nifti1Image(np.round(scaled).astype(np.int16), affine)
    image.header.set_slope_inter(slope, low + 32767 * slope)
    content: bytes = image.to_bytes()
    return content


def encode_mask(mask: NDArray[np.bool_], volume: Volume) -> bytes:
    """Make the bytes that a page draws on: one for each voxel, x fastest, axes near RAS+."""
    return to_canonical_array(mask.astype(np.uint8), volume.grid).tobytes(order="F")


# --- on the way back


def decode_mask(content: bytes, volume: Volume) -> NDArray[np.bool_]:
    """Read a page's drawing, on the scan's grid.

    Raises
    ------
    GeometryError
        If it is of another scan's size.
    EmptyMaskError
        If nothing is drawn.
    """
    shape = volume.grid.canonical().shape
    if len(content) != math.prod(shape):
        raise GeometryError(
            f"{volume.name}: a drawing of {len(content)} voxels; expected {math.prod(shape)}."
        )
    drawn = np.frombuffer(content, np.uint8).reshape(shape, order="F") > 0
    if not drawn.any():
        raise EmptyMaskError(f"{volume.name}: the mask is empty. Draw the brain first.")
    return from_canonical_array(drawn, volume.grid)


def encode_file(mask: NDArray[np.bool_], volume: Volume) -> bytes:
    """Make the bytes of the ``.nii.gz`` that `save_manual` would write."""
    with TemporaryDirectory(prefix="deskull-") as folder:
        path = Path(folder) / "mask.nii.gz"
        save_image(make_mask_image(mask, volume.source), path)
        return path.read_bytes()


def save_manual(
    mask: NDArray[np.bool_], volume: Volume, files: Files, version: str, over: bool = False
) -> None:
    """Write a corrected mask and its sidecar; the machine's mask stays.

    Parameters
    ----------
    mask
        (X, Y, Z) on the scan's grid.
    volume
        The scan.
    files
        Of the scan.
    version
        `Files.version` when the page read the mask.
    over
        Write also over what was saved from elsewhere since.

    Raises
    ------
    ConflictError
        If it was saved from elsewhere since.
    InputError
        If the table of corrected masks cannot be read; the mask is then saved, but not listed.
    OutputError
        If it cannot be written; what was there then stays.
    """
    path = files.manual
    if files.folder is not None and not is_inside(path.parent, files.folder):
        raise OutputError(
            f"{path}: outside of {files.folder}, through a link; nothing is written."
        )
    with _one_at_a_time:
        if files.version != version and not over:
            raise ConflictError(
                f"{path.name} was saved from another page meanwhile. Save over it, or reload to "
                "see it; your drawing is still here."
            )
        sidecar = path.with_name(find_stem(path) + ".json")
        fields = json.dumps(_describe(files), indent=1) + "\n"
        with Batch() as batch:
            save_image(make_mask_image(mask, volume.source), path, batch)
            save_bytes(fields.encode(), sidecar, batch)
        if files.folder is not None:
            _list_corrected(files, files.folder / CORRECTED)


def _describe(files: Files) -> dict[str, Any]:
    """Sidecar: what that of the machine's mask says, and that a person corrected it."""
    fields: dict[str, Any] = {"Type": "Brain", "Sources": [files.scan.name]}
    if files.mask is not None:
        sidecar = files.mask.with_name(find_stem(files.mask) + ".json")
        try:
            given = json.loads(sidecar.read_text("utf-8"))
        except (OSError, ValueError):
            given = {}
        fields |= given if isinstance(given, dict) else {}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return fields | {"Manual": True, "SavedWith": f"deskull {__version__}", "Saved": now}


def _list_corrected(files: Files, table: Path) -> None:
    """Add a pair to the table of those that were corrected."""
    rows: dict[str, str] = {}
    if table.exists():
        try:
            with table.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
                given = csv.DictReader(stream, delimiter="\t", restval="")
                rows = {row.get("mask") or "": row.get("image") or "" for row in given}
        except (OSError, csv.Error) as error:
            raise InputError(
                f"{table}: cannot be read ({error}), so that the mask, which was saved, is not "
                "listed in it. Move it away."
            ) from error
    rows.pop("", None)
    rows[_see(files.manual, table)] = _see(files.scan, table)
    pairs = [[image, mask, "true"] for mask, image in sorted(rows.items())]
    text = make_tsv(["image", "mask", "manual"], pairs)
    save_bytes(text.encode("utf-8", "surrogateescape"), table)


def _see(path: Path, table: Path) -> str:
    """Path as seen from a table's folder."""
    try:
        return Path(os.path.relpath(path, table.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()
