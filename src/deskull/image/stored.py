"""Voxels as a file stores them, and the NIfTI header made where a file brings none.

A `StoredArray` keeps raw values, their scaling and the bytes between header and voxels, so
that what is read can be written again bit for bit. Reading is `formats/`, outputs on a
scan's grid are `derived.py`, files are `writing.py`.
"""

import logging
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import DTypeLike, NDArray

from deskull.errors import GeometryError, ImageFileError
from deskull.image.grid import Grid, Shape

NO_EXTENSIONS = b"\0\0\0\0"
"""What follows a NIfTI header that has no extensions."""

NATIVE_ORDER = "<" if sys.byteorder == "little" else ">"
"""Byte order of this machine, as nibabel and numpy write it."""

MAX_BYTES = 4 * 1024**3
"""Most bytes of stored voxels that a header may promise."""

MAX_PACKED = 1032
"""Bytes that one byte of gzip can unpack to at most."""

HARMLESS_BYTES = 256 * 1024**2
"""Bytes that a header may promise however small its file is: masks pack tightly in xz."""

UNSIZED = "no voxel size in its header; 1 mm assumed"
"""Note of an image whose file says nothing of it, where its format allows that."""

_SHEAR_TOLERANCE_MM = 1e-3


SILENT = logging.getLogger("deskull.image.header")
"""For nibabel, which says how it mends a header."""
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class StoredArray:
    """Raw voxels and their scaling; numpy and nibabel see the scaled values.

    Parameters
    ----------
    raw
        Voxels in the stored type, (X, Y, Z) or more axes.
    slope, inter
        Slope and intercept of the header; a slope of 0 or NaN means no scaling.
    lead
        Bytes between a NIfTI header and its voxels: the extensions.
    tail
        Bytes after an MGH file's footer: its tags.
    frame
        Number of the frame of a 4D file, from 0, if these voxels are that frame alone.
    notes
        Phrases that say what was assumed in reading the voxels, or left out.

    Examples
    --------
    >>> stored = StoredArray(np.array([[[1, 2]]], np.int16), slope=0.5)
    >>> stored.to_float32().tolist()
    [[[0.5, 1.0]]]
    """

    is_proxy = True

    def __init__(
        self,
        raw: NDArray[Any],
        slope: float = 1.0,
        inter: float = 0.0,
        lead: bytes = NO_EXTENSIONS,
        tail: bytes = b"",
        frame: int | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.raw = raw
        self.slope = slope
        self.inter = inter
        self.lead = lead
        self.tail = tail
        self.frame = frame
        self.notes = tuple(notes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.raw.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.raw.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type, byte order included."""
        return self.raw.dtype

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept that are in force: value = slope * stored + intercept."""
        if self.slope == 0 or not np.isfinite(self.slope):
            return 1.0, 0.0
        return float(self.slope), float(self.inter) if np.isfinite(self.inter) else 0.0

    def get_unscaled(self) -> NDArray[Any]:
        """Return the stored values."""
        return self.raw

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Scaled values: the stored type without scaling, float64 with it."""
        values = self._scaled(self.raw)
        return values.astype(dtype or values.dtype, copy=bool(copy))

    def __getitem__(self, index: Any) -> Any:
        return self._scaled(self.raw[index])

    def _scaled(self, raw: NDArray[Any]) -> NDArray[Any]:
        slope, inter = self.scaling
        return raw if (slope, inter) == (1.0, 0.0) else raw * np.float64(slope) + inter

    def to_float32(self) -> NDArray[np.float32]:
        """Scaled values; what float32 cannot hold becomes Inf. Slice by slice, to save memory."""
        slope, inter = self.scaling
        with np.errstate(over="ignore", invalid="ignore"):
            if (slope, inter) == (1.0, 0.0):
                return self.raw.astype(np.float32)
            data = np.empty_like(self.raw, dtype=np.float32)
            for z in range(self.raw.shape[2]):
                data[..., z] = self.raw[..., z] * np.float64(slope) + inter
        return data

    def without_singletons(self) -> "StoredArray":
        """View without the axes of length 1 beyond the third."""
        index = tuple(
            slice(None) if axis < 3 or n > 1 else 0 for axis, n in enumerate(self.raw.shape)
        )
        return self.with_raw(self.raw[index])

    def with_raw(self, raw: NDArray[Any]) -> "StoredArray":
        """Other voxels of the same type under the same scaling."""
        kept = self.lead, self.tail, self.frame, self.notes
        return StoredArray(raw, self.slope, self.inter, *kept)


def to_stored(image: SpatialImage) -> StoredArray:
    """Get the stored voxels of any nibabel image; an array in memory is stored as it is."""
    data: Any = image.dataobj
    if isinstance(data, StoredArray):
        return data
    lead = _extension_bytes(image.header)
    if type(data) is nib.arrayproxy.ArrayProxy:  # others, such as AFNI's, scale in their own way
        return StoredArray(np.asanyarray(data.get_unscaled()), data.slope, data.inter, lead)
    array = np.asanyarray(data)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    return StoredArray(array, lead=lead)


def _extension_bytes(header: Any) -> bytes:
    extensions = getattr(header, "extensions", ())
    if not extensions:
        return NO_EXTENSIONS
    written = BytesIO()
    extensions.write_to(written, header.endianness != NATIVE_ORDER)
    return b"\1\0\0\0" + written.getvalue()


def make_image(
    kind: type[Any], stored: StoredArray, affine: NDArray[np.float64], header: Any
) -> SpatialImage:
    """Make an image of a nibabel class that keeps `header` as it is, unchecked and unmended.

    nibabel's constructors mend headers (and log that); a copied header must stay the same.
    """
    image: Any = kind(stored, None, kind.header_class())
    image._header = header
    image._affine = np.array(affine, dtype=np.float64)
    made: SpatialImage = image
    return made


def make_nifti(
    stored: StoredArray, affine: NDArray[np.float64], name: str = "image"
) -> SpatialImage:
    """Make a NIfTI-1 image for voxels from a format without a NIfTI header.

    The sform gets code 1 (scanner), and so does the qform where it can say the same.

    Raises
    ------
    GeometryError
        If the affine is singular.

    Examples
    --------
    >>> image = make_nifti(StoredArray(np.ones((2, 3, 4), np.int16)), np.eye(4))
    >>> image.shape, int(image.header["sform_code"])
    ((2, 3, 4), 1)
    """
    try:
        affine = Grid(cast(Shape, stored.shape[:3]), affine).affine
    except GeometryError as error:
        raise GeometryError(f"{name}: {error}") from error
    raw = stored.raw.astype(stored.dtype.newbyteorder("="), copy=False)
    header: Any = nib.Nifti1Header()
    header.set_data_dtype(raw.dtype)
    header.set_data_shape(raw.shape)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1)
    if not np.allclose(header.get_qform(), affine, atol=_SHEAR_TOLERANCE_MM):
        header["qform_code"] = 0
    header.set_sform(affine, code=1)
    header["scl_slope"] = header["scl_inter"] = np.nan
    stored = StoredArray(raw, stored.slope, stored.inter, notes=stored.notes)
    return make_image(nib.Nifti1Image, stored, affine, header)


def check_frame(frame: int, count: int, name: str) -> None:
    """Refuse a frame that an image does not have.

    Raises
    ------
    ImageFileError
        If `frame` is not one of 0 to `count` - 1.

    Examples
    --------
    >>> check_frame(7, 3, "sub-01_bold.nii.gz")
    Traceback (most recent call last):
    deskull.errors.ImageFileError: sub-01_bold.nii.gz: no frame 7; expected 0 to 2.
    """
    if not 0 <= frame < count:
        raise ImageFileError(f"{name}: no frame {frame}; expected 0 to {count - 1}.")


def check_promise(
    shape: tuple[int, ...], dtype: np.dtype[Any], name: str, held: int | None = None
) -> None:
    """Refuse voxels that are no numbers, none at all, or more than fit before reading them.

    Parameters
    ----------
    shape, dtype
        Shape and type of the voxels in the header.
    name
        Name of the file in messages.
    held
        Bytes of the file that must hold them, if known.

    Raises
    ------
    ImageFileError
        For complex and colour types, axes without voxels, more than `MAX_BYTES`, and more than
        the file can hold however well it is packed.

    Examples
    --------
    >>> check_promise((4, 4, 4), np.dtype(np.complex64), "field.nii.gz")
    Traceback (most recent call last):
    deskull.errors.ImageFileError: field.nii.gz: complex voxels (complex64); ...
    """
    if dtype.kind not in "iufb":
        what = "complex" if dtype.kind == "c" else "colour" if dtype.names else "unknown"
        raise ImageFileError(
            f"{name}: {what} voxels ({dtype}); expected one real number each. "
            "Convert it to a magnitude image first."
        )
    if not shape or min(shape) < 1:
        raise ImageFileError(f"{name}: shape {shape}; expected at least one voxel an axis.")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > MAX_BYTES:
        one = "only a frame of it fits (deskull strip --frame N)"
        way = one if len(shape) > 3 else "the scan must be cut"
        raise ImageFileError(
            f"{name}: its header promises {size / 1024**3:.2f} GiB of voxels {shape}; expected at "
            f"most {MAX_BYTES / 1024**3:g} GiB. The header is damaged, or {way}."
        )
    if held is not None and size > max(MAX_PACKED * held, HARMLESS_BYTES):
        raise ImageFileError(
            f"{name}: its header promises {size} bytes of voxels {shape}, more than a file of "
            f"{held} bytes can hold. The header is damaged, or the file is truncated."
        )
