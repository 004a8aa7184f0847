"""Which files among the inputs of `deskull batch` are scans.

Inputs are files, folders, globs, lists and tables. What deskull wrote is known by its records:
by path, or by content where it was moved. What others made from a scan is known by its name
together with the grid of that scan, or with voxels that are those of a mask or a label map.
Whatever is found and is not stripped is counted or named, as are inputs that gave nothing.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deskull.cohort.made import Siblings, WrittenFiles
from deskull.cohort.plan import Gap, Plan, Task, remove_clashes
from deskull.errors import ImageFileError, InputError, OutputError
from deskull.image.file_names import (
    ARCHIVES,
    HEADS,
    IMAGES,
    TEXTS,
    WRITABLE,
    find_stem,
    find_suffix,
    is_foreign,
)
from deskull.image.formats import dicom_header
from deskull.image.writing import find_files
from deskull.outputs import RECORD, USUAL, find_output
from deskull.text_files import TABLES, read_table, read_text

LISTS = (".txt", ".list", ".lst")
DICOM = (".dcm", ".ima")


def make_plan(
    inputs: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    outputs: Iterable[str] = USUAL,
) -> Plan:
    """Find the scans, and name their outputs.

    Parameters
    ----------
    inputs
        Image files; folders, which are searched for images and for folders of DICOM; globs; text
        files with one path per line; CSV or TSV files with the column ``in`` and optionally
        ``out`` (the brain) and ``mask``.
    out_dir
        Folder of the outputs, which mirrors the tree of the inputs. Files in it are not inputs.
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
    paths, requested = [os.fspath(path) for path in inputs], [*outputs]
    out = Path(os.path.abspath(out_dir))
    search = _Search(os.path.realpath(out))
    for path in paths:
        search.add_input(path)
    ignored = search.finish()
    if not search.found:
        raise InputError(_explain_none(paths, search, ignored))
    root = _find_root(search.bases)
    tasks = [_make_task(found, root, out, requested) for found in search.found]
    good, gaps = remove_clashes(tasks)
    gaps += [Gap(_name(path, root), reason) for path, reason in search.left_out.items()]
    gaps += search.name_fruitless(root)
    return Plan(good, sorted(gaps, key=lambda gap: gap.name), ignored)


@dataclass(frozen=True)
class _Found:
    """A scan, and the paths that a table gives for its brain and mask."""

    scan: Path
    out: str = ""
    mask: str = ""


@dataclass
class _Search:
    """The files found so far, and the folders at which the tree of the outputs begins."""

    out: str  # real path of the folder of the outputs, which is not searched
    found: dict[_Found, None] = field(default_factory=dict)  # in the order of the inputs
    bases: set[Path] = field(default_factory=set)  # folders searched, or of scans that were named
    left_out: dict[Path, str] = field(default_factory=dict)  # image -> why it is not stripped
    _images: dict[Path, Path] = field(default_factory=dict)  # possible scan -> its base
    _series: dict[Path, list[Path]] = field(default_factory=dict)  # folder -> DICOM files named
    _rest: set[Path] = field(default_factory=set)  # files that are not images
    _folders: dict[Path, bool] = field(default_factory=dict)  # named -> whether a scan is expected
    _fruitless: list[Gap] = field(default_factory=list)  # other inputs that gave nothing

    def add_input(self, text: str) -> None:
        """Add the files that one input names."""
        path = Path(os.path.abspath(text))
        if os.path.isdir(text):
            self._folders[path] = not self._add_folder(path)
        elif text and os.path.lexists(text):
            kind = path.suffix.lower()
            if kind in LISTS:
                self._add_list(path)
            elif kind in TABLES:
                self._add_table(path)
            elif find_suffix(path) in IMAGES or _is_dicom(path):  # a shell expands globs to many
                self._add_match(path, path.parent)
            else:
                self._add_scan(_Found(path))
        elif glob.has_magic(text):
            self._add_glob(text)
        else:
            raise ImageFileError(f"{text}: no such file or folder.")

    def finish(self) -> str:
        """Decide which images are scans; return a phrase that counts the files ignored."""
        for folder, files in self._series.items():
            scan = files[0] if len(files) == 1 else folder
            self._add_scan(_Found(scan), scan.parent)
        folders = {path.parent for path in self._images}
        nearby = {file for folder in folders for file in folder.glob(f"*{RECORD}")}
        written = WrittenFiles(nearby | {p for p in self._rest if p.name.endswith(RECORD)})
        siblings, ours = Siblings(self._images), 0
        for path, base in self._images.items():
            files = find_files(path)
            if ".img" in find_suffix(path) and files[-1].exists():
                continue  # a .hdr/.img pair is represented by its header
            if written.contains(path):
                ours += 1
            elif reason := siblings.explain_made(path):
                self.left_out[path] = reason
            else:
                self._add_scan(_Found(path), base)
        rest = [path for path in self._rest if not written.contains(path)]
        return _count_ignored(ours + len(self._rest) - len(rest), rest)

    def name_fruitless(self, root: Path) -> list[Gap]:
        """Name the inputs that gave neither a scan nor another image.

        A folder with other files is no failure: a shell expands ``study/*`` to all folders.
        """
        images = {found.scan for found in self.found} | {*self._images, *self.left_out}
        places = images | {parent for path in images for parent in path.parents}
        return self._fruitless + [
            Gap(_name(folder, root), "no image in it", failed=expected)
            for folder, expected in self._folders.items()
            if folder not in places and os.path.realpath(folder) != self.out
        ]

    def _add_folder(self, folder: Path) -> bool:
        """Add the files below a folder; return whether there are any."""
        self.bases.add(folder)
        visited, found = set(), False
        for place, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
            real = os.path.realpath(place)
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and os.path.realpath(os.path.join(place, name)) != self.out
            )
            self._add_files([Path(place, name) for name in sorted(files)], folder)
            found = found or bool(files)
        return found

    def _add_files(self, files: Sequence[Path], base: Path) -> None:
        """Add the files of one folder; those of a DICOM series are one scan."""
        if any(map(_is_dicom, files)):
            place = files[0].parent
            self._add_scan(_Found(place), place.parent if place == base else base)
            files = [f for f in files if find_suffix(f) in IMAGES or f.suffix.lower() in TEXTS]
        for file in files:
            self._add_file(file, base)

    def _add_glob(self, text: str) -> None:
        parts = Path(os.path.abspath(text)).parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        base = Path(*parts[:fixed])
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            self._fruitless.append(Gap(text, "no file or folder matches", failed=True))
        for match in matches:
            path = Path(os.path.abspath(match))
            if self._is_output(path, base):
                continue
            if path.is_dir():
                self._add_folder(path)
                self.bases.add(base)
            else:
                self._add_match(path, base)

    def _add_match(self, path: Path, base: Path) -> None:
        """Add a file that was named; several DICOM files of one folder are one scan."""
        if _is_dicom(path):
            self._series.setdefault(path.parent, []).append(path)
        else:
            self._add_file(path, base)

    def _is_output(self, path: Path, base: Path) -> bool:
        """Whether a file lies in a folder of outputs that itself lies among the inputs."""
        out = Path(self.out)
        inside = out in (Path(os.path.realpath(path)), *path.resolve().parents)
        return inside and out not in (base.resolve(), *base.resolve().parents)

    def _add_file(self, path: Path, base: Path) -> None:
        """Add a file that may be a scan, or note what it is instead."""
        suffix = find_suffix(path)
        if suffix in IMAGES and not path.name.startswith("."):
            self._images.setdefault(path, base)
        elif suffix in IMAGES:
            self.left_out[path] = "hidden: its name begins with a dot"
        elif suffix in ARCHIVES:
            reason = "an archive; give its name if it holds the DICOM files of one scan"
            self.left_out[path] = reason
        elif is_foreign(path):
            self.left_out[path] = "an image of a format or packing that deskull does not read"
        else:
            self._rest.add(path)

    def _add_scan(self, found: _Found, base: Path | None = None) -> None:
        self.found.setdefault(found)
        self.bases.add(base or found.scan.parent)

    def _add_list(self, path: Path) -> None:
        """Add each line of a text file; relative paths start at the folder of the file."""
        lines = [line.strip() for line in read_text(path).splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            self._fruitless.append(Gap(path.name, "no path in it", failed=True))
        for line in lines:
            scan = Path(os.path.abspath(path.parent / Path(line).expanduser()))
            if scan.is_dir():
                self._add_folder(scan)
                self._folders[scan] = True
            else:
                self._add_scan(_Found(scan))

    def _add_table(self, path: Path) -> None:
        """Add each row of a table; relative scans start at its folder, outputs at `out`."""
        rows = read_table(path, ("in",), ("out", "mask"))
        if not rows:
            self._fruitless.append(Gap(path.name, "no row below its first line", failed=True))
        for number, row in rows:
            if not row["in"]:
                raise InputError(f"{path.name}, line {number}: no path in column `in`.")
            scan = Path(os.path.abspath(path.parent / Path(row["in"]).expanduser()))
            for name in ("out", "mask"):
                if row.get(name) and not row[name].lower().endswith(WRITABLE):
                    raise OutputError(
                        f"{path.name}, line {number}: {name} {row[name]!r}; expected a name that "
                        f"ends in {', '.join(WRITABLE)}."
                    )
            self._add_scan(_Found(scan, row.get("out", ""), row.get("mask", "")))


def _is_dicom(path: Path) -> bool:
    """Whether a file belongs to a DICOM series, by its name or its preamble."""
    suffix = find_suffix(path)
    if suffix in DICOM:
        return True
    if suffix or path.name == "DICOMDIR" or path.suffix.lower() in TEXTS:
        return False  # a DICOMDIR is the index of a disc
    try:
        with path.open("rb") as file:
            return dicom_header.is_dicom(file.read(132))
    except OSError:
        return False


def _refuse_folder(error: OSError) -> None:
    raise InputError(f"{error.filename}: a folder that cannot be read ({error.strerror}).")


def _find_root(bases: Iterable[Path]) -> Path:
    try:
        return Path(os.path.commonpath(sorted(bases)))
    except ValueError as error:  # on Windows
        text = "the inputs lie on several drives; strip each drive separately."
        raise InputError(text) from error


def _make_task(found: _Found, root: Path, out: Path, requested: Sequence[str]) -> Task:
    place = out / os.path.relpath(found.scan, root)
    stem = place.name if found.scan.is_dir() else find_stem(place)
    if found.out:
        place = out / found.out
        stem = find_stem(place).removesuffix("_brain")
    rows = [find_output(name) for name in (*requested, "record")]
    paths = {row.name: place.with_name(stem + row.ending) for row in rows}
    if found.out:
        paths["brain"] = place
    if found.mask:
        paths["mask"] = out / found.mask
    paths = {name: Path(os.path.abspath(path)) for name, path in paths.items()}
    record = paths.pop("record")
    return Task(_name(found.scan, root), found.scan, paths, record)


def _name(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _count_ignored(ours: int, rest: Sequence[Path]) -> str:
    """Count outputs of deskull, and files that are not images by their suffix."""
    counts = [f"{ours} written by deskull"] if ours else []
    kinds = sorted({path.suffix.lower() or "without suffix" for path in rest})
    more = ", ..." if len(kinds) > 6 else ""
    files = "file that is not an image" if len(rest) == 1 else "files that are not images"
    counts += [f"{len(rest)} {files} ({', '.join(kinds[:6])}{more})"] if rest else []
    return ", ".join(counts)


def _explain_none(paths: Sequence[str], search: _Search, ignored: str) -> str:
    listed = [f"{path.name} ({reason})" for path, reason in search.left_out.items()]
    listed[3:] = [f"{len(listed) - 3} more"] if len(listed) > 3 else []
    listed += [ignored] if ignored else []
    return (
        f"{', '.join(paths[:3])}: no scan found; looked for DICOM and for names that end in "
        f"{', '.join(HEADS)}. Left out: {', '.join(listed) or 'nothing'}. List files in a text "
        "file to strip them nevertheless."
    )
