"""The scans of the local page, each with its masks: what is sent to the page, and what comes back.

The page sees scans and masks with their axes nearest to RAS+; masks on disk lie on the scan's
own grid. Saving is in `save_correction.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from deskull.apply import load_mask
from deskull.cohort.stripped import Stripped
from deskull.errors import EmptyMaskError, GeometryError, InputError
from deskull.image.derived import make_mask_image
from deskull.image.fingerprint import make_fingerprint
from deskull.image.grid import Box, find_box, from_canonical_array, to_canonical_array
from deskull.image.lookup import find_manual, is_inside
from deskull.image.volume import Volume
from deskull.image.writing import find_start, save_image
from deskull.outputs import find_output
from deskull.prepare.postprocess import clean_mask, make_signed_distance
from deskull.review.pictures import Pair, hide_face, load_pair
from deskull.settings import Settings

MIN_THRESHOLD, MAX_BORDER = 0.02, 20.0
"""Limits of the sliders: lowest probability, and largest shift of the surface in mm."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Parameters
    ----------
    name
        Name of the scan in messages.
    scan
        Path of the image.
    mask, probability
        Paths of the automatic mask and its probability; None if there is none.
    manual
        Path of the corrected mask, which may not exist yet.
    frame
        Frame of a 4D scan, counted from 0.
    folder
        Folder that `manual` must lie in, if any.
    series
        Number of the series in a DICOM folder.
    no_face
        Show only what lies within the mask or close to it.
    """

    name: str
    scan: Path
    mask: Path | None
    probability: Path | None
    manual: Path
    frame: int | None = None
    folder: Path | None = None
    series: str | None = None
    no_face: bool = False

    def load(self, mask: Path | None) -> Pair:
        """Load the scan with a mask, as `load_pair` does."""
        pair = load_pair(self.scan, mask, self.frame, self.series)
        return hide_face(pair) if self.no_face else pair

    @property
    def version(self) -> str:
        """State of the corrected mask: changes with each save; empty if there is none."""
        return _read_state(self.manual)

    @property
    def automatic_version(self) -> str:
        """State of the automatic mask and its probability: a new batch may replace them."""
        paths = self.mask, self.probability
        return " ".join(_read_state(path) for path in paths if path is not None)

    def hash_shown(self) -> str:
        """SHA-256 of the file of the mask that counts: the corrected one, else the automatic."""
        mask = self.manual if self.version else self.mask
        return "" if mask is None else make_fingerprint(mask).sha256


def _read_state(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"


def find_files(scan: Stripped, no_face: bool = False) -> ScanFiles:
    """Find the files of a stripped scan.

    Raises
    ------
    InputError
        If the scan is gone or has changed, or its mask is gone.
    """
    image, mask = scan.find_scan(), scan.find_output("mask")
    if mask is None:
        other = scan.record.mask_of
        why = f"it has the mask of {other}" if other else "its mask was not kept, or is gone"
        raise InputError(f"{scan.name}: {why}.")
    manual, probability = find_manual(image, mask), scan.find_output("probability")
    files = scan.name, image, mask, probability, manual, scan.record.input.frame, scan.folder
    return ScanFiles(*files, no_face=no_face)


def load_corrected(files: ScanFiles) -> Pair:
    """Load a scan with its corrected mask.

    Raises
    ------
    DeskullError
        As for `load_pair`; also if a link leads the mask out of the folder.
    """
    if files.folder is not None and not is_inside(files.manual, files.folder):
        raise InputError(f"{files.manual}: a link leads it out of {files.folder}.")
    return files.load(files.manual)


def load_shown(files: ScanFiles) -> Pair:
    """Load a scan with its corrected mask if there is one, else with the automatic one."""
    return load_corrected(files) if files.version else files.load(files.mask)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan with what its masks can be made from."""

    files: ScanFiles
    pair: Pair
    probability: NDArray[np.float32] | None
    settings: Mapping[str, float]
    """Threshold and border that the automatic mask was made with."""
    version: str
    """`ScanFiles.automatic_version` when the files were read."""
    _distances: dict[float, NDArray[np.float32]] = field(default_factory=dict, init=False)

    @property
    def volume(self) -> Volume:
        """The scan."""
        return self.pair.volume

    @property
    def _limits(self) -> tuple[float, float]:
        """Lowest threshold and largest border; those of the mask may lie beyond the sliders'."""
        threshold, border = self.settings["threshold"], self.settings["border"]
        return min(MIN_THRESHOLD, threshold), max(MAX_BORDER, abs(border))

    @cached_property
    def _box(self) -> Box:
        """Part of the field that any threshold and border can reach."""
        (lowest, farthest), given = self._limits, self.probability
        inside = self.pair.mask if given is None else given >= lowest
        assert inside is not None
        x, y, z = (math.ceil(farthest / size) + 1 for size in self.volume.grid.voxel_size)
        return find_box(inside, (x, y, z))

    def _measure(self, threshold: float) -> NDArray[np.float32]:
        """Signed distance in mm within the box, kept for the next border."""
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

    def make_mask(
        self, threshold: float, border: float, *, own: bool = False
    ) -> NDArray[np.bool_]:
        """Make the mask that ``deskull strip`` would have made with other settings.

        Parameters
        ----------
        threshold
            Probability from which on a voxel is brain; without effect if none is at hand.
        border
            Shift of the surface in mm, as ``--border``; if no probability is at hand, the
            automatic mask is shifted.
        own
            Make it from the probability even if the mask of the file came from elsewhere.

        Returns
        -------
        NDArray[np.bool_]
            (X, Y, Z) on the scan's grid.

        Raises
        ------
        InputError
            If a value is out of range.
        """
        lowest, farthest = self._limits
        if not (lowest <= threshold < 1 and abs(border) <= farthest):
            raise InputError(
                f"threshold {threshold:g}, border {border:g}; expected {lowest:g} to 1, "
                f"and {-farthest:g} to {farthest:g} mm."
            )
        same = {"threshold": threshold, "border": border} == dict(self.settings)
        same = same and not (own and self.probability is not None)
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


def load_scene(files: ScanFiles, settings: Mapping[str, float]) -> Scene:
    """Load a scan, its mask and its probability.

    Parameters
    ----------
    files
        Files of the scan.
    settings
        ``threshold`` and ``border`` that the automatic mask was made with.

    Raises
    ------
    DeskullError
        As for `load_pair`.
    """
    version = files.automatic_version
    pair = files.load(files.mask)
    probability = None
    if files.probability is not None:
        given = load_mask(files.probability)
        if given.grid.matches(pair.volume.grid):
            probability = np.nan_to_num(given.data)
    return Scene(files, pair, probability, settings, version)


# --- the scans of the page

DEFAULTS = {"threshold": Settings.threshold, "border": Settings.border}
"""Settings of an automatic mask whose record is not at hand."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One scan of the page.

    Parameters
    ----------
    name
        Name of the scan on the page.
    find
        Returns its files, or raises why they cannot be shown.
    settings
        Threshold and border that the automatic mask was made with.
    stripped
        The stripped scan, in a review.
    reference
        Path of a mask to compare with; None if there is none.
    """

    name: str
    find: Callable[[], ScanFiles]
    settings: Mapping[str, float]
    stripped: Stripped | None = None
    reference: Path | None = None

    def is_mask_foreign(self, files: ScanFiles) -> bool:
        """Whether the mask may not be the one that deskull made: given by name, or changed."""
        return files.mask is not None and (self.stripped is None or self.stripped.is_mask_changed)


def make_entry(
    scan: Path,
    mask: Path | None = None,
    frame: int | None = None,
    series: str | None = None,
    *,
    reference: Path | None = None,
    no_face: bool = False,
) -> Entry:
    """Make the entry of one scan; a mask and a probability beside it are found by their names.

    Parameters
    ----------
    scan
        Path of the image.
    mask
        Path of its mask; by default ``X_mask.nii.gz`` beside it, if there is one.
    frame
        Frame of a 4D scan, counted from 0.
    series
        Number of the series in a DICOM folder.
    reference
        Path of another mask to compare with.
    no_face
        Show only what lies within or close to the mask.
    """
    start = find_start(scan)

    def find(output: str) -> Path | None:
        path = start.with_name(start.name + find_output(output).ending)
        return path if path.is_file() else None

    machine = mask or find("mask")
    manual = find_manual(start, machine)
    files = scan.name, scan, machine, find("probability"), manual, frame
    found = ScanFiles(*files, series=series, no_face=no_face)
    return Entry(scan.name, lambda: found, DEFAULTS, reference=reference)


def make_entries(scans: Sequence[Stripped], no_face: bool = False) -> list[Entry]:
    """Make the entries of a folder's scans, in their order."""
    return [_make_entry(scan, no_face) for scan in scans]


def _make_entry(scan: Stripped, no_face: bool) -> Entry:
    known = scan.record.settings or Settings()
    settings = {name: getattr(known, name) for name in DEFAULTS}
    return Entry(scan.name, lambda: find_files(scan, no_face), settings, scan)


# --- to the page


def encode_scan(volume: Volume) -> bytes:
    """Encode the scan as the NIfTI file that a page shows: axes nearest to RAS+, 16 bits.

    An oblique scan is shown in its own planes, so that the voxels of a drawing are its own.
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
    """Encode a mask for the page: one byte per voxel, x fastest, axes nearest to RAS+."""
    return to_canonical_array(mask.astype(np.uint8), volume.grid).tobytes(order="F")


# --- from the page


def decode_mask(content: bytes, volume: Volume) -> NDArray[np.bool_]:
    """Decode a mask that a page sends, onto the scan's grid.

    Raises
    ------
    GeometryError
        If its number of voxels is not that of the scan.
    EmptyMaskError
        If the mask is empty.
    InputError
        If the mask fills the whole scan.
    """
    shape = volume.grid.canonical().shape
    if len(content) != math.prod(shape):
        raise GeometryError(
            f"{volume.name}: a mask of {len(content)} voxels; expected {math.prod(shape)}."
        )
    drawn = np.frombuffer(content, np.uint8).reshape(shape, order="F") > 0
    if not drawn.any():
        raise EmptyMaskError(f"{volume.name}: the mask is empty. Draw the brain first.")
    if drawn.all():
        raise InputError(f"{volume.name}: the mask fills the whole scan; expected a brain.")
    return from_canonical_array(drawn, volume.grid)


def encode_file(mask: NDArray[np.bool_], volume: Volume) -> bytes:
    """Encode a mask as a ``.nii.gz`` file with the header of the scan."""
    with TemporaryDirectory(prefix="deskull-") as folder:
        path = Path(folder) / "mask.nii.gz"
        save_image(make_mask_image(mask, volume.source), path)
        return path.read_bytes()
