"""The scans among the inputs of a run: files, folders, globs, lists and tables.

What is found and no scan is counted and named, never passed over in silence; what makes an
image a scan is `sift.py`.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deskull.cohort.plan import Gap, Plan, Task, settle_outputs
from deskull.cohort.sift import Siblings, Written, is_dicom
from deskull.errors import ImageFileError, InputError, OutputError
from deskull.image.names import (
    ARCHIVES,
    HEADS,
    IMAGES,
    TEXTS,
    WRITABLE,
    find_stem,
    find_suffix,
    is_foreign,
)
from deskull.image.writing import find_files
from deskull.outputs import RECORD, USUAL, find_output
from deskull.tables import TABLES, read_table, read_text

LISTS = (".txt", ".list", ".lst")


def make_plan(
    inputs: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    outputs: Iterable[str] = USUAL,
) -> Plan:
    """Find the scans, and name their outputs.

    Parameters
    ----------
    inputs
        Image files; folders, which are walked for images and for folders of DICOM; globs; a
        text file with one path a line; a CSV or TSV with the column ``in`` and optionally
        ``out`` (the brain) and ``mask``.
    out_dir
        Where the tree of the inputs is mirrored. What lies in it is no input.
    outputs
        Names in `deskull.outputs.OUTPUTS`; the record is always written.

    Returns
    -------
    Plan
        A task for each scan; what deskull wrote, and what others made from a scan, is left out.

    Raises
    ------
    InputError
        If no scan is found, or an input or a table is wrong.
    OutputError
        If an output would replace an input.
    """
    words, wanted = [os.fspath(word) for word in inputs], [*outputs]
    for name in wanted:
        find_output(name)
    out = Path(os.path.abspath(out_dir))
    search = _Search(os.path.realpath(out))
    for word in words:
        search.look(word)
    others = search.settle()
    if not search.found:
        raise InputError(_explain_none(words, search, others))
    root = _find_root(search.bases)
    tasks = [_make_task(found, root, out, wanted) for found in search.found.values()]
    good, clashes = settle_outputs(tasks)
    left = {Path(os.path.relpath(path, root)).as_posix(): why for path, why in search.left.items()}
    gaps = [*clashes, *(Gap(name, why) for name, why in left.items())]
    return Plan(good, sorted(gaps, key=lambda gap: gap.name), others)


@dataclass(frozen=True)
class _Found:
    """A scan, and where a table wants its brain and mask."""

    scan: Path
    out: str = ""
    mask: str = ""


@dataclass
class _Search:
    """What was found so far, and the folders that the outputs' tree begins at.

    Parameters
    ----------
    out
        Real path of the folder of outputs, which is not searched.
    found
        Scans, by path and wanted output.
    bases
        Folders that were searched.
    left
        Images that are not stripped, and why.
    """

    out: str
    found: dict[tuple[Path, str], _Found] = field(default_factory=dict)
    bases: set[Path] = field(default_factory=set)
    left: dict[Path, str] = field(default_factory=dict)
    _images: dict[Path, Path] = field(default_factory=dict)  # what may be a scan, and its base
    _series: dict[Path, list[Path]] = field(default_factory=dict)  # named DICOM files by folder
    _rest: set[Path] = field(default_factory=set)  # no images

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
            elif find_suffix(path) in IMAGES or is_dicom(path):  # a shell's glob brings many
                self._take_match(path, path.parent)
            else:
                self._add(_Found(path))
        elif glob.has_magic(word):
            self._expand(word)
        else:
            raise ImageFileError(f"{word}: no such file or folder.")

    def settle(self) -> str:
        """Decide on all that was offered; words that count what is no image, or ours."""
        for folder, files in self._series.items():
            one = len(files) == 1
            self._add(_Found(files[0] if one else folder), folder if one else folder.parent)
        places = {path.parent for path in self._images}
        near = {file for place in places for file in place.glob(f"*{RECORD}")}
        written = Written(near | {p for p in self._rest if p.name.endswith(RECORD)})
        siblings, ours = Siblings(self._images), 0
        for path, base in self._images.items():
            files = find_files(path)
            if ".img" in find_suffix(path) and files[-1].exists():
                continue  # of a .hdr/.img pair the header is taken
            if written.holds(path):
                ours += 1
            elif why := siblings.explain_made(path):
                self.left[path] = why
            else:
                self._add(_Found(path), base)
        rest = [path for path in self._rest if not written.holds(path)]
        return _count_others(ours + len(self._rest) - len(rest), rest)

    # --- what an input names

    def _walk(self, folder: Path) -> None:
        self.bases.add(folder)
        seen = set()
        for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            real = os.path.realpath(place)
            known = real in seen
            seen.add(real)
            folders[:] = sorted(
                name
                for name in ([] if known else folders)
                if not name.startswith(".")
                and os.path.realpath(os.path.join(place, name)) != self.out
            )
            if not known:
                self._take_files([Path(place, name) for name in sorted(files)], folder)

    def _take_files(self, files: Sequence[Path], base: Path) -> None:
        """Take the files of one folder; those of a series of DICOM are one scan."""
        if any(map(is_dicom, files)):
            place = files[0].parent
            self._add(_Found(place), place.parent if place == base else base)
            files = [f for f in files if find_suffix(f) in IMAGES or f.suffix.lower() in TEXTS]
        for file in files:
            self._offer(file, base)

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
                self._take_match(path, base)

    def _take_match(self, path: Path, base: Path) -> None:
        """Take a file that was named; several of one folder of DICOM are one scan."""
        if is_dicom(path):
            self._series.setdefault(path.parent, []).append(path)
        else:
            self._offer(path, base)

    def _is_output(self, path: Path, base: Path) -> bool:
        """Whether a file lies in an output folder that lies among the inputs."""
        inside = Path(self.out) in (Path(os.path.realpath(path)), *path.resolve().parents)
        return inside and Path(self.out) not in (base.resolve(), *base.resolve().parents)

    def _offer(self, path: Path, base: Path) -> None:
        """Take a file that may be a scan, or say what it is instead."""
        suffix = find_suffix(path)
        if suffix in IMAGES and not path.name.startswith("."):
            self._images.setdefault(path, base)
        elif suffix in IMAGES:
            self.left[path] = "hidden: its name begins with a dot"
        elif suffix in ARCHIVES:
            self.left[path] = "an archive; give its name if it holds the DICOM files of one scan"
        elif is_foreign(path):
            self.left[path] = "an image of a format or packing that deskull does not read"
        else:
            self._rest.add(path)

    def _add(self, found: _Found, base: Path | None = None) -> None:
        self.found.setdefault((found.scan, found.out), found)
        self.bases.add(base or found.scan.parent)

    def _take_list(self, path: Path) -> None:
        """Take each line of a file; relative paths begin at the file's folder."""
        for line in read_text(path).splitlines():
            words = line.strip()
            if words and not words.startswith("#"):
                scan = Path(os.path.abspath(path.parent / Path(words).expanduser()))
                self._walk(scan) if scan.is_dir() else self._add(_Found(scan))

    def _take_table(self, path: Path) -> None:
        """Take each row of a table; relative scans begin at its folder, outputs at out_dir."""
        for number, row in read_table(path, ("in",), ("out", "mask")):
            if not row["in"]:
                raise InputError(f"{path.name}, line {number}: no path in column `in`.")
            scan = Path(os.path.abspath(path.parent / Path(row["in"]).expanduser()))
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
            "the inputs lie on several drives; strip each drive separately."
        ) from error


def _make_task(found: _Found, root: Path, out: Path, wanted: Sequence[str]) -> Task:
    place = out / os.path.relpath(found.scan, root)
    stem = place.name if found.scan.is_dir() else find_stem(place)
    if found.out:
        place = out / found.out
        stem = find_stem(place).removesuffix("_brain")
    rows = [find_output(name) for name in (*wanted, "record")]
    paths = {row.name: place.with_name(stem + row.ending) for row in rows}
    if found.out:
        paths["brain"] = place
    if found.mask:
        paths["mask"] = out / found.mask
    paths = {name: Path(os.path.abspath(path)) for name, path in paths.items()}
    record = paths.pop("record")
    return Task(Path(os.path.relpath(found.scan, root)).as_posix(), found.scan, paths, record)


def _count_others(ours: int, rest: Sequence[Path]) -> str:
    """Count outputs of deskull, and files that are no images by suffix."""
    words = [f"{ours} written by deskull"] if ours else []
    kinds = sorted({path.suffix.lower() or "without suffix" for path in rest})
    more = ", ..." if len(kinds) > 6 else ""
    words += [f"{len(rest)} no images ({', '.join(kinds[:6])}{more})"] if rest else []
    return ", ".join(words)


def _explain_none(words: Sequence[str], search: _Search, others: str) -> str:
    left = [f"{path.name} ({why})" for path, why in search.left.items()]
    told = [*left[:3], *([f"{len(left) - 3} more"] if len(left) > 3 else [])]
    told += [others] if others else []
    return (
        f"{', '.join(words[:3])}: no scan found; looked for DICOM and for names that end in "
        f"{', '.join(HEADS)}. Left out: {', '.join(told) or 'nothing'}. List files in a text file "
        "to strip them nevertheless."
    )
