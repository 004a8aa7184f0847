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
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from deskull import __version__
from deskull.errors import ImageFileError
from deskull.image.writing import find_files
from deskull.learn.folders import explain_writing, make_folder

Arrays = dict[str, NDArray[Any]]
VERSION = 2  # raised when the same settings begin to give other arrays


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
    """Load arrays made before under the same key, or make and keep them.

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
            return dict(load_file(path))
        except SafetensorError:
            path.unlink(missing_ok=True)
    arrays = make()
    make_folder(folder)
    temporary = path.with_suffix(f".{secrets.token_hex(4)}.partial")
    with explain_writing(path):
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        os.replace(temporary, path)
    return arrays
