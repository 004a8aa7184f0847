"""Which DICOM files make one image, and whether all of it is there.

An image is what has one SeriesInstanceUID and one kind: magnitude or phase, original or
derived, one echo, one plane. The number of a series is no guide: it repeats from study to
study. Reading a file's header is `dicom_header.py`; the conversion is `dcm2niix.py`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deskull.errors import ImageFileError
from deskull.image.formats.dicom_header import DicomFile, look_at, to_int

MAX_FILES = 100_000
_SAME_DIRECTION = 0.02  # between the cosines of slices of one plane
_SAME_PLACE = 0.02  # mm; headers round
_UNEVEN = 1.5  # times the least distance of slices
_UNROUND = 0.1  # least distances from a whole number of them
_SHOWN = 3
_DIGITS = re.compile(r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*")
_PARTS = {"M": "magnitude", "P": "phase", "R": "real", "I": "imaginary"}


class Identity(NamedTuple):
    """What the files of one image have in common, in the order of listing."""

    number: int
    study_date: str
    study: str
    series: str
    participant: str
    image_type: tuple[str, ...]
    part: str
    echo: int
    echo_time: float
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Series:
    """One image among DICOM files.

    Parameters
    ----------
    label
        Value of ``--series`` that selects it: the number of the series, ``3``; ``3.1`` and ``3.2``
        where several images share one.
    identity
        Identity that its files share.
    files
        Each slice once, whole copies before damaged ones.
    plane
        Directions of rows and columns, six numbers; empty where files hold many frames.
    copies
        Files that were left out as copies of those.
    difference
        Phrase that says how it differs from others of its number.
    """

    label: str
    identity: Identity
    files: tuple[DicomFile, ...]
    plane: tuple[float, ...] = ()
    copies: int = 0
    difference: str = ""

    def __str__(self) -> str:
        description = self.files[0].facts.get("description") or "without description"
        shape = " x ".join(str(n) for n in self._shape)
        return f"{self.label} {description} ({', '.join(filter(None, (shape, self.difference)))})"

    def holds(self, file: DicomFile) -> bool:
        """Whether a file, or a copy of it, is among the files."""
        same = {_to_key(one) for one in self.files}
        return identify(file.facts) == self.identity and _to_key(file) in same

    @property
    def _shape(self) -> tuple[int, ...]:
        rows, columns, _ = self.identity.shape
        count = sum(max(to_int(one.facts, "frames", 1), 1) for one in self.files)
        places = len(self._find_places()[0])
        if places > 1 and count % places == 0 and count > places:
            return columns, rows, places, count // places
        return columns, rows, count

    def _find_places(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Heights along the normal of the plane in mm, and which of them each slice has.

        Slices are files, or all frames of all files in turn; there are no heights if the place of
        any is unknown.
        """
        texts = [one.facts.get("places") or one.facts.get("position", "") for one in self.files]
        corners = [_to_numbers(place, 3) for text in texts for place in text.split("|")]
        if not self.plane or not all(corners):
            return np.zeros(0), np.zeros(0, np.intp)
        heights = np.array(corners) @ np.cross(self.plane[:3], self.plane[3:])
        order = np.argsort(heights, kind="stable")
        begins = np.diff(heights[order], prepend=-np.inf) > _SAME_PLACE
        numbers = np.empty(len(order), np.intp)
        numbers[order] = np.cumsum(begins) - 1
        return heights[order][begins], numbers

    def find_gap(self) -> str:
        """Say how the distances of slices differ; empty if they do not, or it cannot be known."""
        places, numbers = self._find_places()
        steps = np.diff(places)
        if len(steps) < 2 or steps.max() < _UNEVEN * steps.min():
            return ""
        widest = int((numbers == steps.argmax()).argmax())
        of_frames = len(numbers) > len(self.files)
        beside = f"frame {widest + 1}" if of_frames else self.files[widest].path.name
        parts = steps / steps.min()
        if np.abs(parts - parts.round()).max() > _UNROUND:  # one slice is elsewhere
            parts = steps / np.median(steps)
        count = round(float((parts[parts >= _UNEVEN] - 1).sum()))
        if count:
            return f"about {count} missing, the first beside {beside}"
        return f"{steps.min():.3g} to {steps.max():.3g} mm, the widest beside {beside}"

    def find_ragged(self) -> str:
        """Say that some places have fewer slices than others; empty if all have as many."""
        places, numbers = self._find_places()
        counts = np.bincount(numbers)
        if len(places) < 2 or counts.min() == counts.max():
            return ""
        what = "frames" if len(numbers) > len(self.files) else "files"
        low, high = counts.min(), counts.max()
        return f"{len(numbers)} {what} at {len(places)} places, {low} to {high} at each"

    def find_fault_of_frames(self) -> str:
        """Say why the frames of an enhanced file are no volume; of files the converter does."""
        places, numbers = self._find_places()
        if len(numbers) <= len(self.files):
            return ""
        if len(places) == 1:
            return f"its {len(numbers)} frames lie at one place"
        gap = self.find_gap()
        return f"its frames have uneven distances; {gap}" if gap else ""


# --- files below a folder


def find_files(folder: Path, deep: bool = True) -> list[DicomFile]:
    """Look at every file of a folder, and below it unless `deep` is false; hidden ones are not.

    Raises
    ------
    ImageFileError
        If there are more than `MAX_FILES`, or a folder cannot be read.
    """
    found: list[DicomFile] = []
    for count, path in enumerate(_walk(folder, deep)):
        if count == MAX_FILES:
            raise ImageFileError(
                f"{folder}: more than {MAX_FILES} files; expected those of one scan. Give the "
                "folder of one scan."
            )
        one = look_at(path)
        if one is not None:
            found.append(one)
    return found


def _walk(folder: Path, deep: bool) -> Iterator[Path]:
    """Regular files and dead links, sorted; a folder that a link leads back to is taken once."""
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = sorted(f for f in folders if deep and real not in seen and f[0] != ".")
        for name in sorted(names) if real not in seen else ():
            path = Path(where, name)
            is_file = path.is_file() if path.exists() else path.is_symlink()
            if is_file and name[0] != ".":
                yield path
        seen.add(real)


def _refuse(error: OSError) -> None:
    raise ImageFileError(f"{error.filename}: a folder that cannot be read ({error.strerror}).")


# --- files to images


def find_series(files: Iterable[DicomFile]) -> list[Series]:
    """Sort files into images, labelled and in the order of their numbers."""
    groups: dict[Identity, list[tuple[tuple[float, ...], list[DicomFile]]]] = defaultdict(list)
    for one in files:
        if "rows" not in one.facts:
            continue
        plane = _to_numbers(one.facts.get("orientation", ""), 6)
        for known, members in groups[identify(one.facts)]:
            if _is_same_plane(plane, known):
                members.append(one)
                break
        else:
            groups[identify(one.facts)].append((plane, [one]))
    found = []
    for identity in sorted(groups):
        for plane, members in groups[identity]:
            kept = _drop_copies(members)
            found.append(Series("", identity, kept, plane, len(members) - len(kept)))
    return _label(found)


def identify(facts: Mapping[str, str]) -> Identity:
    """Find what a file has in common with the others of its image."""
    part = to_int(facts, "ge_part", -1)
    return Identity(
        to_int(facts, "number"),
        facts.get("study_date", ""),
        facts.get("study", ""),
        facts.get("series", ""),
        facts.get("participant", ""),
        tuple(facts.get("image_type", "").split("\\")),
        [*_PARTS.values()][part] if 0 <= part < len(_PARTS) else "",
        to_int(facts, "echo"),
        round(sum(_to_numbers(facts.get("echo_time", ""), 1)), 2),
        (to_int(facts, "rows"), to_int(facts, "columns"), to_int(facts, "samples", 1)),
    )


def _to_numbers(text: str, count: int) -> tuple[float, ...]:
    """Numbers of a value, if there are so many finite ones; else none."""
    try:
        numbers = tuple(float(number) for number in text.split("\\"))
    except ValueError:
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()


def _is_same_plane(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    if len(one) != len(other):
        return False
    return all(abs(a - b) <= _SAME_DIRECTION for a, b in zip(one, other, strict=True))


def _drop_copies(files: Sequence[DicomFile]) -> tuple[DicomFile, ...]:
    """Keep one file of each slice, a whole one if there is one."""
    kept: dict[tuple[str, ...], DicomFile] = {}
    for one in files:
        key = _to_key(one)
        if key not in kept or (kept[key].damage and not one.damage):
            kept[key] = one
    return tuple(kept.values())


def _to_key(file: DicomFile) -> tuple[str, ...]:
    """Give what only copies of a file share with it."""
    names = ("series", "sop_instance", "instance", "position", "image_type", "echo", "echo_time")
    return tuple(file.facts.get(name, "") for name in names)


def _label(found: Sequence[Series]) -> list[Series]:
    labelled: list[Series] = []
    for _, group in groupby(found, key=lambda one: one.identity.number):
        same = list(group)
        differences = [_describe_difference(one, same) for one in same]
        for place, one in enumerate(same):
            number, twins = one.identity.number, differences.count(differences[place])
            label = f"{number}.{place + 1}" if len(same) > 1 else str(number)
            twin = [
                f"number {differences[: place + 1].count(differences[place])} of {twins} alike"
            ]
            difference = ", ".join([*differences[place], *(twin if twins > 1 else [])])
            labelled.append(replace(one, label=label, difference=difference))
    return labelled


def _describe_difference(one: Series, same: Sequence[Series]) -> list[str]:
    """Say what an image has that others of its number have not."""
    kind, differences = one.identity, []
    kinds = [other.identity for other in same]
    common = set.intersection(*(set(other.image_type) for other in kinds))
    differences.append(" ".join(_PARTS.get(w, w) for w in kind.image_type if w not in common))
    if len({other.part for other in kinds}) > 1:
        differences.append(kind.part)
    if len({(other.echo, other.echo_time) for other in kinds}) > 1:
        differences.append(f"echo {kind.echo}, TE {kind.echo_time:g} ms")
    if len({_name_plane(other.plane) for other in same}) > 1:
        differences.append(_name_plane(one.plane))
    if len({other.study_date for other in kinds}) > 1:
        day = re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", kind.study_date)
        differences.append(f"study of {day or 'an unknown day'}")
    return [difference for difference in differences if difference]


def _name_plane(plane: tuple[float, ...]) -> str:
    if not plane:
        return ""
    normal = np.abs(np.cross(plane[:3], plane[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


# --- what is missing


def find_lost(
    series: Series, files: Sequence[DicomFile]
) -> tuple[list[DicomFile], list[DicomFile]]:
    """Find files that are of a series, or may be, and that cannot be read.

    Returns
    -------
    tuple
        Those that surely are: of its SeriesInstanceUID, or among its files and named like them.
        Those that may be: among its files, and of their kind by their suffix.
    """
    own = {one.path for one in series.files}
    known = {one.facts.get("series") for one in files if "rows" in one.facts} - {None}
    patterns = {(one.path.parent, _to_pattern(one.path.name)) for one in series.files}
    kinds = {(one.path.parent, _find_kind(one.path)) for one in series.files}
    surely = [one for one in series.files if one.damage]
    perhaps = []
    for one in files:
        if one.path in own or "rows" in one.facts or not one.damage:
            continue
        uid = one.facts.get("series")
        if uid in known:
            if uid == series.identity.series:
                surely.append(one)
        elif (one.path.parent, _to_pattern(one.path.name)) in patterns:
            surely.append(one)
        elif (one.path.parent, _find_kind(one.path)) in kinds:
            perhaps.append(one)
    return surely, perhaps


def find_holes(series: Series, files: Iterable[DicomFile]) -> list[int]:
    """Find instance numbers, from 1 on, that no file of a series has; none if they are sparse."""
    uid = series.identity.series
    own = [one for one in files if one.facts.get("series", "") == uid]
    there = {to_int(one.facts, "instance") for one in own}
    if min(there) < 1 or max(there) > 2 * len(there):
        return []
    return sorted(set(range(1, max(there))) - there)


def list_files(files: Sequence[DicomFile]) -> str:
    """List names of files with their damage, the first few."""
    named = [f"{one.path.name} ({one.damage})" for one in files[:_SHOWN]]
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(named) + more


def _to_pattern(name: str) -> str:
    """Name with its numbers taken out: ``IM_0012`` and ``IM_0013`` have one pattern."""
    return re.sub(r"#([._-]#)+", "#", _DIGITS.sub("#", name))


def _find_kind(path: Path) -> str:
    """Suffix in lower case; empty if there is none, or only a number."""
    suffix = path.suffix.lower()
    return "" if _DIGITS.fullmatch(suffix[1:]) else suffix
