"""Saving a mask corrected by hand: the mask, its sidecar, its row in the table of corrections.

The automatic mask is never touched. The table is `deskull.corrections`.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull import __version__
from deskull.cohort.stripped import Stripped, find_stem, is_inside
from deskull.corrections import TABLE, Correction, load_corrections, save_corrections
from deskull.errors import InputError, OutputError
from deskull.image.made import make_mask_image
from deskull.image.volume import Volume
from deskull.image.writing import Batch, save_bytes, save_image
from deskull.review.marks import find_user
from deskull.review.remake import Remade, find_old_outputs, remake_outputs
from deskull.review.scene import ScanFiles
from deskull.tables import make_json, make_relative, make_stamp, read_json

_one_at_a_time = threading.Lock()


class ConflictError(InputError):
    """The mask was saved from elsewhere since the page read it."""


def save_correction(
    mask: NDArray[np.bool_],
    volume: Volume,
    files: ScanFiles,
    version: str,
    over: bool = False,
    scan: Stripped | None = None,
) -> Remade:
    """Write a corrected mask with its sidecar, list it, and make the outputs again from it.

    Parameters
    ----------
    mask
        (X, Y, Z) bool on the scan's grid.
    volume
        The scan.
    files
        Files of the scan.
    version
        `ScanFiles.version` when the page read the mask.
    over
        Replace also a mask that was saved from elsewhere since.
    scan
        The stripped scan, whose outputs are made again; None if there is no record.

    Returns
    -------
    Remade
        Which outputs were made again, and which are still those of the automatic mask.

    Raises
    ------
    ConflictError
        If a mask was saved from elsewhere since.
    InputError
        If the table cannot be read; the mask is then saved, but not listed.
    OutputError
        If the mask cannot be written; an older one then stays.
    """
    path = files.manual
    if files.folder is not None and not is_inside(path.parent, files.folder):
        raise OutputError(
            f"{path}: a link leads out of {files.folder}; nothing is written. Save the results "
            "in a folder without links."
        )
    with _one_at_a_time:
        if files.version != version and not over:
            raise ConflictError(
                f"{path.name} was saved from another page meanwhile. Save over it, or reload to "
                "see it; your drawing is still here."
            )
        sidecar = path.with_name(find_stem(path) + ".json")
        correction = Correction(str(files.scan), str(path), saved=make_stamp(), by=find_user())
        with Batch() as batch:
            save_image(make_mask_image(mask, volume.source), path, batch)
            save_bytes(make_json(_describe(files, correction)), sidecar, batch)
        if files.folder is not None:
            _list_correction(correction, files.folder / TABLE)
        if scan is None:
            return find_old_outputs(files.scan, path)
        return remake_outputs(scan.reload(), mask, volume, path)


def _describe(files: ScanFiles, correction: Correction) -> dict[str, Any]:
    """Sidecar: the fields of the automatic mask's sidecar, and who corrected it when."""
    fields: dict[str, Any] = {"Type": "Brain", "Sources": [files.scan.name]}
    if files.mask is not None:
        with suppress(InputError):  # outside of BIDS the automatic mask has no sidecar
            fields |= read_json(files.mask.with_name(find_stem(files.mask) + ".json"))
    return fields | {
        "Manual": True,
        "SavedWith": f"deskull {__version__}",
        "Saved": correction.saved,
        "SavedBy": correction.by,
    }


def _list_correction(correction: Correction, table: Path) -> None:
    try:
        known = {row.mask: row for row in load_corrections(table)} if table.exists() else {}
    except InputError as error:
        raise InputError(
            f"{error} The mask is saved, but not listed in this table. Move the table away."
        ) from error
    image, mask = (
        make_relative(Path(path), table.parent) for path in (correction.image, correction.mask)
    )
    known[mask] = replace(correction, image=image, mask=mask)
    save_corrections(known.values(), table)
