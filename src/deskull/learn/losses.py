"""What training makes small."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
    axes = (2, 3, 4)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(axes)
    loss = (1 - soft_dice(logits.sigmoid(), target)) + entropy
    return (loss * known).sum() / known.sum().clamp(min=1)


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
