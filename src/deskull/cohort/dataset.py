"""What there is in a BIDS data set: wanted images, and what keeps others from being stripped.

Only names are read here, and ``.bidsignore``. A participant that was asked for and is not
there, one without a wanted image, and a name that is wrong are gaps that let a run fail.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from deskull.cohort.choice import EXTENSIONS, Choice
from deskull.cohort.plan import Gap
from deskull.errors import InputError
from deskull.image.names import (
    BIDS_FOLDERS,
    MADE_WORDS,
    BidsName,
    find_base,
    find_inversion,
    find_stem,
    find_suffix,
    is_folder_of,
    name_folder,
    parse_name,
)


@dataclass(frozen=True)
class Image:
    """One raw image of a data set.

    Parameters
    ----------
    path, name
        Of the file.
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


def find_images(root: Path, choice: Choice) -> tuple[list[Image], list[Gap]]:
    """Find the wanted images of a data set, and what is wrong or left out.

    Parameters
    ----------
    root
        Of the data set.
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
    words += ["that the filter file lets through"] if choice.filters else []
    return f"{' '.join(words)}; there are: {', '.join(known) or 'none'}."


class Ignore:
    """What ``.bidsignore`` in the root of a data set leaves out, by the rules of gitignore.

    Parameters
    ----------
    root
        Of the data set.
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
