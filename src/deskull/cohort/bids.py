"""A BIDS data set as a cohort: a task for each requested image, and the data set of derivatives.

A mask keeps the entities of its image and has ``desc-brain``; for contrasts other than T1w it
names them (``desc-brainT2w``), so that images which differ only in their suffix do not clash.
Images are found in `bids_images.py`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from deskull import __version__
from deskull.cohort.bids_images import NIBABIES, Choice, Image, find_images
from deskull.cohort.plan import Gap, Plan, Task, remove_clashes, share_masks
from deskull.errors import InputError, OutputError
from deskull.image.bids_names import MEANS, find_folder, name_folder
from deskull.image.file_names import find_stem
from deskull.image.writing import make_folder, save_bytes
from deskull.outputs import OUTPUTS, RECORD, USUAL, Output, find_output
from deskull.record import FAILED, InputScan, Query, Record, load_record, save_records
from deskull.text_files import make_stamp, make_tsv

LOGS = "logs"  # folder of the records, as in the data sets of other BIDS Apps
GENERATOR = "deskull"
MAX_B0 = 100.0
"""Largest b-value, in s/mm2, of diffusion-weighted frames that show the head as T2w ones do."""


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
        Root folder of the data set, which holds ``sub-*``.
    out_dir
        Root folder of the derivatives.
    choice
        Which images are requested; by default every T1w image.
    outputs
        Names in `deskull.outputs.OUTPUTS`; the record is always written.
    one_mask
        Whether one image of each session is stripped, and its mask put on the others.

    Returns
    -------
    Plan
        A task for each image. The gaps are participants that are missing or have no image,
        misnamed images, and images that would write the same file.

    Raises
    ------
    InputError
        If this is not a BIDS data set, or there is nothing to strip and no participant was named.
    OutputError
        If outputs would lie among the raw images.
    """
    choice, root, out = choice or Choice(), Path(os.path.abspath(bids_dir)), Path(out_dir)
    out = Path(os.path.abspath(out))
    images, gaps = find_images(root, choice)
    _check_place(root, out)
    if not images and not choice.participants:
        raise InputError(_explain_none(root, gaps))
    mask_names = choice.mask_names
    tasks, clashes = remove_clashes(
        [_make_task(image, root, out, outputs, mask_names) for image in images]
    )
    acquisitions = {image.path: image.acquisition for image in images}
    tasks = share_masks(tasks, None if one_mask else acquisitions.__getitem__, choice.mp2rage)
    _check_links(tasks, out)
    return Plan(tasks, sorted([*gaps, *clashes], key=lambda gap: gap.name))


def _explain_none(root: Path, gaps: Sequence[Gap]) -> str:
    listed = [f"{gap.name}: {gap.reason.rstrip('.')}" for gap in gaps[:3]]
    more = f"; and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return (
        f"{root}: nothing to strip; {'; '.join(listed)}{more}. Choose contrasts with --suffix, "
        "and check that the names follow BIDS."
    )


def _make_task(
    image: Image, root: Path, out: Path, outputs: Sequence[str], mask_names: str
) -> Task:
    scan, name = image.path, image.name
    rows = [row for row in map(find_output, outputs) if row.bids is not None]
    paths = {row.name: out / _name_output(row, image, mask_names, root) for row in rows}
    frames = _choose_frames(image)
    uri = source = f"bids:raw:{scan.relative_to(root).as_posix()}"
    if "mask" in paths:
        uri = f"bids::{paths['mask'].relative_to(out).as_posix()}"
    logs = scan.parent.parent if scan.parent.name == "anat" else scan.parent
    sidecars = {
        row.name: _make_sidecar(row, row.sidecar, source, frames)
        for row in rows
        if row.sidecar is not None
    }
    record = out / LOGS / logs.relative_to(root) / f"{name}{RECORD}"
    return Task(scan.relative_to(root).as_posix(), scan, paths, record, sidecars, frames, uri)


def _name_output(row: Output, image: Image, mask_names: str, root: Path) -> Path:
    """Name an output by its path below the root of the derivatives."""
    assert row.bids is not None
    folder = image.path.parent.relative_to(root)
    if row.bids_folder:
        folder = Path(folder.parts[0], row.bids_folder)
    contrast = "" if image.contrast == "T1w" else image.contrast
    name = row.bids(image.name, contrast)
    if row.name == "mask" and mask_names == NIBABIES:
        name = image.name.derive("mask", space=image.contrast, desc="brain")
    return folder / f"{name}{row.bids_ending or row.endings[0]}"


def _choose_frames(image: Image) -> tuple[int, ...] | None:
    """Choose the frames whose mean is stripped: all of a series, of diffusion the b = 0 ones."""
    if image.name.suffix != "dwi":
        return () if image.name.suffix in MEANS else None
    path = image.path.with_name(f"{find_stem(image.path)}.bval")
    try:
        values = path.read_text("utf-8").split()
        frames = tuple(n for n, value in enumerate(values) if float(value) <= MAX_B0)
    except (OSError, ValueError):
        return (0,)
    return frames or (0,)


def _make_sidecar(
    row: Output, fields: Mapping[str, Any], source: str, frames: tuple[int, ...] | None
) -> dict[str, Any]:
    """Make the fields of the JSON file beside an output."""
    text = row.description[0].upper() + row.description[1:]
    if frames is not None and row.name != "brain":
        chosen = f"frames {', '.join(map(str, frames))}" if frames else "all frames"
        text += f"; made from the mean of {chosen} of the series"
    filled = {key: source if value == "{source}" else value for key, value in fields.items()}
    return {"Description": text, "Sources": [source], **filled}


def _check_place(root: Path, out: Path) -> None:
    """Refuse to write among the raw images, or into the data set of another program."""
    raw, real = root.resolve(), out.resolve()
    inside = real.relative_to(raw).parts if real.is_relative_to(raw) else ("",)
    if not inside or inside[0].startswith("sub-"):
        raise OutputError(
            f"{out}: among the raw images; expected a folder of its own, such as "
            f"{root / 'derivatives' / 'deskull'}."
        )
    try:
        fields = json.loads((out / "dataset_description.json").read_text("utf-8"))
        generators = [one["Name"] for one in fields["GeneratedBy"]]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        generators = ["another program"]
    if GENERATOR not in generators:
        raise OutputError(
            f"{out}: holds a data set made by {', '.join(generators)}. Choose a folder of its own."
        )


def _check_links(tasks: Sequence[Task], out: Path) -> None:
    """Refuse a folder of outputs that is a link to another place, such as the raw images."""
    real = out.resolve()
    for folder in {path.parent for t in tasks for m in t.members for path in m.files.values()}:
        if not folder.resolve().is_relative_to(real):
            raise OutputError(
                f"{folder}: is a link to {folder.resolve()}; expected a folder within "
                f"{out}. Remove the link."
            )


# --- the data set of derivatives

BIDS_VERSION = "1.10.0"
GAP = f"_gap{RECORD}"  # ending of the record of a gap of the plan
GROUP = "group_brain"  # stem of the table and of its data dictionary
_IGNORED = (  # patterns of files for which BIDS has no names
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
    """Write the files that make a folder a BIDS data set of derivatives.

    Parameters
    ----------
    bids_dir, out_dir
        Root folders of the raw data set and of the derivatives; `out_dir` must exist.

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
                "Name": GENERATOR,
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
    """Add patterns of files for which BIDS has no names to a ``.bidsignore``."""
    listed = path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []
    lines = [*listed, *(text for text in dict.fromkeys(_IGNORED) if text not in listed)]
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

    Records of gaps that an earlier run of the same choice wrote are replaced.

    Parameters
    ----------
    gaps
        Gaps of the plan; only those that failed are recorded.
    choice
        Which images were requested.
    out_dir
        Root folder of the derivatives.

    Raises
    ------
    OutputError
        If a record cannot be written.
    """
    query = Query(tuple(choice.suffixes), tuple(sorted(choice.sessions)))
    labels = [name_folder("sub", label) for label in choice.participants or ("*",)]
    folders = {path for label in labels for path in (out_dir / LOGS).glob(label)}
    for old in [file for folder in folders for file in folder.glob(f"*{GAP}")]:
        record = load_record(old)
        if record is not None and record.request == query:
            old.unlink(missing_ok=True)
    for gap in gaps:
        if gap.failed:
            path = out_dir / LOGS / Path(gap.name).parts[0] / f"{Path(gap.name).name}{GAP}"
            record = Record(
                status=FAILED,
                error=gap.reason,
                deskull=__version__,
                input=InputScan(path=gap.name),
                request=query,
                finished=make_stamp(),
            )
            make_folder(path.parent)
            save_records([record], path)


def save_group(bids_dir: Path, out_dir: Path) -> tuple[Path, int]:
    """Write one table of all images that have a record, and its data dictionary.

    Parameters
    ----------
    bids_dir, out_dir
        Root folders of the raw data set and of the derivatives.

    Returns
    -------
    tuple
        Path of the table, and the number of images in it.

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
    for participant in bids_dir.glob("sub-*"):
        if participant.is_dir() and participant.name not in known:
            rows.append(_make_row(Record(input=InputScan(path=participant.name))))
    rows.sort(key=lambda row: row["file"])
    table = make_tsv([*COLUMNS], [[*row.values()] for row in rows])
    path = out_dir / f"{GROUP}.tsv"
    save_bytes(table.encode("utf-8", "surrogateescape"), path)
    dictionary = json.dumps(COLUMNS, indent=2) + "\n"
    save_bytes(dictionary.encode(), out_dir / f"{GROUP}.json")
    return path, len(rows)


def _make_row(record: Record) -> dict[str, str]:
    """Make the cells of one image; an unknown value is n/a, as BIDS requires."""
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
