"""Arrays and files that the TypeScript is tested against, made by the Python package itself.

`python fixtures.py OUT` writes `index.json` (numbers, words, and where each array is),
`arrays.bin` and files of images. vitest runs it before the tests; nothing of it is committed.
"""

import sys
from dataclasses import asdict
from itertools import cycle, permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fixture_files import make_fingerprints, make_images, make_refused
from fixture_writer import Writer

from deskull.image import padding
from deskull.image.grid import Grid
from deskull.image.padding import Padding, take_out_padding
from deskull.image.volume import Volume
from deskull.measure import quality, score
from deskull.measure.likeness import CHOSEN, find_unlike
from deskull.measure.traits import TRAITS, measure_traits
from deskull.network.weights import load_weights
from deskull.outputs import find_output
from deskull.prepare.conform import (
    WindowSettings,
    conform,
    find_head_centres,
    make_window,
    measure_extent,
    to_native,
)
from deskull.prepare.intensity import find_air, normalise
from deskull.prepare.postprocess import (
    clean_mask,
    make_signed_distance,
    move_border,
)
from deskull.record import SCHEMA
from deskull.settings import Settings
from test_padding import FILLS, NO_PADDING, SCAN, WAYS, mix, turn

RNG = np.random.default_rng(3)
OFF = np.array([1.3, -0.4, 0.7])  # of the window's middle from the field's
SHAPE = (11, 13, 12)


def _smooth(shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = ndimage.gaussian_filter(RNG.normal(size=shape), 1.5)
    return (1000 * values / np.abs(values).max()).astype(np.float32)


def _linear_parts() -> dict[str, NDArray[np.float64]]:
    turn = np.deg2rad(20)
    oblique = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    return {
        "isotropic": np.eye(3),
        "anisotropic": np.diag([0.9, 1.0, 2.7]),
        "oblique": oblique @ tilt @ np.diag([1.0, 1.1, 1.3]),
        "sheared": np.array([[1.0, 0.2, 0], [0, 1.2, 0.1], [0, 0, 1.4]]),
    }


def _orient(axes: tuple[int, ...], flips: tuple[int, ...]) -> NDArray[np.float64]:
    matrix = np.zeros((3, 3))
    for axis, (target, flip) in enumerate(zip(axes, flips, strict=True)):
        matrix[target, axis] = flip
    return matrix


def _make_resampled(
    write: Writer, data: NDArray[np.float32], grid: Grid, mm: float
) -> dict[str, Any]:
    window = make_window(grid.centre + OFF, grid, (7, 8, 6), mm)
    conformed = conform(data, grid, window, fill=-5.0)
    logits = (conformed / 100).astype(np.float32)
    native, box = to_native(logits, window, grid)
    return {
        "shape": grid.shape,
        "affine": grid.affine,
        "orientation": grid.orientation,
        "data": write.array(data),
        "size": mm,
        "centre": grid.centre + OFF,
        "window": window.affine,
        "conformed": write.array(conformed),
        "native": write.array(native),
        "box": [[s.start, s.stop] for s in box],
        "air": find_air(data, grid),
        "heads": find_head_centres(data, grid, 10.0),
    }


def make_orientations(write: Writer) -> list[dict[str, Any]]:
    """Every stored orientation of grids of several kinds, at two voxel sizes of the window."""
    cases = []
    data = _smooth(SHAPE)
    for name, part in _linear_parts().items():
        for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
            affine = np.eye(4)
            affine[:3, :3] = part @ _orient(axes, flips)
            affine[:3, 3] = 5, -7, 3
            grid = Grid(SHAPE, affine)
            mm = 2.0 if sum(axes[:2]) % 2 else 1.7
            cases.append(
                {"name": f"{name} {grid.orientation}"} | _make_resampled(write, data, grid, mm)
            )
    return cases


def make_fields(write: Writer) -> list[dict[str, Any]]:
    """Fields that the window outgrows, and fine ones whose voxels are averaged."""
    cases = []
    for shape, size in (
        ((4, 20, 20), 1.0),
        ((30, 30, 30), 0.5),
        ((6, 5, 40), 2.0),
        ((25, 9, 9), 0.7),
    ):
        grid = Grid(shape, np.diag([-size, size, size, 1.0]))
        data = _smooth(shape)
        name = f"{shape} of {size} mm"
        cases.append({"name": name} | _make_resampled(write, data, grid, 2.0))
    return cases


def make_intensities(write: Writer) -> list[dict[str, Any]]:
    heads = [
        _smooth((9, 9, 9)) ** 2,
        np.full((4, 4, 4), 7.0, np.float32),
        np.eye(27).reshape(9, 9, 9),
    ]
    arrays = [head.astype(np.float32) for head in heads]
    return [{"image": write.array(a), "normalised": write.array(normalise(a))} for a in arrays]


def make_masks(write: Writer) -> list[dict[str, Any]]:
    cases = []
    for level, size in ((150, (1.0, 1.0, 1.0)), (50, (0.9, 1.2, 3.0)), (-100, (1.5, 1.5, 1.5))):
        mask = _smooth((20, 24, 22)) > level
        clean = clean_mask(mask)
        grid = Grid(mask.shape, np.diag([*size, 1.0]))
        centre, extent = measure_extent(clean, grid)
        borders = {
            b: write.array(move_border(clean, size, b)) for b in (-2.5, -1.0, 0.0, 0.6, 1.3, 4.0)
        }
        cases.append(
            {
                "mask": write.array(mask),
                "voxel_size": size,
                "clean": write.array(clean),
                "distance": write.array(make_signed_distance(clean, size)),
                "borders": borders,
                "centre": centre,
                "extent": extent,
            }
        )
    return cases


def make_windows() -> list[dict[str, Any]]:
    """Voxel sizes of windows, fixed and fitted, for brains of some lengths."""
    shape = (96, 112, 96)
    settings = [WindowSettings(shape, 2.0), WindowSettings(shape, "fit", 0.7)]
    extents = [None, (130.0, 170.0, 140.0), (60.0, 70.0, 61.0), (100.0, 120.0, 190.0)]
    return [
        {
            "window": {"shape": shape, "voxel_size": one.voxel_size, "fill": one.fill},
            "extent": extent,
            "size": one.choose_voxel_size(extent),
        }
        for one in settings
        for extent in extents
    ]


def _make_head(stretch: float, noise: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalised image and logits of an egg in a shell."""
    place = np.indices((48, 56, 48)) - np.array([24, 27, 24])[:, None, None, None]
    radius = np.sqrt(
        (place**2 / np.array([16.0, 20 * stretch, 15])[:, None, None, None] ** 2).sum(0)
    )
    radius = radius + 0.004 * place[1] + 0.003 * np.abs(place[2])
    image = np.where(radius < 1, 1.0, np.where(radius < 1.3, -0.5, -1.5))
    image = image + noise * ndimage.gaussian_filter(RNG.normal(size=image.shape), 2)
    return image.astype(np.float32), (12 * (1 - radius) + RNG.normal(size=radius.shape)).astype(
        np.float32
    )


def _make_stripped(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make a stripped brain, small in its field, with the ringing of a resampling around it."""
    brain = 500 + 50 * RNG.normal(size=logits.shape)
    ringing = RNG.integers(-13, 14, size=logits.shape)
    data = np.where(logits > 6, brain, np.where(logits > -4, ringing, 0))
    return data.astype(np.float32)


def make_padded(write: Writer) -> list[dict[str, Any]]:
    """Scans with padding and without, and what is found."""
    fills = cycle(FILLS)
    scans = {
        f"{name}, {fill:g}": way(SCAN, fill)
        for (name, way), fill in zip(WAYS.items(), fills, strict=False)
        if name != "far around"
    }
    scans["two values"] = turn(SCAN, -1000)
    scans["two values"][:5] = 65535
    scans["half"] = turn(SCAN[::2, ::2, ::2], -1000)
    scans["half, mixed"] = mix(SCAN[:, :, ::3], 4095)
    cases = []
    for name, scan in (scans | NO_PADDING).items():
        data = np.array(scan, np.float32)
        data[3, 4, 5] = np.nan
        before = write.array(data)
        found = take_out_padding(data)
        words = found.describe(data.size) if found else ""
        plain = asdict(found) if found else None
        cases.append({"name": name, "data": before, "padding": plain, "words": words})
    return cases


def make_judged(write: Writer) -> list[dict[str, Any]]:
    """Traits, doubts and score of heads good and bad."""
    cases = []
    likeness = load_weights().card.likeness
    for stretch, noise, size, is_stripped in (
        (1.0, 5.0, 2.0, False),
        (0.6, 0.0, 4.0, False),
        (1.1, 8.0, 1.3, False),
        (1.0, 5.0, 3.0, True),
    ):
        image, logits = _make_head(stretch, noise)
        traits = measure_traits(image, logits, size)
        probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
        probability[2:12, 2:12, 2:12] = 0.9
        mask = logits > 0
        mask[:, :, : 10 if noise else 0] |= mask[:, :, 10:11]
        data = np.where(image > 0, 40.0, -1000.0).astype(np.float32) + image.round(2)
        if is_stripped:
            data = _make_stripped(logits)
        data[5, 5, 5] = np.nan
        affine = np.diag([size, size, size, 1.0])
        filled = 40 if noise else 0
        data[-1, -1, :filled] = np.nan
        scan = Volume(
            data,
            Grid(data.shape, affine),
            nib.Nifti1Image(data, affine),
            "case",
            padding=Padding((-1000.0,), filled),
        )
        judged = score.judge(scan, mask, probability, traits, likeness)
        cases.append(
            {
                "image": write.array(image),
                "logits": write.array(logits),
                "data": write.array(data),
                "mask": write.array(mask),
                "probability": write.array(probability),
                "voxel_size": size,
                "padded": filled,
                "traits": traits,
                "unlike": find_unlike(traits, likeness),
                "judged": asdict(judged),
            }
        )
    return cases


def make_constants() -> dict[str, Any]:
    """What the two languages both say."""
    return {
        "LOW": score.LOW,
        "TERMS": {name: [term.limit, term.weight] for name, term in score.TERMS.items()},
        "UNLIKE_WEIGHT": score.UNLIKE_WEIGHT,
        "COSTS": score.COSTS,
        "TRAITS": TRAITS,
        "CHOSEN": CHOSEN,
        "PADDING_LIMITS": {
            name: value for name, value in vars(padding).items() if isinstance(value, int | float)
        },
        "SCHEMA": SCHEMA,
        "SUFFIXES": {
            name: find_output(name).ending
            for name in ("mask", "brain", "probability", "picture", "record")
        },
        "DEFAULTS": {name: getattr(Settings, name) for name in ("threshold", "border", "csf")},
        "limits": {k: v for k, v in vars(quality).items() if isinstance(v, (int, float, tuple))},
    }


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write = Writer(folder)
    write.index["orientations"] = make_orientations(write)
    write.index["fields"] = make_fields(write)
    write.index["intensities"] = make_intensities(write)
    write.index["masks"] = make_masks(write)
    write.index["windows"] = make_windows()
    write.index["padded"] = make_padded(write)
    write.index["judged"] = make_judged(write)
    write.index["constants"] = make_constants()
    write.index["images"] = make_images(write)
    write.index["fingerprints"] = make_fingerprints(write)
    write.index["refused"] = make_refused(write)
    write.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
