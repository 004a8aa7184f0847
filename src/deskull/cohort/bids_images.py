"""The images of a BIDS data set: which are requested, which are found, and why others are not.

Images are requested by contrast, participant, session and filter file. Only names are read here,
and ``.bidsignore``. A requested participant that is missing, a participant without a requested
image, and a wrong name are gaps that make the run fail.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from deskull.cohort.bids_ignore import Ignore
from deskull.cohort.plan import Gap
from deskull.errors import InputError, OptionError
from deskull.image.bids_names import (
    BIDS_FOLDERS,
    BIDS_SUFFIXES,
    COUNTING,
    ENTITIES,
    INV2,
    BidsName,
    find_inversion,
    is_folder_of,
    name_folder,
    parse_name,
)
from deskull.image.file_names import MADE_ENDINGS, find_base, find_stem, find_suffix

EXTENSIONS = (".nii.gz", ".nii")
_OTHER_QUERIES = ("fmap", "roi", "meg", "pet")  # of other BIDS Apps
_NUMBERED = tuple(ENTITIES[key] for key in COUNTING)
_KEYS = (*ENTITIES.values(), "datatype", "suffix", "extension")

Filter = Mapping[str, Any]
"""Value that each entity must have, by its long name."""

FMRIPREP, NIBABIES = "fmriprep", "nibabies"
"""Programs that read masks: `sub-01_desc-brain_mask`, `sub-01_space-T1w_desc-brain_mask`."""


@dataclass(frozen=True)
class Choice:
    """Which images of a data set are requested.

    Parameters
    ----------
    suffixes
        Contrasts: those of `BIDS_SUFFIXES` in upper or lower case, others as written.
    participants, sessions
        Labels, with or without ``sub-`` and ``ses-``; empty for all.
    filters
        Filter by contrast, from `read_filters`.
    mp2rage
        `INV2` or `UNIT1`: the image of an MP2RAGE acquisition that its mask is made from.
    mask_names
        `FMRIPREP` or `NIBABIES`: the program that looks for the masks by their names.
    """

    suffixes: Sequence[str] = ("T1w",)
    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    mp2rage: str = INV2
    mask_names: str = FMRIPREP

    def __post_init__(self) -> None:
        known = {suffix.lower(): suffix for suffix in BIDS_SUFFIXES}
        for suffix in self.suffixes:
            if not (suffix.isascii() and suffix.isalnum()):
                raise OptionError(
                    f"suffix {suffix!r}; expected letters and digits, such as "
                    f"{', '.join(BIDS_SUFFIXES)}."
                )
        for kind, labels in (("sub", self.participants), ("ses", self.sessions)):
            for label in labels:
                if not is_folder_of(kind, name_folder(kind, label)):
                    raise OptionError(
                        f"label {label!r}; expected letters and digits, with or without {kind}-, "
                        f"such as {name_folder(kind, '01')}."
                    )
        spelled = dict.fromkeys(known.get(suffix.lower(), suffix) for suffix in self.suffixes)
        object.__setattr__(self, "suffixes", tuple(spelled))

    @property
    def unknown(self) -> list[str]:
        """Suffixes that are not known as those of images of a head."""
        return [suffix for suffix in self.suffixes if suffix not in BIDS_SUFFIXES]

    def find_contrast(self, path: Path, name: BidsName) -> str | None:
        """Find the contrast as which an image is requested; None if it is not."""
        entities = _list_entities(path, name)
        for suffix in self.suffixes:
            chosen = {"suffix": suffix, "part": ["mag", None], **self.filters.get(suffix, {})}
            if _fits(entities, chosen):
                return suffix
        return None


def read_filters(path: str | os.PathLike[str]) -> dict[str, Filter]:
    """Read a filter file like that of fMRIPrep: ``{"t1w": {"session": "02", "run": null}}``.

    The value of an entity, by its long name, is one value, a list of which one must match, ``"*"``
    for any, or ``null`` for none. With ``"regex_search": true`` values are regular expressions.
    Queries for other than anatomical images are ignored.

    Returns
    -------
    dict
        Filter by contrast, such as ``"T1w"``.

    Raises
    ------
    InputError
        If it cannot be read, or has an unknown query or entity.
    """
    try:
        fields = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}).") from error
    known = {suffix.lower(): suffix for suffix in BIDS_SUFFIXES}
    if not isinstance(fields, dict) or not all(isinstance(q, dict) for q in fields.values()):
        raise InputError(f'{path}: expected an object of queries such as {{"t1w": {{"run": 1}}}}.')
    for query, chosen in fields.items():
        if query not in known and query not in _OTHER_QUERIES:
            raise InputError(f"{path}: query {query!r}; expected one of {', '.join(known)}.")
        odd = [key for key in chosen if key not in (*_KEYS, "regex_search")]
        if odd and query in known:
            raise InputError(f"{path}: {query}: entity {odd[0]!r}; expected {', '.join(_KEYS)}.")
        _check_patterns(path, chosen)
    return {known[query]: chosen for query, chosen in fields.items() if query in known}


def _check_patterns(path: str | os.PathLike[str], chosen: Filter) -> None:
    """Raise InputError if the values of a filter should be regular expressions and are not."""
    if chosen.get("regex_search") is not True:
        return
    for value in chosen.values():
        for pattern in value if isinstance(value, list) else [value]:
            try:
                re.compile(str(pattern))
            except re.error as error:
                message = f"{path}: {pattern!r} is not a regular expression ({error})."
                raise InputError(message) from error


def _list_entities(path: Path, name: BidsName) -> dict[str, str]:
    """List what a filter may select by: entities by their long names, folder and suffixes."""
    entities = {ENTITIES[key]: value for key, value in name.entities.items() if key in ENTITIES}
    extension = next(end for end in EXTENSIONS if path.name.endswith(end))
    place = {"datatype": path.parent.name, "suffix": name.suffix, "extension": extension}
    return entities | place


def _fits(entities: Mapping[str, str], chosen: Filter) -> bool:
    """Whether the entities of an image match a filter."""
    regex = chosen.get("regex_search") is True
    for key, value in chosen.items():
        values = value if isinstance(value, list) else [value]
        found = entities.get(key)
        if key != "regex_search" and not any(_matches(found, v, key, regex) for v in values):
            return False
    return True


def _matches(found: str | None, value: object, key: str, regex: bool) -> bool:
    """Whether an entity matches None, ``"*"``, a pattern or a value; ``run-01`` matches run 1."""
    if value is None or found is None:
        return value is None and found is None
    text = str(value)
    if regex:
        return re.search(text, found) is not None
    if key in _NUMBERED and found.isdigit() and text.isdigit():
        return int(found) == int(text)
    return text in ("*", found)


@dataclass(frozen=True)
class Image:
    """One raw image of a data set.

    Parameters
    ----------
    path, name
        Path of the file, and its BIDS name.
    contrast
        Contrast as which it is requested, which may differ from its suffix with a filter file.
    """

    path: Path
    name: BidsName
    contrast: str

    @property
    def acquisition(self) -> object:
        """Key that the images of an MP2RAGE acquisition share; for others, the path."""
        if not find_inversion(self.name):
            return self.path
        pairs = {(k, v) for k, v in self.name.entities.items() if k not in ("inv", "part")}
        return self.path.parent, frozenset(pairs)


def find_images(root: Path, choice: Choice) -> tuple[list[Image], list[Gap]]:
    """Find the requested images of a data set, and what is wrong or left out.

    Parameters
    ----------
    root
        Root folder of the data set.
    choice
        Which images are requested. With an image of an MP2RAGE acquisition comes the one that
        its mask is made from.

    Raises
    ------
    InputError
        If this is not a BIDS data set.
    """
    participants = find_participants(root)
    requested = sorted({name_folder("sub", label) for label in choice.participants})
    known = [path.name for path in participants]
    listed = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    missing = f"no such participant; there are {listed}."
    gaps = [Gap(name, missing, failed=True) for name in requested if name not in known]
    ignore, images = Ignore(root), list[Image]()
    if not requested:
        likely = sorted(path for path in root.iterdir() if path.name.lower().startswith("sub"))
        odd = [path for path in likely if path.is_dir() and path not in participants]
        gaps += [_explain_folder(path.name, ignore) for path in odd]
    for participant in participants:
        if not requested or participant.name in requested:
            found, participant_gaps = _search_participant(participant, root, choice, ignore)
            images += found
            gaps += participant_gaps
    return images, gaps


def find_participants(root: Path) -> list[Path]:
    """Find the folders of the participants of a data set, sorted.

    Raises
    ------
    InputError
        If this is not a BIDS data set.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected the root of a BIDS data set.")
    found = sorted(p for p in root.iterdir() if p.is_dir() and is_folder_of("sub", p.name))
    if not found:
        raise InputError(f"{root}: no folder sub-*; expected the root of a BIDS data set.")
    return found


def _explain_folder(name: str, ignore: Ignore) -> Gap:
    """Explain why a folder that is named nearly like a participant's is not searched."""
    if ignore.matches(f"{name}/"):
        return Gap(name, "left out by .bidsignore")
    return Gap(name, "misnamed: expected a folder like sub-01.", failed=True)


def _search_participant(
    folder: Path, root: Path, choice: Choice, ignore: Ignore
) -> tuple[list[Image], list[Gap]]:
    """Find the requested images of a participant, and the gaps."""
    sessions = {name_folder("ses", label) for label in choice.sessions}
    raws, gaps, ignored = list[tuple[Path, BidsName]](), list[Gap](), False
    for path in _list_images(folder):
        place = path.relative_to(folder).parts[:-1]
        if sessions and sessions.isdisjoint(place):
            continue
        name, source = parse_name(path), path.relative_to(root).as_posix()
        if ignore.matches(source):
            if _names_contrast(path, choice.suffixes):
                gaps.append(Gap(source, "left out by .bidsignore"))
                ignored = True
        elif name is not None and _is_in_place(path, name, folder.name, place, choice):
            if name.is_raw:
                raws.append((path, name))
            elif name.suffix in choice.suffixes:
                gaps.append(Gap(source, "made from a scan, by its BIDS name"))
        elif _names_contrast(path, choice.suffixes):
            gaps.append(_explain_odd(source, path, folder.name, place))
    found = [(path, name, choice.find_contrast(path, name)) for path, name in raws]
    images = [Image(path, name, contrast) for path, name, contrast in found if contrast]
    images += _find_mask_sources(images, raws, choice.mp2rage)
    misnamed = any(gap.failed for gap in gaps)
    if not (images or misnamed or ignored):
        reason = _explain_none(choice, folder, {name.suffix for _, name in raws})
        gaps.append(Gap(folder.name, reason, failed=_is_expected(choice, folder)))
    return images, gaps


def _list_images(folder: Path) -> Iterator[Path]:
    """List the image files of a participant, sorted, without hidden ones such as ``._x.nii``."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(place).relative_to(folder).parts) > len(("ses-A", "anat")):
            folders.clear()
        shown = sorted(name for name in files if not name.startswith("."))
        yield from (Path(place, name) for name in shown if find_suffix(name))


def _is_in_place(
    path: Path, name: BidsName, participant: str, place: tuple[str, ...], choice: Choice
) -> bool:
    """Whether an image lies where its name says, under a name that BIDS allows."""
    session, folder = "/".join(place[:-1]), "".join(place[-1:])
    own = name.participant == participant and name.session in ("", session)
    there = folder in BIDS_FOLDERS and (not session or is_folder_of("ses", session))
    spelled = name.suffix in choice.suffixes or not _is_any(name.suffix, choice.suffixes)
    return own and there and spelled and path.name.endswith(EXTENSIONS)


def _names_contrast(path: PurePath, suffixes: Iterable[str]) -> bool:
    """Whether a name, right or wrong, contains a requested contrast, such as ``t1w``."""
    parts = re.split(r"[^a-z0-9]+", find_stem(path).lower())
    return any(_is_any(part, suffixes) for part in parts)


def _is_any(text: str, suffixes: Iterable[str]) -> bool:
    """Whether a text is one of some contrasts, in upper or lower case."""
    return text.lower() in {suffix.lower() for suffix in suffixes}


def _explain_odd(source: str, path: Path, participant: str, place: tuple[str, ...]) -> Gap:
    if find_base(path, MADE_ENDINGS) is not None:
        return Gap(source, "made from a scan, by its name")
    session = next((part for part in place if part.startswith("ses-")), "")
    start = "_".join(part for part in (participant, session) if part)
    folder = "/".join(part for part in (participant, session, "anat") if part)
    reason = f"misnamed: expected a name like {start}_T1w.nii.gz, in a folder like {folder}."
    return Gap(source, reason, failed=True)


def _find_mask_sources(
    images: Sequence[Image], raws: Sequence[tuple[Path, BidsName]], mp2rage: str
) -> list[Image]:
    """Find the images that masks of MP2RAGE acquisitions are made from, if not requested."""
    known = {image.path for image in images}
    acquisitions = {image.acquisition for image in images}
    others = [Image(path, name, name.suffix) for path, name in raws if path not in known]
    return [
        other
        for other in others
        if other.acquisition in acquisitions
        and find_inversion(other.name) == mp2rage
        and other.name.entities.get("part", "mag") == "mag"
    ]


def _is_expected(choice: Choice, folder: Path) -> bool:
    """Whether a participant should have a requested image, so that none is a failure.

    With a filter file, or if sessions but not participants are chosen, there may be none.
    """
    sessions = [folder / name_folder("ses", label) for label in choice.sessions]
    here = choice.participants or not sessions or any(path.is_dir() for path in sessions)
    return bool(here) and not choice.filters


def _explain_none(choice: Choice, folder: Path, suffixes: set[str]) -> str:
    parts = [f"no {' or '.join(choice.suffixes)} image"]
    known = sorted(suffixes)
    if choice.sessions:
        parts.append(f"in session {' or '.join(choice.sessions)}")
        known = known or sorted(path.name for path in folder.glob("ses-*"))
    parts += ["that matches the filter file"] if choice.filters else []
    return f"{' '.join(parts)}; there are: {', '.join(known) or 'none'}."
