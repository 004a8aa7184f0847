"""A BIDS data set as a cohort: which images are stripped, and what becomes of each is called.

Only names are read here. A mask keeps the entities of its image and says ``desc-brain``; that
of another contrast than T1w names it (``desc-brainT2w``), so that two images which differ only
in their suffix do not meet, and who asks for the mask of the T1w image finds that one alone.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deskull.cohort.choice import EXTENSIONS, Choice, find_facts, fits
from deskull.cohort.plan import ENDINGS, Task, check_outputs
from deskull.cohort.sessions import share_masks
from deskull.errors import InputError, OutputError
from deskull.image.bids import SUFFIXES, BidsName, parse_name

OUTPUTS = ("brain", "mask", "probability", "corrected")
LOGS = "logs"  # folder of the records, as in the data sets of other BIDS Apps
MAKER = "deskull"


def make_bids_plan(
    bids_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    choice: Choice | None = None,
    outputs: Sequence[str] = ("brain", "mask"),
    one_mask: bool = False,
) -> list[Task]:
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
        Some of `OUTPUTS`.
    one_mask
        Strip one image of each session, and put its mask on the others.

    Returns
    -------
    list
        Tasks, sorted by name.

    Raises
    ------
    InputError
        If this is no data set, a participant is not there, or no image is wanted.
    OutputError
        If outputs would lie among the raw images, or two images would write one file.
    """
    choice, root, out = choice or Choice(), Path(os.path.abspath(bids_dir)), Path(out_dir)
    out = Path(os.path.abspath(out))
    people = _find_people(root, choice.participants)
    _check_place(root, out)
    found = [hit for person in people for hit in _find_images(person, choice)]
    if not found:
        raise InputError(_explain_none(root, people, choice))
    tasks = [_make_task(path, name, wanted, root, out, outputs) for path, name, wanted in found]
    tasks.sort(key=lambda task: task.name)
    if one_mask:
        tasks = [_cite_mask(task, out) for task in share_masks(tasks)]
    check_outputs(tasks)
    _check_links(tasks, out)
    return tasks


# --- what is there


def _find_people(root: Path, wanted: Sequence[str]) -> list[Path]:
    """Folders of the participants, sorted."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected the root of a BIDS data set.")
    people = {path.name: path for path in sorted(root.glob("sub-*")) if path.is_dir()}
    if not people:
        raise InputError(f"{root}: no folder sub-*; expected the root of a BIDS data set.")
    names = [f"sub-{word.removeprefix('sub-')}" for word in wanted] or [*people]
    missing = [name for name in names if name not in people]
    if missing:
        known = ", ".join([*people][:5]) + (", ..." if len(people) > 5 else "")
        raise InputError(f"{missing[0]}: no such participant in {root}; there are {known}.")
    return [people[name] for name in sorted(set(names))]


def _find_images(person: Path, choice: Choice) -> Iterator[tuple[Path, BidsName, str]]:
    """Wanted images of a participant, their names, and the contrast each was found as."""
    sessions = [f"ses-{word.removeprefix('ses-')}" for word in choice.sessions]
    folders = [ses for ses in sorted(person.glob("ses-*")) if not sessions or ses.name in sessions]
    places = [folder / "anat" for folder in ([] if sessions else [person]) + folders]
    queries = {
        suffix: {"suffix": suffix, "part": ["mag", None], **choice.filters.get(suffix, {})}
        for suffix in choice.suffixes
    }
    for place in places:
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            name = parse_name(path)
            if name is None or not _is_raw(path, name, person):
                continue
            facts = find_facts(path, name)
            wanted = next((s for s, query in queries.items() if fits(facts, query)), None)
            if wanted is not None:
                yield path, name, wanted


def _is_raw(path: Path, name: BidsName, person: Path) -> bool:
    made = {"space", "desc", "label", "res"} & set(name.entities)
    own = f"sub-{name.entities['sub']}" == person.name
    return own and not made and name.suffix in SUFFIXES and path.name.endswith(EXTENSIONS)


def _explain_none(root: Path, people: Sequence[Path], choice: Choice) -> str:
    words = [
        f"{root}: no {' or '.join(choice.suffixes)} image found of {len(people)} participants"
    ]
    if choice.sessions:
        there = sorted({path.name for person in people for path in person.glob("ses-*")})
        known = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
        words += [f"in session {' or '.join(choice.sessions)} (there are: {known or 'none'})"]
    words += ["that the filter file lets through"] if choice.filters else []
    example = f"{people[0].name}/anat/{people[0].name}_{choice.suffixes[0]}.nii.gz"
    return f"{' '.join(words)}; expected names like {example}. Choose contrasts with --suffix."


# --- what is made of it


def _make_task(
    scan: Path, name: BidsName, wanted: str, root: Path, out: Path, outputs: Sequence[str]
) -> Task:
    place = out / scan.parent.relative_to(root)
    contrast = "" if wanted == "T1w" else wanted
    described = {"desc": contrast} if contrast else {}
    names = {
        "brain": name.derive(name.suffix, desc="brain"),
        "mask": name.derive("mask", desc=f"brain{contrast}"),
        "probability": name.derive("probseg", label="brain", **described),
        "corrected": name.derive(name.suffix, desc="preproc"),
    }
    source = scan.relative_to(root).as_posix()
    sidecars = _make_sidecars(f"bids:raw:{source}")
    return Task(
        source,
        scan,
        {output: place / f"{names[output]}.nii.gz" for output in outputs},
        out / LOGS / scan.parent.parent.relative_to(root) / f"{name}{ENDINGS['record']}",
        {output: sidecars[output] for output in outputs},
    )


def _make_sidecars(source: str) -> dict[str, dict[str, Any]]:
    """Fields of the JSON beside each output."""
    region = {"SpatialReference": source, "Manual": False}
    return {
        "brain": {
            "Description": "The image with all but the brain set to the fill value",
            "Sources": [source],
            "SkullStripped": True,
        },
        "mask": {
            "Description": "Brain with the CSF of its sulci and a rim of CSF: 1, all else: 0",
            "Type": "Brain",
            "Sources": [source],
            **region,
        },
        "probability": {
            "Description": "Probability that a voxel is brain",
            "Sources": [source],
            **region,
        },
        "corrected": {
            "Description": "The image corrected for intensity non-uniformity by N4",
            "Sources": [source],
            "SkullStripped": False,
        },
    }


def _cite_mask(head: Task, out: Path) -> Task:
    """Name the mask, or the image it was made from, among the sources of scans that get it."""
    mask = head.outputs.get("mask")
    source = f"bids:raw:{head.name}"
    if mask is not None:
        source = f"bids::{mask.relative_to(out).as_posix()}"
    others = []
    for other in head.others:
        sidecars = {
            name: {**fields, "Sources": [*fields["Sources"], source]}
            for name, fields in other.sidecars.items()
        }
        others.append(replace(other, sidecars=sidecars))
    return replace(head, others=tuple(others))


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
                f"{folder}: leads by a link to {folder.resolve()}; expected a folder within "
                f"{out}. Remove the link."
            )
