"""Tiny scans, masks and folders of them, for tests of what finds them."""

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (6, 7, 8)


def write(path, shape=SHAPE, voxel_size=2.0, values=None):
    """A scan of noise, another one for each name."""
    rng = np.random.default_rng(zlib.crc32(str(path.name).encode()))
    data = rng.normal(100, 30, shape).astype(np.float32) if values is None else values
    kind = nib.MGHImage if path.suffix in (".mgz", ".mgh") else nib.Nifti1Image
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(kind(data, np.diag([voxel_size] * 3 + [1])), path)
    return path


def write_mask(path, shape=SHAPE, voxel_size=2.0, empty=False):
    values = np.zeros(shape, np.uint8)
    values[1:-1, 1:-1, 1:-1] = not empty
    return write(path, shape, voxel_size, values)


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def whats(findings, folder):
    """What was left out, as (path below the folder, word)."""
    return sorted((f.where.relative_to(folder).as_posix(), f.what) for f in findings)


def names(index, column):
    return [Path(path).name for path in index[column]]


@pytest.fixture
def nfbs(tmp_path):
    """Three whole members of NFBS, and one in two sessions without a mask in the second."""
    for participant, session in (("A1", "NFB3"), ("A2", "NFB3"), ("A3", "NFB2"), ("A3", "NFBR2")):
        stem = tmp_path / f"A000{participant}" / f"sub-{participant}_ses-{session}_T1w"
        write(stem.with_name(f"{stem.name}.nii.gz"))
        if session != "NFBR2":
            write_mask(stem.with_name(f"{stem.name}_brainmask.nii.gz"))
            write(stem.with_name(f"{stem.name}_brain.nii.gz"))
    return tmp_path
