"""Make a small BIDS data set of copies of the bundled synthetic head: nobody's scans.

    python examples/make_study.py study                   # 4 participants, T1w, 2 mm

Each participant has another size, pose, shading and noise. The field of view of the last one cuts
the top of the head, so that there is something to find.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from deskull.demo import load_demo
from deskull.image.writing import save_image


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the data set, new")
    parser.add_argument("--participants", type=int, default=4)
    parser.add_argument("--voxel-size", type=float, default=2.0, metavar="MM")
    options = parser.parse_args()
    make_study(options.out, options.participants, options.voxel_size)


def make_study(out: Path, participants: int = 4, voxel_size: float = 2.0) -> None:
    """Write the data set."""
    out.mkdir(parents=True, exist_ok=True)
    about = {"Name": "Copies of a synthetic head", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    (out / "dataset_description.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    for number in range(1, participants + 1):
        folder = out / f"sub-{number:02}" / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        image = make_scan(np.random.default_rng(number), voxel_size, number == participants)
        save_image(image, folder / f"sub-{number:02}_T1w.nii.gz")
        print(folder)


def make_scan(rng: np.random.Generator, voxel_size: float, cut: bool) -> nib.Nifti1Image:
    """Make one scan of a participant."""
    head = load_demo()[0]
    step = voxel_size / np.array(head.grid.voxel_size) / rng.uniform(0.9, 1.08, 3)
    shape = np.floor(np.array(head.data.shape) / step).astype(int)
    turn = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3)) * (1 - np.eye(3))
    offset = (np.array(head.data.shape) - turn @ (step * shape)) / 2
    data = ndimage.affine_transform(
        head.data, turn * step, offset, tuple(shape), order=1, mode="grid-constant"
    )
    shading = ndimage.zoom(rng.uniform(0.8, 1.2, (3, 3, 3)), shape / 3, order=1)
    data = data * shading + rng.normal(0, 0.02 * data.max(), data.shape)
    axes = head.grid.affine[:3, :3] / np.array(head.grid.voxel_size) * voxel_size
    affine = np.block([[axes, head.grid.affine[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]])
    if cut:
        up = nib.aff2axcodes(affine)
        axis = next(n for n, code in enumerate(up) if code in "SI")
        kept = int(data.shape[axis] * 0.7)
        first = 0 if up[axis] == "S" else data.shape[axis] - kept
        data = data.take(range(first, first + kept), axis)
    return nib.Nifti1Image(np.clip(data, 0, 4000).astype(np.int16), affine)


if __name__ == "__main__":
    main()
