"""Reading: every format with known values and places, and every way a file can be wrong."""

import bz2
import gzip
import tracemalloc
import zlib
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from deskull.errors import GeometryError, ImageFileError
from deskull.image.derived import make_brain_image, make_mask_image
from deskull.image.file_names import READABLE, find_suffix
from deskull.image.formats import open_image
from deskull.image.lookup import find_partner
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from scans import (
    AFFINE,
    HEAD,
    META,
    WRITERS,
    write_mgh,
    write_minc1,
    write_minc2,
    write_nifti,
    write_nrrd,
)


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


def test_minc_with_a_garbled_word_for_even_spacing_is_read_in_silence(tmp_path):
    path = write_minc2(tmp_path / "scan.mnc")
    with h5py.File(path, "a") as file:
        for axis in file["minc-2.0/dimensions"].values():
            axis.attrs["spacing"] = np.bytes_("xspace")
    volume = load_volume(path)  # a warning is an error in these tests
    assert volume.grid.affine == pytest.approx(AFFINE[:, [2, 1, 0, 3]])


def test_minc_frames_come_last(tmp_path):
    path = write_minc1(tmp_path / "scan.mnc", frames=2)
    assert np.array_equal(load_volume(path, frame=1).data, np.minimum(HEAD.T + 1, 120) * 2)


def write_bomb(path):
    """A few kB that unpack to 64 MiB behind a header that promises 240 bytes of them."""
    if path.suffix == ".gz":
        write_nifti(tmp := path.with_name("small.nii"))
        path.write_bytes(gzip.compress(tmp.read_bytes() + bytes(2**26)))
    elif path.suffix == ".nrrd":
        pack = {"gzip": gzip.compress, "bzip2": bz2.compress}[path.stem]
        write_nrrd(path, encoding=path.stem)
        text = path.read_bytes().partition(b"\n\n")[0]
        path.write_bytes(text + b"\n\n" + pack(HEAD.tobytes("F") + bytes(2**26)))
    else:
        packed = zlib.compress(HEAD.tobytes("F") + bytes(2**26))
        text = f"{META}CompressedData = True\nElementDataFile = LOCAL\n"
        path.write_bytes(text.encode() + packed)
    return path


@pytest.mark.parametrize("name", ["scan.nii.gz", "gzip.nrrd", "bzip2.nrrd", "scan.mha"])
def test_a_bomb_takes_no_more_than_its_header_promises(tmp_path, name):
    path = write_bomb(tmp_path / name)
    tracemalloc.start()
    volume = load_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(volume.data, HEAD)
    assert peak < 2**24


def test_mgh_tags_are_kept(tmp_path):
    path = write_mgh(tmp_path / "scan.mgz")
    tags = b"\0\0\0\3" + (5).to_bytes(8, "big") + b"hello"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + tags))
    image = open_image(path)
    for made in (make_mask_image(HEAD > 9, image), make_brain_image(HEAD > 9, image)):
        save_image(made, tmp_path / "out.mgz")
        assert gzip.decompress((tmp_path / "out.mgz").read_bytes()).endswith(tags)
    save_image(made, tmp_path / "out.nii")
    assert tags not in (tmp_path / "out.nii").read_bytes()


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
HUGE = META.replace("4 5 6", "1000 1000 1000") + "ElementDataFile = LOCAL\n"
LOST = META + "ElementDataFile = lost.raw\n"
DEVICE = META + "ElementDataFile = /dev/zero\n"
MANY = META + "ElementDataFile = %d.raw 1 1000000 1\n"
BAD_FILES = [
    ("missing.nii", lambda path: None, "no such file"),
    ("link.nii", lambda path: path.symlink_to(".git/annex/X"), r"only a git-annex link\. Get it"),
    ("empty.nii.gz", lambda path: path.touch(), r"empty file \(0 bytes\)"),
    (
        "text.nii.gz",
        lambda path: path.write_text("hello"),
        "not an image, it starts with b'hello'",
    ),
    ("text.nii", lambda path: path.write_text("hello " * 200), "not an image"),
    ("text.mgz", lambda path: path.write_text("hello " * 200), "is no MGH file"),
    ("short.mgz", lambda path: path.write_text("hello"), "truncated, ends after 5 of 284"),
    ("text.mha", lambda path: path.write_text("hello " * 200), "text.mha: no MetaImage"),
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
    ("cut.mha", cut(350, "scan.mha"), "cut.mha: truncated, ends after"),
    ("alone.hdr", write_lone, "alone.img is missing beside it"),
    ("alone.img", write_lone, "alone.hdr is missing beside it"),
    ("magic.nii", edit(344, b"ni1\0"), "only the header of a .hdr/.img pair"),
    ("huge.nii.gz", edit(42, i2(30000, 30000, 3000), "scan.nii.gz"), r"promises 5029.14 GiB"),
    ("full.nii.gz", edit(42, i2(900, 900, 900), "scan.nii.gz"), "promises 1458000000 bytes"),
    ("full.mha", lambda path: path.write_text(HUGE), "promises 2000000000 bytes"),
    ("lost.mhd", lambda path: path.write_text(LOST), "its voxels are missing; expected them in"),
    ("device.mhd", lambda path: path.write_text(DEVICE), "missing; expected them in /dev/zero"),
    ("many.mhd", lambda path: path.write_text(MANY), "its voxels in 1000000 files"),
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
    ("rgb.mha", write_colour, "3 numbers of type MET_UCHAR a voxel"),
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
