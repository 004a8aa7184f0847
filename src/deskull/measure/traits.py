"""Numbers about a head and its mask by which an unusual one is recognised.

They are taken in the network's window, where every head has the same axes, voxels and scale of
intensities, so that those of one scan can be compared with those of all training heads. What
is concluded from them is in `quality.py` and `score.py`.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import find_box

BLOCK_MM = 4.0
"""Voxels are averaged to blocks of about this edge first: a network's time is not for this."""

CORE_MM = 8.0
"""Depth below the mask's surface at which the brain's inside begins: beyond the cortex's CSF."""

SHELL_MM = 12.0
"""Thickness of what is looked at around the mask: skull and scalp."""

UNDECIDED = float(np.log(0.8 / 0.2))
"""Logits below this size are probabilities from 0.2 to 0.8."""

FRONT = np.array([0.0, 0.929, 0.369])
ABOVE = np.array([0.0, -0.369, 0.929])
"""Axes of an upright brain in RAS+: the means over 42 adult heads, which pitch by 22 degrees."""

LONG = 1.05
"""Least ratio of a brain's deviations along its longest and its second axis: 1.12 in 42 heads."""

SKEWED = 0.025
"""Least skewness that tells the two senses of an axis apart: 0.028 and more in 42 heads."""

FINE_MM, BROAD_MM = 8.0, 40.0
"""Blocks over which means are taken: noise is gone from the first, bias is left in the second."""

TRAITS = {
    "ml": "the mask's volume in ml",
    "length_x": "its length from left to right in mm, without the outmost hundredths",
    "length_y": "its length from back to front in mm",
    "length_z": "its length from below to above in mm",
    "skew_y": "its skewness from back to front",
    "skew_z": "its skewness from below to above",
    "turned": "the angle in degrees between its axes and those of an upright brain",
    "compact": "its compactness, 1 for a ball",
    "mirror": "the share of it that its left-right mirror does not cover",
    "second": "the second piece as a share of the first",
    "holes": "the share of it that is holes",
    "rim_mm": "the thickness in mm of the layer in which the network is undecided",
    "sure_in": "the logit that 5% of the inside stay below",
    "sure_out": "the logit that 5% around stay above",
    "core_10": "the darkest tenth of the inside",
    "core_50": "the brightness of the inside",
    "core_90": "the brightest tenth of the inside",
    "rim_50": "the brightness along the surface",
    "shell_10": "the darkest tenth of what lies around",
    "shell_50": "the brightness of what lies around",
    "shell_90": "the brightest tenth of what lies around",
    "structure": "the contrast within",
}
"""Name of each trait, and its description. Brightness is in deviations of the foreground from its
mean; contrast is the deviation within the brain once noise and bias are averaged away, as a share
of its brightness above the darkest around."""

Array = NDArray[np.float32]


def measure_traits(image: Array, logits: Array, voxel_size: float) -> dict[str, float]:
    """Measure a head in the network's window.

    Parameters
    ----------
    image
        Normalised intensities near RAS+, (X, Y, Z) float32: the foreground has mean 0 and
        deviation 1.
    logits
        Logits of the brain, (X, Y, Z) float32; the mask is where they are above 0.
    voxel_size
        Edge of a voxel in mm, the same along all axes.

    Returns
    -------
    dict
        Value of each of `TRAITS`; empty if the mask is.
    """
    zones = _find_zones(image, logits, voxel_size)
    if zones is None:
        return {}
    return _to_floats(_measure_head(zones) | _measure_sureness(zones))


def measure_mask_traits(
    image: Array, mask: NDArray[np.bool_], voxel_size: float
) -> dict[str, float]:
    """Measure a head whose mask no network drew here.

    Parameters
    ----------
    image, voxel_size
        Normalised intensities and edge of a voxel in mm, as for `measure_traits`.
    mask
        Mask on the grid of the image, (X, Y, Z) bool.

    Returns
    -------
    dict
        As `measure_traits`, without how sure a network was.
    """
    zones = _find_zones(image, np.where(mask, np.float32(1), np.float32(-1)), voxel_size)
    return {} if zones is None else _to_floats(_measure_head(zones))


class _Zones(NamedTuple):
    """A head in blocks of `voxel_size` mm, cropped to the mask's surroundings, and its parts."""

    image: Array
    logits: Array
    inside: NDArray[np.bool_]
    core: NDArray[np.bool_]
    shell: NDArray[np.bool_]
    voxel_size: float


def _find_zones(image: Array, logits: Array, voxel_size: float) -> _Zones | None:
    """Tell the mask's inside, its core and what lies around it; None without a mask."""
    from scipy import ndimage

    blocks = max(1, round(BLOCK_MM / voxel_size))
    image, logits = make_blocks(image, blocks), make_blocks(logits, blocks)
    voxel_size *= blocks
    inside = logits > 0
    if not inside.any():
        return None
    box = find_box(inside, margin=round(SHELL_MM / voxel_size) + 1)
    image, logits, inside = image[box], logits[box], inside[box]
    core = ndimage.binary_erosion(inside, iterations=max(1, round(CORE_MM / voxel_size)))
    shell = (
        ndimage.binary_dilation(inside, iterations=max(1, round(SHELL_MM / voxel_size))) & ~inside
    )
    core = core if core.any() else inside
    shell = shell if shell.any() else ~inside
    return _Zones(image, logits, inside, core, shell, voxel_size)


def _measure_head(zones: _Zones) -> dict[str, Any]:
    """All traits that need an image and a mask, and no network."""
    image, _, inside, core, shell, voxel_size = zones
    return (
        _measure_pieces(inside)
        | _measure_shape(inside, voxel_size)
        | _measure_intensity(image, inside & ~core, core, shell)
        | {"structure": _measure_structure(image, core, shell, voxel_size)}
    )


def _to_floats(traits: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in traits.items()}


def make_blocks(values: Array, count: int) -> Array:
    """Means of blocks of voxels; what is left over at the far ends is not looked at.

    Examples
    --------
    >>> make_blocks(np.arange(8, dtype=np.float32).reshape(2, 2, 2), 2).tolist()
    [[[3.5]]]
    """
    x, y, z = (length // count * count for length in values.shape)
    total = np.zeros((x // count, y // count, z // count), np.float32)
    for i, j, k in itertools.product(range(count), repeat=3):
        total += values[i:x:count, j:y:count, k:z:count]
    return np.asarray(total / count**3, np.float32)


def _measure_sureness(zones: _Zones) -> dict[str, Any]:
    """How sure the network is."""
    _, logits, inside, core, shell, voxel_size = zones
    undecided = np.count_nonzero(np.abs(logits) < UNDECIDED)
    return {
        "rim_mm": undecided * voxel_size / _count_faces(inside),
        "sure_in": np.percentile(logits[core], 5),
        "sure_out": np.percentile(logits[shell], 95) if shell.any() else 0.0,
    }


def _measure_pieces(inside: NDArray[np.bool_]) -> dict[str, Any]:
    """Of how many pieces the mask is, and how full of holes."""
    from scipy import ndimage

    pieces = np.sort(np.bincount(ndimage.label(inside)[0].ravel())[1:])
    filled = ndimage.binary_fill_holes(inside)
    return {
        "second": pieces[-2] / pieces[-1] if len(pieces) > 1 else 0.0,
        "holes": np.count_nonzero(filled & ~inside) / np.count_nonzero(inside),
    }


def _measure_shape(inside: NDArray[np.bool_], voxel_size: float) -> dict[str, Any]:
    """Size and form of the mask."""
    profiles = [inside.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    (_, length_x), (skew_y, length_y), (skew_z, length_z) = map(_measure_profile, profiles)
    volume = np.count_nonzero(inside)
    area = _count_faces(inside) * 2 / 3  # of a ball 3/2 of its surface are counted
    places = np.arange(len(inside))
    there = round(2 * float(profiles[0] @ places) / volume) - places
    known = (there >= 0) & (there < len(inside))
    covered = np.count_nonzero(inside[places[known]] & inside[there[known]])
    return {
        "ml": volume * voxel_size**3 / 1000,
        "length_x": length_x * voxel_size,
        "length_y": length_y * voxel_size,
        "length_z": length_z * voxel_size,
        "skew_y": skew_y,
        "skew_z": skew_z,
        "compact": (36 * np.pi * volume**2) / area**3,
        "mirror": 1 - covered / volume,
        "turned": _measure_turn(inside),
    }


def _measure_turn(inside: NDArray[np.bool_]) -> float:
    """Angle between a brain's own axes and those of an upright brain, in degrees.

    The longest axis of a brain points to the side to which it tapers, the front. Of the two others
    the one along which it is more skewed points upwards. What is too round or too even to have an
    axis or a sense of it is not turned.
    """
    places = np.argwhere(inside) - np.argwhere(inside).mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(places.T))
    variances, axes = variances[::-1], axes[:, ::-1]
    if variances[0] < LONG**2 * variances[1]:
        return 0.0
    along = places @ axes
    skews = (along**3).mean(axis=0) / along.std(axis=0) ** 3
    up = 1 if abs(skews[1]) > abs(skews[2]) else 2
    angles = [0.0]
    for axis, upright in ((0, FRONT), (up, ABOVE)):
        cosine = float(axes[:, axis] @ upright) * (1 if skews[axis] > 0 else -1)
        if abs(skews[axis]) >= SKEWED:
            angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    return max(angles)


def _measure_profile(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Skewness of voxels along an axis, and their length without the outmost hundredths."""
    places, whole = np.arange(len(counts)), counts.sum()
    centred = places - (counts * places).sum() / whole
    spread = max(float(np.sqrt((counts * centred**2).sum() / whole)), 0.5)
    shares = (np.cumsum(counts) - counts / 2) / whole
    low, high = np.interp([0.01, 0.99], shares, places)
    return float((counts * centred**3).sum() / whole) / spread**3, float(high - low)


def _measure_intensity(
    image: Array, rim: NDArray[np.bool_], core: NDArray[np.bool_], shell: NDArray[np.bool_]
) -> dict[str, Any]:
    """Quantiles of the normalised intensity within, along and around the mask."""
    found: dict[str, Any] = {"rim_50": np.median(image[rim]) if rim.any() else 0.0}
    for name, zone in (("core", core), ("shell", shell)):
        values = image[zone] if zone.any() else np.zeros(1)
        for part, value in zip((10, 50, 90), np.percentile(values, [10, 50, 90]), strict=True):
            found[f"{name}_{part}"] = value
    return found


def _measure_structure(
    image: Array, core: NDArray[np.bool_], shell: NDArray[np.bool_], voxel_size: float
) -> float:
    """How much tissues differ within the brain: in a plain phantom nothing does."""
    fine, broad = (round(mm / voxel_size) for mm in (FINE_MM, BROAD_MM))
    weight = core.astype(np.float32)
    few = _average(image * weight, fine) / np.maximum(_average(weight, fine), 1e-3)
    many = _average(image * weight, broad) / np.maximum(_average(weight, broad), 1e-3)
    level = float(np.median(image[core])) - float(image[core | shell].min())
    return min(float((few - many)[core].std()) / max(level, 1e-3), 1.0)


def _average(values: Array, width: int) -> Array:
    from scipy import ndimage

    return np.asarray(ndimage.uniform_filter(values, max(width, 1), mode="constant"))


def _count_faces(inside: NDArray[np.bool_]) -> int:
    """Voxel faces between inside and outside."""
    padded = np.pad(inside, 1)
    return int(sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in range(3)))
