"""A BIDS data set as a cohort: a task for each wanted image, and the data set of derivatives.

A mask keeps the entities of its image and says ``desc-brain``; that of another contrast than T1w
names it (``desc-brainT2w``), so that two images which differ only in their suffix do not meet.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from deskull import __version__
from deskull.cohort.dataset import NIBABIES, Choice, Image, find_images
from deskull.cohort.plan import Gap, Plan, Task, settle_outputs
from deskull.cohort.sessions import rank, share_masks
from deskull.errors import InputError, OutputError
from deskull.image.names import find_folder, name_folder
from deskull.image.writing import make_folder, save_bytes
from deskull.outputs import OUTPUTS, RECORD, USUAL, Output, find_output
from deskull.record import FAILED, InputScan, Query, Record, load_record, save_records
from deskull.tables import make_stamp, make_tsv

LOGS = "logs"  # folder of the records, as in the data sets of other BIDS Apps
MAKER = "deskull"


def make_bids_plan(
    bids_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    choice: Choice | None = None,
    outputs: Sequence[str] = USUAL,
    one_mask: bool = False,
) -> Plan:
    """Find the images of a data set, and name their derivatives.

    Parameters
    ----------
    bids_dir
        Root of the data set, which holds ``sub-*``.
    out_dir
        Root of the derivatives.
    choice
        Which images; every T1w image if not given.
    outputs
        Names in `deskull.outputs.OUTPUTS`; the record is always written.
    one_mask
        Strip one image of each session, and put its mask on the others.

    Returns
    -------
    Plan
        Its gaps are participants without an image, those that are not there, misnamed images,
        and images that would write one file.

    Raises
    ------
    InputError
        If this is no data set, or there is nothing to strip and no participant was named.
    OutputError
        If outputs would lie among the raw images.
    """
    choice, root, out = choice or Choice(), Path(os.path.abspath(bids_dir)), Path(out_dir)
    out = Path(os.path.abspath(out))
    images, gaps = find_images(root, choice)
    _check_place(root, out)
    if not images and not choice.participants:
        raise InputError(_explain_none(root, gaps))
    tasks, clashes = settle_outputs(
        _make_task(image, root, out, outputs, choice.mask_names) for image in images
    )
    ranked = partial(rank, mp2rage=choice.mp2rage)
    if one_mask:
        tasks = share_masks(tasks, prefer=ranked)
    else:
        shared = {image.path: image.acquisition for image in images}
        tasks = share_masks(tasks, lambda task: shared[task.scan], ranked)
    _check_links(tasks, out)
    return Plan(tasks, sorted([*gaps, *clashes], key=lambda gap: gap.name))


def _explain_none(root: Path, gaps: Sequence[Gap]) -> str:
    told = [f"{gap.name}: {gap.reason.rstrip('.')}" for gap in gaps[:3]]
    more = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return (
        f"{root}: nothing to strip; {'; '.join(told)}{more}. Choose contrasts with --suffix, and "
        "check that the names follow BIDS."
    )


# --- what is made of it


def _make_task(
    image: Image, root: Path, out: Path, outputs: Sequence[str], mask_names: str
) -> Task:
    scan, name = image.path, image.name
    rows = [row for row in map(find_output, outputs) if row.bids is not None]
    paths = {row.name: out / _place(row, image, mask_names, root) for row in rows}
    frames = image.choose_frames()
    uri = source = f"bids:raw:{scan.relative_to(root).as_posix()}"
    if "mask" in paths:
        uri = f"bids::{paths['mask'].relative_to(out).as_posix()}"
    logs = scan.parent.parent if scan.parent.name == "anat" else scan.parent
    return Task(
        scan.relative_to(root).as_posix(),
        scan,
        paths,
        out / LOGS / logs.relative_to(root) / f"{name}{RECORD}",
        {
            row.name: _make_sidecar(row, row.sidecar, source, frames)
            for row in rows
            if row.sidecar is not None
        },
        frames,
        uri,
    )


def _place(row: Output, image: Image, mask_names: str, root: Path) -> Path:
    """Path of an output below the root of the derivatives."""
    assert row.bids is not None
    folder = image.path.parent.relative_to(root)
    if row.bids_folder:
        folder = Path(folder.parts[0], row.bids_folder)
    contrast = "" if image.wanted == "T1w" else image.wanted
    name = row.bids(image.name, contrast)
    if row.name == "mask" and mask_names == NIBABIES:
        name = image.name.derive("mask", space=image.wanted, desc="brain")
    return folder / f"{name}{row.bids_ending or row.endings[0]}"


def _make_sidecar(
    row: Output, fields: Mapping[str, Any], source: str, frames: tuple[int, ...] | None
) -> dict[str, Any]:
    """Fields of the JSON beside an output."""
    text = row.description[0].upper() + row.description[1:]
    if frames is not None and row.name != "brain":
        chosen = f"frames {', '.join(map(str, frames))}" if frames else "all frames"
        text += f"; made from the mean of {chosen} of the series"
    filled = {key: source if value == "{source}" else value for key, value in fields.items()}
    return {"Description": text, "Sources": [source], **filled}


# --- where it goes


def _check_place(root: Path, out: Path) -> None:
    """Refuse to write among raw images, or into the data set of another program."""
    home, real = root.resolve(), out.resolve()
    inside = real.relative_to(home).parts if real.is_relative_to(home) else ("",)
    if not inside or inside[0].startswith("sub-"):
        raise OutputError(
            f"{out}: among the raw images; expected a folder of its own, such as "
            f"{root / 'derivatives' / 'deskull'}."
        )
    try:
        fields = json.loads((out / "dataset_description.json").read_text("utf-8"))
        makers = [maker["Name"] for maker in fields["GeneratedBy"]]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        makers = ["another program"]
    if MAKER not in makers:
        raise OutputError(
            f"{out}: holds a data set made by {', '.join(makers)}. Choose a folder of its own."
        )


def _check_links(tasks: Sequence[Task], out: Path) -> None:
    """Refuse a folder of outputs that is a link to elsewhere, such as to the raw images."""
    real = out.resolve()
    for folder in {path.parent for t in tasks for m in t.members for path in m.files.values()}:
        if not folder.resolve().is_relative_to(real):
            raise OutputError(
                f"{folder}: is a link to {folder.resolve()}; expected a folder within "
                f"{out}. Remove the link."
            )


# --- the data set of derivatives

BIDS_VERSION = "1.10.0"
GAP = f"_gap{RECORD}"  # ending of the record of what was not even planned
GROUP = "group_brain"  # stem of the table and of its data dictionary
_IGNORED = (  # no names of BIDS
    *(f"{LOGS}/", "*.html", "deskull_*", f"{GROUP}.*"),
    *(row.bids_ignore for row in OUTPUTS if row.bids_ignore),
)
_README = """# Brains and brain masks

Made by deskull {version} from the data set that `dataset_description.json` names as `raw`.

- `*_desc-brain_mask.nii.gz`: the brain in a T1w image, on the image's own grid; of another
  contrast `*_desc-brainT2w_mask.nii.gz` and so on
- `*_desc-brain_T1w.nii.gz`: the image with all else set to 0
- `logs/`: what was done with each image
"""
MISSING = "missing"
COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Participant, as in the raw data set"},
    "session_id": {"Description": "Session"},
    "file": {"Description": "Raw image, relative to the raw data set"},
    "status": {
        "Description": "Whether it was stripped",
        "Levels": {
            "done": "Its outputs were written",
            "failed": "See the column error for the reason",
            MISSING: "A participant of the raw data set that was not part of any run",
        },
    },
    "volume": {"Description": "Volume of the mask", "Units": "mL"},
    "mask": {
        "Description": "Mask that the brain and the volume belong to",
        "Levels": {
            "automatic": "The automatic mask of deskull",
            "corrected": "A mask corrected by hand",
        },
    },
    "score": {"Description": "Score of the mask, from 0 (certainly wrong) to 100"},
    "flags": {"Description": "Doubts about the mask, by name, separated by commas"},
    "mask_of": {
        "Description": "Image whose mask was applied to this one, if it has none of its own"
    },
    "seconds": {"Description": "Time from reading to writing", "Units": "s"},
    "weights": {"Description": "Name of the weights"},
    "version": {"Description": "Version of deskull"},
    "error": {"Description": "Reason of the failure"},
}


def save_description(bids_dir: Path, out_dir: Path) -> None:
    """Write what makes a folder a BIDS derivative data set.

    Parameters
    ----------
    bids_dir, out_dir
        Roots of the raw data set and of the derivatives; `out_dir` must exist.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    raw = _read_description(bids_dir)
    source = {"URL": bids_dir.resolve().as_uri()}
    if "DatasetDOI" in raw:
        doi = str(raw["DatasetDOI"]).removeprefix("doi:").removeprefix("https://doi.org/")
        source = {"URL": f"https://doi.org/{doi}", "DOI": f"doi:{doi}"}
    fields = {
        "Name": f"Brain masks of {raw.get('Name', bids_dir.resolve().name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": MAKER,
                "Version": __version__,
                "Description": "Isolates the brain in MRI of the head",
            }
        ],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": _find_link(bids_dir.resolve(), out_dir.resolve())},
        **({"License": raw["License"]} if "License" in raw else {}),
    }
    content = json.dumps(fields, indent=2) + "\n"
    save_bytes(content.encode(), out_dir / "dataset_description.json")
    _add_ignored(out_dir / ".bidsignore")
    if not (out_dir / "README.md").exists():
        save_bytes(_README.format(version=__version__).encode(), out_dir / "README.md")


def _add_ignored(path: Path) -> None:
    """Add the patterns of files that BIDS has no names for to those that are listed."""
    listed = path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []
    lines = [*listed, *(word for word in dict.fromkeys(_IGNORED) if word not in listed)]
    if lines != listed:
        save_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"), path)


def _find_link(bids_dir: Path, out_dir: Path) -> str:
    try:
        return Path(os.path.relpath(bids_dir, out_dir)).as_posix()
    except ValueError:  # on another drive of Windows
        return bids_dir.as_uri()


def _read_description(root: Path) -> dict[str, Any]:
    try:
        fields = json.loads((root / "dataset_description.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def save_gaps(gaps: Sequence[Gap], choice: Choice, out_dir: Path) -> None:
    """Record participants and images that a run could not strip, for the table of the group.

    Records of gaps that an earlier run of the same choice left, and that are none any more, are
    removed.

    Parameters
    ----------
    gaps
        Of the plan; those that are only left out are not recorded.
    choice
        Choice of images of the run.
    out_dir
        Root of the derivatives.

    Raises
    ------
    OutputError
        If a record cannot be written.
    """
    asked = Query(tuple(choice.suffixes), tuple(sorted(choice.sessions)))
    labels = [name_folder("sub", label) for label in choice.participants or ("*",)]
    places = {path for label in labels for path in (out_dir / LOGS).glob(label)}
    for old in [file for place in places for file in place.glob(f"*{GAP}")]:
        record = load_record(old)
        if record is not None and record.request == asked:
            old.unlink(missing_ok=True)
    for gap in gaps:
        if gap.failed:
            path = out_dir / LOGS / Path(gap.name).parts[0] / f"{Path(gap.name).name}{GAP}"
            record = Record(
                status=FAILED,
                error=gap.reason,
                deskull=__version__,
                input=InputScan(path=gap.name),
                request=asked,
                finished=make_stamp(),
            )
            make_folder(path.parent)
            save_records([record], path)


def save_group(bids_dir: Path, out_dir: Path) -> tuple[Path, int]:
    """Write one table of all images that were worked on, and its data dictionary.

    Parameters
    ----------
    bids_dir, out_dir
        Roots of the raw data set and of the derivatives.

    Returns
    -------
    tuple
        Path of the table, and how many images it lists.

    Raises
    ------
    InputError
        If there is no record.
    OutputError
        If a file cannot be written.
    """
    found = [load_record(path) for path in sorted((out_dir / LOGS).rglob(f"*{RECORD}"))]
    records = [one for one in found if one is not None and one.input.path]
    if not records:
        raise InputError(
            f"{out_dir}: no records in its folder {LOGS}; nothing to summarise. Run the level "
            "participant first."
        )
    rows = [_make_row(record) for record in records]
    known = {row["participant_id"] for row in rows}
    for person in bids_dir.glob("sub-*"):
        if person.is_dir() and person.name not in known:
            rows.append(_make_row(Record(input=InputScan(path=person.name))))
    rows.sort(key=lambda row: row["file"])
    table = make_tsv([*COLUMNS], [[*row.values()] for row in rows])
    path = out_dir / f"{GROUP}.tsv"
    save_bytes(table.encode("utf-8", "surrogateescape"), path)
    words = json.dumps(COLUMNS, indent=2) + "\n"
    save_bytes(words.encode(), out_dir / f"{GROUP}.json")
    return path, len(rows)


def _make_row(record: Record) -> dict[str, str]:
    """Cells of one image; what is not known is n/a, as BIDS has it."""
    file = record.input.path
    cells = {
        "participant_id": find_folder("sub", PurePath(file)),
        "session_id": find_folder("ses", PurePath(file)),
        "file": file,
        "status": record.status or MISSING,
        "volume": record.final_ml,
        "mask": record.mask_kind,
        "score": record.score,
        "flags": ",".join(flag.name for flag in record.flags),
        "mask_of": record.mask_of,
        "seconds": round(sum(record.seconds.values()), 2),
        "weights": record.weights and record.weights.name,
        "version": record.deskull if record.status else "",
        "error": " ".join(record.error.split()),
    }
    return {key: "n/a" if value in (None, "") else str(value) for key, value in cells.items()}
