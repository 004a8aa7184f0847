"""Which images of a BIDS data set are wanted: by contrast, participant, session, filter file.

What there is in the data set is `dataset.py`.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deskull.errors import InputError, OptionError
from deskull.image.names import BIDS_SUFFIXES, COUNTING, ENTITIES, INV2, BidsName

EXTENSIONS = (".nii.gz", ".nii")
_FOREIGN = ("fmap", "roi", "meg", "pet")  # queries of other Apps
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
            raise InputError(f"{path}: query {word!r}; expected some of {', '.join(known)}.")
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
                words = f"{path}: {value!r} is no regular expression ({error})."
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
    if key in ENTITIES.values() and found.isdigit() and word.isdigit() and _counts(key):
        return int(found) == int(word)
    return word in ("*", found)


def _counts(word: str) -> bool:
    return any(ENTITIES[key] == word for key in COUNTING)
