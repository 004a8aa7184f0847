"""Intensity normalisation: what the network sees does not depend on the scanner's units."""

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid, to_canonical_array

AIR = 0.5  # percentile that stands for air, within the field and outside of it
SAMPLE_MM = 4.0  # a voxel every so often tells enough
LOW, HIGH = 0.5, 99.5  # percentiles that an outlier, a hot voxel or a wrap-round cannot move
FOREGROUND = 0.1  # of the way from low to high: above air and noise, below any tissue


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the head to zero mean and unit variance.

    Values are clipped to robust percentiles; mean and standard deviation are those of the
    foreground alone, so that padding, a zeroed background or a defaced hole do not count.
    Adding a constant or multiplying by a positive one changes nothing.

    Parameters
    ----------
    image
        Intensities of any shape, finite.

    Returns
    -------
    NDArray
        Same shape, float32. A constant image gives zeros.

    Examples
    --------
    >>> image = np.array([0.0, 0.0, 100.0, 200.0, 300.0], np.float32)
    >>> bool(np.allclose(normalise(image), normalise(5 * image + 20), atol=1e-5))
    True
    """
    low, high = np.percentile(image, [LOW, HIGH])
    if high <= low:
        low, high = float(image.min()), float(image.max())
        if high <= low:
            return np.zeros_like(image, dtype=np.float32)
    scaled = (np.clip(image, low, high) - low) / (high - low)
    foreground = scaled[scaled > FOREGROUND]
    mean = foreground.mean(dtype=np.float64)
    deviation = max(foreground.std(dtype=np.float64), 1e-3)
    return np.asarray((scaled - mean) / deviation, dtype=np.float32)


def make_finite(data: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float32], float]:
    """Turn NaN and Inf into air.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z) float32, at least one voxel finite.
    grid
        Grid of the intensities.

    Returns
    -------
    tuple
        The intensities, all finite (the same array if they were), and the intensity of air.

    Examples
    --------
    >>> from deskull.image.grid import make_ras_grid
    >>> data = np.array([[[1.0, np.nan, 3.0]]], np.float32)
    >>> bool(np.isfinite(make_finite(data, make_ras_grid((0, 0, 0), (1, 1, 3), 1.0))[0]).all())
    True
    """
    air = find_air(data, grid)
    if np.isfinite(data).all():
        return data, air
    return np.where(np.isfinite(data), data, np.float32(air)), air


def find_air(data: NDArray[np.float32], grid: Grid) -> float:
    """Find the intensity of what lies outside of the head, whatever the orientation."""
    values = to_canonical_array(data, grid)
    x, y, z = (max(1, int(SAMPLE_MM / size)) for size in grid.canonical().voxel_size)
    coarse = values[::x, ::y, ::z]
    finite = coarse[np.isfinite(coarse)]
    return float(np.percentile(finite if finite.size else data[np.isfinite(data)], AIR))
