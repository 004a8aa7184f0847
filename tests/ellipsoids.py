"""A head of ellipsoids: brain, skull and scalp with a neck, at 3 mm."""

import numpy as np

VOXEL_SIZE = (3.0, 3.0, 3.0)
SHAPE = (80, 84, 80)


def make_ellipsoid(radii, centre=(0.0, 0.0, 0.0)):
    """Voxels of SHAPE within an ellipsoid given in mm about the middle of the field."""
    middle = (np.array(SHAPE) - 1) / 2 * VOXEL_SIZE + np.array(centre)
    mm = np.indices(SHAPE) * np.array(VOXEL_SIZE)[:, None, None, None]
    scaled = (mm - middle[:, None, None, None]) / np.array(radii)[:, None, None, None]
    return (scaled**2).sum(axis=0) <= 1


BRAIN = make_ellipsoid((68, 84, 62))
SKULL = make_ellipsoid((75, 91, 69))
HEAD = make_ellipsoid((84, 100, 80)) | make_ellipsoid((55, 60, 60), (0, 0, -70))


def make_scan(air=3.0, skull=15.0, scalp=140.0, brain=100.0):
    """Scan of noise in air, skull, scalp with a neck, and a brain of two tissues (1480 ml)."""
    rng = np.random.default_rng(0)
    tissue = np.where(rng.random(SHAPE) < 0.5, 0.85, 1.15) * brain
    scan = np.select([BRAIN, SKULL, HEAD], [tissue, skull, scalp], 0.0)
    scan += rng.normal(0, 6, SHAPE) * (scan > 0) + np.abs(rng.normal(0, air, SHAPE))
    return scan.astype(np.float32)


def make_probability(mask=BRAIN):
    return np.where(mask, np.float32(0.98), np.float32(0.01))
