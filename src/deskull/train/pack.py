"""A pack: prepared heads in one small file, for a machine that is rented by the minute.

A NumPy archive (``.npz``): a few arrays per head, and a JSON text that says what they are. Scans
are kept in steps of `STEP`, of the brain's brightness, which is less than their noise.
"""

import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull.errors import InputError
from deskull.image.writing import check_output_path, save_bytes
from deskull.train.index import PARTS
from deskull.train.labels import LabelledHead
from deskull.train.pairs import RealHead, describe_preparation
from deskull.train.recipe import Recipe
from deskull.train.sources import Sources

PACK = ".npz"
"""Suffix of a pack."""

ABOUT = "about.json"
"""Name of the text in a pack."""

VERSION = 1
"""Raised when the content of a pack changes."""

STEP = 1 / 64
"""Step of the intensities; brain is about 1, and 255 steps are the brightest that is kept."""

DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What a damaged archive raises, be it in zip, NumPy or JSON."""

Arrays = dict[str, NDArray[Any]]


def save_pack(sources: Sources, recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write prepared heads into one file, completely or not at all.

    Parameters
    ----------
    sources
        Heads, prepared for the recipe.
    recipe
        Recipe that they were prepared for.
    path
        Path of the pack, which ends in ``.npz``.

    Raises
    ------
    OutputError
        If the path has another suffix, or the file cannot be written.
    """
    check_output_path(Path(path), [], (PACK,))
    arrays: Arrays = {}
    heads = []
    everyone: list[LabelledHead | RealHead] = [*sources.labelled, *sources.real]
    for number, head in enumerate(everyone):
        held = _pack_labelled(head) if isinstance(head, LabelledHead) else _pack_real(head)
        arrays |= {f"{number}_{name}": array for name, array in held.items()}
        heads.append(
            {
                "participant": head.participant,
                "scan": head.name if isinstance(head, RealHead) else "",
                "voxel_size": head.voxel_size,
            }
        )
    about = {
        "version": VERSION,
        "prepared_for": describe_preparation(recipe),
        "parts": dict(sources.fixed),
        "heads": heads,
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    content = BytesIO()
    np.savez_compressed(content, **{ABOUT: text, **arrays})  # type: ignore[arg-type]
    save_bytes(content.getvalue(), Path(path))


def load_pack(path: str | os.PathLike[str], recipe: Recipe) -> Sources:
    """Read the heads of a pack.

    Parameters
    ----------
    path
        Path of the pack.
    recipe
        Recipe that they are to be used for.

    Raises
    ------
    InputError
        If it is not a readable pack, or its scans were prepared for another recipe.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file):
            pass  # of what is no archive NumPy would say that it may be unpickled
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            about = json.loads(archive[ABOUT].tobytes())
            if about["version"] != VERSION:
                raise ValueError(f"version {about['version']}, not {VERSION}")
            heads = [_unpack(archive, n, head) for n, head in enumerate(about["heads"])]
            made_for, parts = dict(about["prepared_for"]), dict(about["parts"])
            if not set(parts.values()) <= set(PARTS):
                raise ValueError(f"parts {sorted(set(parts.values()))}")
    except DAMAGE as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: not a readable pack of heads ({reason}). Make one: deskull pack SOURCE "
            f"-o heads{PACK}"
        ) from error
    real = [head for head in heads if isinstance(head, RealHead)]
    _check_preparation(path, made_for, recipe, bool(real))
    labelled = [head for head in heads if isinstance(head, LabelledHead)]
    return Sources(labelled, real, parts)


def _check_preparation(
    path: str | os.PathLike[str], made_for: Mapping[str, Any], recipe: Recipe, has_scans: bool
) -> None:
    """Check that scans of a pack are prepared as a recipe asks for; label maps fit any."""
    wanted = json.loads(json.dumps(describe_preparation(recipe)))
    differing = [name for name in wanted if wanted[name] != made_for.get(name)]
    if has_scans and differing:
        name = differing[0]
        raise InputError(
            f"{path}: its scans were prepared for another recipe ({name}: {made_for.get(name)}; "
            f"here {wanted[name]}). Pack the heads again for this recipe, by this deskull."
        )


def _pack_labelled(head: LabelledHead) -> Arrays:
    return {
        "tissue": head.tissue,
        "truth": np.packbits(head.truth),
        "centre": head.centre,
        "extent": head.extent,
    }


def _pack_real(head: RealHead) -> Arrays:
    image, share = (np.asarray(channel, np.float32) for channel in head.channels)
    return {
        "image": np.clip(np.round(image / STEP), 0, 255).astype(np.uint8),
        "share": np.round(share * 255).astype(np.uint8),
        "extent": head.extent,
    }


def _unpack(archive: Mapping[str, Any], number: int, about: Mapping[str, Any]) -> Any:
    participant, size = str(about["participant"]), float(about["voxel_size"])
    extent = archive[f"{number}_extent"]
    if not about["scan"]:
        tissue = archive[f"{number}_tissue"]
        bits = np.unpackbits(archive[f"{number}_truth"], count=2 * tissue.size)
        truth = bits.reshape(2, *tissue.shape)
        return LabelledHead(participant, tissue, truth, archive[f"{number}_centre"], extent, size)
    image = archive[f"{number}_image"].astype(np.float16) * np.float16(STEP)
    share = archive[f"{number}_share"].astype(np.float16) / np.float16(255)
    return RealHead(participant, str(about["scan"]), np.stack([image, share]), extent, size)
