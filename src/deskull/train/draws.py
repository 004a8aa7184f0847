"""The source of randomness of one example: a few numbers, and noise for every voxel.

Numbers are drawn on the CPU, where they are needed; noise is drawn where the voxels are.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


class Draws:
    """A source of randomness; the same seed gives the same draws on the same kind of device.

    Parameters
    ----------
    seed
        Any integer from 0 to 2^63 - 1.
    device
        Torch device on which voxels are made.

    Examples
    --------
    >>> Draws(3).uniform(2, 4) == Draws(3).uniform(2, 4)
    True
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.numbers = Generator().manual_seed(seed)
        on_cpu = self.device.type == "cpu"
        self.voxels = self.numbers if on_cpu else Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """Draw one number uniformly from [low, high).

        Examples
        --------
        >>> 2 <= Draws(0).uniform(2, 3) < 3
        True
        """
        return low + (high - low) * float(torch.rand((), generator=self.numbers))

    def chance(self, probability: float) -> bool:
        """Draw True with this probability."""
        return float(torch.rand((), generator=self.numbers)) < probability

    def below(self, count: int) -> int:
        """Draw a whole number from 0 to below `count`."""
        return int(torch.randint(count, (), generator=self.numbers))

    def uniforms(self, *shape: int) -> Tensor:
        """Draw a few numbers uniformly from [0, 1), on the CPU."""
        return torch.rand(shape, generator=self.numbers)

    def normals(self, *shape: int) -> Tensor:
        """Draw a few normal numbers, on the CPU."""
        return torch.randn(shape, generator=self.numbers)

    def noise(self, shape: Sequence[int]) -> Tensor:
        """Draw a normal number for every voxel, on the device."""
        return torch.randn(tuple(shape), generator=self.voxels, device=self.device)
