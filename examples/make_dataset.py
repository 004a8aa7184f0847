"""Make a data set of synthetic heads with exact masks, in the shape and by the names of NFBS.

    python examples/make_dataset.py label_maps/ --out heads
    python examples/make_dataset.py --out heads          # no label maps at hand

A participant is a label map or, without any, a copy of the bundled head in another size and shape.
Each head is a defaced T1w scan of 256 x 256 x 192 voxels of 1 mm, stored in sagittal slices,
with the artefacts of a good scanner: shading, blur, noise. The folder of a participant holds
`sub-X_ses-N_T1w`, `_T1w_brainmask` and `_T1w_brain`, so that `deskull index` finds them.
"""

import argparse
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from deskull.demo import load_demo
from deskull.image.grid import make_ras_grid, to_canonical_array
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.prepare.conform import WindowSettings
from deskull.train.augment import (
    add_noise,
    blur,
    draw_pose,
    make_points,
    sample,
    smooth_field,
)
from deskull.train.draws import Draws
from deskull.train.labels import make_labelled_head
from deskull.train.recipe import NO_AUGMENTATION
from deskull.train.synthesis import synthesise

FIELD_MM = (192, 256, 256)  # to the right, to the front, up
SAGITTAL = "PSR"
PARTICIPANT = replace(
    NO_AUGMENTATION, rotation=8, scale=0.04, shear=0.02, warp=3, shift=8, deface=1
)
COPY = replace(NO_AUGMENTATION, rotation=8, scale=0.12, shear=0.05, warp=8, shift=8)
Head = tuple[Tensor, Tensor]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", nargs="*", type=Path, help="label maps, or folders of them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=1, help="of each participant")
    parser.add_argument("--copies", type=int, default=12, help="participants, without label maps")
    parser.add_argument("--voxel-size", type=float, default=1.0, metavar="MM")
    options = parser.parse_args()
    found = [sorted(p.glob("*.nii*")) if p.is_dir() else [p] for p in options.maps]
    maps = [path for paths in found for path in paths]
    make_dataset(options.out, maps, options.copies, options.heads, options.voxel_size)


def make_dataset(
    out: Path, maps: list[Path], copies: int = 12, heads: int = 1, voxel_size: float = 1.0
) -> None:
    """Write `heads` heads of each label map or, without any, of each copy; go on where left."""
    names = [path.name.split(".")[0] for path in maps] or [f"copy{n:02}" for n in range(copies)]
    for number, name in enumerate(names):
        participant = re.sub(r"[^A-Za-z0-9]", "", name)
        stems = [out / participant / f"sub-{participant}_ses-{n + 1}_T1w" for n in range(heads)]
        if all(Path(f"{stem}_brain.nii.gz").exists() for stem in stems):
            continue
        draws = Draws(zlib.crc32(name.encode()))
        made = make_heads(maps[number], voxel_size, draws) if maps else copy(voxel_size, draws)
        for stem in stems:
            image, brain = next(made)
            save_head(scan(image, voxel_size, draws), brain, voxel_size, stem)
            print(stem)


def make_heads(label_map: Path, voxel_size: float, draws: Draws) -> Iterator[Head]:
    """Make synthetic heads of one label map without end."""
    head = make_labelled_head(load_volume(label_map))
    while True:
        window = WindowSettings(make_shape(voxel_size), voxel_size)
        example = synthesise(head, window, PARTICIPANT, draws, contrast="T1w")
        yield example.image, example.target[0] > 0.5


def copy(voxel_size: float, draws: Draws) -> Iterator[Head]:
    """Make copies of the bundled head without end, each in another pose."""
    head, truth = load_demo()
    arrays = [to_canonical_array(volume.data, volume.grid) for volume in (head, truth)]
    channels = torch.from_numpy(np.stack([arrays[0] / 200, arrays[1]]).astype(np.float32))
    where = np.argwhere(arrays[1] > 0)
    middle = torch.from_numpy((where.min(0) + where.max(0)) / 2).float()
    while True:
        pose = draw_pose(COPY, draws)
        points = make_points(make_shape(voxel_size), voxel_size, pose, COPY, draws)
        image, brain = sample(channels, points / head.grid.voxel_size[0] + middle)
        yield image, brain > 0.5


def make_shape(voxel_size: float) -> tuple[int, int, int]:
    """Voxels of the field, RAS+."""
    x, y, z = (round(length / voxel_size) for length in FIELD_MM)
    return x, y, z


def scan(image: Tensor, voxel_size: float, draws: Draws) -> Tensor:
    """Add the shading, blur and noise of a good scanner."""
    shade = torch.exp(0.15 * smooth_field(image.shape, 3, draws)[0])
    soft = blur(image * shade, draws.uniform(0.4, 0.7) / voxel_size)
    return add_noise(soft, draws.uniform(0.01, 0.04), draws)


def save_head(image: Tensor, brain: Tensor, voxel_size: float, stem: Path) -> None:
    """Write the scan, its mask, and the brain, which is image x mask."""
    values, mask = image.numpy(), brain.numpy().astype(np.uint8)
    values = np.clip(800 * values / np.percentile(values, 99.8), 0, 4000).astype(np.int16)
    grid = make_ras_grid((0, 0, 0), make_shape(voxel_size), voxel_size)
    axes = [nib.orientations.axcodes2ornt(codes) for codes in ("RAS", SAGITTAL)]
    stem.parent.mkdir(parents=True, exist_ok=True)
    for name, array in (("", values), ("_brainmask", mask), ("_brain", values * mask)):
        output = nib.Nifti1Image(array, grid.affine)
        output = output.as_reoriented(nib.orientations.ornt_transform(*axes))
        output.header.set_xyzt_units("mm")
        save_image(output, Path(f"{stem}{name}.nii.gz"))


if __name__ == "__main__":
    main()
