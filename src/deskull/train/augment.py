"""Augmentation: poses and deformations, cut fields of view, and the artefacts of scanners.

Everything is a torch operation on one image (X, Y, Z) with its generator passed in; nothing
here knows labels or files. How far each goes is `recipe.AugmentSettings`; images from label maps
are `synthesis.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from deskull.prepare.conform import WindowSettings
from deskull.train.recipe import AugmentSettings


def uniform(low: float, high: float, generator: Generator) -> float:
    """Draw one number uniformly from [low, high).

    Examples
    --------
    >>> 2 <= uniform(2, 3, torch.Generator()) < 3
    True
    """
    return low + (high - low) * float(torch.rand((), generator=generator))


def chance(probability: float, generator: Generator) -> bool:
    """Draw True with this probability."""
    return float(torch.rand((), generator=generator)) < probability


def smooth_field(
    shape: Sequence[int], nodes: int, generator: Generator, channels: int = 1
) -> Tensor:
    """Make smooth random fields by interpolating normal noise on a few nodes per axis.

    Parameters
    ----------
    shape
        Voxels of the field, (3,).
    nodes
        Number of nodes per axis.
    generator
        Source of randomness.
    channels
        Number of independent fields.

    Returns
    -------
    Tensor
        (channels, X, Y, Z) float32, unit variance at the nodes.

    Examples
    --------
    >>> smooth_field((8, 9, 10), 4, torch.Generator(), channels=3).shape
    torch.Size([3, 8, 9, 10])
    """
    coarse = torch.randn((1, channels, nodes, nodes, nodes), generator=generator)
    fine: Tensor = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
    return fine[0]


@dataclass(frozen=True)
class Pose:
    """Position and shape of a head in its window.

    Parameters
    ----------
    affine
        Matrix from mm in the window, relative to its centre, to mm in the head, (3, 3).
    shift
        Offset in mm of the window's centre from the brain's centre, (3,).
    """

    affine: Tensor
    shift: Tensor

    def turn_extent(self, extent: Tensor) -> Tensor:
        """Extent of the posed brain along the window's axes in mm, (3,), as of an ellipsoid."""
        squares: Tensor = torch.linalg.inv(self.affine) ** 2 @ extent**2
        return squares.sqrt()


def draw_pose(settings: AugmentSettings, generator: Generator) -> Pose:
    """Draw position, rotation, size, shear and mirroring.

    Examples
    --------
    >>> from deskull.train.recipe import NO_AUGMENTATION
    >>> draw_pose(NO_AUGMENTATION, torch.Generator()).affine.equal(torch.eye(3))
    True
    """
    shift = torch.tensor([uniform(-settings.shift, settings.shift, generator) for _ in range(3)])
    affine = _make_affine(settings, generator)
    if chance(settings.flip, generator):
        affine[0] *= -1
    return Pose(affine, shift)


def draw_voxel_size(
    window: WindowSettings,
    extent: Tensor,
    pose: Pose,
    settings: AugmentSettings,
    generator: Generator,
) -> float:
    """Choose the window's voxel size in mm for a posed head, with the error of a real fit.

    Parameters
    ----------
    window
        Settings of the window, whose voxel size is fixed or fitted to the brain.
    extent
        Extent of the brain along the head's own axes in mm, (3,).
    pose
        Pose of the head.
    settings
        Give the largest error of a fitted voxel size (`misfit`).
    generator
        Source of randomness.
    """
    size = window.choose_voxel_size(pose.turn_extent(extent).numpy())
    if not window.is_fitted:
        return size
    return size * (1 + uniform(-settings.misfit, settings.misfit, generator))


def make_points(
    shape: tuple[int, int, int],
    voxel_size: float,
    pose: Pose,
    settings: AugmentSettings,
    generator: Generator,
) -> Tensor:
    """Find the point in the head that each voxel of the window shows, with a smooth deformation.

    Parameters
    ----------
    shape, voxel_size
        Number of voxels of the window, and their size in mm.
    pose
        Pose of the head.
    settings
        Give the largest amplitude of the deformation (`warp`).
    generator
        Source of randomness.

    Returns
    -------
    Tensor
        (X, Y, Z, 3) mm relative to the brain's centre, RAS+.
    """
    axes = [(torch.arange(n) - (n - 1) / 2) * voxel_size for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = (points + pose.shift) @ pose.affine.T
    warp = smooth_field(shape, int(uniform(3, 9, generator)), generator, channels=3)
    points += warp.permute(1, 2, 3, 0) * (uniform(0, settings.warp, generator) / 2)
    return points


def _make_affine(settings: AugmentSettings, generator: Generator) -> Tensor:
    if chance(settings.any_pose, generator):
        rotation = torch.linalg.qr(torch.randn((3, 3), generator=generator))[0]
        rotation *= torch.sign(torch.linalg.det(rotation))
    else:
        angles = [uniform(-settings.rotation, settings.rotation, generator) for _ in range(3)]
        skew = torch.zeros(3, 3)
        skew[0, 1], skew[0, 2], skew[1, 2] = torch.deg2rad(torch.tensor(angles))
        rotation = torch.matrix_exp(skew - skew.T)
    size = 1 + uniform(-settings.scale, settings.scale, generator)
    per_axis = [1 + uniform(-settings.scale / 2, settings.scale / 2, generator) for _ in range(3)]
    shear = (2 * torch.rand((3, 3), generator=generator) - 1) * settings.shear
    shear.fill_diagonal_(0)
    # Dividing: points of a larger head lie nearer to each other in the head at hand.
    stretch = torch.diag(1 / (size * torch.tensor(per_axis)))
    affine: Tensor = (torch.eye(3) + shear) @ stretch @ rotation
    return affine


def sample(values: Tensor, index: Tensor) -> Tensor:
    """Interpolate linearly at fractional voxel indices; 0 outside.

    Parameters
    ----------
    values
        Values to interpolate, (C, X, Y, Z) float32.
    index
        Voxel indices into `values`, (X', Y', Z', 3).

    Returns
    -------
    Tensor
        (C, X', Y', Z') float32.

    Examples
    --------
    >>> values = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> float(sample(values, torch.tensor([[[[0.5, 0.0, 0.0]]]])))
    0.5
    """
    size = torch.tensor(values.shape[1:], dtype=torch.float32)
    normalised = (2 * index / (size - 1) - 1).flip(-1)
    read: Tensor = F.grid_sample(values[None], normalised[None], align_corners=True)
    return read[0]


def corrupt(
    image: Tensor, voxel_size: float, generator: Generator, strength: float = 1.0
) -> Tensor:
    """Add the artefacts of a scanner: coil, gamma, blur, slices, ringing, ghosts, noise.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32; air is 0, tissue about 1.
    voxel_size
        Voxel size in mm.
    generator
        Source of randomness.
    strength
        Strength of the artefacts: 0 leaves the image nearly as it is, 1 is a bad scan.

    Returns
    -------
    Tensor
        (X, Y, Z), not negative.

    Examples
    --------
    >>> corrupt(torch.ones(8, 8, 8), 2.0, torch.Generator()).shape
    torch.Size([8, 8, 8])
    """
    shape = tuple(image.shape)
    if chance(0.8, generator):
        nodes = int(uniform(2, 6, generator))
        image = image * torch.exp(
            smooth_field(shape, nodes, generator)[0] * uniform(0, 0.45 * strength, generator)
        )
    if chance(0.3, generator):
        image = _one_sided_coil(image, generator)
    image = image.clamp(min=0)
    if chance(0.5, generator):
        top = float(image.max()) or 1.0
        image = top * (image / top) ** float(2 ** uniform(-0.6, 0.6, generator))
    if chance(0.7, generator):
        image = blur(image, uniform(0.3, 1.0 + 0.6 * strength, generator) / voxel_size)
    if chance(0.35, generator):
        image = thicken(image, voxel_size, generator)
    if chance(0.1 * strength, generator):
        image = ring(image, generator)
    if chance(0.1 * strength, generator):
        image = add_ghosts(image, generator)
    if chance(0.8, generator):
        image = add_noise(image, uniform(0, 0.10 * strength, generator), generator)
    return image


def _one_sided_coil(image: Tensor, generator: Generator) -> Tensor:
    """Multiply by a brightness that falls from one side to the other, as of a surface coil."""
    direction = torch.randn(3, generator=generator)
    direction /= direction.norm()
    ramp = torch.zeros(image.shape)
    for axis, n in enumerate(image.shape):
        line = torch.linspace(-1, 1, n) * direction[axis]
        ramp = ramp + line.reshape([-1 if k == axis else 1 for k in range(3)])
    return image * torch.exp(ramp * uniform(0.2, 1.0, generator))


def blur(image: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of `sigma` voxels, axis by axis."""
    radius = max(1, round(2.5 * sigma))
    line = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (line / max(sigma, 1e-3)) ** 2)
    kernel = kernel / kernel.sum()
    out = image[None, None]
    for axis in range(3):
        size = [1, 1, 1]
        size[axis] = len(line)
        out = F.conv3d(out, kernel.reshape(1, 1, *size), padding=[s // 2 for s in size])
    return out[0, 0]


def thicken(image: Tensor, voxel_size: float, generator: Generator) -> Tensor:
    """Average into slices of 3 to 7 mm along a random axis, and interpolate back."""
    axis = int(torch.randint(3, (), generator=generator))
    thickness = uniform(3.0, 7.0, generator)
    size = list(image.shape)
    size[axis] = max(2, round(size[axis] * voxel_size / thickness))
    slices = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(slices, size=image.shape, mode="trilinear")[0, 0]


def add_noise(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Add Rician noise, as of a magnitude image, or Gaussian; `level` relative to tissue."""
    real = image + level * torch.randn(image.shape, generator=generator)
    if chance(0.5, generator):
        return real.clamp(min=0)
    return torch.hypot(real, level * torch.randn(image.shape, generator=generator))


def remove_face(
    image: Tensor, points: Tensor, settings: AugmentSettings, generator: Generator
) -> Tensor:
    """Remove the face of some heads as defacing tools do: below the brow, in front of the ears.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32.
    points
        Place of each voxel in mm relative to the brain's centre, (X, Y, Z, 3), as from
        `make_points`.
    settings
        Give the share of heads without a face (`deface`).
    generator
        Source of randomness.
    """
    if not chance(settings.deface, generator):
        return image
    front, height = uniform(45, 70, generator), uniform(-52, -32, generator)
    slope = uniform(0, 0.8, generator)
    _, y, z = points.unbind(-1)
    return image * ~((y > front) & (z < height + slope * (y - 75)))


def ring(image: Tensor, generator: Generator) -> Tensor:
    """Add Gibbs ringing: remove the high spatial frequencies along one axis.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32.
    generator
        Source of randomness: of the axis, and the share of frequencies kept, 0.5 to 0.8.
    """
    axis = int(torch.randint(3, (), generator=generator))
    waves = torch.fft.rfft(image, dim=axis)
    kept = round(waves.shape[axis] * uniform(0.5, 0.8, generator))
    waves.narrow(axis, kept, waves.shape[axis] - kept).zero_()
    rung: Tensor = torch.fft.irfft(waves, n=image.shape[axis], dim=axis)
    return rung.abs()


def add_ghosts(image: Tensor, generator: Generator) -> Tensor:
    """Add faint copies along one axis, as from motion during the scan.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32, not negative.
    generator
        Source of randomness: of the axis, the number of copies (1 to 4) and their brightness
        (up to 0.15).
    """
    axis = int(torch.randint(3, (), generator=generator))
    copies = 1 + int(torch.randint(4, (), generator=generator))
    level = uniform(0.02, 0.15, generator)
    steps = [round(n * image.shape[axis] / (copies + 1)) for n in range(1, copies + 1)]
    ghosts = torch.stack([image.roll(step, axis) for step in steps]).mean(0)
    return image + level * ghosts


def cut_field(
    image: Tensor, settings: AugmentSettings, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Cut the field of view of some scans by one to three planes.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32.
    settings
        Give the share of cut fields (`field_cut`), and of those that wrap around (`wrap`).
    generator
        Source of randomness.

    Returns
    -------
    tuple
        Image within the field, and the field: both (X, Y, Z) float32, the field 1 inside.
    """
    field = torch.ones(image.shape)
    if not chance(settings.field_cut, generator):
        return image, field
    image = image.clone()
    for _ in range(1 + int(uniform(0, 3, generator))):
        axis = int(torch.randint(3, (), generator=generator))
        size = image.shape[axis]
        width = int(size * uniform(0.05, 0.3, generator))
        first = chance(0.5, generator)
        start, other = (0, size - width) if first else (size - width, 0)
        if chance(settings.wrap, generator):
            image.narrow(axis, other, width).add_(image.narrow(axis, start, width))
        field.narrow(axis, start, width).zero_()
        image = image * field
    return image, field
