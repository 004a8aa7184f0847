"""What a DICOM file says of itself, against pydicom, for every way of writing one."""

import struct
import time
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from deskull.image.formats.dicom_header import is_dicom, look_at
from deskull.image.volume import load_volume
from dicom_files import HEAD, make_slice, write_series

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
WORDS = {  # keyword of pydicom by ours
    "image_type": "ImageType",
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
    "sop_instance": "SOPInstanceUID",
    "number": "SeriesNumber",
    "instance": "InstanceNumber",
    "position": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient",
    "rows": "Rows",
    "columns": "Columns",
    "bits": "BitsAllocated",
    "description": "SeriesDescription",
}


def make_dataset(nested=False):
    dataset = pydicom.dcmread(BytesIO(make_slice(0)))
    if nested:
        inner, outer = Dataset(), Dataset()
        inner.SeriesInstanceUID, inner.Rows = "9.9.9", 7
        outer.ReferencedInstanceSequence = Sequence([inner, inner])
        dataset.ReferencedImageSequence = Sequence([outer, Dataset()])
        for sequence in (dataset["ReferencedImageSequence"], outer["ReferencedInstanceSequence"]):
            sequence.is_undefined_length = True
    return dataset


def write(dataset, path, syntax):
    pixels = dataset.PixelData
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(pixels, "<i2").astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(
        path, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True
    )
    return path


def to_words(value):
    return (
        "\\".join(str(v) for v in value)
        if hasattr(value, "__iter__") and not isinstance(value, str)
        else str(value)
    )


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("lead", ["whole", "no preamble", "no meta"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name[:12])
def test_facts_are_those_that_pydicom_reads(tmp_path, syntax, lead, nested):
    dataset = make_dataset(nested)
    path = write(dataset, tmp_path / "scan", syntax)
    content = path.read_bytes()
    if lead != "whole":
        body = content.index(struct.pack(">HH" if syntax == ExplicitVRBigEndian else "<HH", 8, 8))
        path.write_bytes(content[132 if lead == "no preamble" else body :])
    one = look_at(path)
    assert one.damage == ""
    expected = {ours: to_words(dataset[theirs].value) for ours, theirs in WORDS.items()}
    assert {name: one.facts[name] for name in WORDS} == expected
    whole = pydicom.dcmread(BytesIO(one.lead + path.read_bytes()))
    assert whole.file_meta.TransferSyntaxUID == syntax
    assert whole.PixelData == dataset.PixelData


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name[:12])
def test_every_way_of_writing_is_converted(tmp_path, syntax):
    (tmp_path / "scan").mkdir()
    for number in range(HEAD.shape[2]):
        dataset = pydicom.dcmread(BytesIO(make_slice(number)))
        write(dataset, tmp_path / "scan" / str(number), syntax)
    assert np.array_equal(load_volume(tmp_path / "scan").data, HEAD)


def make_packed(path):
    dataset = make_dataset()
    dataset.PixelData = encapsulate([b"\1" * 100])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return write(dataset, path, JPEG2000Lossless).read_bytes()


def test_packed_voxels_are_whole_where_their_end_is_there(tmp_path):
    content = make_packed(tmp_path / "scan")
    assert look_at(tmp_path / "scan").damage == ""
    for size in (len(content) - 8, len(content) - 60):
        (tmp_path / "scan").write_bytes(content[:size])
        assert look_at(tmp_path / "scan").damage == "truncated within its compressed voxels"


def test_deflated_files_say_so(tmp_path):
    path = write(make_dataset(), tmp_path / "scan", DeflatedExplicitVRLittleEndian)
    assert look_at(path).damage.startswith("deflated, which the converter cannot read")


def test_what_is_no_image_is_none(tmp_path):
    dataset = make_dataset()
    for name in ("PixelData", "Rows", "Columns"):
        del dataset[name]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "report")
    assert look_at(tmp_path / "report") is None


def test_every_cut_of_a_file_is_told(tmp_path):
    content, path = make_slice(0), tmp_path / "scan"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        one = look_at(path)
        assert one.damage, size
    path.write_bytes(content)
    assert look_at(path).damage == ""


@pytest.mark.parametrize(
    "head",
    [b"", b"\2\0", b"\10\0\5\0", b"hello " * 99, b"\0" * 600, bytes(range(256)), b"\10\0" * 300],
    ids=len,
)
def test_what_is_no_dicom(head, tmp_path):
    assert not is_dicom(head)
    (tmp_path / "scan").write_bytes(head)
    assert look_at(tmp_path / "scan").damage in ("no DICOM", "empty")


def test_a_file_of_endless_elements_ends(tmp_path):
    path = write_series(tmp_path / "series") / "3_0.dcm"
    element = struct.pack("<HH2sH", 0x29, 0x10, b"LO", 0)
    path.write_bytes(make_slice(0)[:400] + element * 3_000_000)
    began = time.process_time()
    assert look_at(path).damage
    assert time.process_time() - began < 15
