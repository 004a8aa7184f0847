"""Whether an image is still the one that it was, of whatever files it is made."""

import numpy as np
import pytest

from deskull.image.fingerprint import is_unchanged, make_fingerprint
from dicom_files import HEAD, make_slice, write_series

NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nendian: little\n"
    "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
    "space origin: (0,0,0)\ndata file: voxels.raw\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\n"
    "ElementDataFile = voxels.raw\n"
)


@pytest.mark.parametrize(("name", "head"), [("scan.nhdr", NRRD), ("scan.mhd", META)])
def test_the_voxels_beside_a_header_count(tmp_path, name, head):
    scan, voxels = tmp_path / name, tmp_path / "voxels.raw"
    scan.write_text(head, "utf-8")
    voxels.write_bytes(np.arange(64, dtype="<i2").tobytes())
    before = make_fingerprint(scan)
    assert is_unchanged(scan, before)
    assert before.bytes == len(head) + 128
    voxels.write_bytes(np.arange(1, 65, dtype="<i2").tobytes())
    assert not is_unchanged(scan, before)
    assert make_fingerprint(scan).sha256 != before.sha256


def test_a_file_that_is_being_written_into_a_folder_does_not_count(tmp_path):
    (tmp_path / "IM0001").write_bytes(b"DICM")
    before = make_fingerprint(tmp_path)
    (tmp_path / ".deskull-1.part").write_bytes(b"half")
    assert make_fingerprint(tmp_path) == before
    assert is_unchanged(tmp_path, before)


@pytest.mark.parametrize("given", ["", "3_0.dcm"])
def test_the_slices_of_dicom_count_and_nothing_beside_them(tmp_path, given):
    series = write_series(tmp_path / "series")
    before = make_fingerprint(series / given)
    assert before.bytes == sum(path.stat().st_size for path in series.iterdir())
    (series / "Thumbs.db").write_bytes(b"1")
    (series / "series_mask.nii.gz").write_bytes(b"2")
    assert is_unchanged(series / given, before)
    (series / "3_4.dcm").write_bytes(make_slice(4, head=HEAD[::-1]))
    assert not is_unchanged(series / given, before)


def test_slices_in_a_folder_that_is_a_link_count(tmp_path):
    series = write_series(tmp_path / "raw" / "series")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "series").symlink_to(series)
    assert make_fingerprint(tmp_path / "study").sha256 == make_fingerprint(series).sha256
