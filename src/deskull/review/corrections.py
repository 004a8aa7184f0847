"""Saving masks corrected by hand: the mask, its sidecar, and the table of corrected scans.

`Correction` is a row of the table; `load_corrections` is its one reader and `save_correction`
the one writer of all three. The automatic mask is never touched.
"""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deskull import __version__
from deskull.apply import find_brain
from deskull.cohort.remake import Remade, find_old_outputs, load_recorded, remake_outputs
from deskull.cohort.stripped import Stripped, find_stem, find_stripped, is_inside
from deskull.errors import DeskullError, InputError, OutputError
from deskull.image.volume import Volume, make_mask_image
from deskull.image.writing import Batch, save_bytes, save_image
from deskull.review.marks import find_user
from deskull.review.scene import ScanFiles, find_files
from deskull.tables import (
    make_json,
    make_relative,
    make_stamp,
    make_tsv,
    read_json,
    read_table,
)

TABLE = "deskull_corrected.tsv"
"""Table of a folder's corrected masks; ``deskull finetune`` reads it."""

SCHEMA = 2
"""Version of the table. 1 has no column ``schema``, only image, mask and manual."""

MASK_OF = "mask_of"
"""Field that names the scan whose mask another one of its session got."""

_one_at_a_time = threading.Lock()


class ConflictError(InputError):
    """The mask was saved from elsewhere since the page read it."""


@dataclass(frozen=True)
class Correction:
    """A scan whose mask was corrected by hand; a row of the table.

    Parameters
    ----------
    image, mask
        Paths of the scan and of its corrected mask, as seen from the table's folder.
    manual
        ``"true"``: what `deskull.train` reads to prefer this mask.
    saved
        UTC time stamp; empty in rows of schema 1.
    by
        Name of the user who saved it; empty if unknown.
    schema
        Version of the table.
    """

    image: str
    mask: str
    manual: str = "true"
    saved: str = ""
    by: str = ""
    schema: int = SCHEMA


COLUMNS = tuple(field.name for field in fields(Correction))


def load_corrections(path: Path) -> list[Correction]:
    """Read the table of corrected scans; tables of schema 1 as well.

    Returns
    -------
    list
        Rows, sorted by mask; empty if there is no table.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    if not path.exists():
        return []
    found = {row["mask"]: _parse(row) for _, row in read_table(path) if row.get("mask")}
    return [found[mask] for mask in sorted(found)]


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
        correction = Correction(str(files.scan), str(path), saved=make_stamp(), by=find_user())
        _write(mask, volume, files, _describe(files, correction))
        if files.folder is not None:
            _list_correction(correction, files.folder / TABLE)
        if scan is None:
            return find_old_outputs(files.scan, path)
        remade = remake_outputs(scan.reload(), mask, volume, path)
        return _give_to_session(scan, mask, volume, correction, remade)


def _write(
    mask: NDArray[np.bool_], volume: Volume, files: ScanFiles, fields: dict[str, Any]
) -> None:
    """Write a corrected mask and its sidecar, both or none."""
    with Batch() as batch:
        save_image(make_mask_image(mask, volume.source), files.manual, batch)
        save_bytes(make_json(fields), _find_sidecar(files.manual), batch)


def _find_sidecar(path: Path) -> Path:
    return path.with_name(find_stem(path) + ".json")


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
    request = scan.record.get("request")
    return str(request.get(MASK_OF, "")) if isinstance(request, dict) else ""


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


def _list_correction(correction: Correction, table: Path) -> None:
    try:
        known = {row.mask: row for row in load_corrections(table)}
    except InputError as error:
        raise InputError(
            f"{error} The mask is saved, but not listed in this table. Move the table away."
        ) from error
    image, mask = (
        make_relative(Path(path), table.parent) for path in (correction.image, correction.mask)
    )
    known[mask] = replace(correction, image=image, mask=mask)
    _save(known.values(), table)


def _parse(row: Mapping[str, str]) -> Correction:
    schema = int(row["schema"]) if row.get("schema", "").isdecimal() else 1
    known = {name: row[name] for name in ("saved", "by") if row.get(name)}
    return Correction(row.get("image", ""), row["mask"], **known, schema=schema)


def _save(corrections: Iterable[Correction], table: Path) -> None:
    ordered = sorted(corrections, key=lambda row: row.mask)
    rows = [[getattr(replace(row, schema=SCHEMA), name) for name in COLUMNS] for row in ordered]
    save_bytes(make_tsv(COLUMNS, rows).encode("utf-8", "surrogateescape"), table)
