"""Reading: every format with known values and places, and every way a file can be wrong."""

import gzip
import os
from pathlib import Path

import h5py
import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import netcdf_file

from deskull.errors import DeskullError, GeometryError, ImageFileError
from deskull.image.formats import READABLE, find_partner, find_suffix, open_image
from deskull.image.volume import load_volume

SHAPE = (4, 5, 6)
HEAD = np.arange(120).reshape(SHAPE).astype("i2")
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 1.5, 0, -30], [0, 0, 3, 10], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1, 1, 1]) @ AFFINE


def write_nifti(path, head=HEAD, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(head, affine), path)
    return path


def write_mgh(path):
    image = nib.MGHImage(HEAD.astype("i2"), AFFINE)
    image.header["tr"], image.header["te"] = 2300, 3
    nib.save(image, path)
    return path


def write_analyze(path):
    image = nib.Spm2AnalyzeImage(HEAD, AFFINE)
    nib.save(image, path)
    return path


def write_nrrd(path, head=HEAD, **changes):
    header = {
        "space": "left-posterior-superior",
        "space directions": LPS[:3, :3].T,
        "space origin": LPS[:3, 3],
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    header.update(changes)
    header = {name: value for name, value in header.items() if value is not None}
    nrrd.write(str(path), head, header, detached_header=path.suffix == ".nhdr")
    return path


def write_metaimage(path, head=HEAD):
    image = sitk.GetImageFromArray(head.T)
    image.SetSpacing([2, 1.5, 3])
    image.SetDirection((LPS[:3, :3] / [2, 1.5, 3]).ravel())
    image.SetOrigin(LPS[:3, 3])
    sitk.WriteImage(image, str(path), path.suffix == ".mha")
    return path


MINC_AXES = {"zspace": (3, 10), "yspace": (1.5, -30), "xspace": (-2, 40)}


def write_minc1(path, head=HEAD, frames=0):
    with netcdf_file(path, "w") as file:
        sizes = dict(zip(MINC_AXES, head.shape[::-1], strict=True))
        if frames:
            file.createDimension("time", frames)
        for axis, (step, start) in MINC_AXES.items():
            file.createDimension(axis, sizes[axis])
            variable = file.createVariable(axis, "i", ())
            variable.step, variable.start = float(step), float(start)
            variable.spacing = b"regular__"
        if frames:
            file.createVariable("time", "i", ()).spacing = b"regular__"
        dims = (("time",) if frames else ()) + tuple(MINC_AXES)
        image = file.createVariable("image", "h", dims)
        image.signtype, image.valid_range = b"signed__", np.array([0.0, 120])
        image[:] = np.stack([head.T + k for k in range(frames)]) if frames else head.T
        for name, value in (("image-max", 240.0), ("image-min", 0.0)):
            file.createVariable(name, "d", ()).data[...] = value
    return path


def write_minc2(path, head=HEAD):
    with h5py.File(path, "w") as file:
        for axis, (step, start) in MINC_AXES.items():
            variable = file.create_dataset(f"minc-2.0/dimensions/{axis}", data=0)
            variable.attrs["step"], variable.attrs["start"] = float(step), float(start)
        image = file.create_dataset("minc-2.0/image/0/image", data=np.ascontiguousarray(head.T))
        image.attrs["dimorder"] = np.bytes_(",".join(MINC_AXES))
        image.attrs["valid_range"] = np.array([0.0, 120])
        file["minc-2.0/image/0/image-max"] = 240.0
        file["minc-2.0/image/0/image-min"] = 0.0
    return path


WRITERS = {
    "scan.nii": write_nifti,
    "scan.nii.gz": write_nifti,
    "SCAN.NII.GZ": write_nifti,
    "scan.hdr": lambda path: write_nifti(path, kind=nib.Nifti1Pair),
    "scan.img": lambda path: write_nifti(path, kind=nib.Nifti1Pair),
    "scan.img.gz": lambda path: write_nifti(path, kind=nib.Nifti2Pair),
    "nifti2.nii": lambda path: write_nifti(path, kind=nib.Nifti2Image),
    "scan.mgh": write_mgh,
    "scan.mgz": write_mgh,
    "analyze.hdr": write_analyze,
    "analyze.img": write_analyze,
    "scan.nrrd": write_nrrd,
    "scan.nhdr": write_nrrd,
    "scan.mha": write_metaimage,
    "scan.mhd": write_metaimage,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_values_and_place(tmp_path, name):
    volume = load_volume(WRITERS[name](tmp_path / name))
    assert np.array_equal(volume.data, HEAD)
    assert volume.data.dtype == np.float32
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert volume.source.dataobj.get_unscaled().dtype.newbyteorder("=") == np.int16
    assert volume.name == name


@pytest.mark.parametrize("write", [write_minc1, write_minc2])
def test_minc_gives_values_and_place(tmp_path, write):
    volume = load_volume(write(tmp_path / "scan.mnc"))
    assert np.array_equal(volume.data, HEAD.T * 2)
    assert volume.grid.affine == pytest.approx(AFFINE[:, [2, 1, 0, 3]])


def test_minc_frames_come_last(tmp_path):
    path = write_minc1(tmp_path / "scan.mnc", frames=2)
    assert np.array_equal(load_volume(path, frame=1).data, np.minimum(HEAD.T + 1, 120) * 2)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_headers_made_from_an_affine_say_scanner(tmp_path, name):
    header = load_volume(WRITERS[name](tmp_path / name)).source.header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    assert header.get_qform() == pytest.approx(AFFINE)


def test_shear_is_in_the_sform_only(tmp_path):
    directions = np.array([[1.0, 0, 0], [0.4, 1, 0], [0, 0, 1]])
    path = write_nrrd(tmp_path / "scan.nrrd", **{"space directions": directions, "space": "RAS"})
    volume = load_volume(path)
    assert volume.grid.affine[:3, :3] == pytest.approx(directions.T)
    assert int(volume.source.header["qform_code"]) == 0


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("LAS", (-1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
        ("scanner-xyz", (-1, -1, 1)),
    ],
)
def test_nrrd_spaces(tmp_path, space, signs):
    changes = {"space": space, "space directions": np.diag([1.0, 2, 3])}
    changes["space origin"] = [4.0, 5, 6]
    affine = load_volume(write_nrrd(tmp_path / "scan.nrrd", **changes)).grid.affine
    assert affine[:3, :3] == pytest.approx(np.diag([1.0, 2, 3]) * np.array(signs)[:, None])
    assert affine[:3, 3] == pytest.approx(np.array([4, 5, 6]) * signs)


def test_nrrd_with_spacings_only(tmp_path):
    nrrd.write(str(tmp_path / "scan.nrrd"), HEAD, {"spacings": [1.0, 2, 3]})
    assert load_volume(tmp_path / "scan.nrrd").grid.voxel_size == pytest.approx((1, 2, 3))


def test_nrrd_axis_of_frames_may_come_first(tmp_path):
    frames = np.stack([HEAD, HEAD + 1])
    directions = np.vstack([[np.nan] * 3, LPS[:3, :3].T])
    path = write_nrrd(
        tmp_path / "scan.nrrd",
        frames,
        **{"space directions": directions, "kinds": ["list"] + ["domain"] * 3},
    )
    assert np.array_equal(load_volume(path, frame=1).data, HEAD + 1)
    assert load_volume(path, frame=1).grid.affine == pytest.approx(AFFINE)


@pytest.mark.parametrize("make", [gzip.compress, gzip.decompress], ids=["zipped", "unzipped"])
def test_content_decides_on_gzip(tmp_path, make):
    name = "scan.nii" if make is gzip.compress else "scan.nii.gz"
    path = write_nifti(tmp_path / name)
    path.write_bytes(make(path.read_bytes()))
    assert np.array_equal(load_volume(path).data, HEAD)


def test_mgh_header_is_as_read(tmp_path):
    path = write_mgh(tmp_path / "scan.mgz")
    assert open_image(path).header.binaryblock == nib.load(path).header.binaryblock


def test_bytes_after_the_voxels_are_ignored(tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"more"))
    assert np.array_equal(load_volume(path).data, HEAD)


@pytest.mark.parametrize(
    ("name", "suffix", "partner"),
    [
        ("a.b.NII.gz", ".nii.gz", None),
        ("a.hdr", ".hdr", "a.img"),
        ("A.IMG", ".img", "A.HDR"),
        ("a.img.gz", ".img.gz", "a.hdr.gz"),
        ("a.txt", "", None),
    ],
)
def test_find_suffix_and_partner(name, suffix, partner):
    assert find_suffix(name) == suffix
    assert find_partner(Path(name)) == (Path(partner) if partner else None)
    assert suffix == "" or suffix in READABLE


def edit(offset, value, source="scan.nii", also=(0, b"")):
    """Writer of a file in which some bytes are replaced."""

    def write(path):
        WRITERS[source](path)
        packed = path.read_bytes()
        whole = bytearray(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        for start, new in ((offset, value), also):
            whole[start : start + len(new)] = new
        path.write_bytes(gzip.compress(whole) if path.suffix in (".gz", ".mgz") else whole)

    return write


def cut(keep, source):
    def write(path):
        WRITERS[source](path)
        path.write_bytes(path.read_bytes()[:keep])

    return write


def write_colour(path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4, 4, 3), "u1"), isVector=True), str(path))


def write_lone(path):
    write_nifti(path, kind=nib.Nifti1Pair)
    find_partner(path).unlink()


def damage(place):
    """Writer of a gzip file in which one byte is wrong."""

    def write(path):
        write_nifti(path)
        whole = bytearray(path.read_bytes())
        whole[place] ^= 255
        path.write_bytes(whole)

    return write


def write_half(path):
    noise = np.random.default_rng(0).integers(0, 30000, (40, 50, 60)).astype("i2")
    write_nifti(path, noise)
    path.write_bytes(path.read_bytes()[:100_000])


def i2(*values):
    return np.array(values, "<i2").tobytes()


def f4(*values):
    return np.array(values, "<f4").tobytes()


UNCODED = (252, i2(0, 0))
NRRD_KINDS = {"kinds": ["RGB-color", "domain", "domain"]}
FLAT = {"space directions": None, "space": None, "space origin": None, "kinds": None}
BAD_FILES = [
    ("missing.nii", lambda path: None, "no such file"),
    ("link.nii", lambda path: path.symlink_to(".git/annex/X"), r"not here: .git/annex/X\. Get it"),
    ("empty.nii.gz", lambda path: path.touch(), r"empty file \(0 bytes\)"),
    (
        "text.nii.gz",
        lambda path: path.write_text("hello"),
        "not an image, it starts with b'hello'",
    ),
    ("text.nii", lambda path: path.write_text("hello " * 200), "not an image"),
    ("text.mgz", lambda path: path.write_text("hello " * 200), "is no MGH file"),
    ("short.mgz", lambda path: path.write_text("hello"), "truncated, ends after 5 of 284"),
    ("text.mha", lambda path: path.write_text("hello " * 200), r"text.mha: cannot be read"),
    ("text.mnc", lambda path: path.write_text("hello " * 200), r"text.mnc: not an image"),
    ("text.hdr", lambda path: path.write_text("hello"), "text.img is missing beside it"),
    ("photo.png", lambda path: path.write_bytes(b"\x89PNG"), "expected NIfTI, MGH/MGZ, NRRD"),
    ("zip.nii.gz", lambda path: path.write_bytes(gzip.compress(b"junk")), "starts with b'junk'"),
    ("bad.nii.gz", lambda path: path.write_bytes(b"\x1f\x8bjunk" * 99), "damaged gzip"),
    ("half.nii.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08"), "truncated, its gzip stream"),
    ("sum.nii.gz", damage(-6), "damaged gzip"),
    ("block.nii.gz", damage(60), "damaged gzip"),
    ("noise.nii.gz", write_half, "truncated, not all of its 240000 bytes are there"),
    ("cut.nii.gz", cut(150, "scan.nii.gz"), r"cut.nii.gz: truncated, (ends after|its gzip)"),
    ("cut.nii", cut(500, "scan.nii"), "truncated, ends after 148 of 240 bytes"),
    ("cut2.nii", cut(200, "scan.nii"), "not an image"),
    ("cut.mgh", cut(400, "scan.mgh"), "truncated, ends after 116 of 240 bytes"),
    ("cut.nrrd", cut(300, "scan.nrrd"), "cut.nrrd: cannot be read"),
    ("cut.mha", cut(300, "scan.mha"), "cut.mha: cannot be read"),
    ("alone.hdr", write_lone, "alone.img is missing beside it"),
    ("alone.img", write_lone, "alone.hdr is missing beside it"),
    ("magic.nii", edit(344, b"ni1\0"), "only the header of a .hdr/.img pair"),
    ("huge.nii.gz", edit(42, i2(30000, 30000, 3000), "scan.nii.gz"), r"promises 5029.1 GiB"),
    ("huge.mgz", edit(4, b"\0\0\xff\xff" * 3, "scan.mgz"), "GiB"),
    ("dims.nii", edit(40, i2(0)), "0 dimensions in its header"),
    ("negative.nii", edit(44, i2(-5)), r"shape \(4, -5, 6\)"),
    ("none.nii", edit(44, i2(0)), r"shape \(4, 0, 6\)"),
    ("code.nii", edit(70, i2(9)), "data type code 9"),
    ("binary.nii", edit(70, i2(1)), "unknown voxels"),
    ("complex.nii", edit(70, i2(32)), r"complex voxels \(complex64\)"),
    ("rgb.nii", edit(70, i2(128)), "colour voxels"),
    ("offset.nii", edit(108, f4(np.nan)), "voxels start at byte nan"),
    ("offset2.nii", edit(108, f4(1e9)), r"voxels start at byte 1e\+09; expected 352"),
    ("version.mgh", edit(0, b"\0\0\0\2", "scan.mgh"), "version 2 with data type 4"),
    ("type.mgh", edit(20, b"\0\0\0\2", "scan.mgh"), "version 1 with data type 2"),
    ("rgb.nrrd", lambda path: write_nrrd(path, **NRRD_KINDS), "an axis of kind rgb-color"),
    ("flat.nrrd", lambda path: write_nrrd(path, HEAD[0], **FLAT), "2 axes in space"),
    ("block.nrrd", edit(0, b"NRRD0009", "scan.nrrd"), "block.nrrd: cannot be read"),
    ("rgb.mha", write_colour, "voxels of type vector of 8-bit unsigned"),
    ("flat.mha", lambda path: sitk.WriteImage(sitk.Image(4, 4, 2), str(path)), "2 dimensions"),
    ("other.h5", lambda path: h5py.File(path, "w").close(), "other.h5: cannot be read"),
]


@pytest.mark.parametrize(("name", "write", "message"), BAD_FILES, ids=[b[0] for b in BAD_FILES])
def test_refuses_bad_files(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ImageFileError, match=message) as caught:
        load_volume(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("zero.nii", edit(80, f4(0), also=UNCODED), r"voxel size \[0.0, 1.5, 3.0\]"),
        ("negative.nii", edit(84, f4(-1), also=UNCODED), r"\[2.0, -1.0, 3.0\]"),
        ("nan.nii", edit(84, f4(np.nan), also=UNCODED), r"\[2.0, nan, 3.0\]"),
        ("quatern.nii", edit(252, i2(1, 0) + f4(3, 3, 3)), "qform with quaternion"),
        ("sform.nii", edit(280, f4(0, 0, 0, 0)), "sform.nii: singular affine"),
        ("delta.mgh", edit(30, b"\0" * 4, "scan.mgh"), r"voxel size \[0.0, 1.5, 3.0\]"),
        (
            "flat.nrrd",
            lambda path: write_nrrd(path, **{"space directions": np.ones((3, 3))}),
            "flat.nrrd: singular affine",
        ),
    ],
)
def test_refuses_voxels_without_size_or_place(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(GeometryError, match=message):
        load_volume(tmp_path / name)


def test_series_of_a_file_without_series_is_refused(tmp_path):
    with pytest.raises(ImageFileError, match=r"no DICOM, so it has no series 3\. Omit --series"):
        load_volume(write_nifti(tmp_path / "scan.nii"), series=3)


def test_no_permission(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "scan.nii")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageFileError, match="no permission to read it"):
        open_image(path)


def test_no_memory(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "scan.nii")

    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(ImageFileError, match="not enough memory"):
        open_image(path)


@pytest.mark.parametrize("name", ["scan.nii", "scan.mgh", "scan.nrrd"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    keep=st.integers(0, 700),
)
def test_damage_never_lets_a_foreign_exception_out(tmp_path, name, edits, keep):
    path = tmp_path / name
    whole = bytearray(WRITERS[name](path).read_bytes())
    for offset, value in edits:
        whole[offset % len(whole)] = value
    path.write_bytes(whole[:keep])
    message = name
    try:
        load_volume(path)
    except DeskullError as error:
        message = str(error)
    assert name in message
    os.unlink(path)
