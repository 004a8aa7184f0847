"""Formats other than NIfTI whose headers leave out size or orientation: refused, or reported."""

import struct

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from deskull.errors import GeometryError
from deskull.image.volume import load_volume
from dicom_files import encode, write_edited, write_enhanced
from scans import META, write_analyze, write_mgh, write_minc2, write_nrrd

UNSIZED = "no voxel size in its header; 1 mm assumed"
AXIAL = "no orientation in its header (ImageOrientationPatient); slices assumed axial"


def test_mgh_without_orientation_is_taken_as_freesurfer_does(tmp_path):
    path = write_mgh(tmp_path / "scan.mgh")
    content = bytearray(path.read_bytes())
    content[28:30] = b"\0\0"
    path.write_bytes(content)
    volume = load_volume(path)
    assert volume.grid.orientation == "LIA"
    assert volume.grid.voxel_size == (1, 1, 1)
    note = "no orientation in its header; 1 mm and LIA assumed, as by FreeSurfer"
    assert volume.notes == (note,)


def test_analyze_without_a_mat_says_what_was_taken(tmp_path):
    path = write_analyze(tmp_path / "scan.hdr")
    assert load_volume(path).notes == ()
    (tmp_path / "scan.mat").unlink()
    volume = load_volume(path)
    assert volume.grid.affine == pytest.approx(nib.load(tmp_path / "scan.img").affine)
    assert "there is no .mat file beside it; axes assumed to be LAS" in volume.notes[0]


BARE = {"space": None, "space directions": None, "space origin": None, "kinds": None}


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_text_headers_without_orientation_are_taken_as_itk_does(tmp_path, name):
    path = tmp_path / name
    if name == "scan.nrrd":
        write_nrrd(path, spacings=[2, 1.5, 3], **BARE)
    else:
        text = "NDims = 3\nDimSize = 4 5 6\nElementType = MET_SHORT\nElementSpacing = 2 1.5 3\n"
        path.write_bytes(
            text.encode() + b"ElementDataFile = LOCAL\n" + np.arange(120, dtype="<i2").tobytes()
        )
    volume = load_volume(path)
    assert volume.grid.voxel_size == pytest.approx(sitk.ReadImage(str(path)).GetSpacing())
    assert volume.grid.orientation == "LPS"
    assert "assumed to be left, posterior, superior (LPS)" in volume.notes[0]


@pytest.mark.parametrize(
    ("sizes", "note"), [((-2, 1.5, 3), "minus sign was ignored"), ((0, 1, 1), "")]
)
def test_sizes_of_analyze_are_numbers_above_zero(tmp_path, sizes, note):
    path = write_analyze(tmp_path / "scan.hdr")
    content = bytearray(path.read_bytes())
    content[80:92] = struct.pack("<3f", *sizes)
    path.write_bytes(content)
    assert load_volume(path).notes == ()  # the .mat says where it lies
    (tmp_path / "scan.mat").unlink()
    if note:
        volume = load_volume(path)
        assert volume.grid.voxel_size == (2, 1.5, 3)
        assert note in volume.notes[1]
    else:
        with pytest.raises(GeometryError, match=r"voxel size \[0.0, 1.0, 1.0\]; expected numbers"):
            load_volume(path)


def write_unsized_metaimage(path):
    text = META + "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementDataFile = LOCAL\n"
    path.write_bytes(text.encode() + np.arange(120, dtype="<i2").tobytes())


def write_unsized_minc(path):
    write_minc2(path)
    with h5py.File(path, "r+") as file:
        del file["minc-2.0/dimensions/yspace"].attrs["step"]


def write_without(group, element, value):
    """Series of DICOM without an element."""
    gone = encode(group, element, b"DS", value)
    return write_edited(lambda _, content: content.replace(gone, b""))


OMITTED = {
    "scan.mha": (write_unsized_metaimage, UNSIZED),
    "scan.nrrd": (lambda path: write_nrrd(path, **BARE | {"space": "RAS"}), UNSIZED),
    "scan.mnc": (write_unsized_minc, UNSIZED),
    "unsized": (write_without(0x28, 0x30, "1.5\\2"), UNSIZED),
    "enhanced": (lambda path: write_enhanced(path, spacing=False), UNSIZED),
    "unturned": (write_without(0x20, 0x37, "1\\0\\0\\0\\1\\0"), AXIAL),
}


@pytest.mark.parametrize("name", OMITTED)
def test_a_size_or_orientation_that_is_left_out_is_reported(tmp_path, name):
    write, note = OMITTED[name]
    write(tmp_path / name)
    assert load_volume(tmp_path / name).notes == (note,)
