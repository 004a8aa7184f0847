"""The data set of derivatives: its description, the records of gaps, and the table of the group.

What is written for each image is planned in `bids.py`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from deskull import __version__
from deskull.cohort.bids_images import Choice, find_participants
from deskull.cohort.plan import Gap
from deskull.errors import InputError, OutputError
from deskull.image.bids_names import find_folder, name_folder
from deskull.image.writing import make_folder, save_bytes
from deskull.outputs import OUTPUTS, RECORD
from deskull.record import FAILED, InputScan, Query, Record, load_record, save_records
from deskull.text_files import make_stamp, make_tsv

LOGS = "logs"  # folder of the records, as in the data sets of other BIDS Apps
GENERATOR = "deskull"
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


def check_place(root: Path, out: Path) -> None:
    """Refuse to write among the raw images, or into a data set of another program or other images.

    Parameters
    ----------
    root, out
        Root folders of the raw data set and of the derivatives.

    Raises
    ------
    OutputError
        If outputs would be mixed up with other files.
    """
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
        if inside != ("derivatives",):
            return
        raise OutputError(
            f"{out}: the folder of all derivatives; expected one of its own, such as "
            f"{out / 'deskull'}."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        generators = ["another program"]
    if GENERATOR not in generators:
        raise OutputError(
            f"{out}: holds a data set made by {', '.join(generators)}. Choose a folder of its own."
        )
    source = _find_source(fields.get("DatasetLinks"), out.resolve())
    if source is not None and not _is_same(source, root):
        raise OutputError(
            f"{out}: holds the derivatives of {source}; expected those of {root}. Choose a folder "
            "of its own for each data set."
        )


def _find_source(links: object, out: Path) -> Path | None:
    """Find the raw data set that derivatives are of; None if it is not there any more."""
    link = links.get("raw") if isinstance(links, dict) else None
    if not isinstance(link, str) or "://" in link:
        return None
    source = Path(os.path.normpath(out / link))
    there = source.is_dir() and next(source.glob("sub-*"), None) is not None
    return source if there else None


def _is_same(source: Path, root: Path) -> bool:
    """Whether two data sets are one, or one is a copy of the other by its description."""
    if source.samefile(root):
        return True
    description = _read_description(root)
    return bool(description) and description == _read_description(source)


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
        Gaps of the whole plan, so that shards do not remove the records of each other; only those
        that failed are recorded.
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
    failed = {_place_gap(gap, out_dir): gap for gap in gaps if gap.failed}
    for old in [file for folder in folders for file in folder.rglob(f"*{GAP}")]:
        record = load_record(old)
        if old not in failed and record is not None and _is_covered(record.request, query):
            old.unlink(missing_ok=True)
    for path, gap in failed.items():
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


def _is_covered(earlier: object, query: Query) -> bool:
    """Whether a run looks for all that an earlier one looked for: in these sessions, or in all."""
    if earlier == query or not isinstance(earlier, Query):
        return earlier == query
    return earlier.suffixes == query.suffixes and not query.sessions


def _place_gap(gap: Gap, out_dir: Path) -> Path:
    """Find the path of the record of a gap, in the folder of its participant."""
    folder, *below = PurePath(gap.name).parts
    return out_dir.joinpath(LOGS, folder, *(below[:-1]), f"{(below or [folder])[-1]}{GAP}")


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
        If `bids_dir` is not a BIDS data set, or there is no record.
    OutputError
        If a file cannot be written.
    """
    participants = find_participants(bids_dir)
    found = [load_record(path) for path in sorted((out_dir / LOGS).rglob(f"*{RECORD}"))]
    records = [one for one in found if one is not None and one.input.path]
    if not records:
        raise InputError(
            f"{out_dir}: no records in its folder {LOGS}; nothing to summarise. Run the level "
            "participant first."
        )
    rows = [_make_row(record) for record in records]
    known = {row["participant_id"] for row in rows}
    for participant in participants:
        if participant.name not in known:
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
        "seconds": round(sum(record.seconds.values()), 2) if record.seconds else None,
        "weights": record.weights and record.weights.name,
        "version": record.deskull if record.status else "",
        "error": " ".join(record.error.split()),
    }
    return {key: "n/a" if value in (None, "") else str(value) for key, value in cells.items()}
