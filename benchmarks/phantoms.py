"""Things that are no heads: no mask of them is right."""

import numpy as np

from damaged_heads import Head
from deskull.image.grid import make_ras_grid

SHAPE, SIZE = (96, 112, 96), 2.0


def make_phantoms() -> dict[str, Head]:
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
    grid = make_ras_grid((0, 0, 0), SHAPE, SIZE)
    empty = np.zeros(SHAPE, bool)
    found = {}
    for name, inside in shapes.items():
        for level in (1, 6):
            noise = np.hypot(
                100 * inside + level * rng.normal(size=SHAPE), level * rng.normal(size=SHAPE)
            )
            found[f"{name}, {level} % noise"] = Head(noise.astype(np.float32), empty, grid)
    tubes = (tube < 80) & (np.abs(mm[2]) < 80)
    rods = ((mm[0] % 30 < 12) & (mm[1] % 30 < 12)) & tubes
    image = 100.0 * tubes - 70 * rods + rng.normal(size=SHAPE)
    found["rods"] = Head(image.astype(np.float32), empty, grid)
    return found
