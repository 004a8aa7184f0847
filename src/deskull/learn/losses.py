"""What training makes small."""

import torch
import torch.nn.functional as F
from torch import Tensor


def dice(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss over the known outputs; parameters as for `dice_and_cross_entropy`."""
    return _mean_of_known(1 - soft_dice(logits.float().sigmoid(), target), known)


def dice_and_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss plus voxelwise cross-entropy, over the known outputs.

    Parameters
    ----------
    logits, target
        (N, C, X, Y, Z); targets are shares in [0, 1].
    known
        (N, C), 1 where a target counts.

    Returns
    -------
    Tensor
        Scalar; 0 is perfect.
    """
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean_of_known(1 - soft_dice(logits.sigmoid(), target) + entropy.mean((2, 3, 4)), known)


def _mean_of_known(loss: Tensor, known: Tensor) -> Tensor:
    """Mean over each example's known outputs, then over examples, so that batches can split."""
    return ((loss * known).sum(1) / known.sum(1).clamp(min=1)).mean()


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    """Dice of shares, with squares below (Milletari et al. 2016), so that equality gives 1.

    Returns
    -------
    Tensor
        (N, C).
    """
    axes = (2, 3, 4)
    overlap = 2 * (probability * target).sum(axes)
    total = (probability**2).sum(axes) + (target**2).sum(axes)
    return (overlap + 1) / (total + 1)


def hard_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Dice after thresholding both at one half, (N, C)."""
    a, b = logits > 0, target > 0.5
    overlap = 2 * torch.logical_and(a, b).sum((2, 3, 4))
    total = a.sum((2, 3, 4)) + b.sum((2, 3, 4))
    return (overlap + 1) / (total + 1)


def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union after thresholding both at one half, (N, C)."""
    dice = hard_dice(logits, target)
    return dice / (2 - dice)
