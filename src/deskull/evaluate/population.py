"""Traits and scores of many heads: read from the records of a batch, or measured by stripping."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deskull.cohort.search import make_plan
from deskull.cohort.stripped import find_stripped
from deskull.errors import DeskullError, InputError
from deskull.evaluate.masks import Mask, check_one_grid, load_canonical_mask
from deskull.image.grid import to_canonical_array
from deskull.image.volume import load_volume
from deskull.measure.metrics import dice
from deskull.outputs import RECORD
from deskull.record import Record
from deskull.result import Result
from deskull.stripper import Stripper
from deskull.tables import TABLES, read_table

GEOMETRY = {
    "voxel_small": "the smallest edge of a voxel in mm",
    "voxel_large": "the largest edge of a voxel in mm",
    "field_x": "the field from left to right in mm",
    "field_y": "the field from back to front in mm",
    "field_z": "the field from below to above in mm",
}
"""Traits of the scan itself, beside those of the head in it."""

IMAGES, MASKS = ("image", "in"), ("mask", "reference")
"""Columns of a table, as `deskull index` or `deskull batch` name scans and reference masks."""


@dataclass(frozen=True)
class Head:
    """Measurements of one head.

    Parameters
    ----------
    name
        Name of the scan.
    traits
        Values by the names of `deskull.measure.traits.TRAITS` and `GEOMETRY`.
    score
        Score from 0 (certainly wrong) to 100.
    dice
        Dice of its mask against a reference; None if there was none.
    """

    name: str
    traits: Mapping[str, float]
    score: float
    dice: float | None = None


@dataclass(frozen=True)
class Population:
    """Measurements of a cohort.

    Parameters
    ----------
    heads
        Heads that have a mask.
    failed
        Names and errors of scans that have none.
    weights
        SHA-256 of all weights that made the masks.
    """

    heads: list[Head]
    failed: list[tuple[str, str]]
    weights: set[str]


def load_population(
    source: Path,
    make_stripper: Callable[[], Stripper],
    observe: Callable[[int, int], None] | None = None,
) -> Population:
    """Measure the heads of a cohort.

    Parameters
    ----------
    source
        Output of a batch, whose records are read; or a folder of scans, or a table with the
        column ``image`` or ``in`` and optionally ``mask`` or ``reference``, which are stripped.
    make_stripper
        Called if scans have to be stripped.
    observe
        Called with the number of scans done, and of all.

    Raises
    ------
    InputError
        If there is no head, or the records come from an older version.
    """
    if source.is_dir() and next(source.rglob(f"*{RECORD}"), None):
        return _read_records(source)
    scans = list(_find_scans(source))
    stripper = make_stripper()
    heads, failed = [], []
    for number, (scan, reference) in enumerate(scans):
        if observe is not None:
            observe(number, len(scans))
        try:
            result = stripper(load_volume(scan))
            heads.append(_make_head(scan.name, result.record, _compare(result, reference)))
        except DeskullError as error:
            failed.append((scan.name, str(error)))
    if not heads:
        raise InputError(f"{source}: no head could be measured; {failed[0][1]}")
    return Population(heads, failed, {stripper.weights.digest})


def _read_records(folder: Path) -> Population:
    heads, failed, weights = [], [], set()
    for scan in find_stripped(folder):
        record = scan.record
        if scan.error or not record.traits or record.score is None:
            failed.append((scan.name, scan.error or "its record has no traits"))
            continue
        heads.append(_make_head(scan.name, record, None))
        weights.add(record.weights.sha256 if record.weights else "")
    if not heads:
        raise InputError(
            f"{folder}: no record says what the head is like. Strip the scans again with this "
            "version: deskull batch --force"
        )
    return Population(heads, failed, weights)


def _find_scans(source: Path) -> Iterator[tuple[Path, Path | None]]:
    """Find the scans of a folder or table, and the masks to compare with."""
    if source.suffix.lower() not in TABLES or source.is_dir():
        for task in make_plan([source], source / ".deskull"):  # nothing is written there
            yield task.scan, None
        return
    rows = read_table(source)
    found = [(_find_cell(row, IMAGES), _find_cell(row, MASKS)) for _, row in rows]
    found = [(image, mask) for image, mask in found if image]
    if not found:
        raise InputError(f"{source}: no scan in it; expected the column {' or '.join(IMAGES)}.")
    for image, mask in found:
        yield source.parent / image, source.parent / mask if mask else None


def _find_cell(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _compare(result: Result, reference: Path | None) -> float | None:
    """Dice against a reference on the same grid; None without one."""
    if reference is None:
        return None
    wanted, grid = load_canonical_mask(reference), result.volume.grid
    ours = Mask(to_canonical_array(result.mask, grid), grid.canonical(), result.volume.name)
    check_one_grid(ours, wanted)
    return dice(ours.inside, wanted.inside)


def _make_head(name: str, record: Record, overlap: float | None) -> Head:
    scan = record.input
    sizes = scan.voxel_size
    traits = {**record.traits, "voxel_small": min(sizes), "voxel_large": max(sizes)}
    for count, size, code in zip(scan.shape, sizes, scan.orientation, strict=False):
        axis = next(a for a, ends in zip("xyz", ("LR", "PA", "IS"), strict=True) if code in ends)
        traits[f"field_{axis}"] = count * size
    return Head(name, traits, float(record.score or 0), overlap)
