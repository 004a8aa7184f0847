"""The network: a 3D residual U-Net, new or with released weights. Tensors are (N, C, X, Y, Z)."""

from itertools import pairwise
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from deskull.network.card import NetworkSpec
from deskull.network.weights import Stage


class Block(nn.Module):
    """Two convolutions of kernel 3, each normalised and rectified, with an optional shortcut."""

    def __init__(self, inputs: int, outputs: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = _make_norm(outputs, spec)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = _make_norm(outputs, spec)
        self.shortcut = (
            None
            if not spec.residual
            else nn.Identity()
            if inputs == outputs
            else nn.Conv3d(inputs, outputs, 1, bias=False)
        )
        self.activation = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, inputs, ...) to (N, outputs, ...) on the same grid."""
        h = self.activation(self.first_norm(self.first(x)))
        h = self.second_norm(self.second(h))
        joined = h if self.shortcut is None else h + self.shortcut(x)
        return cast(Tensor, self.activation(joined))


class Down(nn.Module):
    """Max pooling to half the grid, dropout, and a block."""

    def __init__(self, inputs: int, outputs: int, spec: NetworkSpec) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(2)
        self.dropout = nn.Dropout3d(spec.dropout)
        self.block = Block(inputs, outputs, spec)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, inputs, ...) to (N, outputs, ...) on a grid half as fine."""
        return cast(Tensor, self.block(self.dropout(self.pool(x))))


class Up(nn.Module):
    """Upsample to twice the grid, concatenate the encoder's features, and a block."""

    def __init__(self, deep: int, skip: int, spec: NetworkSpec) -> None:
        super().__init__()
        transposed = spec.upsample == "transposed"
        self.upsample: nn.Module = (
            nn.ConvTranspose3d(deep, skip, 2, stride=2)
            if transposed
            else nn.Upsample(scale_factor=2, mode="nearest")
        )
        self.dropout = nn.Dropout3d(spec.dropout)
        self.block = Block(skip + (skip if transposed else deep), skip, spec)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Combine deep features with those of the same level of the encoder."""
        joined = torch.cat([self.upsample(x), skip], dim=1)
        return cast(Tensor, self.block(self.dropout(joined)))


class Refine(nn.Module):
    """Correct logits by the image itself, on the full grid; untrained, it changes nothing."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        outputs, width, patch = len(spec.outputs), spec.refine, spec.patch
        self.spread = nn.ConvTranspose3d(spec.filters[0], width, patch, stride=patch)
        self.look = nn.Conv3d(1 + outputs + width, width, 3, padding=1)
        self.activation = nn.LeakyReLU(0.01, inplace=True)
        self.change = nn.Conv3d(width, outputs, 3, padding=1)

    def forward(self, image: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        """Map image, coarse features and logits to corrected logits (N, outputs, X, Y, Z)."""
        joined = torch.cat([image, logits, self.spread(features)], dim=1)
        return logits + cast(Tensor, self.change(self.activation(self.look(joined))))


class UNet(nn.Module):
    """3D U-Net (Cicek et al. 2016) with optional residual blocks.

    Parameters
    ----------
    spec
        Architecture of the network.

    Examples
    --------
    >>> network = UNet(NetworkSpec(outputs=("brain",), filters=(4, 8)))
    >>> network(torch.zeros(1, 1, 8, 8, 8)).shape
    torch.Size([1, 1, 8, 8, 8])
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        filters, patch = spec.filters, spec.patch
        self.stem: nn.Module = (
            nn.Identity()
            if patch == 1
            else nn.Conv3d(1, filters[0], 2 * patch, stride=patch, padding=patch // 2)
        )
        self.enter = Block(1 if patch == 1 else filters[0], filters[0], spec)
        self.down = nn.ModuleList(Down(a, b, spec) for a, b in pairwise(filters))
        self.up = nn.ModuleList(Up(deep, skip, spec) for skip, deep in pairwise(filters))
        self.head: nn.Module = (
            nn.Conv3d(filters[0], len(spec.outputs), 1)
            if patch == 1
            else nn.ConvTranspose3d(
                filters[0], len(spec.outputs), 2 * patch, stride=patch, padding=patch // 2
            )
        )
        self.refine = Refine(spec) if spec.refine else None
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, a=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.refine is not None:
            nn.init.zeros_(self.refine.change.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (N, 1, X, Y, Z) to logits (N, outputs, X, Y, Z)."""
        features = [self.enter(self.stem(x))]
        for down in self.down:
            features.append(down(features[-1]))
        deep = features.pop()
        for up in reversed(self.up):
            deep = up(deep, features.pop())
        logits = cast(Tensor, self.head(deep))
        return logits if self.refine is None else cast(Tensor, self.refine(x, deep, logits))


def _make_norm(channels: int, spec: NetworkSpec) -> nn.Module:
    if spec.norm == "batch":
        return nn.BatchNorm3d(channels)
    return nn.InstanceNorm3d(channels, affine=True)


def load_unet(stage: Stage) -> UNet:
    """Load a released network, in float32 and evaluation mode, on the CPU."""
    network = UNet(stage.spec).eval()
    network.load_state_dict({k: v.float() for k, v in load_file(stage.tensors).items()})
    return network


def compute_logits(network: UNet, image: Tensor) -> Tensor:
    """Compute logits as fast as the device of the image can.

    Parameters
    ----------
    network
        On the device of the image.
    image
        Normalised images, (N, 1, X, Y, Z).

    Returns
    -------
    Tensor
        Logits of each output, (N, outputs, X, Y, Z), float32.
    """
    device = image.device.type
    with torch.autocast(device, torch.bfloat16, enabled=_has_fast_bfloat16(device)):
        logits: Tensor = network(image.contiguous(memory_format=torch.channels_last_3d))
    return logits.float()


def _has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32: on GPUs, and CPUs with AMX or AVX512-BF16."""
    if device != "cpu":
        return True
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
