"""What comes out of a strip: the mask and all that is made from it, in native space."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.assess.picture import draw_mosaic, encode_png
from deskull.errors import InputError
from deskull.image.geometry import Grid
from deskull.image.volume import Volume, make_brain_image, make_map_image, make_mask_image
from deskull.image.writing import save_bytes, save_image
from deskull.measure.quality import Flag
from deskull.prepare.bias import correct_bias
from deskull.prepare.postprocess import make_signed_distance

IMAGES = {  # name of each image output, and what of a Result it shows
    "brain": "mask",
    "mask": "mask",
    "probability": "probability",
    "distance": "signed_distance",
    "corrected": "corrected",
}


@dataclass(frozen=True, eq=False)
class Result:
    """One stripped scan.

    Parameters
    ----------
    volume
        The scan as loaded.
    mask
        Brain, (X, Y, Z) bool, on the scan's own grid.
    probability
        That a voxel is brain, (X, Y, Z) float32 in [0, 1].
    bias_corrected
        The image after N4 if that was a step, else None.
    flags
        Doubts; empty when there are none.
    volume_ml
        Of the mask, in millilitres.
    record
        Versions, weights, settings, timings, volume and flags, fit for JSON.
    """

    volume: Volume
    mask: NDArray[np.bool_]
    probability: NDArray[np.float32]
    bias_corrected: NDArray[np.float32] | None
    flags: list[Flag]
    volume_ml: float
    record: Mapping[str, Any]

    @cached_property
    def brain(self) -> NDArray[np.float32]:
        """Intensities with all but the brain set to 0, (X, Y, Z) float32."""
        return np.where(self.mask, self.volume.data, np.float32(0))

    @cached_property
    def signed_distance(self) -> NDArray[np.float32]:
        """Millimetres to the mask's surface, negative inside, (X, Y, Z) float32."""
        return make_signed_distance(self.mask, self.volume.grid.voxel_size)

    @cached_property
    def corrected(self) -> NDArray[np.float32]:
        """The image after N4, (X, Y, Z) float32; made now if it was no step of the way."""
        if self.bias_corrected is not None:
            return self.bias_corrected
        data = np.nan_to_num(self.volume.data, nan=0.0, posinf=0.0, neginf=0.0)
        return correct_bias(data, self.volume.grid.voxel_size)[0]

    def to_image(self, output: str, fill: float = 0.0) -> SpatialImage:
        """Make an output as a nibabel image with the scan's own header.

        Parameters
        ----------
        output
            One of `IMAGES`.
        fill
            Intensity outside of the brain, for ``"brain"``.

        Raises
        ------
        InputError
            If the output's name is unknown.
        """
        return _make_image(output, [self], fill)

    def save(
        self,
        *,
        record: str | Path | None = None,
        picture: str | Path | None = None,
        fill: float = 0.0,
        **images: str | Path | None,
    ) -> None:
        """Write outputs, each whole or not at all.

        Parameters
        ----------
        record
            Path of the JSON record.
        picture
            Path of the three-plane PNG.
        fill
            Intensity outside of the brain.
        **images
            Path for each of `IMAGES` that is wanted, such as ``mask="mask.nii.gz"``.

        Raises
        ------
        InputError
            If an output's name is unknown.
        OutputError
            If a file cannot be written.
        """
        paths = images | {"record": record, "picture": picture}
        save_results([self], {k: Path(v) for k, v in paths.items() if v is not None}, fill)


def save_results(results: Sequence[Result], paths: Mapping[str, Path], fill: float = 0.0) -> None:
    """Write the outputs of one scan, or of all frames of a 4D one as 4D images.

    Parameters
    ----------
    results
        Of each frame, in order; one for a 3D scan.
    paths
        Where each output goes: names of `IMAGES`, ``"record"`` (a list of records where there
        are several results) and ``"picture"`` (of the first).
    fill
        Intensity outside of the brain.
    """
    for output in paths.keys() - {"record", "picture"}:
        _check_output(output)
    for output, path in paths.items():
        if output == "record":
            records = [result.record for result in results]
            content = records[0] if len(records) == 1 else records
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            save_bytes(text.encode(), path)
        elif output == "picture":
            first = results[0]
            mosaic = draw_mosaic(first.volume.data, first.mask, first.volume.grid)
            save_bytes(encode_png(mosaic), path)
        else:
            save_image(_make_image(output, results, fill), path)


def _make_image(output: str, results: Sequence[Result], fill: float) -> SpatialImage:
    attribute = _check_output(output)
    source = results[0].volume.source
    arrays = [getattr(result, attribute) for result in results]
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)
    if output == "brain":
        frame = results[0].volume.frame if len(results) == 1 else None
        return make_brain_image(array, source, fill, frame)
    return make_mask_image(array, source) if output == "mask" else make_map_image(array, source)


def _check_output(output: str) -> str:
    if output not in IMAGES:
        raise InputError(f"output {output!r}; expected one of {', '.join(IMAGES)}.")
    return IMAGES[output]


@dataclass
class StepSaver:
    """Saves what each step made as NIfTI, numbered in the order of the steps.

    Parameters
    ----------
    folder
        Where to; must exist.
    """

    folder: Path
    count: int = field(default=0, init=False)

    def __call__(self, name: str, array: NDArray[np.float32], grid: Grid) -> None:
        """Save one step's array on its grid."""
        self.count += 1
        image = nib.Nifti1Image(array, grid.affine)
        save_image(image, self.folder / f"{self.count:02d}_{name}.nii.gz")
