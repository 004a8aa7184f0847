"""Images derived from a scan: a mask, a map or the brain on its grid, and the scan turned to RAS+.

The header of the scan is copied, and only what the new content must change is changed. How they
become files is `writing.py`.
"""

import logging
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import GeometryError, InputError
from deskull.image.grid import find_box
from deskull.image.stored import StoredArray, make_image, to_stored
from deskull.image.volume import to_writable

logger = logging.getLogger(__name__)

_SAME_FILL = 1e-3  # steps of the stored values; less is rounding of the scaling itself

SLICE_CODES = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5}
"""NIfTI's codes for the order of slices, and those of the same order from the other end."""


def make_mask_image(mask: NDArray[Any], source: SpatialImage) -> SpatialImage:
    """Make a mask on the grid of `source`.

    Parameters
    ----------
    mask
        {0, 1} or boolean, (X, Y, Z) or (X, Y, Z, T).

    Returns
    -------
    SpatialImage
        uint8 without scaling, the header of `source` otherwise.

    Raises
    ------
    GeometryError
        If the shapes disagree.

    Examples
    --------
    >>> source = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    >>> make_mask_image(np.ones((2, 2, 2), bool), source).get_data_dtype().name
    'uint8'
    """
    mask = np.asarray(mask)
    _check_shape(mask.shape[:3], source.shape[:3])
    box = find_box(mask)
    values = np.zeros(mask.shape, np.uint8, order="F")
    values[box] = mask[box] != 0
    return _make_measure(values, source)


def make_map_image(values: NDArray[Any], source: SpatialImage) -> SpatialImage:
    """Make a float32 image of a probability, a distance or corrected intensities.

    Parameters
    ----------
    values
        Values on the grid of `source`, (X, Y, Z) or (X, Y, Z, T); stored as float32.

    Raises
    ------
    GeometryError
        If the shapes disagree.

    Examples
    --------
    >>> source = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    >>> make_map_image(np.full((2, 2, 2), 0.5), source).get_data_dtype().name
    'float32'
    """
    return _make_measure(np.asarray(values).astype(np.float32), source)


def make_brain_image(
    mask: NDArray[Any],
    source: SpatialImage,
    fill: float = 0.0,
    frame: int | None = None,
    name: str = "image",
) -> SpatialImage:
    """Make the image of the brain: stored values inside the mask bit for bit, `fill` outside.

    Where the stored type cannot hold `fill`, a warning says what is written.

    Parameters
    ----------
    mask
        {0, 1} or boolean, (X, Y, Z) for every frame or (X, Y, Z, T).
    source
        Scan, 3D or 4D; its stored type, scaling and byte order are kept.
    fill
        Value outside the mask in scaled units; the nearest storable value is written.
    frame
        Take only this frame of a 4D source.
    name
        Name of the scan in messages.

    Raises
    ------
    GeometryError
        If the shapes disagree.
    InputError
        If `fill` is NaN and the stored type holds integers.

    Examples
    --------
    >>> scan = nib.Nifti1Image(np.array([[[7, 8]]], np.int16), np.eye(4))
    >>> np.asarray(make_brain_image(np.array([[[1, 0]]]), scan, fill=-1).dataobj).tolist()
    [[[7, -1]]]
    """
    source = to_writable(source)
    stored = to_stored(source).without_singletons()
    raw = stored.raw if frame is None or stored.ndim == 3 else stored.raw[..., frame]
    mask = np.asarray(mask)
    _check_shape(mask.shape, raw.shape[: mask.ndim])
    box = find_box(mask)
    inside = mask[box] != 0
    if mask.ndim < raw.ndim:
        inside = inside[..., None]
    brain = np.zeros(raw.shape, raw.dtype, order="F")
    outside_value = _to_stored_value(fill, stored)
    _warn_of_change(fill, outside_value, stored, name)
    if outside_value != 0:
        brain[...] = outside_value
    np.copyto(brain[box], raw[box], where=inside)
    return _make_output(stored.with_raw(brain), source)


def check_fill(fill: float, source: SpatialImage) -> None:
    """Refuse a fill value for which a brain of `source` could not be made, before any work.

    Raises
    ------
    InputError
        If `fill` is NaN and the stored type holds integers.
    """
    _to_stored_value(fill, to_stored(to_writable(source)))


def _warn_of_change(fill: float, outside_value: Any, stored: StoredArray, name: str) -> None:
    """Warn if a fill value is not what the stored one stands for."""
    slope, inter = stored.scaling
    written = float(outside_value) * slope + inter
    if np.isclose(written, fill, atol=_SAME_FILL * abs(slope), equal_nan=True):
        return
    scaling = (slope, inter) != (1.0, 0.0)
    scaled = f" with slope {slope:g} and intercept {inter:g}" if scaling else ""
    logger.warning(
        "%s: outside of the brain %.4g is written, not %g; the nearest number that %s voxels%s "
        "can hold.",
        name,
        written,
        fill,
        stored.dtype.name,
        scaled,
    )


def _to_stored_value(value: float, stored: StoredArray) -> Any:
    """Return the storable value nearest to a scaled one."""
    slope, inter = stored.scaling
    wanted = (float(value) - inter) / slope
    if stored.dtype.kind == "f":
        limits = np.finfo(stored.dtype)
        finite = np.isfinite(wanted)
        return np.clip(wanted, limits.min, limits.max) if finite else wanted
    if np.isnan(wanted):
        raise InputError(
            f"fill {value}: the image stores {stored.dtype.name}; expected a number. "
            "Choose another --fill."
        )
    whole = np.iinfo(stored.dtype)
    if np.isinf(wanted):
        return whole.max if wanted > 0 else whole.min
    return min(max(round(wanted), whole.min), whole.max)


def _make_measure(values: NDArray[Any], source: SpatialImage) -> SpatialImage:
    """Make an image of something measured on a scan: display range and intent start afresh."""
    source = to_writable(source)
    _check_shape(values.shape[:3], source.shape[:3])
    stored = to_stored(source)
    image = _make_output(StoredArray(values, lead=stored.lead, tail=stored.tail), source)
    if isinstance(image, nib.Nifti1Pair):
        header: Any = image.header
        for field in ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
            header[field] = 0
        header["intent_name"] = b""
    return image


def _check_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if len(shape) < 3 or shape != expected:
        raise GeometryError(f"shape {shape}; expected that of the image, {expected}.")


def _make_output(stored: StoredArray, source: SpatialImage) -> SpatialImage:
    """Put voxels under a copy of the header of `source`, changing only type and length."""
    header: Any = source.header.copy()
    if header.get_data_dtype().newbyteorder("=") != stored.dtype.newbyteorder("="):
        header.set_data_dtype(stored.dtype.newbyteorder("="))
    if tuple(header.get_data_shape()) != stored.shape:
        if isinstance(source, nib.MGHImage):
            header.set_data_shape(stored.shape)
        else:
            header["dim"] = [stored.ndim, *stored.shape, *[1] * (7 - stored.ndim)]
    return make_image(type(source), stored, source.affine, header)


# --- orientation


def turn_to_ras(image: SpatialImage) -> SpatialImage:
    """Turn an image to the axes nearest to RAS+, as nibabel's ``as_closest_canonical`` does.

    Stored values stay bit for bit; what a header says of axes and places is turned with them.

    Examples
    --------
    >>> image = nib.Nifti1Image(np.array([[[7]], [[8]]], np.int16), np.diag([-1.0, 1, 1, 1]))
    >>> np.asarray(turn_to_ras(image).dataobj).ravel().tolist()
    [8, 7]
    """
    image = to_writable(image)
    source: Any = image
    transform = nib.orientations.io_orientation(source.affine)
    if (transform == [[0, 1], [1, 1], [2, 1]]).all():
        return image
    stored = to_stored(image)
    raw = np.asarray(nib.orientations.apply_orientation(stored.raw, transform))
    turn = nib.orientations.inv_ornt_aff(transform, stored.shape[:3])
    affine = source.affine @ turn
    if isinstance(image, nib.MGHImage):
        header = nib.MGHImage(raw, affine, source.header).header
    else:
        header = _turn_header(source.header, transform[:, 0].astype(int), turn, affine, raw.shape)
    return make_image(type(image), stored.with_raw(raw), affine, header)


def _turn_header(
    old: Any,
    targets: NDArray[np.int64],
    turn: NDArray[np.float64],
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
) -> Any:
    """Turn a NIfTI header: shape, sizes, its affines, and the axes that its scanner names.

    Parameters
    ----------
    old
        Header of the image before it is turned.
    targets
        New axis of each old one.
    turn
        New voxel index to old one, (4, 4).
    affine
        Affine of the turned image, (4, 4); a header without any gets it as its sform.
    shape
        Shape of the reoriented array.
    """
    header, zooms = old.copy(), old.get_zooms()
    header.set_data_shape(shape)
    header.set_zooms([*(zooms[axis] for axis in np.argsort(targets)), *zooms[3:]])
    qform, sform = int(old["qform_code"]), int(old["sform_code"])
    try:
        if qform:
            header.set_qform(old.get_qform() @ turn, qform)
    except ValueError:  # no rotation; the sform said where voxels lie
        header["qform_code"] = qform = 0
    if sform or not qform:
        header.set_sform(old.get_sform() @ turn if sform else affine, sform or "aligned")
    named = old.get_dim_info()
    header.set_dim_info(*(None if axis is None else int(targets[axis]) for axis in named))
    if named[2] is not None and turn[named[2], :3].sum() < 0:
        _turn_slices(header, old.get_data_shape()[named[2]])
    return header


def _turn_slices(header: Any, count: int) -> None:
    """Say the order of the slices from the other end."""
    code = int(header["slice_code"])
    if code in SLICE_CODES:
        header["slice_code"] = SLICE_CODES[code]
        first, last = int(header["slice_start"]), int(header["slice_end"])
        if 0 <= first < last < count:
            header["slice_start"], header["slice_end"] = count - 1 - last, count - 1 - first
