"""Arrays that took long to make, kept on disk under the hash of all that made them."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from deskull import __version__
from deskull.errors import ImageFileError
from deskull.image.writing import find_files, make_folder
from deskull.learn.writing import explain_writing

Arrays = dict[str, NDArray[Any]]
KINDS = {"U8": "uint8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}  # safetensors, numpy
VERSION = 3  # raised when the same settings begin to give other arrays


def describe_file(path: Path) -> list[Any]:
    """Say what tells an image from any other without reading it: paths, sizes, times of change.

    Raises
    ------
    ImageFileError
        If a file of the image is gone.
    """
    try:
        facts = [(file.resolve(), file.stat()) for file in find_files(path)]
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}).") from error
    return [[str(where), fact.st_size, fact.st_mtime_ns] for where, fact in facts]


def cached(folder: Path | None, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """Open arrays made before under the same key, or make and keep them.

    Kept arrays are mapped from their file, not read: pages that are looked at come into memory
    and leave it again as the system sees fit, and processes on one machine share them.

    Parameters
    ----------
    folder
        Of the cache, made if missing; None keeps nothing. Safe against a killed run and
        against two runs at once.
    key
        All that the arrays depend on, fit for JSON.
    make
        Makes them.
    """
    if folder is None:
        return make()
    text = json.dumps({"version": VERSION, "deskull": __version__, **key}, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    if path.exists():
        try:
            return _map_arrays(path)
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
    arrays = make()
    make_folder(folder)
    temporary = path.with_suffix(f".{secrets.token_hex(4)}.partial")
    with explain_writing(path):
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        os.replace(temporary, path)
        return _map_arrays(path)


def _map_arrays(path: Path) -> Arrays:
    """Map the arrays of a safetensors file into memory; what is written to them stays there.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is damaged or cut short.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, path.stat().st_size)))
    arrays: Arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start = 8 + length + entry["data_offsets"][0]
            kind, shape = KINDS[entry["dtype"]], tuple(entry["shape"])
            arrays[name] = np.memmap(path, kind, "c", start, shape)
    return arrays
