"""What scanners and people do to a head: poses, cut fields, coils, slices, noise.

Everything is a torch operation on one image (X, Y, Z) with its generator passed in; nothing
here knows labels or files. Painting a label map is `synthesis.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from deskull.prepare.conform import WindowSettings


@dataclass(frozen=True)
class AugmentSettings:
    """How far heads may stray from the ones at hand.

    Parameters
    ----------
    rotation
        Degrees about each axis, uniform in plus or minus.
    any_pose
        Share of heads turned any way at all (lying on the side, headers that lie).
    scale
        Relative size, uniform in 1 plus or minus, and again half of it per axis.
    shear
        Off-diagonal entries of the affine, uniform in plus or minus.
    warp
        Largest amplitude of the smooth deformation in mm.
    shift
        Millimetres along each axis by which the window misses the brain's middle.
    field_cut
        Share of heads with the field of view cut by one to three planes.
    deface
        Share of heads whose face is taken away.
    flip
        Share of heads mirrored left to right.
    lesion
        Share of painted heads with a tumour, an old stroke or a resection.
    electrodes
        Share of painted heads with a grid of contacts on the brain.
    stripped
        Share of painted heads whose skull is gone already.
    phantom
        Share of painted examples that hold no head at all.
    wrap
        Share of cut fields whose lost part folds over onto the other side.
    corruption
        How far scanners may go wrong: 1 for a bad day at worst, 0 for nothing at all.
    misfit
        Relative error of a fitted window's voxel size, uniform in 1 plus or minus.
    tight
        Share of synthetic heads whose cortex touches the dura here and there.
    """

    rotation: float = 20.0
    any_pose: float = 0.05
    scale: float = 0.2
    shear: float = 0.08
    warp: float = 5.0
    shift: float = 14.0
    field_cut: float = 0.3
    deface: float = 0.25
    flip: float = 0.5
    lesion: float = 0.12
    electrodes: float = 0.02
    stripped: float = 0.02
    phantom: float = 0.01
    wrap: float = 0.15
    corruption: float = 1.0
    misfit: float = 0.1
    tight: float = 0.5

    @property
    def moves_nothing(self) -> bool:
        """Whether every head stays where it is."""
        return not any(
            (
                self.rotation,
                self.any_pose,
                self.scale,
                self.shear,
                self.warp,
                self.shift,
                self.flip,
            )
        )


def uniform(low: float, high: float, generator: Generator) -> float:
    """Draw one number."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def chance(probability: float, generator: Generator) -> bool:
    """Toss a coin that comes up with this probability."""
    return float(torch.rand((), generator=generator)) < probability


def smooth_field(
    shape: Sequence[int], nodes: int, generator: Generator, channels: int = 1
) -> Tensor:
    """Make smooth random fields by interpolating normal noise on a few nodes per axis.

    Returns
    -------
    Tensor
        (channels, X, Y, Z), float32, about unit variance at the nodes.
    """
    coarse = torch.randn((1, channels, nodes, nodes, nodes), generator=generator)
    fine: Tensor = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
    return fine[0]


@dataclass(frozen=True)
class Pose:
    """How a head lies in its window.

    Parameters
    ----------
    affine
        Millimetres of the window, from its middle, to those of the head, (3, 3).
    shift
        Millimetres by which the window misses the brain's middle, (3,).
    """

    affine: Tensor
    shift: Tensor

    def turn_extent(self, extent: Tensor) -> Tensor:
        """Length of the posed brain along the window's axes, as of an ellipsoid, (3,) in mm."""
        squares: Tensor = torch.linalg.inv(self.affine) ** 2 @ extent**2
        return squares.sqrt()


def draw_pose(settings: AugmentSettings, generator: Generator) -> Pose:
    """Draw position, rotation, size, shear and side."""
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
    """Choose the window's voxel size in mm for a posed head, as well as it would be found.

    Parameters
    ----------
    window
        Fixed, or fitted to the brain.
    extent
        Length of the brain along the head's own axes in mm, (3,).
    pose
        How the head lies.
    settings
        How far a fitted voxel size may be off.
    generator
        The source of chance.
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
    """Find where in the head each voxel of the window looks, and deform the head smoothly.

    Parameters
    ----------
    shape, voxel_size
        Of the window, voxels in mm.
    pose
        How the head lies.
    settings
        How far the deformation may go.
    generator
        The source of chance.

    Returns
    -------
    Tensor
        (X, Y, Z, 3) millimetres from the brain's middle, RAS+.
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
    """Read values off at fractional voxel indices by linear interpolation, 0 outside.

    Parameters
    ----------
    values
        (C, X, Y, Z) float32.
    index
        (X', Y', Z', 3) in voxels of `values`.

    Returns
    -------
    Tensor
        (C, X', Y', Z') float32.
    """
    size = torch.tensor(values.shape[1:], dtype=torch.float32)
    normalised = (2 * index / (size - 1) - 1).flip(-1)
    read: Tensor = F.grid_sample(values[None], normalised[None], align_corners=True)
    return read[0]


def corrupt(
    image: Tensor, voxel_size: float, generator: Generator, strength: float = 1.0
) -> Tensor:
    """Put an image through a scanner: coil, gamma, blur, slices, ringing, ghosts, noise.

    Parameters
    ----------
    image
        (X, Y, Z), 0 is air, tissue about 1.
    voxel_size
        Millimetres.
    generator
        The source of chance.
    strength
        0 leaves it nearly as it is; 1 is a bad day.

    Returns
    -------
    Tensor
        (X, Y, Z), not negative.
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
    """Brightness that falls from one side to the other, as with a surface coil."""
    direction = torch.randn(3, generator=generator)
    direction /= direction.norm()
    ramp = torch.zeros(image.shape)
    for axis, n in enumerate(image.shape):
        line = torch.linspace(-1, 1, n) * direction[axis]
        ramp = ramp + line.reshape([-1 if k == axis else 1 for k in range(3)])
    return image * torch.exp(ramp * uniform(0.2, 1.0, generator))


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian of `sigma` voxels, separable."""
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
    """Average into slices of 3 to 7 mm along one axis, and interpolate back."""
    axis = int(torch.randint(3, (), generator=generator))
    thickness = uniform(3.0, 7.0, generator)
    size = list(image.shape)
    size[axis] = max(2, round(size[axis] * voxel_size / thickness))
    slices = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(slices, size=image.shape, mode="trilinear")[0, 0]


def add_noise(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Noise of a magnitude image (Rician), `level` relative to tissue, or Gaussian."""
    real = image + level * torch.randn(image.shape, generator=generator)
    if chance(0.5, generator):
        return real.clamp(min=0)
    return torch.hypot(real, level * torch.randn(image.shape, generator=generator))


def remove_face(
    image: Tensor, points: Tensor, settings: AugmentSettings, generator: Generator
) -> Tensor:
    """Blacken the face of some heads as defacing tools do: below the brow, before the ears.

    Parameters
    ----------
    image
        (X, Y, Z).
    points
        (X, Y, Z, 3) mm from the brain's middle, as `make_points` gave them.
    settings, generator
        How often, and the source of chance.
    """
    if not chance(settings.deface, generator):
        return image
    front, height = uniform(45, 70, generator), uniform(-52, -32, generator)
    slope = uniform(0, 0.8, generator)
    _, y, z = points.unbind(-1)
    return image * ~((y > front) & (z < height + slope * (y - 75)))


def ring(image: Tensor, generator: Generator) -> Tensor:
    """Gibbs ringing: the high frequencies along one axis were never measured.

    Parameters
    ----------
    image
        (X, Y, Z).
    generator
        The source of chance: the axis, and the share of frequencies kept, 0.5 to 0.8.
    """
    axis = int(torch.randint(3, (), generator=generator))
    waves = torch.fft.rfft(image, dim=axis)
    kept = round(waves.shape[axis] * uniform(0.5, 0.8, generator))
    waves.narrow(axis, kept, waves.shape[axis] - kept).zero_()
    rung: Tensor = torch.fft.irfft(waves, n=image.shape[axis], dim=axis)
    return rung.abs()


def add_ghosts(image: Tensor, generator: Generator) -> Tensor:
    """Faint copies along one axis, as a head leaves that moves with its breath.

    Parameters
    ----------
    image
        (X, Y, Z), not negative.
    generator
        The source of chance: the axis, how many copies (1 to 4), how bright (to 0.15).
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
    """Draw the scan's field of view: the whole window, or cut by one to three planes.

    Parameters
    ----------
    image
        (X, Y, Z).
    settings
        How often the field is cut, and how often what is lost wraps around.
    generator
        The source of chance.

    Returns
    -------
    tuple
        Image within the field, and the field, (X, Y, Z) float32, 1 inside.
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
