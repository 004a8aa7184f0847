"""MGH and MGZ, the formats of FreeSurfer."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from deskull.errors import GeometryError, ImageFileError
from deskull.image.stored import StoredArray, check_promise, make_image
from deskull.image.streams import find_end, open_stream, read_exactly, read_voxels

_START = 284
_PLACED = slice(28, 30)
_CORONAL = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]  # nibabel's default stands on its head
_MAX_TAIL = 64 * 1024**2


def is_mgh(head: bytes) -> bool:
    """Whether a file that begins so is MGH: of version 1, with numbers for voxels."""
    if len(head) < _START or head[:4] != b"\0\0\0\1":
        return False
    fields: Any = nib.MGHImage.header_class(head[:90], check=False)
    return int(fields["type"]) in fields._data_type_codes.code and min(fields["dims"]) > 0


def read_mgh(path: Path) -> SpatialImage:
    """Read MGH or MGZ, its header and tags untouched."""
    name = path.name
    kind: Any = nib.MGHImage.header_class
    with open_stream(path) as stream:
        block = read_exactly(stream, _START, name).tobytes()
        fields = kind(block[:90], check=False)
        if int(fields["version"]) != 1 or int(fields["type"]) not in kind._data_type_codes.code:
            raise ImageFileError(
                f"{name}: version {int(fields['version'])} with data type {int(fields['type'])} "
                "is no MGH file; expected version 1 with type 0, 1, 3, 4 or 10."
            )
        shape = tuple(int(n) for n in fields.get_data_shape())
        check_promise(tuple(int(n) for n in fields["dims"]), fields.get_data_dtype(), name)
        raw = read_voxels(stream, shape, fields.get_data_dtype(), name)
        footer = stream.read(kind._ftrdtype.itemsize)
        tail = stream.read(_MAX_TAIL)
        end = find_end(stream)
    header = kind(block[:90] + footer, check=False)
    sizes = [float(size) for size in header["delta"]]
    if not all(0 < size < np.inf for size in sizes):
        raise GeometryError(f"{name}: voxel size {sizes}; expected numbers above zero.")
    notes = [end] if end else []
    if block[_PLACED] == b"\0\0":
        header["Mdc"] = _CORONAL
        notes.append("no orientation in its header; 1 mm and LIA assumed, as by FreeSurfer")
    stored = StoredArray(raw, tail=tail, notes=notes)
    return make_image(nib.MGHImage, stored, header.get_affine(), header)
