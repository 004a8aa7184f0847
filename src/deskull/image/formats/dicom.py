"""DICOM: a folder, a file or an archive in; the one image that is meant out.

The files are looked at and sorted into images, and dcm2niix converts those of one image. What is
not whole is an error, or a note that the image carries.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.spatialimages import SpatialImage

from deskull.errors import ImageFileError, SeriesError
from deskull.image.archives import unpack_archive
from deskull.image.file_names import IMAGES, find_suffix
from deskull.image.formats.dcm2niix import MADE_EVEN, MADE_UPRIGHT, convert, is_mended
from deskull.image.formats.dicom_header import DicomFile, look_at
from deskull.image.formats.dicom_series import (
    Series,
    find_files,
    find_holes,
    find_lost,
    find_series,
    list_files,
)
from deskull.image.formats.nifti import read_nifti
from deskull.image.stored import UNSIZED, to_stored

_PRIVATE = ("descrip", "aux_file", "db_name", "intent_name", "data_type")
_MAX_LISTED = 40
_MAX_HOLES = 5


def read_dicom(path: Path, series: str | int | None = None) -> SpatialImage:
    """Read one image of a DICOM folder or file; who it is of, and when, is blanked.

    Parameters
    ----------
    path
        Folder, with all below it; or one file, which stands for the image of its folder that it is
        a slice of.
    series
        Label of an image, as a list of them shows it; needed where there are several.

    Raises
    ------
    ImageFileError
        If no image or several could be meant, or the one that is meant is not all there.
    """
    if path.is_dir():
        return _read(path, find_files(path), series)
    own = look_at(path)
    if path.name.upper() == "DICOMDIR":
        return _read(path, find_files(path.parent), series)
    if own is None or "rows" not in own.facts:
        why = f" ({own.damage})" if own and own.damage else ""
        raise ImageFileError(f"{path.name}: no DICOM image in it{why}; expected a slice of one.")
    if own.damage:
        raise ImageFileError(f"{path.name}: {own.damage}. Copy or download it again.")
    own, files = _find_beside(own)
    return _read(path, files, series, own)


def _find_beside(own: DicomFile) -> tuple[DicomFile, list[DicomFile]]:
    """Find the files among which a given one is; a lone link leads to where these lie."""
    path = own.path
    files = find_files(path.parent, deep=False)
    if path.is_symlink() and sum("rows" in one.facts for one in files) == 1:
        return _find_beside(replace(own, path=path.resolve()))
    if path not in [one.path for one in files]:
        files.append(own)  # a hidden file, which was meant all the same
    return own, files


def find_slices(path: Path) -> list[Path]:
    """Find the DICOM files of a folder, or of the image that a file is a slice of, sorted.

    Returns
    -------
    list
        Their paths; none if there is no DICOM, or it is in an archive.

    Raises
    ------
    ImageFileError
        If a folder has too many files, or cannot be read.
    """
    path = path.parent if path.name.upper() == "DICOMDIR" else path
    if path.is_dir():
        return sorted(one.path for one in find_files(path) if "rows" in one.facts)
    own = look_at(path)
    if own is None or "rows" not in own.facts:
        return []
    own, files = _find_beside(own)
    image = next(one for one in find_series(files) if one.holds(own))
    return sorted(one.path for one in image.files)


def read_archive(path: Path, series: str | int | None = None) -> SpatialImage:
    """Read one DICOM image out of a zip or tar, packed or not; as `read_dicom` otherwise."""
    with tempfile.TemporaryDirectory(prefix="deskull-") as folder:
        names = unpack_archive(path, Path(folder))
        return _read(path, find_files(Path(folder)), series, names=names)


def _read(
    path: Path,
    files: Sequence[DicomFile],
    series: str | int | None,
    own: DicomFile | None = None,
    names: Sequence[str] = (),
) -> SpatialImage:
    found = find_series(files)
    if not found:
        raise ImageFileError(_explain_none(path, files, names))
    chosen, part = _choose(found, series, path.name, own)
    _check_whole(chosen, files, path.name)
    with tempfile.TemporaryDirectory(prefix="deskull-") as folder:
        conversion = convert(chosen.files, Path(folder), path.name)
        if conversion.failed or not conversion.images or conversion.used < len(chosen.files):
            raise ImageFileError(
                f"{path.name}: {len(chosen.files)} files of series {chosen.label}, "
                f"{conversion.used} converted; dcm2niix could not convert it "
                f"({conversion.complaint}). Export the series again, or convert it with another "
                "tool."
            )
        image = read_nifti(_pick_part(conversion.images, part, chosen, path.name))
    header: Any = image.header
    for field in _PRIVATE:
        header[field] = b""
    notes = [*_make_notes(chosen, files, part), *_list_assumed(chosen, header)]
    to_stored(image).notes += tuple(notes)
    return image


# --- which image


def _choose(
    found: Sequence[Series], series: str | int | None, name: str, own: DicomFile | None
) -> tuple[Series, str]:
    """Pick an image, and the part of it that a label such as ``3_Eq_1`` asks for."""
    if series is None and own is not None:
        return next(one for one in found if one.holds(own)), ""
    greys = [one for one in found if one.identity.shape[2] == 1] or found
    if series is None and len(greys) == 1:
        return greys[0], ""
    wanted = "" if series is None else str(series)
    for one in found:
        label, _, part = wanted.partition("_")
        if one.label == label:
            return one, part
    same = [one for one in greys if str(one.identity.number) == wanted]
    listed = "; ".join(str(one) for one in (same or greys)[:_MAX_LISTED])
    more = len(same or greys) - _MAX_LISTED
    listed += f"; and {more} more" if more > 0 else ""
    if series is None or same:
        raise SeriesError(
            f"{name}: {len(same or greys)} DICOM series; expected one. "
            f"Choose one with --series N, N being the first word of: {listed}."
        )
    raise ImageFileError(
        f"{name}: no DICOM series {wanted}. Choose with --series N, N being the first word of: "
        f"{listed}."
    )


def _pick_part(images: Mapping[str, Path], part: str, chosen: Series, name: str) -> Path:
    """Pick among the images that dcm2niix made of one: the only one, or the requested one."""
    mended = {key: path for key, path in images.items() if is_mended(key)}
    if not mended and len(images) == 1 and not part:
        return next(iter(images.values()))
    parts = mended or {key or "main": path for key, path in images.items()}
    if part in parts:
        return parts[part]
    if mended and not part:
        raise SeriesError(f"{name}: {_explain_mended(next(iter(mended)), chosen)}")
    listed = "; ".join(f"{chosen.label}_{key} ({_find_shape(parts[key])})" for key in parts)
    what = f"no part {part!r} of" if part else f"{len(parts)} images in"
    raise SeriesError(
        f"{name}: {what} series {chosen.label}; expected one. Choose one with --series N, N being "
        f"the first word of: {listed}."
    )


def _explain_mended(part: str, chosen: Series) -> str:
    way = f"with --series {chosen.label}_{part}."
    if MADE_UPRIGHT in part:
        return (
            "its slices are sheared (tilted gantry), which an affine without shear cannot "
            "describe. "
            f"Choose the image that dcm2niix resampled upright {way}"
        )
    gap = chosen.find_gap() or "one may be missing"
    return (
        f"its slices have uneven distances; {gap}. Copy or export the series again, or "
        f"choose the image that dcm2niix resampled evenly {way}"
    )


def _find_shape(path: Path) -> str:
    image: Any = nib.load(path)
    return " x ".join(str(n) for n in image.shape)


# --- whether it is all there


def _check_whole(chosen: Series, files: Sequence[DicomFile], name: str) -> None:
    """Refuse an image of which files cannot be read, or slices are missing in some frames."""
    lost, _ = find_lost(chosen, files)
    if lost:
        whole = [one for one in chosen.files if not one.damage]
        remedies = [one.pointer.remedy for one in lost if one.pointer]
        remedy = remedies[0] if remedies else "Copy them again; or move them away to do without."
        raise ImageFileError(
            f"{name}: {len(whole) + len(lost)} files of series {chosen.label}, {len(whole)} can "
            f"be read; not {list_files(lost)}. {remedy}"
        )
    fault = chosen.find_fault_of_frames()
    if fault:
        raise ImageFileError(
            f"{name}: {fault}; expected slices at even distances. Export the series again."
        )
    ragged = chosen.find_ragged()
    if ragged:
        raise ImageFileError(
            f"{name}: slices of series {chosen.label} are missing: {ragged}; expected the same "
            "number everywhere. Copy or export the series again."
        )


def _make_notes(chosen: Series, files: Sequence[DicomFile], part: str) -> list[str]:
    """Say what is doubtful about an image that was read."""
    notes = []
    _, perhaps = find_lost(chosen, files)
    if perhaps:
        notes.append(
            f"{len(perhaps)} files beside its slices cannot be read: {list_files(perhaps)}"
        )
    holes = find_holes(chosen, files)
    if holes:
        shown = ", ".join(str(n) for n in holes[:_MAX_HOLES])
        more = f" and {len(holes) - _MAX_HOLES} more" if len(holes) > _MAX_HOLES else ""
        notes.append(f"slices may be missing: no file has the instance number {shown}{more}")
    if chosen.copies:
        notes.append(f"{chosen.copies} files are copies of others and were left out")
    if MADE_EVEN in part:
        notes.append("its slices had uneven distances; the image resampled by dcm2niix was used")
    if MADE_UPRIGHT in part:
        notes.append(
            "its slices were sheared (tilted gantry); the image resampled by dcm2niix was used"
        )
    return notes


def _list_assumed(chosen: Series, header: Any) -> list[str]:
    """Say what dcm2niix assumes where the files do not say it."""
    notes = []
    if all(size == 1 for size in header["pixdim"][1:3]) and not _is_said(chosen, "spacing"):
        notes.append(UNSIZED)
    if not _is_said(chosen, "orientation"):
        notes.append(
            "no orientation in its header (ImageOrientationPatient); slices assumed axial"
        )
    return notes


def _is_said(chosen: Series, name: str) -> bool:
    return all(one.facts.get(name) for one in chosen.files)


def _explain_none(path: Path, files: Sequence[DicomFile], names: Sequence[str]) -> str:
    """Say what a path holds instead of DICOM."""
    name = path.name or str(path)
    what = "a folder" if path.is_dir() else "an archive"
    inside = names or sorted(str(one.path.relative_to(path)) for one in files if path.is_dir())
    images = [one for one in inside if find_suffix(one) in IMAGES]
    pointers = [one for one in files if one.pointer]
    damaged = [one for one in files if one.facts]
    if pointers:
        return (
            f"{name}: no DICOM found, but {len(pointers)} files whose content is missing "
            f"({list_files(pointers)}). {pointers[0].pointer and pointers[0].pointer.remedy}"
        )
    if damaged:
        return f"{name}: no whole DICOM found; not {list_files(damaged)}. Copy it again."
    if images:
        do = "For many scans run: deskull batch" if path.is_dir() else "Unpack it, and give one of"
        return (
            f"{name}: {what} with {len(images)} images ({images[0]}) and no DICOM; expected "
            f"one scan. {do} {path if path.is_dir() else 'them.'}"
        )
    return f"{name}: {what} with no DICOM found in it; expected the DICOM files of one scan."
