"""Doubts as data: what about a scan or its mask a person should look at.

Each check is a small function that returns a flag or nothing; `find_flags` asks them all.
Nothing is refused or printed here. Checks read every few voxels (about `SAMPLE_MM` apart),
so that all of them together take a small part of the network's time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deskull.image.geometry import VoxelSize

SAMPLE_MM = 3.0
"""Distance of the voxels that are read; a brain still has some 50,000 of them."""

CT_AIR_HU = -900.0
"""Air is -1000 in Hounsfield units and scanners pad with -1024 or less; MR has no such level."""

CT_AIR_SHARE = 0.1
"""Least share of air in a head CT's field; even a field cropped to the head has its corners."""

CT_GAP_HU = (-800.0, -200.0)
"""Between air and fat (-100) a head has next to nothing: sinus walls and hair."""

CT_GAP_SHARE = 0.15
"""Largest share of that gap among what is not air."""

CT_SOFT_HU = (0.0, 80.0)
"""Cerebrospinal fluid to clotted blood; brain is 20 to 45."""

CT_SOFT_SHARE = 0.2
"""Least share of it among what is not air; the brain alone is about a third of a head. An MR
whose offset happens to put tissue here is spread more widely."""

CT_BONE_HU = 300.0
"""Spongy bone begins about here, the skull's tables reach 1500."""

CT_BONE_SHARE = 0.02
"""Least share of bone among what is not air; a skull is about a tenth of a head."""

STRIPPED_LEVEL = 0.02
"""Share of the bright intensities below which a difference from the background is none."""

STRIPPED_PLAIN_SHARE = 0.2
"""Least share of the field with one and the same value; scanners leave noise, masks do not."""

STRIPPED_MOST_ML = 2000.0
"""Most of what is not background: brains of adults with their CSF stay below, the smallest of
37 whole heads (defaced, cut above the mouth) has 2300 ml."""

STRIPPED_FACE_MM2 = 10000.0
"""Most of it on the faces of the field: a slab through a head has 200 cm2 and more on each of
two, a brain whose vertex the field has cut less."""

CUT_MM2 = 400.0
"""Area on one face of the field: above the brain stem's with its fluid (about 20 mm across,
314 mm2), which leaves a field that ends at the foramen magnum without harm."""

VOLUME_ML = (600.0, 2300.0)
"""Mask volumes of people older than infants: intracranial volumes of adults lie between 950 and
2000 ml (a child of one year has about 800), widened for small heads and hydrocephalus."""

UNCERTAIN_PROBABILITY = (0.2, 0.8)
"""Between them a voxel may belong to either side."""

UNCERTAIN_SHARE = 0.35
"""Of the mask's volume. A sharp rim one voxel wide is 0.05 to 0.15, at 2 mm; conservative."""

PIECE_PROBABILITY = 0.5
"""The default threshold of the mask."""

PIECE_SHARE = 0.05
"""Second piece against the first: about 70 ml, half a cerebellum or an eye with its muscles."""


@dataclass(frozen=True)
class Flag:
    """One doubt.

    Parameters
    ----------
    name
        Short and stable, such as ``"field-cuts-brain"``; programs may compare it.
    sentence
        What was found, with its value, for people.
    """

    name: str
    sentence: str


def find_flags(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    voxel_size: VoxelSize,
) -> list[Flag]:
    """Find all doubts about a scan and its mask.

    Parameters
    ----------
    data
        (X, Y, Z), the scan as it was read; may hold NaN and infinite voxels.
    mask
        (X, Y, Z), the final mask on the same grid.
    probability
        (X, Y, Z), [0, 1], before threshold and cleaning.
    voxel_size
        mm along each array axis.

    Returns
    -------
    list[Flag]
        Empty if there is nothing to say; always in the same order.
    """
    strides = [max(1, round(SAMPLE_MM / size)) for size in voxel_size]
    sample = tuple(slice(stride // 2, None, stride) for stride in strides)
    steps = tuple(stride * size for stride, size in zip(strides, voxel_size, strict=True))
    few, few_mask = np.ascontiguousarray(data[sample]), np.ascontiguousarray(mask[sample])
    few_probability = np.ascontiguousarray(probability[sample])
    found = [
        _find_not_finite(data),
        _find_ct(few),
        _find_stripped(few, steps),
        _find_cut(mask, voxel_size),
        _find_volume(mask, voxel_size),
        _find_uncertain_rim(few_mask, few_probability),
        _find_pieces(few_probability),
    ]
    return [flag for flag in found if flag is not None]


def _find_not_finite(data: NDArray[np.float32]) -> Flag | None:
    """Flag voxels that are NaN or infinite."""
    count = data.size - int(np.count_nonzero(np.isfinite(data)))
    if not count:
        return None
    voxels = "1 voxel is" if count == 1 else f"{count} voxels are"
    return Flag("not-finite", f"{voxels} NaN or infinite and treated as background.")


def _find_ct(few: NDArray[np.float32]) -> Flag | None:
    """Flag the signature of Hounsfield units: air, a gap, soft tissue, bone."""
    finite = few[np.isfinite(few)]
    head = finite[finite > CT_AIR_HU]
    if finite.size - head.size < CT_AIR_SHARE * finite.size or not head.size:
        return None
    gap = _share(head, *CT_GAP_HU)
    soft = _share(head, *CT_SOFT_HU)
    bone = _share(head, CT_BONE_HU, np.inf)
    if gap > CT_GAP_SHARE or soft < CT_SOFT_SHARE or bone < CT_BONE_SHARE:
        return None
    return Flag(
        "looks-like-ct",
        f"The intensities look like a CT in Hounsfield units (air near -1000, {soft:.0%} of the "
        f"rest soft tissue, {bone:.0%} bone); the weights are made for MR.",
    )


def _find_stripped(few: NDArray[np.float32], steps: tuple[float, ...]) -> Flag | None:
    """Flag no more than a brain's volume on a plain background, whatever the mask."""
    finite = np.isfinite(few)
    values, counts = np.unique(few[finite], return_counts=True)
    if not values.size:
        return None
    level = values[counts.argmax()]
    plain = int(counts.max()) + np.count_nonzero(~finite)
    bright = float(np.percentile(np.abs(values - level), 95))
    tissue = finite & (np.abs(np.where(finite, few, level) - level) > STRIPPED_LEVEL * bright)
    ml = np.count_nonzero(tissue) * float(np.prod(steps)) / 1000
    faces = [
        np.count_nonzero(tissue.take(end, axis=axis)) * float(np.prod(steps)) / steps[axis]
        for axis in range(3)
        for end in (0, -1)
    ]
    if plain < STRIPPED_PLAIN_SHARE * few.size or ml > STRIPPED_MOST_ML:
        return None
    if not tissue.any() or sum(faces) > STRIPPED_FACE_MM2:
        return None
    return Flag(
        "already-stripped",
        f"The scan looks already stripped: {ml:.0f} ml on a plain background, no more than a "
        "brain; the mask may have lost its rim.",
    )


def _find_cut(mask: NDArray[np.bool_], voxel_size: VoxelSize) -> Flag | None:
    """Flag a mask that meets a face of the array over more than a brain stem's section."""
    faces = []
    for axis, size in enumerate(voxel_size):
        face_mm2 = float(np.prod(voxel_size)) / size
        for end, plane in (("start", 0), ("end", -1)):
            area = np.count_nonzero(np.moveaxis(mask, axis, 0)[plane]) * face_mm2
            if area > CUT_MM2:
                faces.append(f"{area / 100:.0f} cm2 at the {end} of axis {axis}")
    if not faces:
        return None
    return Flag("field-cuts-brain", f"The field of view cuts the brain: {', '.join(faces)}.")


def _find_volume(mask: NDArray[np.bool_], voxel_size: VoxelSize) -> Flag | None:
    """Flag a volume that no brain has."""
    volume_ml = np.count_nonzero(mask) * float(np.prod(voxel_size)) / 1000
    low, high = VOLUME_ML
    if low <= volume_ml <= high:
        return None
    return Flag(
        "volume",
        f"The mask has {volume_ml:.0f} ml; {low:.0f} to {high:.0f} ml are plausible beyond "
        "infancy.",
    )


def _find_uncertain_rim(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> Flag | None:
    """Flag a probability that is undecided over much of the brain."""
    low, high = UNCERTAIN_PROBABILITY
    uncertain = int(np.count_nonzero((probability > low) & (probability < high)))
    inside = int(np.count_nonzero(mask))
    if not inside or uncertain <= UNCERTAIN_SHARE * inside:
        return None
    return Flag(
        "uncertain-rim",
        f"The network is undecided (probability {low} to {high}) over {uncertain / inside:.0%} "
        "of the mask's volume.",
    )


def _find_pieces(probability: NDArray[np.float32]) -> Flag | None:
    """Flag a second piece that cleaning took away and that is not small."""
    labels, pieces = ndimage.label(probability >= PIECE_PROBABILITY)
    if pieces < 2:
        return None
    sizes = np.sort(np.bincount(labels.ravel())[1:])
    first, second = int(sizes[-1]), int(sizes[-2])
    if second <= PIECE_SHARE * first:
        return None
    return Flag(
        "pieces",
        f"The network found more than one piece; the second has {second / first:.0%} of the "
        "first's volume and was left out.",
    )


def _share(values: NDArray[Any], low: float, high: float) -> float:
    """Share of the values within two bounds."""
    return float(np.count_nonzero((values >= low) & (values <= high)) / values.size)
