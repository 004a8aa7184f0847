"""What comes out of a strip: the mask and all that is made from it, in native space."""

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

from deskull.errors import InputError, OutputError
from deskull.image.derived import make_brain_image, make_map_image, make_mask_image
from deskull.image.file_names import WRITABLE
from deskull.image.grid import Grid
from deskull.image.lookup import STDIN
from deskull.image.volume import Volume
from deskull.image.writing import (
    Transaction,
    check_output_path,
    find_files,
    save_bytes,
    save_image,
)
from deskull.measure.metrics import volume_ml
from deskull.measure.quality import Flag
from deskull.measure.score import LOW
from deskull.outputs import OUTPUTS, Output, check_packages, find_output
from deskull.picture import encode_picture
from deskull.picture.live import make_widget
from deskull.picture.page import render, to_data_address
from deskull.prepare.bias import correct_bias
from deskull.prepare.intensity import make_finite
from deskull.prepare.postprocess import make_signed_distance
from deskull.record import Record, save_records
from deskull.settings import Settings


@dataclass(frozen=True, eq=False, repr=False)
class MaskedScan:
    """A scan and a mask on its grid: what every output that depends on the mask is made from.

    Parameters
    ----------
    volume
        The scan as loaded.
    mask
        Brain, (X, Y, Z) bool, on the scan's own grid.
    fill
        Intensity outside of the brain.
    threads
        Largest number of cores to use for what is made later.
    """

    volume: Volume
    mask: NDArray[np.bool_]
    fill: float = field(default=Settings.fill, kw_only=True)
    threads: int = field(default=1, kw_only=True)

    @property
    def title(self) -> str:
        """One line of text: the scan and the volume of its mask."""
        ml = volume_ml(self.mask, self.volume.grid.voxel_volume)
        return f"{self.volume.name}: {ml:.0f} ml"

    @cached_property
    def brain(self) -> NDArray[np.float32]:
        """Intensities with all but the brain set to 0, (X, Y, Z) float32."""
        return np.where(self.mask, self.volume.data, np.float32(0))

    @cached_property
    def signed_distance(self) -> NDArray[np.float32]:
        """Millimetres to the mask's surface, negative inside, (X, Y, Z) float32."""
        if not self.mask.any():  # of a frame in which there is no brain
            return np.full(self.mask.shape, np.nan, np.float32)
        return make_signed_distance(self.mask, self.volume.grid.voxel_size, self.threads or 1)

    def to_image(self, output: str) -> SpatialImage:
        """Make an output as a nibabel image with the scan's own header.

        Parameters
        ----------
        output
            Name of an image in `deskull.outputs.OUTPUTS`, such as ``"mask"``.

        Raises
        ------
        InputError
            If there is no such image.
        """
        row = find_output(output)
        if not row.is_image:
            raise InputError(f"output {output!r}: no image. Write it: result.save({output}=...).")
        return self.make_image(output, getattr(self, row.made))

    def make_image(self, output: str, array: NDArray[Any]) -> SpatialImage:
        """Make the image of an output from its array, (X, Y, Z), or (X, Y, Z, T) of all frames."""
        source = self.volume.source
        if output == "brain":
            frame = self.volume.frame if array.ndim == 3 else None
            return make_brain_image(array, source, self.fill, frame, self.volume.name)
        return (make_mask_image if output == "mask" else make_map_image)(array, source)


@dataclass(frozen=True, eq=False, repr=False)
class Result(MaskedScan):
    """One stripped scan. Notebooks show it as a picture with its volume, score and doubts.

    Parameters
    ----------
    volume, mask, fill, threads
        Scan, mask, fill value and number of cores, as for `MaskedScan`.
    probability
        Probability that a voxel is brain, (X, Y, Z) float32 in [0, 1].
    bias_corrected
        The image after N4 if that was a step, else None.
    flags
        Doubts; empty when there are none.
    volume_ml
        Volume of the mask in millilitres; NaN of a frame in which no brain was found.
    record
        Record of what was done: versions, weights, settings, timings, volume and flags.

    Examples
    --------
    >>> from deskull.demo import find_demo
    >>> from deskull.stripper import strip
    >>> result = strip(find_demo())
    >>> result.flags, result.record.settings.threshold
    ([], 0.5)
    >>> result.to_image("mask").shape
    (112, 152, 184)
    """

    probability: NDArray[np.float32]
    bias_corrected: NDArray[np.float32] | None
    flags: list[Flag]
    volume_ml: float
    record: Record

    @property
    def score(self) -> int:
        """How far the mask can be trusted: 0 (surely wrong) to 100."""
        return self.record.score or 0

    def __repr__(self) -> str:
        """Return one line: the scan, its volume, score and doubts."""
        return f"Result({self.title})"

    @property
    def title(self) -> str:
        """One line of text: the scan, its volume, score and doubts."""
        facts = [f"{self.volume_ml:.0f} ml", f"score {self.score}", self.doubts]
        return f"{self.volume.name}: {', '.join(facts)}"

    @property
    def doubts(self) -> str:
        """Names of the flags; where there are none, whether the score is low."""
        if self.flags:
            return ", ".join(flag.name for flag in self.flags)
        return "low score" if self.score < LOW else "no doubts"

    def _repr_html_(self) -> str:
        """HTML for a notebook: volume, score, doubts and the three-plane picture."""
        picture = to_data_address(draw_picture(self, ".png"), "image/png")
        return render("deskull.picture", "result.html", result=self, picture=picture)

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
            If `live` is requested outside of a notebook, or without its package.
        """
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            from IPython.display import display

            display(self._make_widget() if live else self)
            return
        if live:
            raise InputError("show(live=True): no notebook; expected Jupyter. Use show() here.")
        from PIL import Image

        Image.open(BytesIO(draw_picture(self, ".png"))).show(self.title)

    def _make_widget(self) -> object:
        return make_widget(self.volume.data, self.mask, self.volume.grid.affine)

    @cached_property
    def corrected(self) -> NDArray[np.float32]:
        """The image after N4, (X, Y, Z) float32; made now if it was no step of the way."""
        if self.bias_corrected is not None:
            return self.bias_corrected
        data = make_finite(self.volume.data, self.volume.grid)[0]
        return correct_bias(data, self.volume.grid.voxel_size, threads=self.threads)[0]

    def save(self, **paths: str | Path | None) -> None:
        """Write outputs, all of them or none.

        Parameters
        ----------
        **paths
            Path for each output that is wanted, by its name in `deskull.outputs.OUTPUTS`:
            ``mask="mask.nii.gz", picture="look.png"``. The ending of the name says the format.

        Raises
        ------
        InputError
            If an output's name is unknown, or it needs a package that is not installed.
        OutputError
            If a file cannot be written, has an ending of no format, or would replace the scan or
            another output.
        """
        outputs = {find_output(k).name: Path(v) for k, v in paths.items() if v is not None}
        read = self.volume.path, self.volume.source.get_filename()
        check_outputs([*outputs.items()], [path for path in read if path is not None])
        save_results([self], outputs)


def check_outputs(outputs: Sequence[tuple[str, Path]], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would overwrite an input or another output, before any work.

    Parameters
    ----------
    outputs
        Name and path of each output.
    inputs
        Paths that must not change.

    Raises
    ------
    OutputError
        If an output would overwrite an input, a DICOM file or another output.
    """
    endings = {row.name: row.endings for row in OUTPUTS}
    kept = [Path("/dev/stdin") if str(path) == STDIN else Path(path) for path in inputs]
    seen: dict[tuple[int, int] | Path, tuple[int, str]] = {}
    for number, (name, path) in enumerate(outputs):
        check_output_path(path, kept, endings.get(name, WRITABLE))
        for file in find_files(path):
            first, other = seen.setdefault(_identify(file), (number, name))
            if first != number:
                raise OutputError(f"{path}: requested as {other} and as {name}. Choose two names.")


def _identify(path: Path) -> tuple[int, int] | Path:
    """Identify a file whatever its name: by device and inode, or by its path if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return path.parent.resolve() / path.name
    return stat.st_dev, stat.st_ino


def draw_picture(scan: MaskedScan, ending: str) -> bytes:
    """Draw three planes of a scan with its mask's outline, as PNG or SVG."""
    return encode_picture(ending, scan.volume.data, scan.mask, scan.volume.grid, scan.title)


def save_results(
    results: Iterable[Result],
    paths: Mapping[str, Path],
    count: int = 1,
    transaction: Transaction | None = None,
) -> None:
    """Write the outputs of one scan, or of all frames of a 4D one as 4D images.

    All files appear together when all are whole, or none does.

    Parameters
    ----------
    results
        Results of the frames, in order. They are taken one by one, and of each only what will be
        written is kept, so that a long series fits into memory.
    paths
        Where each output goes, by its name in `deskull.outputs.OUTPUTS`. Where there are several
        results the record is a list of records, and files that are no images are made of the
        first with a brain.
    count
        Number of results.
    transaction
        Open transaction of files that appear together with these.
    """
    check_packages(paths)
    rows = {find_output(name): path for name, path in paths.items()}
    first, arrays, records = _gather(results, {r.made for r in rows if r.is_image}, count)
    with nullcontext(transaction) if transaction else Transaction() as together:
        for row, path in rows.items():
            if row.name == "record":
                save_records(records, path, first.volume.path, together)
            else:
                save_output(first, row, path, together, arrays.get(row.made))


def save_output(
    scan: MaskedScan,
    row: Output,
    path: Path,
    transaction: Transaction,
    array: NDArray[Any] | None = None,
) -> None:
    """Write one output of a scan and its mask.

    Parameters
    ----------
    scan
        The scan, or the first one of a series.
    row
        Row of the output in the table.
    path
        Path of the file.
    transaction
        Open transaction of files that appear together with this one.
    array
        Array of an image, (X, Y, Z) or (X, Y, Z, T); taken from `scan` if not given.
    """
    if row.is_image:
        array = getattr(scan, row.made) if array is None else array
        save_image(scan.make_image(row.name, array), path, transaction)
    else:
        save_bytes(row.encode(scan, path.suffix), path, transaction)


def _gather(
    results: Iterable[Result], wanted: Collection[str], count: int
) -> tuple[Result, dict[str, NDArray[Any]], list[Record]]:
    """First result with a brain; arrays, (X, Y, Z), or (X, Y, Z, T) of several; all records."""
    first: Result | None = None
    arrays: dict[str, NDArray[Any]] = {}
    records: list[Record] = []
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


@dataclass
class StepSaver:
    """Saves what each step made as NIfTI, numbered in the order of the steps.

    Parameters
    ----------
    folder
        Existing folder for the files.
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
