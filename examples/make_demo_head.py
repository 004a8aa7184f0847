"""Make a synthetic head with its exact brain mask from a whole-head label map.

The head that `deskull demo` strips was made by this program:

    python examples/make_demo_head.py head-current-05.nii.gz src/deskull/data

The label map is of a participant that the default weights were never trained on.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from deskull.image.grid import make_ras_grid
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.prepare.conform import WindowSettings
from deskull.train.draws import Draws
from deskull.train.labels import make_labelled_head
from deskull.train.recipe import AugmentSettings
from deskull.train.synthesis import synthesise

SHAPE, VOXEL_SIZE = (112, 152, 184), 1.5
MILD = AugmentSettings(
    rotation=6, any_pose=0, scale=0.03, shear=0.02, warp=4, shift=0, field_cut=0, deface=0
)


def main(label_map: str, folder: str, seed: int = 11) -> None:
    """Write `demo_T1w.nii.gz` and `demo_T1w_truth.nii.gz` into a folder."""
    head = make_labelled_head(load_volume(label_map))
    example = synthesise(
        head, WindowSettings(SHAPE, VOXEL_SIZE), MILD, Draws(seed), contrast="T1w"
    )
    image = example.image.numpy()
    image = np.clip(image / np.percentile(image, 99.9), 0, 1) * 255
    truth = example.target[0].numpy() >= 0.5
    grid = make_ras_grid((0, 0, 0), SHAPE, VOXEL_SIZE)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, array in (("demo_T1w", image), ("demo_T1w_truth", truth)):
        output = nib.Nifti1Image(array.astype(np.uint8), grid.affine)
        output.header.set_xyzt_units("mm")
        save_image(output, Path(folder) / f"{name}.nii.gz")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
