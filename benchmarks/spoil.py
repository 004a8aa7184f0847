"""Heads spoiled on purpose, and things that are no heads: cases for `quality.py`.

Every function takes a case and a generator and returns another case; the reference goes along
where the geometry changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Case:
    """Intensities and the true mask, (X, Y, Z) near RAS+, on one grid."""

    data: Array
    truth: Array
    affine: Array

    @property
    def size(self) -> Array:
        """Edges of a voxel in mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def _smooth_field(case: Case, rng: np.random.Generator, points: int) -> Array:
    """Random field of deviation 1, smooth over the field of view."""
    places = [np.linspace(0, points - 1, length) for length in case.data.shape]
    index = np.meshgrid(*places, indexing="ij")
    field = ndimage.map_coordinates(rng.normal(size=(points,) * 3), index, order=1)
    field = np.pad(
        field,
        [(0, max(0, n - m)) for n, m in zip(case.data.shape, field.shape, strict=True)],
        mode="edge",
    )
    field = field[tuple(slice(n) for n in case.data.shape)]
    return (field - field.mean()) / field.std()


def _bright(case: Case) -> float:
    return float(np.percentile(case.data[case.truth], 75))


def bias(case: Case, rng: np.random.Generator) -> Case:
    """Coil bias, within a factor of some 3 either way."""
    field = np.exp(0.6 * np.clip(_smooth_field(case, rng, 3), -2, 2))
    return replace(case, data=case.data * field)


def noise(case: Case, rng: np.random.Generator) -> Case:
    """Rician noise, 30 % of the brain."""
    one, two = (0.3 * _bright(case) * rng.normal(size=case.data.shape) for _ in range(2))
    return replace(case, data=np.hypot(case.data + one, two))


def loud_noise(case: Case, rng: np.random.Generator) -> Case:
    """Rician noise, 80 % of the brain."""
    one, two = (0.8 * _bright(case) * rng.normal(size=case.data.shape) for _ in range(2))
    return replace(case, data=np.hypot(case.data + one, two))


def _crop(case: Case, axis: int, keep: tuple[float, float]) -> Case:
    """Keep a part of the brain's extent along an axis, and all beyond on the kept side."""
    planes = np.flatnonzero(case.truth.any(axis=tuple({0, 1, 2} - {axis})))
    low, high = planes[0], planes[-1] + 1
    start = 0 if keep[0] <= 0 else int(low + keep[0] * (high - low))
    stop = case.truth.shape[axis] if keep[1] >= 1 else int(low + keep[1] * (high - low))
    part = tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))
    return replace(case, data=case.data[part], truth=case.truth[part])


def cut_top(case: Case, rng: np.random.Generator) -> Case:
    """Field that ends within the upper third of the brain."""
    return _crop(case, 2, (0, rng.uniform(0.65, 0.85)))


def cut_below(case: Case, rng: np.random.Generator) -> Case:
    """Field that begins within the lower half of the brain."""
    return _crop(case, 2, (rng.uniform(0.25, 0.5), 1))


def slab(case: Case, rng: np.random.Generator) -> Case:
    """No more than 3 cm of the brain."""
    extent = case.truth.any(axis=(0, 1)).sum() * case.size[2]
    start = rng.uniform(0.3, 0.5)
    return _crop(case, 2, (start, start + 30 / extent))


def rotate(case: Case, rng: np.random.Generator) -> Case:
    """Head turned by 30 to 60 degrees about a random axis, as the header has it."""
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(30, 60))
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(4)
    turn[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return replace(case, affine=turn @ case.affine)


def thick(case: Case, rng: np.random.Generator) -> Case:
    """Axial slices of 9 mm."""
    count = max(1, round(9 / case.size[2]))
    length = case.data.shape[2] // count * count
    blocks = [
        array[:, :, :length].reshape(*array.shape[:2], -1, count).mean(axis=3)
        for array in (case.data, case.truth)
    ]
    affine = case.affine @ np.diag([1.0, 1.0, count, 1.0])
    affine[:3, 3] += case.affine[:3, 2] * (count - 1) / 2
    return Case(blocks[0], blocks[1] >= 0.5, affine)


def blur(case: Case, rng: np.random.Generator) -> Case:
    """Blur of 8 mm (FWHM)."""
    return replace(case, data=ndimage.gaussian_filter(case.data, 8 / 2.355 / case.size))


def stripped(case: Case, rng: np.random.Generator) -> Case:
    """All but the brain is 0."""
    return replace(case, data=np.where(case.truth, case.data, 0))


def upside_down(case: Case, rng: np.random.Generator) -> Case:
    """Header that takes up for down."""
    return replace(case, affine=np.diag([1.0, 1, -1, 1]) @ case.affine)


def back_to_front(case: Case, rng: np.random.Generator) -> Case:
    """Header that takes front for back."""
    return replace(case, affine=np.diag([1.0, -1, 1, 1]) @ case.affine)


def wrong_axes(case: Case, rng: np.random.Generator) -> Case:
    """Header that takes one axis for another."""
    order = [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)][rng.integers(5)]
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3)[list(order)]
    return replace(case, affine=turn @ case.affine)


def wrong_size(case: Case, rng: np.random.Generator) -> Case:
    """Header whose voxels are too large or too small by half."""
    return replace(case, affine=np.diag([*[rng.choice([0.6, 1.6])] * 3, 1.0]) @ case.affine)


def wrapped(case: Case, rng: np.random.Generator) -> Case:
    """Nose wrapped round to behind the head: the brain reaches the field's edge and no farther."""
    spare = case.data.shape[1] - 1 - np.flatnonzero(case.truth.any(axis=(0, 2)))[-1]
    return replace(case, data=np.roll(case.data, spare, 1), truth=np.roll(case.truth, spare, 1))


def hole(case: Case, rng: np.random.Generator) -> Case:
    """Signal lost in a ball of 7 cm, as about metal; the truth still has it."""
    where = np.argwhere(case.truth)[rng.integers(case.truth.sum())]
    mm = (np.indices(case.data.shape) - where[:, None, None, None]) * case.size[
        :, None, None, None
    ]
    return replace(case, data=np.where((mm**2).sum(axis=0) < 35**2, 0, case.data))


def motion(case: Case, rng: np.random.Generator) -> Case:
    """Ghosts of a head that nodded: four shifted copies."""
    shifts = [round(mm / case.size[1]) for mm in (9, -14, 23, -40)]
    ghosts = sum(np.roll(case.data, shift, 1) for shift in shifts)
    return replace(case, data=0.5 * case.data + 0.2 * ghosts)


SPOILED: dict[str, Callable[[Case, np.random.Generator], Case]] = {
    "bias": bias,
    "noise": noise,
    "loud noise": loud_noise,
    "cut top": cut_top,
    "cut below": cut_below,
    "slab": slab,
    "rotated": rotate,
    "thick": thick,
    "blurred": blur,
    "stripped": stripped,
    "upside down": upside_down,
    "back to front": back_to_front,
    "wrong axes": wrong_axes,
    "wrong size": wrong_size,
    "wrapped": wrapped,
    "hole": hole,
    "motion": motion,
}

SHAPE, SIZE = (96, 112, 96), 2.0


def make_phantoms() -> dict[str, Case]:
    """Make things that are no heads; their true mask is empty."""
    rng = np.random.default_rng(0)
    middle = (np.array(SHAPE) - 1) / 2
    mm = (np.indices(SHAPE) - middle[:, None, None, None]) * SIZE
    radius = np.sqrt((mm**2).sum(axis=0))
    tube = np.hypot(mm[0], mm[1])
    shapes = {
        "ball": radius < 80,
        "large ball": radius < 90,
        "ball in a shell": (radius < 70) | ((radius > 76) & (radius < 84)),
        "cylinder": (tube < 80) & (np.abs(mm[2]) < 75),
        "slim cylinder": (tube < 55) & (np.abs(mm[2]) < 90),
        "box": (np.abs(mm) < np.array([65, 80, 60])[:, None, None, None]).all(axis=0),
        "nothing": radius < 0,
    }
    affine = np.diag([SIZE, SIZE, SIZE, 1.0])
    affine[:3, 3] = -SIZE * middle
    empty = np.zeros(SHAPE, bool)
    found = {}
    for name, inside in shapes.items():
        for level in (1, 6):
            noise = np.hypot(
                100 * inside + level * rng.normal(size=SHAPE), level * rng.normal(size=SHAPE)
            )
            found[f"{name}, {level} % noise"] = Case(noise, empty, affine)
    tubes = (tube < 80) & (np.abs(mm[2]) < 80)
    rods = ((mm[0] % 30 < 12) & (mm[1] % 30 < 12)) & tubes
    found["rods"] = Case(100.0 * tubes - 70 * rods + rng.normal(size=SHAPE), empty, affine)
    return found
