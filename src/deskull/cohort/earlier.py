"""What an earlier run left in the folder of outputs, and a rerun must not lose, mix up or hide.

Masks that were edited, and outputs of another scan, are kept; outputs are made again from masks
that were corrected; files that no record lists any more are reported.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deskull.apply import find_brain, load_mask
from deskull.cohort.plan import Task
from deskull.cohort.records import find_recorded, read_record
from deskull.cohort.stripped import Stripped, load_recorded, remake_outputs
from deskull.cohort.table import Outcome
from deskull.errors import DeskullError, GeometryError
from deskull.image.fingerprint import is_unchanged
from deskull.image.lookup import find_manual
from deskull.record import DONE, FAILED, Record, Request, save_records

logger = logging.getLogger(__name__)


# --- what is kept


def find_kept(tasks: Sequence[Task], was_killed: bool = False) -> dict[Path, Outcome]:
    """Find the tasks that would replace what is not theirs: they fail.

    Not theirs are an edited mask, outputs of another scan, and files of which no record tells.

    Parameters
    ----------
    tasks
        Tasks to be done.
    was_killed
        Whether an earlier run was killed there: it may have left outputs without their record.

    Returns
    -------
    dict
        Path of the task's record to its outcome.
    """
    found = {}
    for task in tasks:
        errors = (_explain_kept(member, was_killed) for member in task.members)
        error = next(filter(None, errors), "")
        if error:
            found[task.record] = Outcome(task.name, FAILED, error=error)
            logger.warning("%s: failed: %s", task.name, error)
    return found


def _explain_kept(task: Task, was_killed: bool) -> str:
    """Explain what of an earlier run the outputs of a scan would replace; empty if nothing."""
    record = read_record(task)
    if record is None:
        foreign = "" if was_killed else _find_foreign(task)
        return foreign and (
            f"{foreign}: no record says that deskull made it, and kept. "
            "Choose another folder for the outputs; to replace it, add --force."
        )
    if other := _find_other_scan(task, record):
        return (
            f"{task.record.name}: the outputs there are of another scan, {other}, and kept. "
            "Choose another folder for the outputs; to replace them, add --force."
        )
    if mask := _find_edited_mask(task, record):
        return (
            f"{mask.name}: edited since deskull wrote it, and kept. To use it, rename it "
            f"to {find_manual(task.scan, mask).name}; to replace it, add --force."
        )
    return ""


def _find_foreign(task: Task) -> str:
    """Name a file in the place of an output that no run made; a damaged record tells of one."""
    if task.record.exists():
        return ""
    files = (path for path in task.files.values() if path.exists() and not path.is_symlink())
    return next((path.name for path in files), "")


def _find_other_scan(task: Task, record: Record) -> Path | None:
    """Find the scan that outputs are of, if it is there and neither this one nor a copy of it."""
    if record.status != DONE or record.input.file is None:
        return None
    other = find_recorded(record.input.file, task.record)
    if not other.exists() or is_unchanged(task.scan, record.input):
        return None
    with suppress(OSError):
        return None if other.samefile(task.scan) else other
    return other


def _find_edited_mask(task: Task, record: Record) -> Path | None:
    """Find the mask of a task if it is a mask still, but not the file that deskull wrote."""
    written = record.outputs.get("mask")
    if written is None or not written.sha256:
        return None
    path = task.record.parent / written.path
    if not path.exists() or is_unchanged(path, written):
        return None
    with suppress(DeskullError):
        load_mask(path)
        return path
    return None


# --- what is corrected


def apply_corrections(tasks: Iterable[Task]) -> set[Path]:
    """Make the outputs again from corrected masks, where scans were stripped again since.

    Parameters
    ----------
    tasks
        Tasks of the scans of a run.

    Returns
    -------
    set
        Records of the scans whose outputs were made again; the others are warned of.
    """
    remade = set()
    for task in tasks:
        record = read_record(task)
        if record is None:
            continue
        path = task.record.absolute()
        scan = Stripped(task.name, Path(path.anchor), path, record)
        manual = scan.find_corrected()
        if manual is None or not scan.has_old_outputs:
            continue
        try:
            volume = load_recorded(scan)
            corrected = load_mask(manual, volume.grid)
            if not corrected.grid.matches(volume.grid):
                raise GeometryError(f"{manual.name}: lies on another grid than the scan.")
            mask = find_brain(corrected, volume.grid, volume.name)
            reason = remake_outputs(scan, mask, volume, manual).reason
        except DeskullError as error:
            reason = str(error)
        if reason:
            logger.warning(
                "%s: %s is ignored, brain and volume are those of the automatic mask: %s",
                *(task.name, manual.name, reason),
            )
        else:
            remade.add(task.record)
    return remade


# --- what is left over


def load_earlier(tasks: Iterable[Task]) -> dict[Path, Record]:
    """Load the records that an earlier run wrote, by their paths."""
    records = {member.record: read_record(member) for task in tasks for member in task.members}
    return {path: record for path, record in records.items() if record}


def settle_leftovers(earlier: Mapping[Path, Record], now: Iterable[Task], out: Path) -> None:
    """Settle what is left of an earlier run beside the outputs of this one.

    Files that were made from the same scan with the same settings stay in the record; of the
    others a warning tells.

    Parameters
    ----------
    earlier
        Records that were there before this run, from `load_earlier`.
    now
        Tasks of this run.
    out
        Folder of the outputs.
    """
    found, left = load_earlier(now), list[Path]()
    for path, old in earlier.items():
        new = found.get(path, old)
        files = {find_recorded(output.path, path) for output in new.outputs.values()}
        rest = {
            name: (file, output)
            for name, output in old.outputs.items()
            if (file := find_recorded(output.path, path)) not in files and file.exists()
        }
        if rest and _is_same(old, new) and all(is_unchanged(*one) for one in rest.values()):
            outputs = {**new.outputs, **{name: output for name, (_, output) in rest.items()}}
            save_records([replace(new, outputs=outputs)], path)
        else:
            left += [file for file, _ in rest.values()]
    if left:
        logger.warning(
            "%s: files of an earlier run are left (%d), such as %s: they do not belong to the "
            "masks of this run. Delete them, or request them again with --outputs",
            *(out, len(left), min(left)),
        )


def _is_same(old: Record, new: Record) -> bool:
    """Whether two runs stripped the same scan in the same way."""
    same = isinstance(old.request, Request) and old.request.is_same(new.request)
    whole = old.status == new.status == DONE and old.deskull == new.deskull
    return same and whole and old.input.sha256 == new.input.sha256
