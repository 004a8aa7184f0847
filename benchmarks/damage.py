"""Heads with references, and what can be done to them so that the truth stays known."""

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deskull import load_volume
from deskull.assess.evaluation import check_one_grid, load_mask
from deskull.image.geometry import Grid, find_box, make_ras_grid, to_canonical_array
from deskull.image.resample import resample
from deskull.image.writing import Batch, save_image


@dataclass(frozen=True)
class Head:
    """A scan and its reference in the axes nearest to RAS+.

    Parameters
    ----------
    image
        (X, Y, Z) float32, air about 0.
    reference
        (X, Y, Z) bool.
    grid
        Of both.
    """

    image: NDArray[np.float32]
    reference: NDArray[np.bool_]
    grid: Grid


def load_head(scan: Path, reference: Path) -> Head:
    """Read a scan and its reference."""
    volume, mask = load_volume(scan), load_mask(reference)
    image = np.nan_to_num(to_canonical_array(volume.data, volume.grid))
    check_one_grid(mask, replace(mask, grid=volume.grid.canonical(), name=scan.name))
    return Head(image - image.min(), mask.inside, mask.grid)


def save_head(head: Head, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `<name>.nii.gz`, int16 with 1000 for the brightest, and `<name>_reference.nii.gz`."""
    top = float(np.percentile(head.image, 99.9)) or 1.0
    image = np.clip(1000 * head.image / top, 0, 2000).astype(np.int16)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_reference.nii.gz"
    with Batch() as batch:
        for data, path in zip((image, head.reference.astype(np.uint8)), paths, strict=True):
            save_image(nib.Nifti1Image(data, head.grid.affine), path, batch)
    return paths


def add_bias(head: Head, ratio: float, rng: np.random.Generator) -> Head:
    """Multiply by a smooth field whose brightest place in the brain is `ratio` times the darkest.

    The field is a cubic spline through three random nodes along each axis.
    """
    nodes = rng.normal(size=(3, 3, 3))
    field = ndimage.zoom(
        nodes, np.array(head.image.shape) / 3, order=3, grid_mode=True, mode="nearest"
    )
    inside = field[head.reference]
    share = (field - inside.min()) / (np.ptp(inside) or 1.0) - 0.5
    gain = np.exp(np.log(ratio) * np.clip(share, -1, 1)).astype(np.float32)
    return replace(head, image=head.image * gain)


def add_noise(head: Head, level: float, rng: np.random.Generator) -> Head:
    """Add Rician noise, its standard deviation `level` times the mean of the brain."""
    sigma = level * float(head.image[head.reference].mean())
    real, imaginary = (rng.normal(0, sigma, head.image.shape) for _ in range(2))
    return replace(head, image=np.hypot(head.image + real, imaginary).astype(np.float32))


def rotate(head: Head, degrees: float, rng: np.random.Generator) -> Head:
    """Turn the head in the scanner about its brain's middle and a random axis.

    The new field is a cube as long as the longest side of the old one, with its finest voxels
    but none below 1 mm.
    """
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
    box = find_box(head.reference)
    middle = head.grid.to_mm([(part.start + part.stop - 1) / 2 for part in box])
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = turn, middle - turn @ middle
    turned = Grid(head.grid.shape, move @ head.grid.affine)
    size = max(min(head.grid.voxel_size), 1.0)
    count = round(max(np.multiply(head.grid.shape, head.grid.voxel_size)) / size)
    grid = make_ras_grid(middle, (count, count, count), size)
    share = resample(head.reference.astype(np.float32), turned, grid)
    return Head(resample(head.image, turned, grid), share >= 0.5, grid)


def thicken(head: Head, mm: float, axis: int = 2) -> Head:
    """Average slices to about so many millimetres; the reference is where most is brain."""
    count = max(round(mm / head.grid.voxel_size[axis]), 1)
    slices = head.image.shape[axis] // count
    affine = head.grid.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (count - 1) / 2
    affine[:3, axis] *= count

    def average(values: NDArray[np.float32]) -> NDArray[np.float32]:
        kept = np.moveaxis(values, axis, 0)[: slices * count]
        means = kept.reshape(slices, count, *kept.shape[1:]).mean(axis=1)
        return np.moveaxis(means, 0, axis)

    image, share = average(head.image), average(head.reference.astype(np.float32))
    x, y, z = image.shape
    return Head(image, share >= 0.5, Grid((x, y, z), affine))


def cut_field(head: Head, share: float, axis: int = 2, upper: bool = True) -> Head:
    """End the field within the brain: `share` of its length along an axis is not scanned."""
    part = find_box(head.reference)[axis]
    lost = round(share * (part.stop - part.start))
    box = [slice(0, count) for count in head.image.shape]
    box[axis] = slice(0, part.stop - lost) if upper else slice(part.start + lost, box[axis].stop)
    kept = (box[0], box[1], box[2])
    return Head(head.image[kept], head.reference[kept], head.grid.crop(kept))
