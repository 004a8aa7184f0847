"""Scans for the page, made of the bundled head, and what the command line makes of them.

`python reference.py OUT`; vitest runs it before the tests in the browser. Nothing is committed.
"""

import gzip
import os
import struct
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import deskull
from deskull.demo import HEAD
from deskull.image.volume import Volume, load_volume
from test_dicom import UID, encode

HEADS = ("philips_T1w", "fs01_T1w", "robex_T1w", "ds011_03_T2w", "openms12s1_FLAIR")
"""Real heads that are looked at where the folder DESKULL_TEST_DATA is there."""


def write_frames(head: Volume, path: Path) -> None:
    """Write a 4D file whose second frame is the head."""
    nib.save(
        nib.Nifti1Image(np.stack([head.data * 0, head.data], axis=-1), head.grid.affine), path
    )


def write_thick(head: Volume, path: Path) -> None:
    """Write every third axial slice, 4.5 mm apart: the slices of a clinical scan."""
    affine = head.grid.affine @ np.diag([1, 1, 3, 1])
    nib.save(nib.Nifti1Image(head.data[:, :, ::3], affine), path)


def write_padded(head: Volume, path: Path) -> None:
    """Write the head as a tool that turns scans leaves it, its new corners filled with -1000.

    It is packed in two gzip streams, as tools that compress in parallel do.
    """
    turned = ndimage.rotate(head.data, 15, (0, 1), reshape=False, order=1, cval=-1000)
    whole = nib.Nifti1Image(turned, head.grid.affine).to_bytes()
    half = len(whole) // 2
    path.write_bytes(gzip.compress(whole[:half], 1) + gzip.compress(whole[half:], 1))


def write_dicom(head: Volume, folder: Path) -> None:
    """Write the head as an MR series of axial slices, stored as scanners do: in LPS."""
    folder.mkdir()
    values = np.clip(head.data, 0, 32767).astype("<i2")
    u2 = struct.Struct("<H").pack
    for k in range(values.shape[2]):
        x, y, z = head.grid.to_mm([0, 0, k])
        elements = [
            (0x08, 0x08, b"CS", "ORIGINAL\\PRIMARY\\M"),
            (0x08, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.4"),
            (0x08, 0x18, b"UI", f"{UID}.3.{k + 1}"),
            (0x08, 0x60, b"CS", "MR"),
            (0x08, 0x70, b"LO", "SIEMENS"),
            (0x08, 0x103E, b"LO", "demo"),
            (0x10, 0x10, b"PN", "Doe^Jane"),
            (0x18, 0x50, b"DS", head.grid.voxel_size[2]),
            (0x18, 0x88, b"DS", head.grid.voxel_size[2]),
            (0x20, 0x0D, b"UI", UID),
            (0x20, 0x0E, b"UI", f"{UID}.3"),
            (0x20, 0x11, b"IS", 3),
            (0x20, 0x13, b"IS", k + 1),
            (0x20, 0x32, b"DS", f"{-x:.4f}\\{-y:.4f}\\{z:.4f}"),
            (0x20, 0x37, b"DS", "-1\\0\\0\\0\\-1\\0"),
            (0x28, 0x02, b"US", u2(1)),
            (0x28, 0x04, b"CS", "MONOCHROME2"),
            (0x28, 0x10, b"US", u2(values.shape[1])),
            (0x28, 0x11, b"US", u2(values.shape[0])),
            (0x28, 0x30, b"DS", f"{head.grid.voxel_size[1]}\\{head.grid.voxel_size[0]}"),
            (0x28, 0x100, b"US", u2(16)),
            (0x28, 0x101, b"US", u2(16)),
            (0x28, 0x102, b"US", u2(15)),
            (0x28, 0x103, b"US", u2(1)),
            (0x7FE0, 0x10, b"OW", values[:, :, k].tobytes(order="F")),
        ]
        meta = encode(2, 0x10, b"UI", "1.2.840.10008.1.2.1")
        body = b"".join(encode(*element) for element in elements)
        start = b"\0" * 128 + b"DICM" + encode(2, 0, b"UL", struct.pack("<I", len(meta)))
        (folder / f"{k:03d}.dcm").write_bytes(start + meta + body)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(deskull.__file__).parent / "data" / HEAD
    head = load_volume(path)
    (folder / "demo_T1w.nii.gz").write_bytes(path.read_bytes())
    (folder / "second.nii.gz").write_bytes(path.read_bytes())
    (folder / "words.nii.gz").write_bytes(b"no image at all")
    write_frames(head, folder / "frames.nii.gz")
    write_dicom(head, folder / "series")
    write_padded(head, folder / "padded.nii.gz")
    write_thick(head, folder / "thick.nii.gz")
    stripper = deskull.Stripper.load()
    result = stripper(head)
    result.save(
        mask=folder / "mask.nii.gz",
        brain=folder / "brain.nii.gz",
        probability=folder / "probability.nii.gz",
        record=folder / "record.json",
    )
    moved = stripper(head, deskull.Settings(border=1.5, threshold=0.4))
    moved.save(mask=folder / "moved.nii.gz", record=folder / "moved.json")
    tissue = stripper(head, deskull.Settings(csf=False))
    tissue.save(mask=folder / "tissue.nii.gz", record=folder / "tissue.json")
    stripper(load_volume(folder / "thick.nii.gz"), deskull.Settings(border=2, threshold=0.3)).save(
        mask=folder / "thick_mask.nii.gz"
    )
    for name, scan in (("series", "series"), ("padded", "padded.nii.gz")):
        stripper(load_volume(folder / scan)).save(
            mask=folder / f"{name}_mask.nii.gz", record=folder / f"{name}.json"
        )
    heads = Path(os.environ.get("DESKULL_TEST_DATA", ""), "heads")
    for name in HEADS if heads.is_dir() else ():
        head = load_volume(heads / f"{name}.nii.gz")
        stripper(head).save(mask=folder / f"{name}.nii.gz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
