"""What a DICOM file says of itself, against GDCM, for every way of writing one."""

import struct
import time

import numpy as np
import pytest
import SimpleITK as sitk

from deskull.image.formats.dicom_header import is_dicom, look_at
from deskull.image.volume import load_volume
from dicom_files import HEAD, PIXELS, SYNTAXES, encode, make_slice, write_series

WORDS = {  # GDCM's keys by ours
    "image_type": "0008|0008",
    "sop_class": "0008|0016",
    "sop_instance": "0008|0018",
    "study_date": "0008|0020",
    "description": "0008|103e",
    "participant": "0010|0020",
    "study": "0020|000d",
    "series": "0020|000e",
    "number": "0020|0011",
    "instance": "0020|0013",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "bits": "0028|0100",
}


def read_with_gdcm(path):
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return {ours: reader.GetMetaData(theirs).strip() for ours, theirs in WORDS.items()}


def make_nested(syntax):
    """Sequences of unknown length in one another, which name another series."""

    def wrap(content, is_open):
        order = ">" if syntax == "big" else "<"
        length = 0xFFFFFFFF if is_open else len(content)
        end = struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0) if is_open else b""
        return struct.pack(f"{order}HHI", 0xFFFE, 0xE000, length) + content + end

    other = encode(0x20, 0x0E, b"UI", "9.9.9", syntax)
    inner = wrap(other, is_open=True) + wrap(other, is_open=False) + wrap(b"", is_open=True)
    outer = encode(8, 0x114A, b"SQ", inner, syntax, open_end=True)
    return encode(8, 0x1140, b"SQ", wrap(outer, True) + wrap(outer, False), syntax, open_end=True)


def put_before(content, group, element, more, syntax):
    """Put bytes before an element."""
    start = content.index(struct.pack(">HH" if syntax == "big" else "<HH", group, element))
    return content[:start] + more + content[start:]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("lead", ["whole", "no preamble", "no meta"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_facts_are_those_that_gdcm_reads(tmp_path, syntax, lead, nested):
    content = make_slice(0, syntax=syntax)
    if nested:
        content = put_before(content, 0x10, 0x10, make_nested(syntax), syntax)
    (tmp_path / "whole").write_bytes(content)
    body = content.index(struct.pack(">HH" if syntax == "big" else "<HH", 8, 8))
    path = tmp_path / "scan"
    path.write_bytes(content[{"whole": 0, "no preamble": 132, "no meta": body}[lead] :])
    one = look_at(path)
    assert one.damage == ""
    assert {name: one.facts[name] for name in WORDS} == read_with_gdcm(tmp_path / "whole")
    if lead != "whole":  # what comes first for the converter makes GDCM read it too
        path.write_bytes(one.lead + path.read_bytes())
        assert read_with_gdcm(path) == read_with_gdcm(tmp_path / "whole")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_way_of_writing_is_converted(tmp_path, syntax):
    write_series(tmp_path / "scan", syntax=syntax)
    assert np.array_equal(load_volume(tmp_path / "scan").data, HEAD)


def make_packed():
    """A file whose voxels are packed, in two fragments behind an empty table."""
    content = make_slice(0, syntax="1.2.840.10008.1.2.4.90")
    items = [b"", b"\1" * 60, b"\2" * 40]
    fragments = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return content[: content.index(PIXELS)] + encode(0x7FE0, 0x10, b"OB", fragments, open_end=True)


def test_packed_voxels_are_whole_where_their_end_is_there(tmp_path):
    content, path = make_packed(), tmp_path / "scan"
    path.write_bytes(content)
    assert look_at(path).damage == ""
    for size in (len(content) - 8, len(content) - 60):
        path.write_bytes(content[:size])
        assert look_at(path).damage == "truncated within its compressed voxels"


def test_deflated_files_say_so(tmp_path):
    (tmp_path / "scan").write_bytes(make_slice(0, syntax="1.2.840.10008.1.2.1.99"))
    assert look_at(tmp_path / "scan").damage.startswith("deflated, which the converter cannot")


def test_what_is_no_image_is_none(tmp_path):
    content = make_slice(0)
    report = content[: content.index(struct.pack("<HH", 0x28, 2))]
    mr, text = (encode(8, 0x16, b"UI", f"1.2.840.10008.5.1.4.1.1.{end}") for end in ("4", "88.11"))
    (tmp_path / "report").write_bytes(report.replace(mr, text))
    assert look_at(tmp_path / "report") is None


def test_a_file_cut_anywhere_is_reported(tmp_path):
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
