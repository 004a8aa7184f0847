"""Intensity normalisation: what the network sees does not depend on the scanner's units."""

import numpy as np
from numpy.typing import NDArray

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
        Any shape, finite.

    Returns
    -------
    NDArray
        Same shape, float32. A constant image gives zeros.
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
