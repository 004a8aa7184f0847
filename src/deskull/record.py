"""The record of a stripped scan: what was done, by what, how, and what came of it.

`Record` is the content of ``X_record.json``; `load_record` is its one reader and `save_records`
its one writer. Its key ``schema`` is the version of the format, which is published in the
documentation. Within a version and from one to the next a key never changes its meaning: older
records lack keys, which then have their defaults, and newer ones have more, which are ignored
(and never rewritten by halves).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from deskull.errors import OutputError
from deskull.image.fingerprint import Fingerprint, make_fingerprint
from deskull.image.padding import Padding
from deskull.image.volume import Volume
from deskull.image.writing import Transaction, save_bytes
from deskull.measure.quality import Flag
from deskull.settings import Settings
from deskull.text_files import make_json
from deskull.typed_json import EXACT, OMIT, from_plain, ranged, to_plain

SCHEMA = 1
"""Version of the record. 0, which has no key ``schema``, was written before versions were."""

Status = Literal["done", "failed"]
DONE: Status = "done"
FAILED: Status = "failed"


@dataclass(frozen=True)
class WeightsName:
    """Which weights were used.

    Parameters
    ----------
    name
        Name of the bundled set, or of the folder.
    sha256
        SHA-256 over the hashes of all their files.

    Examples
    --------
    >>> WeightsName("default", 64 * "0").name
    'default'
    """

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class InputScan(Fingerprint):
    """The scan that was read.

    Parameters
    ----------
    path
        Path below the common root of a batch's inputs, else the name of the file; empty if it was
        no file.
    file
        Path as seen from the record; null where the record was not written by a batch.
    bytes, modified, sha256
        Size in bytes, time of change in ns since 1970 and SHA-256 of the file; of an image of
        several files those of all together.
    shape
        Number of voxels along each axis.
    voxel_size
        Edges of a voxel in mm.
    orientation
        Axis codes of the grid that the outputs have, such as ``"RAS"``.
    frame
        Frame of a 4D scan, from 0; null for a 3D scan, and for the mean of all frames.
    notes
        Phrases that say what was assumed in reading it, or left out.
    padding
        Part of the field that was filled, not measured; null if there is none.
    """

    path: str = ""
    file: str | None = None
    shape: tuple[int, ...] = ()
    voxel_size: tuple[float, ...] = ()
    orientation: str = ""
    frame: int | None = None
    notes: tuple[str, ...] = ()
    padding: Padding | None = None


@dataclass(frozen=True, kw_only=True)
class OutputFile(Fingerprint):
    """A file that was written.

    Parameters
    ----------
    path
        Path as seen from the record.
    bytes, modified, sha256
        Size in bytes, time of change in ns since 1970 and SHA-256 when it was written.

    Examples
    --------
    >>> OutputFile(path="sub-01_T1w_mask.nii.gz", bytes=41234).bytes
    41234
    """

    path: str


@dataclass(frozen=True, kw_only=True)
class CorrectedMask(Fingerprint):
    """The mask corrected by hand that brain and volume are of.

    Parameters
    ----------
    file
        Name of the file, beside the automatic mask.
    volume_ml
        Volume of the mask in millilitres.
    bytes, modified, sha256
        Size in bytes, time of change in ns since 1970 and SHA-256 of the file.

    Examples
    --------
    >>> CorrectedMask(file="sub-01_T1w_mask_manual.nii.gz", volume_ml=1440.0).volume_ml
    1440.0
    """

    file: str
    volume_ml: float


@dataclass(frozen=True)
class RequestedSettings(Settings):
    """Settings that were requested, and how the scan was to be read.

    Parameters
    ----------
    threshold, border, csf, n4, fill
        Values as in `settings` of the record; what is null was left to the weights.
    frame
        Frame of 4D scans, from 0; null for the mean of all frames.
    orientation
        ``"native"`` for the scan's own grid, ``"ras"`` for the nearest RAS+.
    """

    frame: int | None = None
    orientation: str = "native"


@dataclass(frozen=True)
class Request:
    """What decides, beside the scan, what its outputs are; a rerun skips a scan with the same.

    Parameters
    ----------
    settings
        Settings that were requested.
    weights
        SHA-256 of the weights.
    mask_of
        Name of the scan whose mask was to be put on this one; null if it has its own.

    Examples
    --------
    >>> request = Request(RequestedSettings(border=1.0), weights=64 * "0")
    >>> request.is_same(Request(RequestedSettings(border=1.0), weights=64 * "0"))
    True
    """

    settings: RequestedSettings
    weights: str
    mask_of: str | None = None

    def is_same(self, other: object) -> bool:
        """Whether another request asks for the same; NaN is the same as NaN here."""
        return isinstance(other, Request) and bool(to_plain(self) == to_plain(other))


@dataclass(frozen=True)
class Query:
    """Images of a BIDS data set that were requested, of which this one could not be planned.

    Parameters
    ----------
    suffixes
        Suffixes of the contrasts.
    sessions
        Labels of the sessions; none means all.
    """

    suffixes: tuple[str, ...]
    sessions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was done with one scan, and what came of it. What does not apply is left out.

    Parameters
    ----------
    schema
        Version of this schema; 0 for records that were written before it had versions.
    status
        Whether there is a mask; null in records of ``deskull strip`` of schema 0.
    error
        Reason why there is no mask.
    deskull
        Version of deskull that wrote it.
    weights
        Name and hash of the weights; left out if none were used.
    runtime, device, threads
        Runtime of the network, its device, and the number of cores.
    settings
        Settings that were used.
    input
        Scan that was stripped.
    mask_of
        Name of the scan of the same session whose mask was put on this one, if it has none of
        its own.
    volume_ml
        Volume of the automatic mask in millilitres; null without a mask.
    score
        Trust in the mask, from 0 to 100; null if it was not judged.
    flags
        Doubts about the scan and its mask.
    traits
        Measurements in the network's window, by name.
    seconds
        Seconds of each step: of a batch reading, stripping and saving, else those of `steps`.
    steps
        Seconds of each step of the stripping, in records of a batch.
    outputs
        Files that a batch wrote, by the name of the output.
    request
        Settings and weights that a batch requested.
    finished
        UTC time stamp of a batch's scan.
    corrected
        The mask corrected by hand that brain and volume are of, if they are not those of the
        automatic mask.

    Examples
    --------
    >>> record = Record(input=InputScan(path="sub-01_T1w.nii.gz"), volume_ml=1432.5, score=98)
    >>> record.final_ml, record.mask_kind
    (1432.5, 'automatic')
    """

    schema: int = ranged(0, 2**31, SCHEMA)
    status: Status | None = None
    error: str = field(default="", metadata=OMIT)
    deskull: str = ""
    weights: WeightsName | None = field(default=None, metadata=OMIT)
    runtime: str = field(default="", metadata=OMIT)
    device: str = field(default="", metadata=OMIT)
    threads: int | None = field(default=None, metadata=OMIT)
    settings: Settings | None = field(default=None, metadata=OMIT)
    input: InputScan
    mask_of: str | None = field(default=None, metadata=OMIT)
    volume_ml: float | None = None
    score: int | None = ranged(0, 100, None)
    flags: tuple[Flag, ...] = ()
    traits: Mapping[str, float] = field(default_factory=dict, metadata=OMIT)
    seconds: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict, metadata=OMIT)
    outputs: Mapping[str, OutputFile] = field(default_factory=dict)
    request: Request | Query | None = field(default=None, metadata=EXACT)
    finished: str = field(default="", metadata=OMIT)
    corrected: CorrectedMask | None = field(default=None, metadata=OMIT)

    @property
    def final_ml(self) -> float | None:
        """Volume in ml of the mask that counts: the corrected one if there is one."""
        return self.volume_ml if self.corrected is None else self.corrected.volume_ml

    @property
    def mask_kind(self) -> str:
        """Which mask counts, ``"automatic"`` or ``"corrected"``; empty if there is none."""
        if self.corrected is not None:
            return "corrected"
        return "" if self.volume_ml is None else "automatic"


def describe_scan(volume: Volume) -> InputScan:
    """Describe a scan, as far as it is known in memory."""
    grid = volume.grid
    return InputScan(
        shape=tuple(grid.shape),
        voxel_size=tuple(round(size, 6) for size in grid.voxel_size),
        orientation=grid.orientation,
        frame=volume.frame,
        notes=tuple(volume.notes),
        padding=volume.padding,
    )


def load_record(path: Path) -> Record | None:
    """Read a record, of this schema or another, as far as it can be read.

    What is damaged counts as missing, and what only a newer schema knows is left out.

    Returns
    -------
    Record or None
        None if there is no record, or the file is none of deskull's.
    """
    try:
        return parse_record(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def parse_record(plain: Any) -> Record:
    """Make a record of the content of its file; see `load_record`.

    Raises
    ------
    ValueError
        If it is no record of deskull.

    Examples
    --------
    >>> parse_record({"input": {"path": "sub-01_T1w.nii.gz"}, "score": 98}).score
    98
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{plain!r:.60}; expected an object")
    return from_plain(Record, {"schema": 0, **plain}, lenient=True)


def save_records(
    records: Sequence[Record],
    path: Path,
    scan: Path | None = None,
    transaction: Transaction | None = None,
) -> None:
    """Write the record of a scan, or the list of those of each frame, whole.

    Parameters
    ----------
    records
        Record of the scan, or those of its frames.
    path
        Path of the file.
    scan
        File of the scan, to be named in its record with its hash; None if it is named already,
        or was no file.
    transaction
        Open transaction of files that appear together with this one; None for a file by itself.

    Raises
    ------
    ImageFileError
        If the scan cannot be read any more.
    OutputError
        If the record cannot be written, or was read from a file of a newer schema.
    """
    newest = max(record.schema for record in records)
    if newest > SCHEMA:
        raise OutputError(
            f"{path}: a record of schema {newest}; this deskull writes schema {SCHEMA}, which "
            "would lose a part of it. Use the deskull that wrote it."
        )
    records = [replace(record, schema=SCHEMA) for record in records]
    if scan is not None:
        named = {"path": scan.name, **vars(make_fingerprint(scan))}
        records = [replace(one, input=replace(one.input, **named)) for one in records]
    content = [to_plain(record) for record in records]
    save_bytes(make_json(content[0] if len(content) == 1 else content), path, transaction)
