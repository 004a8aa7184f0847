"""Heads with references, and what can be done to them so that the truth stays known.

Each damage is defined here and nowhere else; how strong it is, and on which heads, is the
business of `truth.py`, `corruption.py` and `quality.py`. Truth and grid go along wherever the
voxels do; a header that lies is a damage as well, and leaves the voxels alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from deskull import load_volume
from deskull.evaluate import check_one_grid, load_canonical_mask
from deskull.image.grid import Grid, find_box, make_ras_grid, to_canonical_array
from deskull.image.resample import resample
from deskull.image.writing import Transaction, save_image

ENDS = ("start", "stop")


@dataclass(frozen=True, eq=False)
class Head:
    """A scan and its reference; `load_head` gives the axes nearest to RAS+.

    Parameters
    ----------
    image
        (X, Y, Z) float32.
    reference
        (X, Y, Z) bool.
    grid
        Of both.
    """

    image: NDArray[np.float32]
    reference: NDArray[np.bool_]
    grid: Grid


def load_head(scan: Path, reference: Path) -> Head:
    """Read a scan, with its intensities as they are, and its reference."""
    volume, mask = load_volume(scan), load_canonical_mask(reference)
    grid = volume.grid.canonical()
    check_one_grid(mask, replace(mask, grid=grid, name=scan.name))
    return Head(to_canonical_array(volume.data, volume.grid), mask.inside, grid)


def start_at_zero(head: Head) -> Head:
    """Shift the intensities so that the darkest is 0; what is not finite becomes a number."""
    image = np.nan_to_num(head.image)
    return replace(head, image=image - image.min())


def save_head(head: Head, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `<name>.nii.gz`, int16 with 1000 for the brightest, and `<name>_reference.nii.gz`."""
    top = float(np.percentile(head.image, 99.9)) or 1.0
    image = np.clip(1000 * head.image / top, 0, 2000).astype(np.int16)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_reference.nii.gz"
    with Transaction() as transaction:
        for data, path in zip((image, head.reference.astype(np.uint8)), paths, strict=True):
            save_image(nib.Nifti1Image(data, head.grid.affine), path, transaction)
    return paths


# --- intensities


def add_bias(head: Head, ratio: float | None, rng: np.random.Generator) -> Head:
    """Multiply by a smooth field, as coils do.

    Parameters
    ----------
    head
        Its field of view gets a field of 3 x 3 x 3 random nodes, linear between them.
    ratio
        How much brighter the brightest place in the brain becomes than the darkest, which go up
        and down alike. None: the logarithm of the gain has a deviation of 0.6, which is a factor
        of some 3 either way.
    rng
        Gives the nodes.
    """
    places = np.meshgrid(*(np.linspace(0, 2, count) for count in head.image.shape), indexing="ij")
    field = ndimage.map_coordinates(rng.normal(size=(3, 3, 3)), places, order=1)
    field = np.clip((field - field.mean()) / field.std(), -2, 2)
    if ratio is None:
        gain = np.exp(0.6 * field)
    else:
        inside = field[head.reference]
        share = (field - inside.min()) / (np.ptp(inside) or 1.0) - 0.5
        gain = np.exp(np.log(ratio) * np.clip(share, -1, 1))
    return replace(head, image=(head.image * gain).astype(np.float32))


def add_noise(head: Head, sigma: float, rng: np.random.Generator) -> Head:
    """Add Rician noise of a standard deviation in the units of the image."""
    real, imaginary = (rng.normal(0, sigma, head.image.shape) for _ in range(2))
    return replace(head, image=np.hypot(head.image + real, imaginary).astype(np.float32))


def add_ghosts(head: Head) -> Head:
    """Add ghosts of a head that nodded: four copies shifted along the second axis."""
    shifts = [round(mm / head.grid.voxel_size[1]) for mm in (9, -14, 23, -40)]
    ghosts = sum(np.roll(head.image, shift, 1) for shift in shifts)
    return replace(head, image=0.5 * head.image + 0.2 * ghosts)


def blur(head: Head, mm: float) -> Head:
    """Blur by a Gaussian of so many millimetres at half its height."""
    sigma = mm / 2.355 / np.array(head.grid.voxel_size)
    return replace(head, image=ndimage.gaussian_filter(head.image, sigma))


def lose_signal(head: Head, mm: float, rng: np.random.Generator) -> Head:
    """Make 0 of a ball of that diameter about a place in the brain, as metal does.

    The brain is there all the same, and so is the truth.
    """
    centre = np.argwhere(head.reference)[rng.integers(head.reference.sum())]
    away = np.indices(head.image.shape) - centre[:, None, None, None]
    away = away * np.array(head.grid.voxel_size)[:, None, None, None]
    return replace(head, image=np.where((away**2).sum(axis=0) < (mm / 2) ** 2, 0, head.image))


def make_uni(head: Head, rng: np.random.Generator) -> Head:
    """Make the uniform image of MP2RAGE: flat within the head, salt and pepper in air and bone.

    The two inversions are one that is the same in all tissue and the image itself, at 0.4 of its
    brightness, each with noise of 0.02; UNI is their product over the sum of their squares
    (Marques et al. 2010), moved to positive numbers.
    """
    first = 0.4 * head.image / float(np.percentile(head.image[head.reference], 75))
    second = np.where(first > 0.06, 1.0, 0.0)
    first, second = (values + rng.normal(0, 0.02, first.shape) for values in (first, second))
    uni = first * second / (first**2 + second**2 + 1e-9)
    return replace(head, image=(uni + 0.5).astype(np.float32))


def add_frame(head: Head) -> Head:
    """Add the rods of a stereotactic frame about the head: nine, upright, bright, of 5 mm."""
    sizes, middle = np.array(head.grid.voxel_size), (np.array(head.image.shape) - 1) / 2
    x, y, _ = (np.indices(head.image.shape).T - middle).T * sizes[:, None, None, None]
    reach = (sizes * middle)[:2] - 6
    bright = float(np.percentile(head.image[head.reference], 95))
    image = head.image.copy()
    for number in range(9):
        angle = 2 * np.pi * number / 9
        away = np.hypot(x - reach[0] * np.cos(angle), y - reach[1] * np.sin(angle))
        image[away < 2.5] = bright
    return replace(head, image=image)


def strip(head: Head) -> Head:
    """Make 0 of all but the brain."""
    return replace(head, image=np.where(head.reference, head.image, 0))


# --- the field


def cut_field(head: Head, axis: int = 2, *, low: float = 0.0, high: float = 0.0) -> Head:
    """End the field within the brain.

    Parameters
    ----------
    head
        What is cut, and its truth with it. The voxels left stay where they are.
    axis
        Along which the field ends.
    low, high
        Shares of the brain's length that are not scanned at either end; an end that loses
        nothing keeps all that lies beyond the brain.
    """
    part = find_box(head.reference)[axis]
    length = part.stop - part.start
    box = [slice(0, count) for count in head.image.shape]
    start = int(part.start + low * length) if low > 0 else 0
    stop = int(part.start + (1 - high) * length) if high > 0 else box[axis].stop
    box[axis] = slice(start, stop)
    kept = (box[0], box[1], box[2])
    return Head(head.image[kept], head.reference[kept], head.grid.crop(kept))


def thicken(head: Head, mm: float, axis: int = 2) -> Head:
    """Average slices to about so many millimetres; the reference is where most is brain."""
    sizes = list(head.grid.voxel_size)
    sizes[axis] = mm
    return coarsen(head, sizes)


def coarsen(head: Head, mm: Sequence[float]) -> Head:
    """Average blocks of about so many millimetres along each axis; as `thicken`."""
    counts = [max(round(a / b), 1) for a, b in zip(mm, head.grid.voxel_size, strict=True)]
    affine = head.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ (np.array(counts) - 1) / 2
    affine[:3, :3] *= counts
    x, y, z = (n // count for n, count in zip(head.image.shape, counts, strict=True))

    def average(values: NDArray[np.float32]) -> NDArray[np.float32]:
        for axis, (n, count) in enumerate(zip((x, y, z), counts, strict=True)):
            kept = np.moveaxis(values, axis, 0)[: n * count]
            means = kept.reshape(n, count, *kept.shape[1:]).mean(axis=1)
            values = np.moveaxis(means, 0, axis)
        return values

    image, share = average(head.image), average(head.reference.astype(np.float32))
    return Head(image, share >= 0.5, Grid((x, y, z), affine))


def wrap_round(head: Head) -> Head:
    """Move the brain to the front end of the field: the nose comes in again behind the head."""
    spare = head.image.shape[1] - find_box(head.reference)[1].stop
    image, reference = (np.roll(values, spare, 1) for values in (head.image, head.reference))
    return replace(head, image=image, reference=reference)


EPI_MM = 2.5
"""Voxel size of an echo-planar image."""


def scan_by_epi(head: Head) -> Head:
    """Scan as by echo-planar imaging: stretched and dark above the sinuses and ears, coarse.

    The truth is stretched with the image, by up to 8 mm along the second axis. Signal is lost
    where air is near: above the frontal sinus, and beside the ears.
    """
    low, high = (np.array([getattr(p, end) for p in find_box(head.reference)]) for end in ENDS)
    places = [(0.5, 0.95, 0.3), (0.1, 0.5, 0.2), (0.9, 0.5, 0.2)]
    points = np.indices(head.image.shape).astype(np.float32)
    shift, signal = np.zeros(head.image.shape, np.float32), np.ones(head.image.shape, np.float32)
    for place, mm in zip(places, (8.0, 5.0, 5.0), strict=True):
        middle = (low + np.array(place) * (high - low))[:, None, None, None]
        sizes = np.array(head.grid.voxel_size)[:, None, None, None]
        square = (((points - middle) * sizes) ** 2).sum(axis=0)
        shift += mm / head.grid.voxel_size[1] * np.exp(-square / (2 * 20.0**2))
        signal *= 1 - 0.9 * np.exp(-square / (2 * 12.0**2))
    points[1] -= shift
    image = ndimage.map_coordinates(head.image * signal, points, order=1)
    share = ndimage.map_coordinates(head.reference.astype(np.float32), points, order=1)
    stretched = blur(Head(image, share >= 0.5, head.grid), EPI_MM)
    field = np.multiply(head.grid.shape, head.grid.voxel_size) / EPI_MM
    x, y, z = (int(count) for count in field)
    grid = make_ras_grid(head.grid.centre, (x, y, z), EPI_MM)
    inside = resample(stretched.reference.astype(np.float32), head.grid, grid) >= 0.5
    return Head(resample(stretched.image, head.grid, grid), inside, grid)


# --- the way the head lies


def change_header(head: Head, matrix: ArrayLike) -> Head:
    """Give the header other directions or sizes: (3, 3), applied to the mm that it had."""
    change = np.eye(4)
    change[:3, :3] = matrix
    return replace(head, grid=Grid(head.grid.shape, change @ head.grid.affine))


def rotate(head: Head, axis: ArrayLike, degrees: float) -> Head:
    """Turn head and field together about an axis, (3,) of any length: no voxel changes."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
    return change_header(head, turn)


def scan_upright(head: Head) -> Head:
    """Scan a head, as it lies, in a field along the scanner's axes about its brain's middle.

    The field is a cube as long as the longest side of the old one, with its finest voxels but
    none below 1 mm.
    """
    box = find_box(head.reference)
    middle = head.grid.to_mm([(part.start + part.stop - 1) / 2 for part in box])
    size = max(min(head.grid.voxel_size), 1.0)
    count = round(max(np.multiply(head.grid.shape, head.grid.voxel_size)) / size)
    grid = make_ras_grid(middle, (count, count, count), size)
    share = resample(head.reference.astype(np.float32), head.grid, grid)
    return Head(resample(head.image, head.grid, grid), share >= 0.5, grid)
