"""N4 bias correction: the smooth shading of the coils out of an image.

N4 itself is SimpleITK's, which gets arrays and voxel sizes, never a header. Whether a scan
is corrected is decided by the recipe or the user, not here; nor is intensity normalised here.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError, explain_missing
from deskull.image.grid import VoxelSize
from deskull.settings import BiasSettings

DARK_PERCENTILE = 0.1
"""A share of voxels below it is ringing or noise around zero, not the level of the background."""

BRIGHT_PERCENTILE = 99.9
"""Voxels above it (vessels, spikes) are capped, or Otsu's threshold would fall below them."""

FEWEST_SAMPLES = 8
"""Planes kept along an axis that has them: N4's cubic spline starts with 4 control points."""


def check_n4() -> None:
    """Check that N4 can run.

    Raises
    ------
    InputError
        If SimpleITK is not installed.

    Examples
    --------
    >>> check_n4()
    """
    if find_spec("SimpleITK") is None:
        raise InputError(f"N4, the bias correction: {explain_missing('SimpleITK')}")


def correct_bias(
    data: NDArray[np.float32],
    voxel_size: VoxelSize,
    settings: BiasSettings | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Divide an image by the smooth field that N4 finds in it.

    N4 (Tustison et al., IEEE TMI 29, 2010) works on logarithms, of the voxels above Otsu's
    threshold. An image that goes below zero, as one of zero mean does, is lifted by its darkest
    level first and put back afterwards; that level then stays as it is.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z) float32; NaN and infinite voxels count as background.
    voxel_size
        Edges of a voxel in mm, along each array axis.
    settings
        Shrink factor and iterations; None takes the defaults.
    threads
        Threads to use; None lets SimpleITK choose. The result does not depend on it.

    Returns
    -------
    corrected : NDArray[np.float32]
        (X, Y, Z), finite; what was not finite holds the darkest level (0 if nothing is below).
    field : NDArray[np.float32]
        (X, Y, Z), above zero; all ones for an image without contrast.

    Raises
    ------
    InputError
        If an axis has fewer than two planes, or SimpleITK is not installed.
    """
    check_n4()
    settings = settings or BiasSettings()
    if min(data.shape) < 2:
        raise InputError(
            f"shape {data.shape}; expected two planes or more along each axis for N4."
        )
    finite = np.isfinite(data)
    level = _find_dark_level(data if finite.all() else data[finite])
    lifted = data - level
    np.copyto(lifted, 0, where=np.invert(finite, out=finite))
    del finite
    samples = [
        _choose_samples(count, settings.shrink, size)
        for count, size in zip(data.shape, voxel_size, strict=True)
    ]
    log_field = _run_n4(lifted[np.ix_(*samples)], samples, voxel_size, settings, threads)
    for axis, positions in enumerate(samples):
        log_field = _spread(log_field, axis, positions, data.shape[axis])
    field = np.exp(log_field, out=log_field)
    lifted /= field
    lifted += level
    return lifted, field


def _find_dark_level(values: NDArray[np.float32]) -> np.float32:
    """Darkest level of an image that goes below zero, otherwise 0."""
    if values.size == 0 or values.min() >= 0:
        return np.float32(0)
    return np.float32(min(0.0, float(np.percentile(values, DARK_PERCENTILE))))


def _choose_samples(count: int, shrink: int, size: float) -> NDArray[np.intp]:
    """Choose the indices along an axis that N4 sees: centred, about `shrink` mm apart."""
    factor = min(round(shrink / size), count // FEWEST_SAMPLES)
    factor = max(factor, 1)
    return np.arange((count - 1) % factor // 2, count, factor)


def _run_n4(
    lifted: NDArray[np.float32],
    samples: list[NDArray[np.intp]],
    voxel_size: VoxelSize,
    settings: BiasSettings,
    threads: int | None,
) -> NDArray[np.float64]:
    """Logarithm of the field at the samples; zeros where there is no contrast to go by."""
    import SimpleITK as sitk

    lifted = np.minimum(lifted, np.percentile(lifted, BRIGHT_PERCENTILE).astype(np.float32))
    image = _to_itk(lifted, samples, voxel_size)
    foreground = sitk.GetArrayFromImage(sitk.OtsuThreshold(image, 0, 1, 200)).astype(bool)
    foreground &= lifted > 0
    if lifted.min() == lifted.max() or not foreground.any():
        return np.zeros(lifted.shape)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(settings.iterations))
    if threads:
        n4.SetNumberOfThreads(threads)
    n4.Execute(image, _to_itk(foreground.astype(np.uint8), samples, voxel_size))
    log_field: NDArray[Any] = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
    return log_field.astype(np.float64)


def _to_itk(array: NDArray[Any], samples: list[NDArray[np.intp]], voxel_size: VoxelSize) -> Any:
    """SimpleITK image of the samples with their spacing in mm."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    spacing = [float(s[1] - s[0]) * size for s, size in zip(samples, voxel_size, strict=True)]
    image.SetSpacing(spacing[::-1])
    return image


def _spread(
    log_field: NDArray[Any], axis: int, positions: NDArray[np.intp], count: int
) -> NDArray[Any]:
    """Cubic spline from the samples to every voxel along one axis, constant beyond the ends."""
    from scipy.interpolate import make_interp_spline

    voxels = np.clip(np.arange(count), positions[0], positions[-1])
    degree = min(3, positions.size - 1)
    weights = make_interp_spline(positions, np.eye(positions.size), k=degree)(voxels)
    spread = np.tensordot(weights.astype(np.float32), log_field.astype(np.float32), (1, axis))
    return np.moveaxis(spread, 0, axis)
