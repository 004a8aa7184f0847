"""How well a network does on heads in its own window: what validation and test have in common."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deskull.learn.dataset import Sources, make_plain_examples
from deskull.learn.losses import hard_dice, hard_iou
from deskull.learn.recipe import Recipe
from deskull.network.unet import UNet


@dataclass(frozen=True)
class Verdict:
    """Overlap of the brain with its reference on one head.

    Parameters
    ----------
    head
        Name of its file, or of the person for a painted head.
    dice, iou
        After thresholding both at one half.
    """

    head: str
    dice: float
    iou: float


@torch.no_grad()
def judge(network: UNet, sources: Sources, recipe: Recipe, device: str = "cpu") -> list[Verdict]:
    """Look at every head as it is.

    Parameters
    ----------
    network
        Moved to the device, and into evaluation mode.
    sources
        At least one head.
    recipe
        That the network was trained by.
    device
        A torch device.
    """
    network.to(device).eval()
    verdicts = []
    for name, example in make_plain_examples(sources, recipe):
        logits = network(example.image[None, None].to(device))
        verdicts.append(Verdict(name, *overlaps(logits, example.target[None].to(device), recipe)))
    return verdicts


def overlaps(logits: Tensor, target: Tensor, recipe: Recipe) -> tuple[float, float]:
    """Dice and IoU of the brain, means over a batch (N, C, X, Y, Z)."""
    brain = recipe.network.outputs.index("brain")
    dice, iou = (measure(logits, target)[:, brain].mean() for measure in (hard_dice, hard_iou))
    return float(dice), float(iou)


def means(verdicts: list[Verdict]) -> tuple[float, float]:
    """Mean Dice and IoU over heads."""
    count = len(verdicts)
    return sum(v.dice for v in verdicts) / count, sum(v.iou for v in verdicts) / count
