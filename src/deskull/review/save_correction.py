"""Saving a mask corrected by hand: the mask, its sidecar, its row in the table of corrections.

The automatic mask is never touched. The table is `deskull.corrections_table`.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull import __version__
from deskull.apply import find_brain
from deskull.cohort.stripped import (
    Remade,
    Stripped,
    find_old_outputs,
    find_stripped,
    load_recorded,
    remake_outputs,
)
from deskull.corrections_table import TABLE, Correction, load_corrections, save_corrections
from deskull.errors import DeskullError, InputError, OutputError
from deskull.image.derived import make_mask_image
from deskull.image.lookup import find_scan_stem, is_inside
from deskull.image.volume import Volume
from deskull.image.writing import Transaction, save_bytes, save_image
from deskull.record import Request
from deskull.review.marks import find_user
from deskull.review.scene import ScanFiles, find_files
from deskull.text_files import make_json, make_relative, make_stamp, read_json

MASK_OF = "mask_of"
"""Field that names the scan whose mask another one of its session got."""

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
    """Write a corrected mask with its sidecar, make the outputs again from it, and list it.

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
        Which outputs were made again, and which are still those of the automatic mask; also
        whether the mask could not be listed in the table.

    Raises
    ------
    ConflictError
        If a mask was saved from elsewhere since.
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
        correction = Correction(str(files.scan), str(path), saved=make_stamp(), by=find_user())
        _write(mask, volume, files, _describe(files, correction))
        if scan is None:
            remade = find_old_outputs(files.scan, path)
        else:
            remade = remake_outputs(scan.reload(), mask, volume, path)
            remade = _give_to_session(scan, mask, volume, correction, remade)
        if files.folder is not None:
            problems = _list_correction(correction, files.folder / TABLE)
            remade = replace(remade, refused=(*remade.refused, *problems))
        return remade


def _write(
    mask: NDArray[np.bool_], volume: Volume, files: ScanFiles, fields: dict[str, Any]
) -> None:
    """Write a corrected mask and its sidecar, both or none."""
    with Transaction() as transaction:
        save_image(make_mask_image(mask, volume.source), files.manual, transaction)
        save_bytes(make_json(fields), _find_sidecar(files.manual), transaction)


def _find_sidecar(path: Path) -> Path:
    return path.with_name(find_scan_stem(path) + ".json")


def _describe(files: ScanFiles, correction: Correction) -> dict[str, Any]:
    """Sidecar: the fields of the automatic mask's sidecar, and who corrected it when."""
    fields: dict[str, Any] = {"Type": "Brain", "Sources": [files.scan.name]}
    if files.mask is not None:
        with suppress(InputError):  # outside of BIDS the automatic mask has no sidecar
            fields |= read_json(_find_sidecar(files.mask))
    return fields | {
        "Manual": True,
        "SavedWith": f"deskull {__version__}",
        "Saved": correction.saved,
        "SavedBy": correction.by,
    }


# --- the scans of a session that got the automatic mask of the corrected scan


def _give_to_session(
    scan: Stripped,
    mask: NDArray[np.bool_],
    volume: Volume,
    correction: Correction,
    remade: Remade,
) -> Remade:
    """Put a corrected mask on the other scans of its session; one corrected itself keeps its own.

    They are not listed in the table: only the scan that a hand corrected is to be learned from.
    """
    given, refused = list[str](), list[str]()
    shown = Volume(mask.astype(np.float32), volume.grid, volume.source, volume.name)
    for other in find_stripped(scan.folder):
        if _find_giver(other) != scan.name:
            continue
        try:
            _give(other, shown, correction, scan.name)
            given.append(other.name)
        except DeskullError as error:
            refused.append(str(error))
    return replace(remade, given=tuple(given), refused=tuple(refused))


def _find_giver(scan: Stripped) -> str:
    request = scan.record.request
    return (request.mask_of or "") if isinstance(request, Request) else ""


def _give(scan: Stripped, mask: Volume, correction: Correction, giver: str) -> None:
    files, volume = find_files(scan), load_recorded(scan)
    if files.version and MASK_OF not in _read_sidecar(files.manual):
        raise InputError(f"{scan.name}: keeps its own corrected mask.")
    brain = find_brain(mask, volume.grid, scan.name)
    _write(brain, volume, files, _describe(files, correction) | {MASK_OF: giver})
    reason = remake_outputs(scan, brain, volume, files.manual).reason
    if reason:
        raise OutputError(f"{scan.name}: {reason}")


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        return read_json(_find_sidecar(path))
    except InputError:
        return {}


def _list_correction(correction: Correction, table: Path) -> list[str]:
    """List a saved mask in the table, or return why that cannot be done."""
    image, mask = (
        make_relative(Path(path), table.parent) for path in (correction.image, correction.mask)
    )
    try:
        known = {row.mask: row for row in load_corrections(table)} if table.exists() else {}
        more = known[mask].more if mask in known else {}
        known[mask] = replace(correction, image=image, mask=mask, more=more)
        save_corrections(known.values(), table)
    except DeskullError as error:
        advice = "Move it away, and save again."
        return [f"{table.name}, which does not list the mask: {error} {advice}"]
    return []
