"""DICOM to NIfTI with dcm2niix, the field's own converter, from its wheel.

A folder, one file of a series, or a zip goes in; one NIfTI file in a private folder comes
out. Reading that file is `formats.py`.
"""

import json
import logging
import subprocess
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib

from deskull.errors import ImageFileError

MAX_ZIP_BYTES = 8 * 1024**3
MAX_ZIP_FILES = 100_000
_CHUNK = 1024**2

_FAILURES = ("Error", "Warning: File not large enough", "No valid DICOM images")
_NO_DICOM = ("Unable to find any DICOM", "Not a DICOM image")
_MENDED = {  # in the label of an image that dcm2niix adds, and why it does
    "_Eq_": "its slices lie at uneven distances; one may be missing. Export the series again, or "
    "take what dcm2niix made even",
    "_Tilt_": "its slices stand aslant in their stack (a tilted gantry), which no affine can say. "
    "Take what dcm2niix made upright",
}

_log = logging.getLogger(__name__)


class Series(NamedTuple):
    """One image that dcm2niix made."""

    label: str
    number: str
    description: str
    path: Path

    def __str__(self) -> str:
        image: Any = nib.load(self.path)
        shape = " x ".join(str(n) for n in image.shape)
        return f"{self.label} {self.description} ({shape})"


def convert_dicom(path: Path, folder: Path, series: str | int | None = None) -> Path | None:
    """Convert one DICOM series; return the NIfTI file made of it, None if there is no DICOM.

    Parameters
    ----------
    path
        Folder (with subfolders), one file, or zip. Of one file, the series in its folder that
        holds it is converted.
    folder
        Empty private folder that takes the output; the caller removes it.
    series
        Number of the series; needed when there are several.

    Raises
    ------
    ImageFileError
        If DICOM is there but cannot be converted, or the choice of series is open.
    """
    source = path.resolve()
    options: tuple[str, ...] = ()
    if path.is_file() and zipfile.is_zipfile(path):
        source = folder / "unzipped"
        source.mkdir()
        _unzip(path, source)
    elif path.is_file():
        alone = _convert(source, folder / "alone", path.name, "-s", "y")
        if not alone:
            return None
        series = alone[0].number if series is None else series
        source, options = source.parent, ("-d", "0")
    found = _convert(source, folder / "converted", path.name, *options)
    return _choose(found, series, path.name).path if found else None


def _convert(source: Path, folder: Path, name: str, *options: str) -> list[Series]:
    """Run dcm2niix; the names it gives are numbers of series, and its sidecars name no person."""
    try:
        import dcm2niix
    except ImportError as error:
        raise ImageFileError(
            f"{name}: DICOM needs the converter dcm2niix, which is not installed. "
            "Run: pip install dcm2niix"
        ) from error
    folder.mkdir()
    usual = ("-b", "y", "-ba", "y", "-z", "n", "-g", "i", "-f", "%s")
    done = subprocess.run(
        [dcm2niix.bin, *usual, *options, "-o", str(folder), str(source)],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
    )
    report = done.stdout + done.stderr
    _log.debug("dcm2niix, exit %d:\n%s", done.returncode, report)
    found = _find_series(folder)
    failures = [line.strip() for line in report.splitlines() if line.startswith(_FAILURES)]
    if not found and failures and not any(words in failures[0] for words in _NO_DICOM):
        raise ImageFileError(
            f"{name}: dcm2niix could not convert it ({failures[0]}). "
            "Export the series again, or convert it with another tool."
        )
    return found


def _unzip(path: Path, folder: Path) -> None:
    """Extract every file of a zip under a number for a name, so that no name can escape."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_ZIP_FILES:
            raise ImageFileError(
                f"{path.name}: {len(entries)} files; expected at most {MAX_ZIP_FILES}. "
                "Unzip it and give the folder of one scan."
            )
        for number, entry in enumerate(entries):
            with archive.open(entry) as packed, (folder / f"{number:06d}").open("wb") as out:
                while chunk := packed.read(_CHUNK):
                    total += len(chunk)
                    if total > MAX_ZIP_BYTES:
                        raise ImageFileError(
                            f"{path.name}: unzips to more than {MAX_ZIP_BYTES / 1024**3:g} GiB; "
                            "expected one scan. Unzip it and give the folder of one scan."
                        )
                    out.write(chunk)


def _find_series(folder: Path) -> list[Series]:
    found = []
    for path in sorted(folder.rglob("*.nii")):
        sidecar = path.with_suffix(".json")
        facts = json.loads(sidecar.read_text("utf-8", "replace")) if sidecar.exists() else {}
        number = str(facts.get("SeriesNumber", path.stem))
        description = str(facts.get("SeriesDescription", "without description"))
        found.append(Series(path.stem, number, description, path))
    return sorted(found, key=lambda one: (len(one.number), one.number, one.label))


def _choose(found: list[Series], series: str | int | None, name: str) -> Series:
    """Pick by label ("3_e1") or number ("3"), or the only one if none is asked for."""
    wanted = None if series is None else str(series)
    picked = [one for one in found if wanted == one.label]
    picked = picked or [one for one in found if wanted in (None, one.number)]
    if len(picked) == 1:
        return picked[0]
    listed = "; ".join(str(one) for one in picked or found)
    for mark, words in _MENDED.items() if len(picked) == 2 else ():
        for one in picked:
            if mark in one.label:
                raise ImageFileError(f"{name}: {words} with --series {one.label}.")
    if picked:
        raise ImageFileError(
            f"{name}: {len(picked)} DICOM series; expected one. "
            f"Choose one with --series N, N being the first word of: {listed}."
        )
    raise ImageFileError(
        f"{name}: no DICOM series {wanted}. Choose with --series N, N being the first word of: "
        f"{listed}."
    )
