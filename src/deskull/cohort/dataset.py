"""The images of a BIDS data set: which are wanted, which are there, what keeps others out.

Wanted are images by contrast, participant, session and filter file. Only names are read here, and
``.bidsignore``. A participant that was asked for and is not there, one without a wanted image, and
a name that is wrong are gaps that let a run fail.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from deskull.cohort.plan import Gap
from deskull.errors import InputError, OptionError
from deskull.image.names import (
    BIDS_FOLDERS,
    BIDS_SUFFIXES,
    COUNTING,
    ENTITIES,
    INV2,
    MADE_WORDS,
    MEANS,
    BidsName,
    find_base,
    find_inversion,
    find_stem,
    find_suffix,
    is_folder_of,
    name_folder,
    parse_name,
)

EXTENSIONS = (".nii.gz", ".nii")
_FOREIGN = ("fmap", "roi", "meg", "pet")  # queries of other Apps
_NUMBERED = tuple(ENTITIES[key] for key in COUNTING)
_FACTS = (*ENTITIES.values(), "datatype", "suffix", "extension")

Query = Mapping[str, Any]

FMRIPREP, NIBABIES = "fmriprep", "nibabies"
"""Programs that take masks: `sub-01_desc-brain_mask`, `sub-01_space-T1w_desc-brain_mask`."""


@dataclass(frozen=True)
class Choice:
    """Which images of a data set are wanted.

    Parameters
    ----------
    suffixes
        Contrasts, such as `BIDS_SUFFIXES` ones, in any case; others as they are written.
    participants, sessions
        Labels, with or without ``sub-`` and ``ses-``; none means all.
    filters
        As `read_filters` gives them: by contrast, what is asked of an image beside it.
    mp2rage
        `INV2` or `UNIT1`: the image of an MP2RAGE acquisition that its mask is made from.
    mask_names
        `FMRIPREP` or `NIBABIES`: the program that looks for the masks by their names.
    """

    suffixes: Sequence[str] = ("T1w",)
    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    filters: Mapping[str, Query] = field(default_factory=dict)
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
        spelled = dict.fromkeys(known.get(suffix.lower(), suffix) for suffix in self.suffixes)
        object.__setattr__(self, "suffixes", tuple(spelled))

    @property
    def unknown(self) -> list[str]:
        """Suffixes that BIDS has for no image of a head, as far as is known here."""
        return [suffix for suffix in self.suffixes if suffix not in BIDS_SUFFIXES]

    def find_wanted(self, path: Path, name: BidsName) -> str | None:
        """Find the contrast that an image is wanted as, which a filter file may choose."""
        facts = find_facts(path, name)
        for suffix in self.suffixes:
            query = {"suffix": suffix, "part": ["mag", None], **self.filters.get(suffix, {})}
            if fits(facts, query):
                return suffix
        return None


def read_filters(path: str | os.PathLike[str]) -> dict[str, Query]:
    """Read a filter file as fMRIPrep has it: ``{"t1w": {"session": "02", "run": null}}``.

    An entity by its long name is one value, a list of which one must fit, ``"*"`` for any, or
    ``null`` for none. ``"regex_search": true`` makes values regular expressions. Queries of
    what is no anatomical image are passed over.

    Raises
    ------
    InputError
        If it cannot be read, or names a query or an entity that is unknown.
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
    for word, query in fields.items():
        if word not in known and word not in _FOREIGN:
            raise InputError(f"{path}: query {word!r}; expected one of {', '.join(known)}.")
        odd = [key for key in query if key not in (*_FACTS, "regex_search")]
        if odd and word in known:
            raise InputError(f"{path}: {word}: entity {odd[0]!r}; expected {', '.join(_FACTS)}.")
        _check_patterns(path, query)
    return {known[word]: query for word, query in fields.items() if word in known}


def _check_patterns(path: str | os.PathLike[str], query: Query) -> None:
    """Refuse what shall be a regular expression and is none."""
    if query.get("regex_search") is not True:
        return
    for asked in query.values():
        for value in asked if isinstance(asked, list) else [asked]:
            try:
                re.compile(str(value))
            except re.error as error:
                words = f"{path}: {value!r} is not a regular expression ({error})."
                raise InputError(words) from error


def find_facts(path: Path, name: BidsName) -> dict[str, str]:
    """List what a query may ask of an image: entities by their long names, and what else tells."""
    facts = {ENTITIES[key]: value for key, value in name.entities.items() if key in ENTITIES}
    extension = next(end for end in EXTENSIONS if path.name.endswith(end))
    return {**facts, "datatype": path.parent.name, "suffix": name.suffix, "extension": extension}


def fits(facts: Mapping[str, str], query: Query) -> bool:
    """Whether an image is as a query asks."""
    regex = query.get("regex_search") is True
    for key, asked in query.items():
        values = asked if isinstance(asked, list) else [asked]
        if key != "regex_search" and not any(_is(facts.get(key), v, key, regex) for v in values):
            return False
    return True


def _is(found: str | None, asked: object, key: str, regex: bool) -> bool:
    """Whether an entity is as asked: none, any, a pattern, or a value; ``run-01`` is run 1."""
    if asked is None or found is None:
        return asked is None and found is None
    word = str(asked)
    if regex:
        return re.search(word, found) is not None
    if key in _NUMBERED and found.isdigit() and word.isdigit():
        return int(found) == int(word)
    return word in ("*", found)


B0 = 100.0
"""Largest b-value, in s/mm2, of diffusion-weighted frames that show the head as T2w ones do."""


@dataclass(frozen=True)
class Image:
    """One raw image of a data set.

    Parameters
    ----------
    path, name
        Path of the file, and its BIDS name.
    wanted
        Contrast that it was found as, which a filter file lets differ from its suffix.
    """

    path: Path
    name: BidsName
    wanted: str

    @property
    def acquisition(self) -> object:
        """What it shares with the other images of an MP2RAGE acquisition; itself of others."""
        if not find_inversion(self.name):
            return self.path
        pairs = {(k, v) for k, v in self.name.entities.items() if k not in ("inv", "part")}
        return self.path.parent, frozenset(pairs)

    def choose_frames(self) -> tuple[int, ...] | None:
        """Frames whose mean is stripped: all of series, of diffusion those with b near 0."""
        if self.name.suffix != "dwi":
            return () if self.name.suffix in MEANS else None
        path = self.path.with_name(f"{find_stem(self.path)}.bval")
        try:
            words = path.read_text("utf-8").split()
            frames = tuple(n for n, word in enumerate(words) if float(word) <= B0)
        except (OSError, ValueError):
            return (0,)
        return frames or (0,)


def find_images(root: Path, choice: Choice) -> tuple[list[Image], list[Gap]]:
    """Find the wanted images of a data set, and what is wrong or left out.

    Parameters
    ----------
    root
        Root folder of the data set.
    choice
        Which images; with an MP2RAGE image comes that which gives its mask.

    Raises
    ------
    InputError
        If this is no data set.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected the root of a BIDS data set.")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    people = [path for path in folders if is_folder_of("sub", path.name)]
    if not people:
        raise InputError(f"{root}: no folder sub-*; expected the root of a BIDS data set.")
    wanted = sorted({name_folder("sub", label) for label in choice.participants})
    known = {path.name for path in people}
    gaps = [Gap(name, _explain_nobody(people), True) for name in wanted if name not in known]
    if not wanted:
        odd = [p for p in folders if p.name.lower().startswith("sub") and p not in people]
        gaps += [Gap(p.name, "misnamed: expected a folder like sub-01.", True) for p in odd]
    ignore, images = Ignore(root), list[Image]()
    for person in people:
        if not wanted or person.name in wanted:
            found, missed = _look_at(person, root, choice, ignore)
            images += found
            gaps += missed
    return images, gaps


def _explain_nobody(people: Sequence[Path]) -> str:
    known = ", ".join(path.name for path in people[:5]) + (", ..." if len(people) > 5 else "")
    return f"no such participant; there are {known}."


def _look_at(
    person: Path, root: Path, choice: Choice, ignore: "Ignore"
) -> tuple[list[Image], list[Gap]]:
    """Wanted images of a participant, and gaps."""
    sessions = {name_folder("ses", label) for label in choice.sessions}
    raws, gaps, ignored = list[tuple[Path, BidsName]](), list[Gap](), False
    for path in _walk(person):
        place = path.relative_to(person).parts[:-1]
        if sessions and sessions.isdisjoint(place):
            continue
        name, source = parse_name(path), path.relative_to(root).as_posix()
        if ignore.matches(source):
            if _says(path, choice.suffixes):
                gaps.append(Gap(source, "left out by .bidsignore"))
                ignored = True
        elif name is not None and _is_in_place(path, name, person.name, place, choice):
            if name.is_raw:
                raws.append((path, name))
            elif name.suffix in choice.suffixes:
                gaps.append(Gap(source, "made from a scan, by its BIDS name"))
        elif _says(path, choice.suffixes):
            gaps.append(_explain_odd(source, path, person.name, place))
    found = [(path, name, choice.find_wanted(path, name)) for path, name in raws]
    images = [Image(path, name, wanted) for path, name, wanted in found if wanted]
    images += _find_givers(images, raws, choice.mp2rage)
    misnamed = any(gap.failed for gap in gaps)
    if not (images or misnamed or ignored):
        words = _explain_none(choice, person, {name.suffix for _, name in raws})
        gaps.append(Gap(person.name, words, failed=_is_expected(choice, person)))
    return images, gaps


def _walk(person: Path) -> Iterator[Path]:
    """Image files of a participant, sorted."""
    for place, folders, files in os.walk(person, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if len(Path(place).relative_to(person).parts) > len(("ses-A", "anat")):
            folders.clear()
        yield from (Path(place, name) for name in sorted(files) if find_suffix(name))


def _is_in_place(
    path: Path, name: BidsName, person: str, place: tuple[str, ...], choice: Choice
) -> bool:
    """Whether an image lies where its name says, under a name that BIDS allows."""
    session, folder = "/".join(place[:-1]), "".join(place[-1:])
    own = name.participant == person and name.session in ("", session)
    there = folder in BIDS_FOLDERS and (not session or is_folder_of("ses", session))
    spelled = name.suffix in choice.suffixes or not _is_any(name.suffix, choice.suffixes)
    return own and there and spelled and path.name.endswith(EXTENSIONS)


def _says(path: PurePath, suffixes: Iterable[str]) -> bool:
    """Whether a name, right or wrong, has the word of a wanted contrast, such as ``t1w``."""
    words = re.split(r"[^a-z0-9]+", find_stem(path).lower())
    return any(_is_any(word, suffixes) for word in words)


def _is_any(word: str, suffixes: Iterable[str]) -> bool:
    """Whether a word is one of some contrasts, in any case."""
    return word.lower() in {suffix.lower() for suffix in suffixes}


def _explain_odd(source: str, path: Path, person: str, place: tuple[str, ...]) -> Gap:
    if find_base(path, MADE_WORDS) is not None:
        return Gap(source, "made from a scan, by its name")
    session = next((part for part in place if part.startswith("ses-")), "")
    start = "_".join(part for part in (person, session) if part)
    folder = "/".join(part for part in (person, session, "anat") if part)
    words = f"misnamed: expected a name like {start}_T1w.nii.gz, in a folder like {folder}."
    return Gap(source, words, failed=True)


def _find_givers(
    images: Sequence[Image], raws: Sequence[tuple[Path, BidsName]], mp2rage: str
) -> list[Image]:
    """Images that give the masks of wanted MP2RAGE images, and are not wanted themselves."""
    known = {image.path for image in images}
    lacking = {image.acquisition for image in images}
    others = [Image(path, name, name.suffix) for path, name in raws if path not in known]
    return [
        other
        for other in others
        if other.acquisition in lacking
        and find_inversion(other.name) == mp2rage
        and other.name.entities.get("part", "mag") == "mag"
    ]


def _is_expected(choice: Choice, person: Path) -> bool:
    """Whether a participant should have an image: without a filter that may leave all of it out.

    Where sessions are chosen and participants are not, who has no such session is left out.
    """
    sessions = [person / name_folder("ses", label) for label in choice.sessions]
    here = choice.participants or not sessions or any(path.is_dir() for path in sessions)
    return bool(here) and not choice.filters


def _explain_none(choice: Choice, person: Path, suffixes: set[str]) -> str:
    words = [f"no {' or '.join(choice.suffixes)} image"]
    known = sorted(suffixes)
    if choice.sessions:
        words.append(f"in session {' or '.join(choice.sessions)}")
        known = known or sorted(path.name for path in person.glob("ses-*"))
    words += ["that matches the filter file"] if choice.filters else []
    return f"{' '.join(words)}; there are: {', '.join(known) or 'none'}."


class Ignore:
    """What ``.bidsignore`` in the root of a data set leaves out, by the rules of gitignore.

    Parameters
    ----------
    root
        Root folder of the data set.
    """

    def __init__(self, root: Path) -> None:
        try:
            lines = (root / ".bidsignore").read_text("utf-8-sig", "replace").splitlines()
        except OSError:
            lines = []
        words = [line.strip() for line in lines]
        self._rules = [_make_rule(word) for word in words if word and not word.startswith("#")]

    def matches(self, path: str) -> bool:
        """Whether a file is left out, its path given from the root with forward slashes."""
        left_out = False
        for rule, wanted in self._rules:
            if rule.fullmatch(path):
                left_out = wanted
        return left_out


def _make_rule(word: str) -> tuple[re.Pattern[str], bool]:
    """Regular expression for a pattern, and whether what fits it is left out, or kept again."""
    left_out = not word.startswith("!")
    word = word.removeprefix("!")
    start = "" if "/" in word.rstrip("/") else "(?:.*/)?"
    end = "/.*" if word.endswith("/") else "(?:/.*)?"
    special = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    rule = ""
    for part in re.split(r"(\*\*/|/\*\*$|\*|\?|\[[^]\\]+\])", word.strip("/")):
        some = part.startswith("[") and part.endswith("]")
        rule += special.get(part) or (part.replace("[!", "[^") if some else re.escape(part))
    return re.compile(f"{start}{rule}{end}"), left_out
