"""What comes out of a strip: the mask and all that is made from it, in native space."""

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull.errors import InputError
from deskull.image.grid import Grid
from deskull.image.volume import Volume, make_brain_image, make_map_image, make_mask_image
from deskull.image.writing import Batch, check_output_path, save_bytes, save_image
from deskull.measure.quality import Flag
from deskull.picture import encode_picture
from deskull.picture.live import make_widget
from deskull.picture.page import render, to_data_address
from deskull.prepare.bias import correct_bias
from deskull.prepare.intensity import make_finite
from deskull.prepare.postprocess import make_signed_distance

IMAGES = {  # name of each image output, and what of a Result it shows
    "brain": "mask",
    "mask": "mask",
    "probability": "probability",
    "distance": "signed_distance",
    "corrected": "corrected",
}


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One stripped scan. Notebooks show it as a picture with its volume, score and doubts.

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
        Of the mask, in millilitres; NaN of a frame in which no brain was found.
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

    @property
    def score(self) -> int:
        """How far the mask can be trusted: 0 (surely wrong) to 100."""
        return int(self.record["score"])

    def __repr__(self) -> str:
        """Return one line: the scan, its volume, score and doubts."""
        return f"Result({self.title})"

    @property
    def title(self) -> str:
        """One line of text: the scan, its volume, score and doubts."""
        doubts = [flag.name for flag in self.flags] or ["no doubts"]
        facts = [f"{self.volume_ml:.0f} ml", f"score {self.score}", *doubts]
        return f"{self.volume.name}: {', '.join(facts)}"

    def _repr_html_(self) -> str:
        """HTML for a notebook: volume, score, doubts and the three-plane picture."""
        png = self._draw_picture(".png")
        picture = to_data_address(png, "image/png")
        return render("deskull.picture", "result.html", result=self, picture=picture)

    def _draw_picture(self, kind: str) -> bytes:
        return encode_picture(kind, self.volume.data, self.mask, self.volume.grid, self.title)

    def show(self, live: bool = False) -> None:
        """Show the picture: in a notebook below the cell, else in the system's image viewer.

        Parameters
        ----------
        live
            Show slices and the brain in 3D, to scroll, zoom and turn, in a notebook; needs the
            extra ``notebook``.

        Raises
        ------
        InputError
            If `live` is asked for outside of a notebook, or without its package.
        """
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            from IPython.display import display

            display(self._make_widget() if live else self)
            return
        if live:
            raise InputError("show(live=True): no notebook; expected Jupyter. Use show() here.")
        from PIL import Image

        Image.open(BytesIO(self._draw_picture(".png"))).show(self.title)

    def _make_widget(self) -> object:
        return make_widget(self.volume.data, self.mask, self.volume.grid.affine)

    @cached_property
    def brain(self) -> NDArray[np.float32]:
        """Intensities with all but the brain set to 0, (X, Y, Z) float32."""
        return np.where(self.mask, self.volume.data, np.float32(0))

    @cached_property
    def signed_distance(self) -> NDArray[np.float32]:
        """Millimetres to the mask's surface, negative inside, (X, Y, Z) float32."""
        if not self.mask.any():  # of a frame in which there is no brain
            return np.full(self.mask.shape, np.nan, np.float32)
        size = self.volume.grid.voxel_size
        return make_signed_distance(self.mask, size, self.record["threads"])

    @cached_property
    def corrected(self) -> NDArray[np.float32]:
        """The image after N4, (X, Y, Z) float32; made now if it was no step of the way."""
        if self.bias_corrected is not None:
            return self.bias_corrected
        data = make_finite(self.volume.data, self.volume.grid)[0]
        return correct_bias(data, self.volume.grid.voxel_size, threads=self.record["threads"])[0]

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
        array = getattr(self, _check_output(output))
        return _make_image(output, array, self.volume, fill)

    def save(
        self,
        *,
        record: str | Path | None = None,
        picture: str | Path | None = None,
        fill: float = 0.0,
        **images: str | Path | None,
    ) -> None:
        """Write outputs, all of them or none.

        Parameters
        ----------
        record
            Path of the JSON record.
        picture
            Path of the three-plane picture, PNG or SVG by its suffix.
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


def save_results(
    results: Iterable[Result],
    paths: Mapping[str, Path],
    fill: float = 0.0,
    count: int = 1,
    batch: Batch | None = None,
) -> None:
    """Write the outputs of one scan, or of all frames of a 4D one as 4D images.

    All files appear together when all are whole, or none does.

    Parameters
    ----------
    results
        Of each frame, in order. They are taken one by one, and of each only what will be
        written is kept, so that a long series fits into memory.
    paths
        Where each output goes: names of `IMAGES`, ``"record"`` (a list of records where there
        are several results) and ``"picture"`` (of the first with a
            brain).
    fill
        Intensity outside of the brain.
    count
        How many results there are.
    batch
        Files that shall appear together with these, in an open ``with``.
    """
    wanted = {_check_output(output) for output in paths.keys() - {"record", "picture"}}
    first, arrays, records = _gather(results, wanted, count)
    volume = first.volume
    with nullcontext(batch) if batch else Batch() as together:
        for output, path in paths.items():
            if output == "record":
                save_bytes(_encode_records(records, fill), path, together)
            elif output == "picture":
                save_bytes(first._draw_picture(path.suffix), path, together)
            else:
                array = arrays[IMAGES[output]]
                save_image(_make_image(output, array, volume, fill), path, together)


def _gather(
    results: Iterable[Result], wanted: Collection[str], count: int
) -> tuple[Result, dict[str, NDArray[Any]], list[Mapping[str, Any]]]:
    """First result with a brain; arrays, (X, Y, Z), or (X, Y, Z, T) of several; all records."""
    first: Result | None = None
    arrays: dict[str, NDArray[Any]] = {}
    records: list[Mapping[str, Any]] = []
    for number, result in enumerate(results):
        if first is None or not first.mask.any():
            first = result
        records.append(result.record)
        for name in wanted:
            array = getattr(result, name)
            if count == 1:
                arrays[name] = array
                continue
            if number == 0:
                arrays[name] = np.empty((*array.shape, count), array.dtype, order="F")
            arrays[name][..., number] = array
    assert first is not None
    return first, arrays, records


def _encode_records(records: Sequence[Mapping[str, Any]], fill: float) -> bytes:
    """JSON of one record, or of a list of several; JSON has no number for NaN and infinity."""
    shown = fill if math.isfinite(fill) else str(fill)
    filled = [dict(one) | {"settings": one["settings"] | {"fill": shown}} for one in records]
    content = filled[0] if len(filled) == 1 else filled
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _make_image(output: str, array: NDArray[Any], volume: Volume, fill: float) -> SpatialImage:
    """Image of an output, 3D or 4D as its array is."""
    source = volume.source
    if output == "brain":
        frame = volume.frame if array.ndim == 3 else None
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
    scan
        Input that must stay, should it lie there under the name of a step.
    """

    folder: Path
    scan: Path
    count: int = field(default=0, init=False)

    def __call__(self, name: str, array: NDArray[np.float32], grid: Grid) -> None:
        """Save one step's array on its grid."""
        self.count += 1
        path = self.folder / f"{self.count:02d}_{name}.nii.gz"
        check_output_path(path, [self.scan])
        save_image(nib.Nifti1Image(array, grid.affine), path)
