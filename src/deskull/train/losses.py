"""The losses, the signed distance that one of them compares, and the overlap of masks."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

REACH_MM = 8.0
"""Distance from the surface beyond which targets are clipped: probability 0.0003 or 0.9997."""


def dice_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss over the known outputs; parameters as of `dice_and_cross_entropy_loss`.

    Examples
    --------
    >>> target = torch.ones(1, 1, 2, 2, 2)
    >>> bool(dice_loss(40 * target, target, torch.ones(1, 1)) < 1e-4)
    True
    """
    return _mean_of_known(1 - soft_dice(logits.float().sigmoid(), target), known)


def dice_and_cross_entropy_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss plus voxelwise cross-entropy, over the known outputs.

    Parameters
    ----------
    logits, target
        Output of the network and its target, (N, C, X, Y, Z) float32; targets are shares in [0,
        1].
    known
        Whether a target counts, (N, C): 1 or 0.

    Returns
    -------
    Tensor
        Scalar; 0 is perfect.

    Examples
    --------
    >>> target = (torch.arange(8.0) > 3).view(1, 1, 2, 2, 2).float()
    >>> sure = 40 * (target - 0.5)
    >>> bool(dice_and_cross_entropy_loss(sure, target, torch.ones(1, 1)) < 1e-4)
    True
    """
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean_of_known(1 - soft_dice(logits.sigmoid(), target) + entropy.mean((2, 3, 4)), known)


def distance_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Smooth L1 loss of signed distances, over the known outputs (after Hoopes et al. 2022).

    It is quadratic as far as two distances within reach can differ. A narrower parabola would
    make the network learn medians: where it does not know the surface, most voxels are outside,
    and so would be its answer (docs/background/experiments.md, 9).

    Parameters
    ----------
    logits
        Output of the network, (N, C, X, Y, Z), taken as mm to the surface, positive inside.
    target
        Sigmoid of the mm from `to_distance`, so that it is above 0.5 inside as shares are.
    known
        Whether a target counts, as for `dice_and_cross_entropy_loss`.

    Examples
    --------
    >>> target = torch.full((1, 1, 2, 2, 2), 3.0)
    >>> bool(distance_loss(target, target.sigmoid(), torch.ones(1, 1)) < 1e-6)
    True
    """
    goal = target.logit(eps=1 / (1 + math.exp(REACH_MM)))
    loss = F.smooth_l1_loss(logits.float(), goal, beta=2 * REACH_MM, reduction="none")
    return _mean_of_known(loss.mean((2, 3, 4)), known)


def to_distance(shares: Tensor, voxel_size: float) -> Tensor:
    """Measure the distance from each voxel's centre to where the shares pass through one half.

    The surface is found where it crosses the lines between neighbouring centres, by linear
    interpolation; the Euclidean distance to the nearest of these points is exact, found axis by
    axis (Felzenszwalb and Huttenlocher 2012). The surface continues between these points, so that
    the distance is too large, by less than a tenth of a voxel in the mean. The edge of the array
    is not a surface.

    Parameters
    ----------
    shares
        Share of each voxel that is inside, (C, X, Y, Z) in [0, 1].
    voxel_size
        Voxel size in mm.

    Returns
    -------
    Tensor
        (C, X, Y, Z) float32 in mm, positive inside, clipped to plus or minus `REACH_MM`.

    Examples
    --------
    >>> to_distance(torch.tensor([1.0, 1, 0, 0]).view(1, 4, 1, 1), 2.0).flatten().tolist()
    [3.0, 1.0, -1.0, -3.0]
    """
    reach = range(1, math.ceil(REACH_MM / voxel_size) + 1)
    least = torch.full_like(shares, torch.inf)
    for axis in (1, 2, 3):
        along = _spread(_find_crossings(shares, axis), axis, [float(n) for n in reach])
        squares = along**2
        for other in {1, 2, 3} - {axis}:
            squares = _spread(squares, other, [float(n**2) for n in reach])
        least = torch.minimum(least, squares)
    apart = (least.sqrt() * voxel_size).clamp(max=REACH_MM)
    return torch.where(shares > 0.5, apart, -apart)


def _find_crossings(shares: Tensor, axis: int) -> Tensor:
    """Return the voxels to the surface along an axis, at the centres beside it; else infinite."""
    count = shares.shape[axis] - 1
    low, high = shares.narrow(axis, 0, count) - 0.5, shares.narrow(axis, 1, count) - 0.5
    crosses = (low > 0) != (high > 0)
    way = torch.where(crosses, low / (low - high), torch.inf)
    apart = torch.full_like(shares, torch.inf)
    apart.narrow(axis, 0, count).copy_(way)
    after = apart.narrow(axis, 1, count)
    torch.minimum(after, torch.where(crosses, 1 - way, torch.inf), out=after)
    return apart


def _spread(values: Tensor, axis: int, costs: list[float]) -> Tensor:
    """Return the minimum along an axis of values plus the cost of 1, 2, ... voxels between."""
    least = values.clone()
    for steps, cost in enumerate(costs, start=1):
        count = max(0, values.shape[axis] - steps)
        dearer = values + cost
        for start, other in ((0, values.shape[axis] - count), (values.shape[axis] - count, 0)):
            here = least.narrow(axis, start, count)
            torch.minimum(here, dearer.narrow(axis, other, count), out=here)
    return least


def _mean_of_known(loss: Tensor, known: Tensor) -> Tensor:
    """Average over the known outputs of each example, then over examples, as for split batches."""
    return ((loss * known).sum(1) / known.sum(1).clamp(min=1)).mean()


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    """Dice of shares, with squares in the denominator (Milletari et al. 2016): equality gives 1.

    Returns
    -------
    Tensor
        (N, C).

    Examples
    --------
    >>> float(soft_dice(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)))
    1.0
    """
    axes = (2, 3, 4)
    overlap = 2 * (probability * target).sum(axes)
    total = (probability**2).sum(axes) + (target**2).sum(axes)
    return (overlap + 1) / (total + 1)


def hard_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Dice after thresholding both at one half, (N, C).

    Examples
    --------
    >>> float(hard_dice(torch.full((1, 1, 2, 2, 2), 9.0), torch.ones(1, 1, 2, 2, 2)))
    1.0
    """
    a, b = logits > 0, target > 0.5
    overlap = 2 * torch.logical_and(a, b).sum((2, 3, 4))
    total = a.sum((2, 3, 4)) + b.sum((2, 3, 4))
    return (overlap + 1) / (total + 1)


def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union after thresholding both at one half, (N, C).

    Examples
    --------
    >>> float(hard_iou(torch.full((1, 1, 2, 2, 2), 9.0), torch.ones(1, 1, 2, 2, 2)))
    1.0
    """
    dice = hard_dice(logits, target)
    return dice / (2 - dice)


def overlap(logits: Tensor, target: Tensor, output: int) -> tuple[float, float]:
    """Return Dice and IoU of one output, means over a batch (N, C, X, Y, Z).

    Examples
    --------
    >>> overlap(torch.full((1, 1, 2, 2, 2), 9.0), torch.ones(1, 1, 2, 2, 2), output=0)
    (1.0, 1.0)
    """
    dice, iou = (measure(logits, target)[:, output].mean() for measure in (hard_dice, hard_iou))
    return float(dice), float(iou)


@dataclass(frozen=True)
class HeadOverlap:
    """Overlap of the brain with its reference on one head.

    Parameters
    ----------
    head
        File name of the scan, or name of the participant of a synthetic head.
    dice, iou
        Dice and intersection over union, after thresholding both at one half.

    Examples
    --------
    >>> HeadOverlap("sub-01_T1w.nii.gz", dice=0.98, iou=0.96).dice
    0.98
    """

    head: str
    dice: float
    iou: float


def average(overlaps: list[HeadOverlap]) -> tuple[float, float]:
    """Return mean Dice and mean IoU over heads.

    Examples
    --------
    >>> average([HeadOverlap("a", 1.0, 1.0), HeadOverlap("b", 0.5, 0.25)])
    (0.75, 0.625)
    """
    count = len(overlaps)
    return sum(o.dice for o in overlaps) / count, sum(o.iou for o in overlaps) / count
