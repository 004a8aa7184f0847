"""DICOM through dcm2niix: values and place, which image is meant, and what stays private."""

import errno
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deskull.errors import ImageFileError
from deskull.image import archives
from deskull.image.derived import make_brain_image
from deskull.image.formats.dicom_series import find_files, find_series
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from dicom_files import (
    AFFINE,
    HEAD,
    PERSON,
    PIXELS,
    SHAPE,
    UID,
    encode,
    make_slice,
    write_edited,
    write_series,
    zip_folder,
)

OTHER = HEAD[::-1] + 1000


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series")


def test_folder(series):
    volume = load_volume(series)
    assert np.array_equal(volume.data, HEAD)
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert volume.name == "series"
    assert volume.notes == ()


# --- which image is meant

ANOTHER = {  # what has the series number of the first image and is another
    "study": {"study": f"{UID}.9", "uid": f"{UID}.9.3", "day": "20250102"},
    "patient": {"study": f"{UID}.9", "uid": f"{UID}.9.3", "patient": "Roe^Jim"},
    "day without other UIDs": {"day": "20250102"},
    "series": {"uid": f"{UID}.4"},
    "phase": {"kind": "ORIGINAL\\PRIMARY\\P"},
    "derived": {"kind": "DERIVED\\SECONDARY\\MPR"},
    "echo": {"add": [(0x18, 0x86, b"IS", 2), (0x18, 0x81, b"DS", 20)]},
    "GE's phase": {"add": [(0x43, 0x102F, b"SS", struct.pack("<h", 1))]},
    "plane": {"turn": "1\\0\\0\\0\\0\\-1"},
}


@pytest.mark.parametrize("kind", ANOTHER)
def test_a_file_stands_for_its_own_image(tmp_path, kind):
    write_series(tmp_path, "a")
    write_series(tmp_path, "b", head=OTHER, **ANOTHER[kind])
    assert np.array_equal(load_volume(tmp_path / "a_2.dcm").data, HEAD)
    if kind != "plane":  # whose slices would lie in one another
        assert np.array_equal(load_volume(tmp_path / "b_2.dcm").data, OTHER)


@pytest.mark.parametrize("kind", ANOTHER)
def test_images_of_one_number_are_listed_and_chosen_by_their_label(tmp_path, kind):
    write_series(tmp_path / "a" / "deep")
    write_series(tmp_path / "b", head=OTHER, **ANOTHER[kind])
    with pytest.raises(ImageFileError, match=r"2 DICOM series; .*: 3\.1 t1 .*; 3\.2 t1 ") as error:
        load_volume(tmp_path)
    with pytest.raises(ImageFileError, match="2 DICOM series; expected one"):
        load_volume(tmp_path, series=3)
    first, second = str(error.value).split("3.1 t1 ")[1].split("; 3.2 t1 ")
    assert first != second.removesuffix(".")
    if kind != "plane":
        chosen = [load_volume(tmp_path, series=label).data for label in ("3.1", "3.2")]
        assert sorted(data.max() for data in chosen) == [HEAD.max(), OTHER.max()]


def test_the_list_says_how_images_of_one_number_differ(tmp_path):
    write_series(tmp_path, "a", **ANOTHER["phase"])
    write_series(tmp_path, "b", **ANOTHER["study"])
    write_series(tmp_path, "c", **ANOTHER["echo"])
    listed = [str(one) for one in find_series(find_files(tmp_path))]
    assert listed == [
        "3.1 t1 (8 x 10 x 6, magnitude, echo 2, TE 20 ms, study of 2024-01-02)",
        "3.2 t1 (8 x 10 x 6, phase, echo 0, TE 0 ms, study of 2024-01-02)",
        "3.3 t1 (8 x 10 x 6, magnitude, echo 0, TE 0 ms, study of 2025-01-02)",
    ]


@pytest.mark.parametrize("number", [3, "3"])
def test_series_is_chosen_by_number(series, number):
    write_series(series, series=7, description="t2")
    assert np.array_equal(load_volume(series, series=number).data, HEAD)


def test_a_label_overrules_the_file(series):
    write_series(series, series=7, head=OTHER)
    assert np.array_equal(load_volume(series / "3_0.dcm", series=7).data, OTHER)


def test_a_lone_link_stands_for_the_series_it_leads_to(series, tmp_path):
    (tmp_path / "link.dcm").symlink_to(series / "3_0.dcm")
    assert np.array_equal(load_volume(tmp_path / "link.dcm").data, HEAD)


def test_links_stand_for_themselves(series, tmp_path):
    (tmp_path / "links").mkdir()
    for file in series.iterdir():
        file.rename(tmp_path / f"{file.stem}-key")
        (tmp_path / "links" / file.name).symlink_to(tmp_path / f"{file.stem}-key")
    assert np.array_equal(load_volume(tmp_path / "links" / "3_0.dcm").data, HEAD)


def test_files_without_any_uid(tmp_path):
    for number in range(SHAPE[2]):
        content = make_slice(number)
        for element in (0x0D, 0x0E):
            start = content.index(struct.pack("<HH", 0x20, element))
            size = 8 + int.from_bytes(content[start + 6 : start + 8], "little")
            content = content[:start] + content[start + size :]
        (tmp_path / f"{number}.dcm").write_bytes(content)
    volume = load_volume(tmp_path)
    assert np.array_equal(volume.data, HEAD)
    assert volume.notes == ()
    (tmp_path / "3.dcm").write_bytes(b"")
    with pytest.raises(ImageFileError, match="6 files of series 3, 5 can be read"):
        load_volume(tmp_path / "0.dcm")


def test_a_file_is_not_looked_for_in_other_folders(series):
    write_series(series / "other", head=OTHER)
    assert np.array_equal(load_volume(series / "3_0.dcm").data, HEAD)


def test_a_series_in_two_folders_is_one(series, tmp_path):
    (tmp_path / "more").mkdir()
    for number in (1, 4, 5):
        (series / f"3_{number}.dcm").rename(tmp_path / "more" / f"{number}")
    assert np.array_equal(load_volume(tmp_path).data, HEAD)


def test_a_localiser_is_three_images(tmp_path):
    turns = ("1\\0\\0\\0\\1\\0", "1\\0\\0\\0\\0\\-1", "0\\1\\0\\0\\0\\-1")
    for n, turn in enumerate(turns):
        for number in range(3):
            place = "\\".join(str(4 * number if axis == 2 - n else -7) for axis in range(3))
            content = make_slice(number, turn=turn, place=place, instance=3 * n + number + 1)
            (tmp_path / f"{n}{number}").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"6 x 3|8 x 10 x 3, axial.* coronal.* sagittal"):
        load_volume(tmp_path)
    assert load_volume(tmp_path / "00").data.max() == HEAD[..., 2].max()
    assert load_volume(tmp_path / "10").grid.orientation[2] in "AP"


def test_a_screenshot_is_no_choice(series):
    samples = [encode(0x28, 2, b"US", struct.pack("<H", n)) for n in (1, 3)]
    colour = make_slice(0, series=9).replace(*samples)
    (series / "screen.dcm").write_bytes(colour)
    assert np.array_equal(load_volume(series).data, HEAD)


# --- where files lie, and how they are packed


def test_folders_of_any_depth(tmp_path):
    write_series(tmp_path.joinpath(*"abcdefghijkl"))
    assert np.array_equal(load_volume(tmp_path).data, HEAD)


def test_more_files_than_one_scan_can_have(series, monkeypatch):
    monkeypatch.setattr("deskull.image.formats.dicom_series.MAX_FILES", 5)
    with pytest.raises(ImageFileError, match=r"more than 5 files; expected those of one scan"):
        load_volume(series)


def test_links_that_lead_back_end(series):
    (series / "again").symlink_to(series)
    (series / "up").symlink_to(series.parent)
    assert np.array_equal(load_volume(series).data, HEAD)


def test_a_named_pipe_in_the_folder_is_not_waited_for(series):
    os.mkfifo(series / "pipe")
    assert np.array_equal(load_volume(series).data, HEAD)


def test_a_dicomdir_stands_for_what_lies_beside_it_and_below(series):
    one = make_slice(0)
    kinds = encode(8, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.4"), b""
    (series.parent / "DICOMDIR").write_bytes(one[: one.index(PIXELS)].replace(*kinds)[:300])
    assert np.array_equal(load_volume(series.parent / "DICOMDIR").data, HEAD)


def strip_lead(content, keep_meta):
    """A slice without preamble, and without the elements before its data set."""
    return content[132 if keep_meta else content.index(struct.pack("<HH", 8, 8)) :]


@pytest.mark.parametrize("keep_meta", [True, False])
@pytest.mark.parametrize("name", ["3_0.dcm", "IM0"])
def test_files_without_preamble(tmp_path, keep_meta, name):
    write_edited(lambda n, content: strip_lead(content, keep_meta))(tmp_path / "series")
    (tmp_path / "series" / "3_0.dcm").rename(tmp_path / "series" / name)
    for path in (tmp_path / "series", tmp_path / "series" / name):
        assert np.array_equal(load_volume(path).data, HEAD)


def pack_zip(series, path):
    zip_folder(series, path)


def pack_tar(mode, links=False):
    def pack(series, path):
        with tarfile.open(path, mode, format=tarfile.USTAR_FORMAT) as archive:
            for file in sorted(series.iterdir()):
                archive.add(file, f"../../escape/{file.name}")
            if links:
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(link)

    return pack


PACKS = {
    "scan.zip": pack_zip,
    "scan.tar": pack_tar("w", links=True),
    "scan.tgz": pack_tar("w:gz"),
    "scan.tar.gz": pack_tar("w:gz"),
    "scan.tar.bz2": pack_tar("w:bz2"),
    "scan.tar.xz": pack_tar("w:xz"),
    "scan": pack_tar("w:gz"),
}


@pytest.mark.parametrize("name", PACKS)
def test_archives_are_read_and_write_nowhere_else(series, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / name
    PACKS[name](series, path)
    assert np.array_equal(load_volume(path).data, HEAD)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


@pytest.mark.parametrize("name", ["scan.zip", "scan.tgz"])
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [("MAX_BYTES", 1000, r"more than 0 MiB in it"), ("MAX_FILES", 5, "more than 5 files")],
)
def test_archives_that_hold_too_much_are_refused(
    series, tmp_path, monkeypatch, name, limit, value, message
):
    PACKS[name](series, tmp_path / name)
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(ImageFileError, match=f"{name}: {message}"):
        load_volume(tmp_path / name)


def test_an_archive_of_another_image_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("sub-01/sub-01_T1w.nii.gz", b"1234")
    with pytest.raises(ImageFileError, match=r"an archive with 1 images \(sub-01/sub-01_T1w.nii"):
        load_volume(tmp_path / "scan.zip")


# --- what does no harm, and what stays private


def test_outputs_beside_the_slices_do_no_harm(series):
    volume = load_volume(series)
    save_image(make_brain_image(HEAD > 9, volume.source), series / "scan_brain.nii.gz")
    again = load_volume(series)
    assert np.array_equal(again.data, HEAD)
    assert again.notes == ()


def test_output_holds_no_name_date_or_path(series, tmp_path):
    path = tmp_path / "out.nii"
    save_image(make_brain_image(HEAD > 9, load_volume(series).source), path)
    header = path.read_bytes()[:352]
    fields = load_volume(path).source.header
    names = ("descrip", "aux_file", "db_name", "intent_name", "data_type")
    assert [fields[name].item() for name in names] == [b""] * 5
    for private in (PERSON, "Doe", "20240102", str(tmp_path)):
        assert private.encode() not in header


@pytest.mark.parametrize("name", ["series", "scan.tgz"])
def test_nothing_stays_in_the_temporary_folder(series, tmp_path, monkeypatch, name):
    pack_tar("w:gz")(series, tmp_path / "scan.tgz")
    (tmp_path / "private").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    load_volume(tmp_path / name)
    assert list((tmp_path / "private").iterdir()) == []


@pytest.mark.skipif("DESKULL_TEST_DATA" not in os.environ, reason="DESKULL_TEST_DATA is not set")
def test_real_scan_is_that_of_the_converted_file():
    data = Path(os.environ["DESKULL_TEST_DATA"])
    volume = load_volume(data / "dicom" / "decubitus_supine")
    expected = load_volume(data / "heads" / "decub_sup_T1w.nii.gz")
    assert volume.grid.matches(expected.grid)
    assert np.array_equal(volume.data, expected.data)


def test_a_hidden_slice_that_is_given_stands_for_its_image(series):
    (series / "3_0.dcm").rename(series / ".3_0.dcm")
    assert np.array_equal(load_volume(series / ".3_0.dcm").data, HEAD)


def test_a_zip_at_the_end_of_a_tar_does_not_hide_it(series, tmp_path):
    zip_folder(series, tmp_path / "last.zip")
    with tarfile.open(tmp_path / "scan.tar", "w") as tar:
        for path in (*sorted(series.iterdir()), tmp_path / "last.zip"):
            tar.add(path, path.name)
    assert np.array_equal(load_volume(tmp_path / "scan.tar").data, HEAD)


def test_a_full_temporary_folder_is_not_blamed_on_the_scan(series, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deskull.image.archives._copy", fail)
    with pytest.raises(ImageFileError, match=r"a.zip: no space in .*set TMPDIR to a larger fol"):
        load_volume(zip_folder(series, tmp_path / "a.zip"))
