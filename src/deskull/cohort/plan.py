"""What a cohort run has to do: which files are scans, and where the outputs of each go.

Inputs are files, folders, globs, lists and tables; the plan is sorted, so that every machine
makes the same one and takes its own share of it. Nothing is written here.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from deskull.errors import ImageFileError, InputError, OptionError, OutputError
from deskull.image.names import IMAGES, WRITABLE, find_stem, find_suffix
from deskull.image.writing import find_files
from deskull.tables import TABLES, read_table, read_text

ENDINGS = {  # of each output, after the scan's stem
    "brain": "_brain.nii.gz",
    "mask": "_mask.nii.gz",
    "probability": "_probability.nii.gz",
    "distance": "_distance.nii.gz",
    "picture": "_picture.png",
    "record": "_record.json",
}
OUTPUTS = ("brain", "mask")
SCANS = IMAGES
LISTS = (".txt", ".list", ".lst")
_WORDS = (  # at the end of names of images that were made from a scan
    "masks?|mask_manual|brain|brainmask|brain_mask|stripped|skullstripped|bet|reference|majority|"
    "probability|probseg|prob|distance|seg|dseg|aseg|segmentation|labels?"
)
_MADE = re.compile(rf"(^|[_.+])({_WORDS})$|(^|_)desc-brain", re.IGNORECASE)


@dataclass(frozen=True)
class Task:
    """One scan to strip.

    Parameters
    ----------
    name
        The scan's path below the common root of all inputs, with forward slashes.
    scan
        Absolute path of the scan; of DICOM a folder.
    outputs
        Absolute path of each wanted output but the record.
    record
        Absolute path of the record.
    sidecars
        Fields of the JSON written beside an output, by the output's name.
    others
        Scans of the same session that get this one's mask and are not stripped themselves.
    """

    name: str
    scan: Path
    outputs: Mapping[str, Path]
    record: Path
    sidecars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    others: tuple["Task", ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """Every output and sidecar, those of the others left out."""
        return {**self.outputs, **{f"{name}.json": p for name, p in self._sidecar_paths()}}

    def _sidecar_paths(self) -> Iterator[tuple[str, Path]]:
        for name in self.sidecars:
            path = self.outputs[name]
            yield name, path.with_name(f"{find_stem(path)}.json")

    @property
    def members(self) -> tuple["Task", ...]:
        """The task itself, and those of the others."""
        return (self, *self.others)


def make_plan(
    inputs: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    outputs: Iterable[str] = OUTPUTS,
) -> list[Task]:
    """Find the scans, and name their outputs.

    Parameters
    ----------
    inputs
        Image files; folders, which are walked for images that are no masks and no brains;
        globs; a text file with one path a line; a CSV or TSV with the column ``in`` and
        optionally ``out`` (the brain) and ``mask``.
    out_dir
        Where the tree of the inputs is mirrored. What lies in it is no input.
    outputs
        Names among `ENDINGS`; the record is always written.

    Returns
    -------
    list
        Tasks, sorted by name.

    Raises
    ------
    InputError
        If no scan is found, or an input or a table is wrong.
    OptionError
        If the name of an output is unknown.
    OutputError
        If two scans would write one file, or an output would replace an input.
    """
    words, wanted = [os.fspath(word) for word in inputs], [*outputs]
    unknown = [name for name in wanted if name not in ENDINGS]
    if unknown:
        raise OptionError(f"output {unknown[0]!r}; expected some of {', '.join(ENDINGS)}.")
    out = Path(os.path.abspath(out_dir))
    search = _Search(os.path.realpath(out))
    for word in words:
        search.look(word)
    if not search.found:
        raise InputError(
            f"{', '.join(words[:3])}: no scan found; looked for names that end in "
            f"{', '.join(SCANS)}. {search.passed_over} files were passed over because their names "
            "say that they are masks, brains or the like; list such files in a text file to strip "
            "them all the same, and folders of DICOM in a table with the column in."
        )
    root = _find_root(search.bases)
    tasks = [_make_task(found, root, out, wanted) for found in search.found.values()]
    tasks.sort(key=lambda task: (task.name, task.record))
    check_outputs(tasks)
    return tasks


def take_shard(tasks: Sequence[Task], number: int, count: int) -> list[Task]:
    """Take every `count`-th task, beginning with the `number`-th; both count from 1.

    Raises
    ------
    OptionError
        If there is no such share.
    """
    if not 1 <= number <= count:
        raise OptionError(f"shard {number}/{count}; expected 1/{count} to {count}/{count}.")
    return list(tasks[number - 1 :: count])


def is_scan_name(path: PurePath) -> bool:
    """Whether a file's name is that of an image, and not of a mask or brain made from one."""
    if find_suffix(path) not in SCANS or path.name.startswith("."):
        return False
    return _MADE.search(find_stem(path)) is None


@dataclass(frozen=True)
class _Found:
    """A scan, and where a table wants its brain and mask."""

    scan: Path
    out: str = ""
    mask: str = ""


@dataclass
class _Search:
    """What was found so far, and the folders that the outputs' tree begins at."""

    out: str
    found: dict[tuple[Path, str], _Found] = field(default_factory=dict)
    bases: set[Path] = field(default_factory=set)
    passed_over: int = 0

    def look(self, word: str) -> None:
        """Take what one input names."""
        path = Path(os.path.abspath(word))
        if os.path.isdir(word):
            self._walk(path)
        elif word and os.path.lexists(word):
            kind = path.suffix.lower()
            if kind in LISTS:
                self._take_list(path)
            elif kind in TABLES:
                self._take_table(path)
            elif find_suffix(path) in SCANS:  # a shell's glob may bring masks as well
                self._offer(path)
            else:
                self._add(_Found(path))
        elif glob.has_magic(word):
            self._expand(word)
        else:
            raise ImageFileError(f"{word}: no such file or folder.")

    def _walk(self, folder: Path) -> None:
        self.bases.add(folder)
        seen = set()
        for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            real = os.path.realpath(place)
            inner = [] if real in seen else folders
            seen.add(real)
            folders[:] = sorted(
                name
                for name in inner
                if not name.startswith(".")
                and os.path.realpath(os.path.join(place, name)) != self.out
            )
            for name in files if inner is folders else ():
                self._offer(Path(place, name), base=folder)

    def _expand(self, word: str) -> None:
        parts = Path(os.path.abspath(word)).parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        base = Path(*parts[:fixed])
        for match in sorted(glob.glob(word, recursive=True)):
            path = Path(os.path.abspath(match))
            if self._is_output(path, base):
                continue
            if path.is_dir():
                self._walk(path)
                self.bases.add(base)
            else:
                self._offer(path, base)

    def _is_output(self, path: Path, base: Path) -> bool:
        """Whether a file lies in an output folder that lies among the inputs."""
        inside = Path(self.out) in (Path(os.path.realpath(path)), *path.resolve().parents)
        return inside and Path(self.out) not in (base.resolve(), *base.resolve().parents)

    def _offer(self, path: Path, base: Path | None = None) -> None:
        """Take a file if its name is that of a scan; of a .hdr/.img pair the header."""
        if is_scan_name(path):
            files = find_files(path)
            if ".img" not in find_suffix(path) or not files[-1].exists():
                self._add(_Found(path), base)
        elif find_suffix(path) in SCANS and not path.name.startswith("."):
            self.passed_over += 1

    def _add(self, found: _Found, base: Path | None = None) -> None:
        self.found.setdefault((found.scan, found.out), found)
        self.bases.add(base or found.scan.parent)

    def _take_list(self, path: Path) -> None:
        """Take each line of a file; relative paths begin at the file's folder."""
        for line in read_text(path).splitlines():
            words = line.strip()
            if words and not words.startswith("#"):
                scan = Path(os.path.abspath(path.parent / words))
                self._walk(scan) if scan.is_dir() else self._add(_Found(scan))

    def _take_table(self, path: Path) -> None:
        """Take each row of a table; relative scans begin at its folder, outputs at out_dir."""
        for number, row in read_table(path, ("in",), ("out", "mask")):
            if not row["in"]:
                raise InputError(f"{path.name}, line {number}: no path in column `in`.")
            scan = Path(os.path.abspath(path.parent / row["in"]))
            for name in ("out", "mask"):
                if row.get(name) and not row[name].lower().endswith(WRITABLE):
                    raise OutputError(
                        f"{path.name}, line {number}: {name} {row[name]!r}; expected a name that "
                        f"ends in {', '.join(WRITABLE)}."
                    )
            self._add(_Found(scan, row.get("out", ""), row.get("mask", "")))


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: a folder that cannot be read ({error.strerror}).")


def _find_root(bases: Iterable[Path]) -> Path:
    try:
        return Path(os.path.commonpath(sorted(bases)))
    except ValueError as error:  # several drives of Windows
        raise InputError(
            "the inputs lie on several drives; strip each drive on its own."
        ) from error


def _make_task(found: _Found, root: Path, out: Path, wanted: Sequence[str]) -> Task:
    place = out / os.path.relpath(found.scan, root)
    stem = place.name if found.scan.is_dir() else find_stem(place)
    if found.out:
        place = out / found.out
        stem = find_stem(place).removesuffix("_brain")
    paths = {name: place.with_name(stem + ENDINGS[name]) for name in (*wanted, "record")}
    if found.out:
        paths["brain"] = place
    if found.mask:
        paths["mask"] = out / found.mask
    paths = {name: Path(os.path.abspath(path)) for name, path in paths.items()}
    record = paths.pop("record")
    return Task(Path(os.path.relpath(found.scan, root)).as_posix(), found.scan, paths, record)


def check_outputs(tasks: Sequence[Task]) -> None:
    """Refuse two scans that write one file, and an output that is an input.

    Raises
    ------
    OutputError
        If there are such.
    """
    folders: dict[Path, Path] = {}

    def settle(path: Path) -> Path:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        return folders[path.parent] / path.name

    every = [member for task in tasks for member in task.members]
    scans = {settle(file) for task in every for file in find_files(task.scan)}
    writers: dict[Path, Task] = {}
    for task in every:
        for path in (task.record, *task.files.values()):
            for file in find_files(path):
                if settle(file) in scans:
                    raise OutputError(
                        f"{path}: it is an input, and an input is never replaced. Choose another "
                        "--out-dir, or other names in a table with the columns in and out."
                    )
                other = writers.setdefault(settle(file), task)
                if other is not task or list(task.outputs.values()).count(path) > 1:
                    raise OutputError(
                        f"{path}: {other.scan} and {task.scan} would both write it. Strip one "
                        "at a time, or name the outputs in a table with the columns in and out."
                    )
