"""Augmentation: poses and deformations, cut fields of view, and the artefacts of scanners.

Everything is a torch operation on one image (X, Y, Z), on its device, with the source of
randomness passed in; nothing here knows labels or files. How far each goes is
`recipe.AugmentSettings`; images from label maps are `synthesis.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deskull.prepare.conform import WindowSettings
from deskull.train.draws import Draws
from deskull.train.recipe import AugmentSettings


def smooth_field(shape: Sequence[int], nodes: int, draws: Draws, channels: int = 1) -> Tensor:
    """Make smooth random fields by interpolating normal noise on a few nodes per axis.

    Parameters
    ----------
    shape
        Voxels of the field, (3,).
    nodes
        Number of nodes per axis.
    draws
        Source of randomness.
    channels
        Number of independent fields.

    Returns
    -------
    Tensor
        (channels, X, Y, Z) float32, unit variance at the nodes.

    Examples
    --------
    >>> smooth_field((8, 9, 10), 4, Draws(0), channels=3).shape
    torch.Size([3, 8, 9, 10])
    """
    coarse = draws.normals(1, channels, nodes, nodes, nodes).to(draws.device)
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


def draw_pose(settings: AugmentSettings, draws: Draws) -> Pose:
    """Draw position, rotation, size, shear and mirroring.

    Examples
    --------
    >>> from deskull.train.recipe import NO_AUGMENTATION
    >>> draw_pose(NO_AUGMENTATION, Draws(0)).affine.equal(torch.eye(3))
    True
    """
    shift = torch.tensor([draws.uniform(-settings.shift, settings.shift) for _ in range(3)])
    affine = _make_affine(settings, draws)
    if draws.chance(settings.flip):
        affine[0] *= -1
    return Pose(affine, shift)


def draw_voxel_size(
    window: WindowSettings,
    extent: Tensor,
    pose: Pose,
    settings: AugmentSettings,
    draws: Draws,
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
    draws
        Source of randomness.
    """
    size = window.choose_voxel_size(pose.turn_extent(extent).numpy())
    if not window.is_fitted:
        return size
    return size * (1 + draws.uniform(-settings.misfit, settings.misfit))


def make_points(
    shape: tuple[int, int, int],
    voxel_size: float,
    pose: Pose,
    settings: AugmentSettings,
    draws: Draws,
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
    draws
        Source of randomness.

    Returns
    -------
    Tensor
        (X, Y, Z, 3) mm relative to the brain's centre, RAS+, on the device of `draws`.
    """
    device = draws.device
    axes = [(torch.arange(n, device=device) - (n - 1) / 2) * voxel_size for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = (points + pose.shift.to(device)) @ pose.affine.to(device).T
    warp = smooth_field(shape, int(draws.uniform(3, 9)), draws, channels=3)
    points += warp.permute(1, 2, 3, 0) * (draws.uniform(0, settings.warp) / 2)
    return points


def _make_affine(settings: AugmentSettings, draws: Draws) -> Tensor:
    if draws.chance(settings.any_pose):
        rotation = torch.linalg.qr(draws.normals(3, 3))[0]
        rotation *= torch.sign(torch.linalg.det(rotation))
    else:
        angles = [draws.uniform(-settings.rotation, settings.rotation) for _ in range(3)]
        skew = torch.zeros(3, 3)
        skew[0, 1], skew[0, 2], skew[1, 2] = torch.deg2rad(torch.tensor(angles))
        rotation = torch.matrix_exp(skew - skew.T)
    size = 1 + draws.uniform(-settings.scale, settings.scale)
    per_axis = [1 + draws.uniform(-settings.scale / 2, settings.scale / 2) for _ in range(3)]
    shear = (2 * draws.uniforms(3, 3) - 1) * settings.shear
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
        Voxel indices into `values`, (X', Y', Z', 3), on the same device.

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
    size = torch.tensor(values.shape[1:], dtype=torch.float32, device=index.device)
    normalised = (2 * index / (size - 1) - 1).flip(-1)
    read: Tensor = F.grid_sample(values[None], normalised[None], align_corners=True)
    return read[0]


def corrupt(image: Tensor, voxel_size: float, draws: Draws, strength: float = 1.0) -> Tensor:
    """Add the artefacts of a scanner: coil, gamma, blur, slices, ringing, ghosts, noise.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32; air is 0, tissue about 1.
    voxel_size
        Voxel size in mm.
    draws
        Source of randomness.
    strength
        Strength of the artefacts: 0 leaves the image nearly as it is, 1 is a bad scan.

    Returns
    -------
    Tensor
        (X, Y, Z), not negative.

    Examples
    --------
    >>> corrupt(torch.ones(8, 8, 8), 2.0, Draws(0)).shape
    torch.Size([8, 8, 8])
    """
    shape = tuple(image.shape)
    if draws.chance(0.8):
        nodes = int(draws.uniform(2, 6))
        image = image * torch.exp(
            smooth_field(shape, nodes, draws)[0] * draws.uniform(0, 0.45 * strength)
        )
    if draws.chance(0.3):
        image = _one_sided_coil(image, draws)
    image = image.clamp(min=0)
    if draws.chance(0.5):
        top = image.max().clamp(min=1e-6)
        image = top * (image / top) ** float(2 ** draws.uniform(-0.6, 0.6))
    if draws.chance(0.7):
        image = blur(image, draws.uniform(0.3, 1.0 + 0.6 * strength) / voxel_size)
    if draws.chance(0.35):
        image = thicken(image, voxel_size, draws)
    if draws.chance(0.1 * strength):
        image = ring(image, draws)
    if draws.chance(0.1 * strength):
        image = add_ghosts(image, draws)
    if draws.chance(0.8):
        image = add_noise(image, draws.uniform(0, 0.10 * strength), draws)
    return image


def _one_sided_coil(image: Tensor, draws: Draws) -> Tensor:
    """Multiply by a brightness that falls from one side to the other, as of a surface coil."""
    direction = draws.normals(3)
    direction /= direction.norm()
    ramp = torch.zeros_like(image)
    for axis, n in enumerate(image.shape):
        line = torch.linspace(-1, 1, n, device=image.device) * float(direction[axis])
        ramp = ramp + line.reshape([-1 if k == axis else 1 for k in range(3)])
    return image * torch.exp(ramp * draws.uniform(0.2, 1.0))


def blur(image: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of `sigma` voxels, axis by axis."""
    radius = max(1, round(2.5 * sigma))
    line = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (line / max(sigma, 1e-3)) ** 2)
    kernel = kernel / kernel.sum()
    out = image[None, None]
    for axis in range(3):
        size = [1, 1, 1]
        size[axis] = len(line)
        out = F.conv3d(out, kernel.reshape(1, 1, *size), padding=[s // 2 for s in size])
    return out[0, 0]


def thicken(image: Tensor, voxel_size: float, draws: Draws) -> Tensor:
    """Average into slices of 3 to 7 mm along a random axis, and interpolate back."""
    axis = draws.below(3)
    thickness = draws.uniform(3.0, 7.0)
    size = list(image.shape)
    size[axis] = max(2, round(size[axis] * voxel_size / thickness))
    slices = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(slices, size=image.shape, mode="trilinear")[0, 0]


def add_noise(image: Tensor, level: float, draws: Draws) -> Tensor:
    """Add Rician noise, as of a magnitude image, or Gaussian; `level` relative to tissue."""
    real = image + level * draws.noise(image.shape)
    if draws.chance(0.5):
        return real.clamp(min=0)
    return torch.hypot(real, level * draws.noise(image.shape))


def remove_face(image: Tensor, points: Tensor, settings: AugmentSettings, draws: Draws) -> Tensor:
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
    draws
        Source of randomness.
    """
    if not draws.chance(settings.deface):
        return image
    front, height = draws.uniform(45, 70), draws.uniform(-52, -32)
    slope = draws.uniform(0, 0.8)
    _, y, z = points.unbind(-1)
    return image * ~((y > front) & (z < height + slope * (y - 75)))


def ring(image: Tensor, draws: Draws) -> Tensor:
    """Add Gibbs ringing: remove the high spatial frequencies along one axis.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32.
    draws
        Source of randomness: of the axis, and the share of frequencies kept, 0.5 to 0.8.
    """
    axis = draws.below(3)
    waves = torch.fft.rfft(image, dim=axis)
    kept = round(waves.shape[axis] * draws.uniform(0.5, 0.8))
    waves.narrow(axis, kept, waves.shape[axis] - kept).zero_()
    rung: Tensor = torch.fft.irfft(waves, n=image.shape[axis], dim=axis)
    return rung.abs()


def add_ghosts(image: Tensor, draws: Draws) -> Tensor:
    """Add faint copies along one axis, as from motion during the scan.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32, not negative.
    draws
        Source of randomness: of the axis, the number of copies (1 to 4) and their brightness
        (up to 0.15).
    """
    axis = draws.below(3)
    copies = 1 + draws.below(4)
    level = draws.uniform(0.02, 0.15)
    steps = [round(n * image.shape[axis] / (copies + 1)) for n in range(1, copies + 1)]
    ghosts = torch.stack([image.roll(step, axis) for step in steps]).mean(0)
    return image + level * ghosts


def cut_field(image: Tensor, settings: AugmentSettings, draws: Draws) -> tuple[Tensor, Tensor]:
    """Cut the field of view of some scans by one to three planes.

    Parameters
    ----------
    image
        Intensities, (X, Y, Z) float32.
    settings
        Give the share of cut fields (`field_cut`), and of those that wrap around (`wrap`).
    draws
        Source of randomness.

    Returns
    -------
    tuple
        Image within the field, and the field: both (X, Y, Z) float32, the field 1 inside.
    """
    field = torch.ones_like(image)
    if not draws.chance(settings.field_cut):
        return image, field
    image = image.clone()
    for _ in range(1 + int(draws.uniform(0, 3))):
        axis = draws.below(3)
        size = image.shape[axis]
        width = int(size * draws.uniform(0.05, 0.3))
        first = draws.chance(0.5)
        start, other = (0, size - width) if first else (size - width, 0)
        if draws.chance(settings.wrap):
            image.narrow(axis, other, width).add_(image.narrow(axis, start, width))
        field.narrow(axis, start, width).zero_()
        image = image * field
    return image, field
