"""A DICOM image that is not all there: never stripped without a word."""

import struct

import numpy as np
import pytest

from deskull.errors import ImageFileError
from deskull.image.volume import load_volume
from dicom_files import HEAD, PIXELS, SHAPE, UID, encode, make_slice, write_edited, write_series

COLUMNS = [encode(0x28, 0x11, b"US", struct.pack("<H", n)) for n in (8, 4)]
JUNK = encode(0x11, 0x10, b"LO", "JUNK") + encode(0x11, 0x1001, b"OB", bytes(range(256)) * 8)
THICKNESS = struct.pack("<HH", 0x18, 0x50)


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series")


# --- slices that cannot be read

CUTS = {
    "voxels cut": (lambda c: c[:-40], "truncated: 120 of 160 bytes of voxels"),
    "no voxels": (lambda c: c[: c.index(PIXELS)], "without voxels"),
    "header cut": (lambda c: c[:400], "cut short within its header"),
    "head of the header": (lambda c: c[:150], "cut short within its header"),
    "empty": (lambda c: b"", "empty"),
    "begin cut": (lambda c: c[200:], "no DICOM"),
    "zeros": (lambda c: c[:450] + b"\0" * (len(c) - 450), "cut short within its header"),
    "short of its shape": (
        lambda c: c[: c.index(PIXELS)] + encode(0x7FE0, 0x10, b"OW", b"\1" * 100),
        "truncated: 100 of 160 bytes of voxels",
    ),
}


@pytest.mark.parametrize("number", [0, 3, 5])
@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_slice_is_reported_with_the_counts(series, cut, number):
    file, (edit, why) = series / f"3_{number}.dcm", CUTS[cut]
    file.write_bytes(edit(file.read_bytes()))
    with pytest.raises(ImageFileError) as caught:
        load_volume(series)
    message = str(caught.value)
    assert message.startswith("series: 6 files of series 3, 5 can be read; not ")
    assert f"3_{number}.dcm ({why})" in message
    assert "move them away to do without" in message


def test_several_damaged_slices_are_counted(series):
    for number in range(5):
        (series / f"3_{number}.dcm").write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"6 files .* 1 can be .*\(empty\) and 2 more\. Copy"):
        load_volume(series)


def test_one_damaged_file_reports_the_others_of_its_series(series):
    (series / "3_4.dcm").write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"3_1.dcm: 6 files of series 3, 5 can be read"):
        load_volume(series / "3_1.dcm")


def test_a_damaged_file_that_was_given_is_reported(series):
    file = series / "3_4.dcm"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ImageFileError, match=r"3_4.dcm: truncated: 120 of 160 bytes .*\. Copy"):
        load_volume(file)


def test_damage_of_another_series_does_not_matter(series, tmp_path):
    write_series(tmp_path / "other", series=7)
    (tmp_path / "other" / "7_2.dcm").write_bytes(b"")
    assert np.array_equal(load_volume(tmp_path, series=3).data, HEAD)
    with pytest.raises(ImageFileError, match=r"6 files of series 7, 5 can be read"):
        load_volume(tmp_path, series=7)


def test_a_whole_copy_stands_for_a_damaged_one(series):
    (series / "copy.dcm").write_bytes(make_slice(2))
    (series / "3_2.dcm").write_bytes(make_slice(2)[:-40])
    assert np.array_equal(load_volume(series).data, HEAD)


@pytest.mark.parametrize("name", ["IM_{}", "MR.1.2.{}.77", "{:032x}", "{:03d}.IMA"])
def test_a_damaged_slice_is_known_by_its_name(tmp_path, name):
    for number in range(SHAPE[2]):
        content = b"" if number == 5 else make_slice(number)
        (tmp_path / name.format(number * 0x1B3A57 + 1)).write_bytes(content)
    with pytest.raises(ImageFileError, match=r"6 files of series 3, 5 can be read"):
        load_volume(tmp_path)


def test_missing_content_of_slices_is_reported_with_the_remedy(series):
    (series / "3_1.dcm").unlink()
    (series / "3_1.dcm").symlink_to("../.git/annex/objects/aa/bb/KEY/KEY")
    (series / "3_2.dcm").write_text("/annex/objects/MD5E-s1234--abc.dcm\n")
    with pytest.raises(
        ImageFileError, match=r"4 can be read; not 3_1.dcm \(a git-annex link\)"
    ) as e:
        load_volume(series)
    assert f"Get it with `datalad get {series / '3_1.dcm'}`" in str(e.value)


# --- slices that are not there


@pytest.mark.parametrize("gone", [[2], [1, 3], [2, 3]])
def test_a_gap_is_reported_and_the_resampled_image_can_be_chosen(series, gone):
    for number in gone:
        (series / f"3_{number}.dcm").unlink()
    with pytest.raises(ImageFileError, match=r"uneven distances; about \d.*--series 3_Eq_1\."):
        load_volume(series)
    with pytest.raises(ImageFileError, match="uneven distances"):
        load_volume(series, series=3)
    volume = load_volume(series, series="3_Eq_1")
    assert volume.data.shape[:2] == SHAPE[:2]
    assert any("uneven distances" in note for note in volume.notes)


def test_one_slice_elsewhere_is_not_called_a_gap(tmp_path):
    def edit(number, content):
        before, after = (encode(0x20, 0x32, b"DS", f"-8\\-7\\{z}") for z in (-4, -2.1))
        return content.replace(before, after) if number == 2 else content

    write_edited(edit)(tmp_path / "series")
    with pytest.raises(ImageFileError, match=r"2.1 to 5.9 mm, the widest beside 3_1.dcm"):
        load_volume(tmp_path / "series")


@pytest.mark.parametrize("gone", [[0], [0, 1]])
def test_missing_first_slices_leave_a_note(series, gone):
    for number in gone:
        (series / f"3_{number}.dcm").unlink()
    volume = load_volume(series)
    assert volume.data.shape[2] == SHAPE[2] - len(gone)
    assert volume.notes[0].startswith("slices may be missing: no file has the instance number 1")


def test_incomplete_frames_are_reported(tmp_path):
    for frame in range(3):
        for number in range(SHAPE[2] - (2 if frame == 2 else 0)):
            content = make_slice(
                number, instance=frame * 6 + number + 1, add=[(0x20, 0x12, b"IS", frame + 1)]
            )
            (tmp_path / f"{frame}_{number}").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"16 files at 6 places, 2 to 3 at each"):
        load_volume(tmp_path)


def test_whole_frames_are_4d(tmp_path):
    for frame in range(3):
        for number in range(SHAPE[2]):
            content = make_slice(
                number,
                head=HEAD + frame,
                instance=frame * 6 + number + 1,
                add=[(0x20, 0x12, b"IS", frame + 1)],
            )
            (tmp_path / f"{frame}_{number}").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"--frame N \(0 to 2\)"):
        load_volume(tmp_path)
    assert np.array_equal(load_volume(tmp_path, frame=1).data, HEAD + 1)


def test_other_files_beside_the_slices_leave_a_note_where_they_may_be_slices(tmp_path, caplog):
    place = tmp_path / "series"
    write_edited(lambda n, c: c.replace(THICKNESS, JUNK + THICKNESS, 1))(place)
    (place / "DICOMDIR").write_bytes(b"junk" * 100)
    (place / "notes.txt").write_text("hello " * 50)
    (place / ".hidden.dcm").touch()
    assert load_volume(place).notes == ()
    (place / "empty.dcm").touch()
    volume = load_volume(place)
    assert np.array_equal(volume.data, HEAD)
    assert volume.notes == ("1 files beside its slices cannot be read: empty.dcm (empty)",)
    assert caplog.messages == [f"series: {volume.notes[0]}."]


def test_copies_count_once(series):
    for number in range(SHAPE[2]):
        (series / f"again_{number}.dcm").write_bytes(make_slice(number))
    volume = load_volume(series)
    assert np.array_equal(volume.data, HEAD)
    assert volume.notes == ("6 files are copies of others and were left out",)


def write_tilted(path):
    """CT whose gantry is tilted such that each slice lies one row before the last."""
    tilt = np.degrees(np.arctan(1.5 / 4))
    study = encode(0x20, 0x0D, b"UI", UID)

    def edit(number, content):
        before, after = (
            encode(0x20, 0x32, b"DS", f"-8\\{y:g}\\{number * 4 - 12}")
            for y in (-7, -7 - 1.5 * number)
        )
        content = content.replace(before, after)
        content = content.replace(study, encode(0x18, 0x1120, b"DS", f"{-tilt:.3f}") + study)
        content = content.replace(b"1.2.840.10008.5.1.4.1.1.4\0", b"1.2.840.10008.5.1.4.1.1.2\0")
        return content.replace(encode(8, 0x60, b"CS", "MR"), encode(8, 0x60, b"CS", "CT"))

    write_edited(edit)(path)


def test_a_tilted_gantry_is_reported_and_the_upright_image_can_be_chosen(tmp_path):
    place = tmp_path / "series"
    write_tilted(place)
    with pytest.raises(ImageFileError, match=r"tilted gantry.*--series 3_Tilt_1\."):
        load_volume(place)
    volume = load_volume(place, series="3_Tilt_1")
    assert volume.notes == (
        "its slices were sheared (tilted gantry); the image resampled by dcm2niix was used",
    )
    assert volume.grid.voxel_size == pytest.approx((2.0, 1.5, 4.0))
    for number in range(SHAPE[2]):  # a row off at most, as dcm2niix rounds
        middle = HEAD[0, 4, number]
        (row,) = np.flatnonzero(volume.data[0, :, number] == middle)
        y = volume.grid.to_mm((0, row, number))[1]
        assert y == pytest.approx(-0.5 + 1.5 * number, abs=1.51)


# --- paths without an image


def write_text(path):
    path.mkdir()
    (path / "notes.txt").write_text("no image")


def write_images(path):
    path.mkdir()
    (path / "sub-01.nii.gz").touch()


def write_links(path):
    path.mkdir()
    (path / "1.dcm").symlink_to(".git/annex/1")


def write_two(path):
    write_series(path)
    write_series(path, series=7, description="t2")


LISTED = r"3 t1 \(8 x 10 x 6\); 7 t2 \(8 x 10 x 6\)"


@pytest.mark.parametrize(
    ("name", "write", "options", "message"),
    [
        ("empty", lambda path: path.mkdir(), {}, "empty: a folder with no DICOM found in it"),
        ("text", write_text, {}, "a folder with no DICOM found in it"),
        ("bids", write_images, {}, r"1 images \(sub-01.nii.gz\) and no DICOM.* deskull batch "),
        ("annex", write_links, {}, r"1 files whose content is missing \(1.dcm .*`datalad get "),
        ("two", write_two, {}, f"2 DICOM series; .*Choose one with --series N.*{LISTED}"),
        ("two", write_two, {"series": 5}, f"two: no DICOM series 5.*{LISTED}"),
        ("two", write_two, {"series": "3_x"}, "two: no part 'x' of series 3; .*3_main"),
        ("one", write_edited(lambda n, c: c if n == 1 else b""), {}, "one: a single slice"),
        (
            "bare",
            write_edited(lambda n, c: c[: c.index(PIXELS)]),
            {},
            "bare: 6 files of series 3, 0 can be read; not 3_0.dcm .without voxels.",
        ),
        (
            "sizes",
            write_edited(lambda n, c: c if n else c.replace(*COLUMNS)),
            {},
            "2 DICOM series; expected one",
        ),
        ("a.dcm", lambda path: path.write_text("hello " * 99), {}, "no DICOM image in it"),
        ("cut.dcm", lambda path: path.write_bytes(make_slice(0)[:300]), {}, "cut.dcm: "),
        (
            "bad.zip",
            lambda path: path.write_bytes(b"PK\3\4" + b"\0" * 99),
            {},
            "bad.zip: cannot be read",
        ),
        ("bad.tar", lambda path: path.write_bytes(b"junk" * 300), {}, "bad.tar: cannot be read"),
    ],
)
def test_refuses(tmp_path, name, write, options, message):
    write(tmp_path / name)
    with pytest.raises(ImageFileError, match=message):
        load_volume(tmp_path / name, **options)
