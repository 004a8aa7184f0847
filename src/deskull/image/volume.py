"""The Volume, a head in memory.

Its source, header and all, travels with the data, for the outputs that are made on its grid
(`derived.py`). How files are read is `formats/`.
"""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import GeometryError, ImageFileError, InputError
from deskull.image.formats import open_image
from deskull.image.formats.nifti import find_unit
from deskull.image.grid import FIELD_MM, VOXEL_MM, Grid, has_size_of_head
from deskull.image.lookup import find_image, is_pipe
from deskull.image.padding import Padding, take_out_padding
from deskull.image.stored import (
    StoredArray,
    check_frame,
    check_promise,
    make_nifti,
    to_stored,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D image of a head on its own grid.

    Parameters
    ----------
    data
        Scaled intensities, (X, Y, Z) float32; NaN and Inf stay as the file has them, padding is
        NaN as well.
    grid
        Grid of the data.
    source
        The image as read, 3D or 4D, header untouched; `to_stored` gives its raw voxels.
    name
        Name in messages: the file name.
    frame
        Number of the frame of a 4D file that `data` is, from 0; None for a 3D file.
    notes
        Phrases that say what was assumed in reading it, or left out; empty when nothing was.
    padding
        Part of the field that was filled, not measured; None if there is none.
    path
        File or folder that it was read from, as it was found; None if it was none, or a pipe.

    Examples
    --------
    >>> from deskull.demo import find_demo
    >>> volume = load_volume(find_demo())
    >>> volume.data.shape, volume.grid.voxel_size, volume.grid.orientation
    ((112, 152, 184), (1.5, 1.5, 1.5), 'RAS')
    """

    data: NDArray[np.float32]
    grid: Grid
    source: SpatialImage
    name: str
    frame: int | None = None
    notes: tuple[str, ...] = ()
    padding: Padding | None = None
    path: Path | None = None


def load_volume(
    path: str | os.PathLike[str], frame: int | None = None, series: str | int | None = None
) -> Volume:
    """Read one 3D image.

    Parameters
    ----------
    path
        Image file, or folder of DICOM.
    frame
        Frame of a 4D image, from 0.
    series
        DICOM series, where there are several: the first word of its line in the list.

    Raises
    ------
    ImageFileError
        If the file cannot be read as one head.
    GeometryError
        If its voxels have no size or no place.

    Examples
    --------
    >>> from deskull.demo import find_demo
    >>> load_volume(find_demo()).name
    'demo_T1w.nii.gz'
    >>> load_volume("sub-01_bold.nii.gz", frame=0)  # doctest: +SKIP
    """
    path = find_image(path)
    volume = make_volume(open_image(path, series, frame), path.name or str(path), frame)
    return replace(volume, path=None if is_pipe(path) else path)


def make_volume(
    image: SpatialImage, name: str = "image", frame: int | None = None, checked: bool = True
) -> Volume:
    """Make a Volume from a nibabel image, with the checks of `load_volume`.

    Parameters
    ----------
    image, name, frame
        Image, its name in messages, and its frame if it is 4D, from 0.
    checked
        False lets voxels pass that hold no head; `check_values` refuses them.

    Raises
    ------
    ImageFileError
        If the image is not 3D (or 4D with a frame chosen), or its voxels are not real numbers,
        have a single value or no finite value.
    GeometryError
        If the affine is missing or singular.

    Examples
    --------
    >>> voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    >>> make_volume(nib.Nifti1Image(voxels, np.eye(4))).data.dtype
    dtype('float32')
    """
    source = _check_source(image, name)
    grid = make_grid(source, name)
    _check_size(grid, name)
    stored = _read_stored(source, name)
    if stored.ndim == 4:
        chosen = _pick_frame(stored, frame, name)
    elif frame in (None, 0, stored.frame):
        chosen = stored
    else:
        raise ImageFileError(f"{name}: no frame {frame}; it is a 3D image. Omit --frame.")
    data = chosen.to_float32()
    if checked:
        check_values(data, name)
    frame, padding = frame if stored.ndim == 4 else stored.frame, take_out_padding(data)
    notes = stored.notes
    if padding is not None:
        notes = (*notes, padding.describe(data.size))
        if any(padding.values):  # 0 is what every tool fills with
            logger.warning("%s: %s", name, notes[-1])
    return Volume(data, grid, source, name, frame, notes, padding)


def make_first_volume(image: SpatialImage, name: str) -> Volume:
    """Make a Volume of the first frame with contrast; of the first frame if none has any.

    It tells whether a mask of another scan suits an image, which may be a map that is empty.
    """
    first, count = None, count_frames(image)
    for frame in range(count) if count > 1 else [None]:
        volume = make_volume(image, name, frame, checked=False)
        if has_contrast(volume.data):
            return volume
        first = first or volume
    assert first is not None
    return first


def make_grid(image: SpatialImage, name: str = "image") -> Grid:
    """Make the grid of an image in millimetres, whatever unit its header has.

    Raises
    ------
    GeometryError
        If the affine gives voxels no size or no place.

    Examples
    --------
    >>> image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.diag([2.0, 2, 3, 1]))
    >>> make_grid(image).voxel_size
    (2.0, 2.0, 3.0)
    """
    x, y, z = image.shape[:3]
    affine = np.array(image.affine, dtype=np.float64)
    with np.errstate(all="ignore"):  # a damaged header may hold any number
        affine[:3] *= find_unit(image.header, image.shape, affine)[0]
    try:
        return Grid((x, y, z), affine)
    except GeometryError as error:
        raise GeometryError(f"{name}: {error}") from error


def make_mean_volume(image: SpatialImage, name: str, frames: Sequence[int] = ()) -> Volume:
    """Make a Volume from the mean of a 4D image, whose mask is one for all frames.

    Parameters
    ----------
    image
        Image of 3D or 4D; one of 3D has a single frame.
    name
        Name of the image in messages.
    frames
        Numbers of the frames, from 0; all if none is given. Frames without a head (all voxels the
        same, or none finite) do not count.

    Returns
    -------
    Volume
        `data` is the mean over the frames that have a finite value there, NaN where none has;
        `source` is the image with all its frames.

    Raises
    ------
    ImageFileError
        If no frame has a head, or as `make_volume` does.
    """
    count = count_frames(image)
    if count == 1:
        return make_volume(image, name)
    total, finite, found, lost = None, None, 0, list[str]()
    for frame in frames or range(count):
        try:
            volume = make_volume(image, f"{name}, frame {frame}", frame)
        except ImageFileError as error:
            lost.append(str(error))
            continue
        is_finite = np.isfinite(volume.data)
        total = np.zeros_like(volume.data) if total is None else total
        finite = np.zeros(total.shape, np.uint32) if finite is None else finite
        np.add(total, volume.data, out=total, where=is_finite)
        finite += is_finite
        found += 1
    if total is None or finite is None:
        raise ImageFileError(lost[0])
    more = [f"left out, {len(lost)} in all: {lost[0]}"] if lost else []
    notes = (*volume.notes, f"the mean of {found} of {count} frames", *more)
    mean = np.full_like(total, np.nan)
    np.divide(total, finite, out=mean, where=finite > 0, casting="same_kind")
    return replace(volume, data=mean, name=name, frame=None, notes=notes)


def _check_size(grid: Grid, name: str) -> None:
    """Refuse voxels and fields that no head was ever scanned with."""
    if has_size_of_head(grid.shape, grid.voxel_size):
        return
    low, high = VOXEL_MM
    field = max(n * size for n, size in zip(grid.shape, grid.voxel_size, strict=True))
    sizes = " x ".join(f"{size:g}" for size in grid.voxel_size)
    raise GeometryError(
        f"{name}: voxels of {sizes} mm in a field of {field:g} mm; expected {low:g} to {high:g} "
        f"mm and at most {FIELD_MM:g} mm. Are the header's units metres or micrometres?"
    )


def count_frames(image: SpatialImage) -> int:
    """Frames of an image: 1 unless an axis beyond the third is longer than 1.

    Examples
    --------
    >>> count_frames(nib.Nifti1Image(np.zeros((2, 2, 2, 5), np.int16), np.eye(4)))
    5
    """
    return math.prod(n for n in image.shape[3:] if n > 1)


def _check_source(image: Any, name: str) -> SpatialImage:
    """Refuse what is no image of space; bring formats without outputs of their own to NIfTI."""
    if not isinstance(image, SpatialImage) or len(image.shape) < 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ImageFileError(f"{name}: {shape} is not a 3D image; expected (X, Y, Z).")
    if image.affine is None:
        raise GeometryError(f"{name}: no affine; expected one from voxel index to RAS+ mm.")
    if isinstance(image, nib.Nifti1Pair | nib.MGHImage) and _was_moved(image):
        image = type(image)(image.dataobj, image.affine, image.header, file_map=image.file_map)
    return to_writable(image, name)


def _was_moved(image: Any) -> bool:
    """Whether the affine of an image of nibabel was changed after its header was made."""
    if isinstance(image.dataobj, StoredArray) or not np.isfinite(image.affine).all():
        return False
    if np.linalg.matrix_rank(image.affine) < 4:  # refused later
        return False
    return not np.allclose(image.affine, image.header.get_best_affine(), equal_nan=True)


def to_writable(image: SpatialImage, name: str = "image") -> SpatialImage:
    """Return NIfTI and MGH images as they are, others as NIfTI; the file's name stays."""
    if isinstance(image, nib.Nifti1Pair | nib.MGHImage):
        return image
    made: Any = make_nifti(to_stored(image), image.affine, name)
    made.file_map["image"] = nib.FileHolder(filename=image.get_filename())
    converted: SpatialImage = made
    return converted


def _read_stored(source: SpatialImage, name: str) -> StoredArray:
    """Get the stored voxels, 3D or 4D, of a source that can be a head."""
    shape = tuple(n for axis, n in enumerate(source.shape) if axis < 3 or n > 1)
    if len(shape) > 4:
        raise ImageFileError(
            f"{name}: {len(source.shape)} dimensions {source.shape}; expected 3, or 4 with "
            "frames. Save one 3D image of it."
        )
    if min(shape[:3]) < 2:
        raise ImageFileError(f"{name}: a single slice {shape}; expected a 3D image of a head.")
    try:
        check_promise(shape, np.dtype(source.get_data_dtype()), name)
        stored = to_stored(source).without_singletons()
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise ImageFileError(f"{name}: its voxels cannot be read ({error}).") from error
    check_promise(shape, stored.dtype, name)
    return stored


def _pick_frame(stored: StoredArray, frame: int | None, name: str) -> StoredArray:
    if frame is None:
        raise ImageFileError(
            f"{name}: 4 dimensions {stored.shape}; expected 3. "
            f"Choose one with --frame N (0 to {stored.shape[3] - 1})."
        )
    check_frame(frame, stored.shape[3], name)
    return stored.with_raw(stored.raw[..., frame])


def check_values(data: NDArray[np.float32], name: str) -> None:
    """Refuse voxels that hold no head.

    Raises
    ------
    ImageFileError
        If all are the same, or none is finite.

    Examples
    --------
    >>> check_values(np.zeros((2, 2, 2), np.float32), "empty.nii.gz")
    Traceback (most recent call last):
    deskull.errors.ImageFileError: empty.nii.gz: every voxel is 0; expected a head.
    """
    with np.errstate(invalid="ignore"):
        low, high = float(data.min()), float(data.max())
    if not np.isfinite([low, high]).all():
        finite = data[np.isfinite(data)]
        if finite.size == 0:
            raise ImageFileError(f"{name}: every voxel is NaN or infinite; expected a head.")
        low, high = float(finite.min()), float(finite.max())
    if low == high:
        raise ImageFileError(f"{name}: every voxel is {low + 0:g}; expected a head.")


def refuse_mask(volume: Volume) -> None:
    """Refuse an image of two values in the place of a scan.

    Raises
    ------
    ImageFileError
        If it is one.
    """
    values = volume.data.ravel("K")  # a view, in the order in which the voxels lie
    few = np.unique(values[:: max(1, values.size // 999)])
    if few.size <= 2 and np.unique(values).size == 2:
        low, high = float(values.min()), float(values.max())
        raise ImageFileError(
            f"{volume.name}: a mask, its values are {low:g} and {high:g}; expected a head."
        )


def has_contrast(data: NDArray[np.float32]) -> bool:
    """Whether voxels can be those of a head, as `check_values` says."""
    try:
        check_values(data, "")
    except ImageFileError:
        return False
    return True
