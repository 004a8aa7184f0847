"""Doubts as data: what about a scan or its mask a user should look at.

Each check is a small function that returns a flag or nothing; `find_flags` runs those that
look at the scan's own voxels, `find_trait_flags` those that look at what was measured in the
network's window. Nothing is refused or printed here. Checks read every few voxels (about
`SAMPLE_MM` apart), so that all of them together take a small part of the network's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import VoxelSize
from deskull.measure.likeness import sum_up
from deskull.measure.traits import TRAITS
from deskull.settings import Settings

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

STRIPPED_MAX_ML = 2000.0
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

INFANT_VOLUME_ML = (100.0, 900.0)
"""Mask volumes in a head that is narrow: from 29 weeks after conception to about a year of age."""

INFANT_WIDTH_MM = 105.0
"""Shortest edge of the box of an infant's head, at most: synthetic newborns have up to 90 mm, 48
scans of adults at least 115."""

WIDTH_LEVEL, WIDTH_SHARE = 0.15, 0.2
"""A voxel of the head is brighter than this share of the way from air to bright; a slice of it
holds at least this share of the voxels of the fullest one."""

PIECE_SHARE = 0.05
"""Second piece against the first: about 70 ml, half a cerebellum or an eye with its muscles."""

RIM_MM = 3.5
"""Thickness of the layer in which the network is undecided: about 2 mm on good masks."""

PLAIN_STRUCTURE = 0.03
"""Deviation within the brain, of its brightness: heads of every contrast, blurred or noisy, have
0.06 and more, plain phantoms 0.01."""

MIRROR_SHARE = 0.16
"""Of the mask, not covered by its left-right mirror: heads that are tilted have up to 0.12."""

TURNED = 60.0
"""Degrees by which a brain is turned against the header's axes: adult heads tilted by up to 30
degrees about any axis have up to 54, headers with axes swapped or flipped give 71 and more."""

UNLIKE = 1.5
"""Distance from the training heads, in ranges of a trait."""


@dataclass(frozen=True)
class Flag:
    """One doubt.

    Parameters
    ----------
    name
        Short and stable, such as ``"field-cuts-brain"``; programs may compare it.
    sentence
        Sentence for the user: what was found, with its value.

    Examples
    --------
    >>> flag = Flag("volume", "The mask has 3100 ml; 600 to 2300 ml are plausible.")
    >>> flag.name
    'volume'
    """

    name: str
    sentence: str


def find_flags(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    voxel_size: VoxelSize,
    padded: int = 0,
) -> list[Flag]:
    """Find all doubts about a scan and its mask.

    Parameters
    ----------
    data
        Intensities as they were read, (X, Y, Z) float32; NaN and infinity are allowed.
    mask
        Final mask on the same grid, (X, Y, Z) bool.
    probability
        Probability before threshold and cleaning, (X, Y, Z) in [0, 1].
    voxel_size
        Edges of a voxel in mm, along each array axis.
    padded
        Number of voxels that are NaN because they were padding.

    Returns
    -------
    list[Flag]
        Empty if there is nothing to say; always in the same order.
    """
    strides = [max(1, round(SAMPLE_MM / size)) for size in voxel_size]
    sample = tuple(slice(stride // 2, None, stride) for stride in strides)
    steps = tuple(stride * size for stride, size in zip(strides, voxel_size, strict=True))
    few = np.ascontiguousarray(data[sample])
    few_probability = np.ascontiguousarray(probability[sample])
    cut = _find_cut(mask, voxel_size)
    found = [
        _find_not_finite(data, padded),
        _find_ct(few),
        _find_stripped(few, steps),
        cut,
        _find_volume(mask, voxel_size, few, steps, cut is not None),
        _find_pieces(few_probability),
    ]
    return [flag for flag in found if flag is not None]


def _find_not_finite(data: NDArray[np.float32], padded: int) -> Flag | None:
    """Flag voxels that were read as NaN or infinite."""
    count = data.size - int(np.count_nonzero(np.isfinite(data))) - padded
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
    if plain < STRIPPED_PLAIN_SHARE * few.size or ml > STRIPPED_MAX_ML:
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


def _find_volume(
    mask: NDArray[np.bool_],
    voxel_size: VoxelSize,
    few: NDArray[np.float32],
    steps: tuple[float, ...],
    cut: bool,
) -> Flag | None:
    """Flag a volume that no brain has in a head so wide; any part of a brain may be small."""
    volume_ml = np.count_nonzero(mask) * float(np.prod(voxel_size)) / 1000
    low, high = VOLUME_ML
    whose = "beyond infancy"
    if volume_ml < low and not cut:
        width = measure_width(few, steps)
        if width <= INFANT_WIDTH_MM:
            low, high = INFANT_VOLUME_ML
            whose = f"in a head of {width:.0f} mm, as infants have"
    if (cut or low <= volume_ml) and volume_ml <= high:
        return None
    return Flag(
        "volume",
        f"The mask has {volume_ml:.0f} ml; {low:.0f} to {high:.0f} ml are plausible {whose}.",
    )


def measure_width(data: NDArray[np.float32], voxel_size: tuple[float, ...]) -> float:
    """Measure the shortest edge in mm of the box that holds what is brighter than air.

    Parameters
    ----------
    data
        Intensities of the scan, (X, Y, Z); what is not finite counts as air.
    voxel_size
        Edges of a voxel in mm, along each array axis.

    Examples
    --------
    >>> head = np.zeros((20, 20, 20), np.float32)
    >>> head[4:16, 2:18, 2:18] = 100
    >>> measure_width(head, (10.0, 10.0, 10.0))
    120.0
    """
    finite = np.isfinite(data)
    if not finite.any():
        return 0.0
    low, high = np.percentile(data[finite], [0.5, 99.5])
    head = finite & (np.where(finite, data, low) > low + WIDTH_LEVEL * (high - low))
    shares = [head.mean(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    counts = [np.count_nonzero(share >= WIDTH_SHARE * max(share.max(), 1e-9)) for share in shares]
    return float(min(count * size for count, size in zip(counts, voxel_size, strict=True)))


def _find_pieces(probability: NDArray[np.float32]) -> Flag | None:
    """Flag a second piece that cleaning took away and that is not small."""
    from scipy import ndimage

    labels, pieces = ndimage.label(probability >= Settings.threshold)
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


def find_trait_flags(
    traits: Mapping[str, float], unlike: Mapping[str, float] | None, cut: bool
) -> list[Flag]:
    """Find the doubts that what was measured in the network's window gives rise to.

    Parameters
    ----------
    traits
        Traits by name, from `measure_traits` or `measure_mask_traits`; empty without a mask.
    unlike
        Distance of each trait from the range of the training heads, from
        `deskull.measure.likeness.find_unlike`; None if unknown.
    cut
        Whether the field cuts the brain: then its form says nothing.

    Returns
    -------
    list[Flag]
        Always in the same order.
    """
    if not traits:
        return []
    found = [
        _find_uncertain_rim(traits.get("rim_mm", 0.0)),
        _find_phantom(traits["structure"]),
        None if cut else _find_orientation(traits),
        None if cut else _find_asymmetry(traits["mirror"]),
        _find_unlike(unlike or {}),
    ]
    return [flag for flag in found if flag is not None]


def _find_uncertain_rim(rim_mm: float) -> Flag | None:
    """Flag a surface that the network does not know the place of."""
    if rim_mm <= RIM_MM:
        return None
    return Flag(
        "uncertain-rim",
        f"The network is undecided (probability 0.2 to 0.8) over a layer of {rim_mm:.1f} mm; 2 mm "
        "are usual.",
    )


def _find_phantom(structure: float) -> Flag | None:
    """Flag an inside in which nothing differs."""
    if structure >= PLAIN_STRUCTURE:
        return None
    return Flag(
        "looks-like-phantom",
        f"Within the mask nothing differs by more than noise and bias ({structure:.1%} of the "
        "brightness; tissues of a brain by 6% and more): a phantom, or an image without contrast.",
    )


def _find_orientation(traits: Mapping[str, float]) -> Flag | None:
    """Flag a mask whose form does not fit the axes that the header gives."""
    if traits["turned"] <= TURNED:
        return None
    return Flag(
        "orientation",
        f"By the header's orientation the brain is turned by {traits['turned']:.0f} degrees. Is "
        "the header right?",
    )


def _find_asymmetry(mirror: float) -> Flag | None:
    """Flag a mask that lacks on one side what it has on the other."""
    if mirror <= MIRROR_SHARE:
        return None
    return Flag(
        "asymmetric",
        f"{mirror:.0%} of the mask have no counterpart on the other side: a part is missing or "
        "too much, or the head is turned.",
    )


def _find_unlike(unlike: Mapping[str, float]) -> Flag | None:
    """Flag a head that is far from all training heads."""
    distance = sum_up(unlike)
    if distance <= UNLIKE:
        return None
    most = sorted(unlike, key=lambda name: -unlike[name])[:2]
    names = " and ".join(TRAITS[name] for name in most if unlike[name] > 0.1 * distance)
    return Flag(
        "unlike-training",
        f"The head is unlike the training heads of the weights, mostly in {names} "
        f"({distance:.1f} times the range that they span).",
    )


def _share(values: NDArray[Any], low: float, high: float) -> float:
    """Share of the values within two bounds."""
    return float(np.count_nonzero((values >= low) & (values <= high)) / values.size)
