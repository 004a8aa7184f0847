"""Files of images for the fixtures, good and refused, and what Python reads from each."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from fixture_writer import Writer

from deskull.errors import DeskullError
from deskull.image.derived import make_brain_image, make_map_image, make_mask_image
from deskull.image.fingerprint import make_fingerprint
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from nifti_files import AFFINE, EXTENSION, HEADERS, make_header, write_nifti
from nifti_files import HEAD as RAW
from scans import WRITERS

NO_SFORM = {"sform_code": 0, "pixdim": [1, 2, 1.5, 3, 1, 0, 0, 0]}
ODD_HEADERS: dict[str, dict[str, Any]] = {
    "sform_of_zeros": {"srow_x": [0, 0, 0, 0]},
    "minus": NO_SFORM | {"pixdim": [1, -2, 1.5, 3, 1, 0, 0, 0]},
    "long_quaternion": NO_SFORM | {"quatern_b": 0, "quatern_c": 1.003, "quatern_d": 0},
    "unplaced": NO_SFORM | {"qform_code": 0},
    "no_frames": {"dim": [4, 5, 6, 7, 0, 1, 1, 1]},
    "in_metres": {f"srow_{axis}": AFFINE[k] / 1000 for k, axis in enumerate("xyz")}
    | {"xyzt_units": 1},
    "says_micrometres": {"xyzt_units": 3},
}
"""Headers of which something must be assumed."""


def _write_odd(folder: Path) -> list[Path]:
    """Write files of which Python notes something, or that only look damaged."""
    paths = [folder / f"{name}.nii" for name in ODD_HEADERS]
    for path, changes in zip(paths, ODD_HEADERS.values(), strict=True):
        write_nifti(path, make_header(**changes), RAW)
    whole = paths[0].read_bytes()
    packed = gzip.compress(whole)
    for name, content in {
        "zeros_behind": packed + b"\0" * 512,
        "bytes_behind": packed + b"something else",
        "two_streams": gzip.compress(whole[:500]) + gzip.compress(whole[500:]),
    }.items():
        paths.append(folder / f"{name}.nii.gz")
        paths[-1].write_bytes(content)
    return paths


def _describe_image(write: Writer, path: Path, frame: int | None = None) -> dict[str, Any]:
    volume = load_volume(path, frame=frame)
    mask = np.zeros(volume.grid.shape, bool)
    mask[1:3, 2:4, 1:5] = True
    outputs = {}
    for name, image in (
        ("mask", make_mask_image(mask, volume.source)),
        ("map", make_map_image(np.where(mask, 0.7, 0.1), volume.source)),
        ("brain", make_brain_image(mask, volume.source, frame=volume.frame)),
    ):
        outputs[name] = path.with_name(f"{path.name}.{name}.nii").name
        save_image(image, path.with_name(outputs[name]))
    return {
        "affine": volume.grid.affine,
        "data": write.array(volume.data),
        "inside": write.array(mask),
        "frame": frame,
        "notes": volume.notes,
        **outputs,
    }


def make_images(write: Writer) -> list[dict[str, Any]]:
    """Files of every format, and what Python reads from and writes for each."""
    cases = []
    folder = write.folder
    for name, changes in HEADERS.items():
        path = folder / f"{name.replace(' ', '_')}.nii"
        write_nifti(
            path, make_header(**changes), RAW, lead=EXTENSION if "scaled" in name else b"\0\0\0\0"
        )
        cases.append({"files": [path.name]} | _describe_image(write, path))
    for dtype in ("uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64", "float32"):
        path = folder / f"{dtype}.nii.gz"
        write_nifti(path, make_header(dtype=dtype, scl_slope=2.5, scl_inter=-7), RAW % 100)
        cases.append({"files": [path.name]} | _describe_image(write, path))
    cases += [{"files": [path.name]} | _describe_image(write, path) for path in _write_odd(folder)]
    path = folder / "frames.nii.gz"
    frames = np.stack([RAW, RAW + 1, RAW[::-1]], axis=-1)
    write_nifti(path, make_header(shape=frames.shape), frames)
    cases.append({"files": [path.name]} | _describe_image(write, path, frame=1))
    for name in (
        "scan.hdr",
        "scan.mgh",
        "scan.mgz",
        "scan.nrrd",
        "scan.nhdr",
        "scan.mha",
        "scan.mhd",
    ):
        path = folder / name
        before = set(folder.iterdir())
        WRITERS[name](path)
        beside = {p.name for p in set(folder.iterdir()) - before} - {name}
        made = name != "scan.hdr"
        cases.append(
            {"files": [name, *sorted(beside)], "made": made} | _describe_image(write, path)
        )
    for files, made in ((_pack_pair(folder), False), (_name_voxels(folder), True)):
        image = _describe_image(write, folder / files[0])
        cases.append({"files": files, "made": made} | image)
    return cases


def _pack_pair(folder: Path) -> list[str]:
    """Pack both files of a pair."""
    names = ["packed.hdr.gz", "packed.img.gz"]
    for name, plain in zip(names, ("scan.hdr", "scan.img"), strict=True):
        (folder / name).write_bytes(gzip.compress((folder / plain).read_bytes()))
    return names


def _name_voxels(folder: Path) -> list[str]:
    """Write a MetaImage whose voxels have a name of their own, which is no ASCII."""
    text = (folder / "scan.mhd").read_text().replace("scan.", "VÖXEL.")
    (folder / "named.mhd").write_text(text, encoding="utf-8")
    raw = next(p for p in folder.glob("scan.*raw"))
    (folder / f"VÖXEL{raw.suffix}").write_bytes(raw.read_bytes())
    return ["named.mhd", f"VÖXEL{raw.suffix}"]


def make_fingerprints(write: Writer) -> list[dict[str, Any]]:
    """Scans of one file and of several, and what their records know them by."""
    folder = write.folder / "series"
    for path in ("a-b/1", "a/20", "a/3", "B/1", "a.dcm", "README", "notes.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    slices = sorted(str(p.relative_to(write.folder)) for p in folder.rglob("*") if p.is_file())
    files = {
        "uint8.nii.gz": ["uint8.nii.gz"],
        "scan.hdr": ["scan.hdr", "scan.img"],
        "scan.mhd": ["scan.mhd", "scan.raw"],
        "named.mhd": ["named.mhd", "scan.raw", "VÖXEL.raw"],  # of which one is not its own
        "series": slices,
    }
    return [
        {"name": name, "files": parts} | vars(make_fingerprint(write.folder / name))
        for name, parts in files.items()
    ]


def make_refused(write: Writer) -> list[dict[str, Any]]:
    """Files that Python refuses, and its words."""
    folder = write.folder
    whole = (folder / "slope_NaN.nii").read_bytes()
    (folder / "cut.nii").write_bytes(whole[:600])
    (folder / "empty.nii").write_bytes(b"")
    (folder / "cut.nii.gz").write_bytes((folder / "uint8.nii.gz").read_bytes()[:-40])
    write_nifti(folder / "plain.nii", make_header(), np.full(RAW.shape, 3))
    write_nifti(folder / "flat.nii", make_header(shape=(5, 6, 1)), RAW[..., :1])
    sizes = [1, 0, 1, 1, 1, 0, 0, 0]
    write_nifti(folder / "no_size.nii", make_header(sform_code=0, pixdim=sizes), RAW)
    zeros = [0.0, 0, 0, 0]
    write_nifti(folder / "singular.nii", make_header(srow_x=zeros), RAW)
    far = [5000.0, 0, 0, 0]
    write_nifti(folder / "huge.nii", make_header(srow_x=far), RAW)
    (folder / "words.nii").write_bytes(b"no image at all, only words")
    cases = []
    for name in (
        "cut.nii",
        "empty.nii",
        "plain.nii",
        "flat.nii",
        "no_size.nii",
        "singular.nii",
        "huge.nii",
    ):
        try:
            load_volume(folder / name)
        except DeskullError as error:
            cases.append({"file": name, "message": str(error)})
    return [*cases, {"file": "cut.nii.gz", "message": ""}, {"file": "words.nii", "message": ""}]
