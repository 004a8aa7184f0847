"""DICOM through dcm2niix: values and place, the choice of a series, and what stays private."""

import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deskull.errors import ImageFileError
from deskull.image import dicom
from deskull.image.volume import load_volume, make_brain_image
from deskull.image.writing import save_image

SHAPE = (8, 10, 6)
HEAD = np.arange(480).reshape(SHAPE).astype("i2")
PERSON = "Doe^Jane"
UID = "1.2.826.0.1.3680043.10.43"


def encode(group, element, kind, value):
    """One element in explicit little-endian form."""
    data = value if isinstance(value, bytes) else str(value).encode()
    data += (b"\0" if kind in (b"UI", b"OW", b"OB", b"SQ") else b" ") * (len(data) % 2)
    length = struct.pack("<HI", 0, len(data)) if kind in (b"OW", b"OB", b"SQ") else None
    return (
        struct.pack("<HH", group, element) + kind + (length or struct.pack("<H", len(data))) + data
    )


def make_slice(number, series=3, description="t1"):
    """Slice `number` of an MR series, 2 x 1.5 mm in plane, 4 mm apart."""
    u2 = struct.Struct("<H").pack
    meta = encode(2, 0x10, b"UI", "1.2.840.10008.1.2.1")
    elements = [
        (0x08, 0x08, b"CS", "ORIGINAL\\PRIMARY\\M"),
        (0x08, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.4"),
        (0x08, 0x18, b"UI", f"{UID}.{series}.{number + 1}"),
        (0x08, 0x20, b"DA", "20240102"),
        (0x08, 0x60, b"CS", "MR"),
        (0x08, 0x70, b"LO", "SIEMENS"),
        (0x08, 0x103E, b"LO", description),
        (0x10, 0x10, b"PN", PERSON),
        (0x10, 0x4000, b"LT", PERSON),
        (0x18, 0x50, b"DS", 4),
        (0x18, 0x88, b"DS", 4),
        (0x20, 0x0D, b"UI", UID),
        (0x20, 0x0E, b"UI", f"{UID}.{series}"),
        (0x20, 0x11, b"IS", series),
        (0x20, 0x13, b"IS", number + 1),
        (0x20, 0x32, b"DS", f"-8\\-7\\{number * 4 - 12}"),
        (0x20, 0x37, b"DS", "1\\0\\0\\0\\1\\0"),
        (0x20, 0x4000, b"LT", PERSON),
        (0x28, 0x02, b"US", u2(1)),
        (0x28, 0x04, b"CS", "MONOCHROME2"),
        (0x28, 0x10, b"US", u2(SHAPE[1])),
        (0x28, 0x11, b"US", u2(SHAPE[0])),
        (0x28, 0x30, b"DS", "1.5\\2"),
        (0x28, 0x100, b"US", u2(16)),
        (0x28, 0x101, b"US", u2(16)),
        (0x28, 0x102, b"US", u2(15)),
        (0x28, 0x103, b"US", u2(1)),
        (0x7FE0, 0x10, b"OW", HEAD[:, ::-1, number].tobytes(order="F")),
    ]
    body = b"".join(encode(*element) for element in elements)
    return b"\0" * 128 + b"DICM" + encode(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body


def write_series(folder, **options):
    folder.mkdir(exist_ok=True)
    for number in range(SHAPE[2]):
        name = f"{options.get('series', 3)}_{number}.dcm"
        (folder / name).write_bytes(make_slice(number, **options))
    return folder


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series")


AFFINE = np.array([[-2.0, 0, 0, 8], [0, 1.5, 0, 7 - 1.5 * 9], [0, 0, 4, -12], [0, 0, 0, 1]])


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("empty/", "")
        for file in folder.iterdir():
            archive.write(file, f"../../escape/{file.name}")
    return path


def test_folder(series):
    volume = load_volume(series)
    assert np.array_equal(volume.data, HEAD)
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert volume.name == "series"


def test_one_file_stands_for_its_series(series):
    write_series(series, series=7)
    volume = load_volume(series / "3_2.dcm")
    assert np.array_equal(volume.data, HEAD)


def test_a_file_without_dicom_suffix(series):
    (series / "3_0.dcm").rename(series / "IM0")
    assert load_volume(series / "IM0").data.shape == SHAPE


def test_zip_cannot_write_outside(series, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    path = zip_folder(series, tmp_path / "scan.zip")
    assert np.array_equal(load_volume(path).data, HEAD)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_outputs_beside_the_slices_do_no_harm(series):
    volume = load_volume(series)
    save_image(make_brain_image(HEAD > 9, volume.source), series / "scan_brain.nii.gz")
    assert np.array_equal(load_volume(series).data, HEAD)


@pytest.mark.parametrize("number", [3, "3"])
def test_series_is_chosen_by_number(series, number):
    write_series(series, series=7, description="t2")
    assert np.array_equal(load_volume(series, series=number).data, HEAD)


def test_output_holds_no_name_date_or_path(series, tmp_path):
    path = tmp_path / "out.nii"
    save_image(make_brain_image(HEAD > 9, load_volume(series).source), path)
    header = path.read_bytes()[:352]
    fields = load_volume(path).source.header
    names = ("descrip", "aux_file", "db_name", "intent_name", "data_type")
    assert [fields[name].item() for name in names] == [b""] * 5
    for private in (PERSON, "Doe", "20240102", str(tmp_path)):
        assert private.encode() not in header


def test_nothing_stays_in_the_temporary_folder(series, tmp_path, monkeypatch):
    (tmp_path / "private").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    load_volume(series)
    assert list((tmp_path / "private").iterdir()) == []


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


def write_edited(edit):
    """Write a series each slice of which is edited: given its number and bytes, or dropped."""

    def write(path):
        write_series(path)
        for number in range(SHAPE[2]):
            file = path / f"3_{number}.dcm"
            content = edit(number, file.read_bytes())
            file.write_bytes(content) if content else file.unlink()

    return write


PIXELS = struct.pack("<HH", 0x7FE0, 0x10) + b"OW"
COLUMNS = [encode(0x28, 0x11, b"US", struct.pack("<H", n)) for n in (8, 4)]
JUNK = encode(0x11, 0x10, b"LO", "JUNK") + encode(0x11, 0x1001, b"OB", bytes(range(256)) * 8)
ACQUISITION = struct.pack("<HH", 0x18, 0x50)


def test_duplicate_slices_count_once(series):
    for number in range(SHAPE[2]):
        (series / f"again_{number}.dcm").write_bytes(make_slice(number))
    assert np.array_equal(load_volume(series).data, HEAD)


def test_private_junk_and_stray_files_do_no_harm(tmp_path):
    place = tmp_path / "series"
    write_edited(lambda n, c: c.replace(ACQUISITION, JUNK + ACQUISITION, 1))(place)
    (place / "DICOMDIR").write_bytes(b"junk" * 100)
    (place / "notes.dcm").write_text("hello " * 50)
    (place / "empty.dcm").touch()
    assert np.array_equal(load_volume(place).data, HEAD)


def test_a_missing_slice_is_told_and_the_evened_image_can_be_chosen(series):
    (series / "3_2.dcm").unlink()
    with pytest.raises(ImageFileError, match=r"uneven distances.*--series 3_Eq_1"):
        load_volume(series)
    assert load_volume(series, series="3_Eq_1").data.shape[:2] == SHAPE[:2]


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


def test_a_tilted_gantry_is_told_and_the_upright_image_can_be_chosen(tmp_path):
    place = tmp_path / "series"
    write_tilted(place)
    with pytest.raises(ImageFileError, match=r"a tilted gantry.*--series 3_Tilt_1\."):
        load_volume(place)
    volume = load_volume(place, series="3_Tilt_1")
    assert volume.grid.voxel_size == pytest.approx((2.0, 1.5, 4.0))
    for number in range(SHAPE[2]):  # a row off at most, as dcm2niix rounds
        middle = HEAD[0, 4, number]
        (row,) = np.flatnonzero(volume.data[0, :, number] == middle)
        y = volume.grid.to_mm((0, row, number))[1]
        assert y == pytest.approx(-0.5 + 1.5 * number, abs=1.51)


def make_sequence(group, element, *items):
    """Sequence of items, each a list of elements."""
    bodies = [b"".join(item) for item in items]
    heads = [struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) for body in bodies]
    value = b"".join(head + body for head, body in zip(heads, bodies, strict=True))
    return encode(group, element, b"SQ", value)


def make_frame(number):
    """What a multi-frame file says of its frame `number`."""
    place = encode(0x20, 0x32, b"DS", f"-8\\-7\\{number * 4 - 12}")
    index = [
        encode(0x20, 0x9057, b"UL", struct.pack("<I", number + 1)),
        encode(0x20, 0x9157, b"UL", struct.pack("<II", 1, number + 1)),
    ]
    return [make_sequence(0x20, 0x9111, index), make_sequence(0x20, 0x9113, [place])]


def test_enhanced_multi_frame(tmp_path):
    place, turn = (
        encode(0x20, 0x32, b"DS", "-8\\-7\\-12"),
        encode(0x20, 0x37, b"DS", "1\\0\\0\\0\\1\\0"),
    )
    spacing, thick = encode(0x28, 0x30, b"DS", "1.5\\2"), encode(0x18, 0x50, b"DS", 4)
    shared = [make_sequence(0x20, 0x9116, [turn]), make_sequence(0x28, 0x9110, [thick, spacing])]
    frames = [make_frame(number) for number in range(SHAPE[2])]
    groups = make_sequence(0x5200, 0x9229, shared) + make_sequence(0x5200, 0x9230, *frames)
    one = make_slice(0).replace(place, b"").replace(turn, b"").replace(spacing, b"")
    kind = b"1.2.840.10008.5.1.4.1.1.4"
    one = one.replace(encode(8, 0x16, b"UI", kind), encode(8, 0x16, b"UI", kind + b".1"))
    rows = encode(0x28, 0x10, b"US", struct.pack("<H", SHAPE[1]))
    one = one.replace(rows, encode(0x28, 0x08, b"IS", SHAPE[2]) + rows)
    pixels = encode(0x7FE0, 0x10, b"OW", HEAD[:, ::-1].tobytes(order="F"))
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "all.dcm").write_bytes(one[: one.index(PIXELS)] + groups + pixels)
    volume = load_volume(tmp_path / "series")
    assert np.array_equal(volume.data, HEAD)
    assert volume.grid.affine == pytest.approx(AFFINE)


LISTED = r"3 t1 \(8 x 10 x 6\); 7 t2 \(8 x 10 x 6\)"


@pytest.mark.parametrize(
    ("name", "write", "options", "message"),
    [
        ("empty", lambda path: path.mkdir(), {}, "empty: a folder with no DICOM found in it"),
        ("text", write_text, {}, "a folder with no DICOM found in it"),
        ("bids", write_images, {}, r"1 images \(sub-01.nii.gz\) and no DICOM.* deskull batch "),
        ("annex", write_links, {}, r"1 links whose content is not here \(1.dcm\)\. Get it with"),
        ("two", write_two, {}, f"2 DICOM series; .*Choose one with --series N.*{LISTED}"),
        ("two", write_two, {"series": 5}, f"two: no DICOM series 5.*{LISTED}"),
        ("one", write_edited(lambda n, c: c if n == 1 else b""), {}, "one: a single slice"),
        (
            "bare",
            write_edited(lambda n, c: c[: c.index(PIXELS)]),
            {},
            r"bare: dcm2niix could not convert it \(No valid DICOM images were found\)",
        ),
        (
            "cut",
            write_edited(lambda n, c: c if n != 3 else c[:-40]),
            {},
            "cut: dcm2niix could not convert it .*not large enough to store image data.*3_3.dcm",
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
            "bad.zip: no DICOM",
        ),
        ("no.zip", lambda path: zipfile.ZipFile(path, "w").close(), {}, "no.zip: "),
    ],
)
def test_refuses(tmp_path, name, write, options, message):
    write(tmp_path / name)
    with pytest.raises(ImageFileError, match=message):
        load_volume(tmp_path / name, **options)


def test_two_images_of_one_number_are_chosen_by_label(tmp_path):
    for label in ("3_e1", "3_e2"):
        (tmp_path / f"{label}.nii").touch()
        facts = {"SeriesNumber": 3, "SeriesDescription": "echoes"}
        (tmp_path / f"{label}.json").write_text(json.dumps(facts))
    found = dicom._find_series(tmp_path)
    assert dicom._choose(found, "3_e2", "scan").path == tmp_path / "3_e2.nii"


def test_zip_that_unpacks_to_too_much_is_refused(series, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "MAX_ZIP_BYTES", 1000)
    with pytest.raises(ImageFileError, match=r"scan.zip: unzips to more than"):
        load_volume(zip_folder(series, tmp_path / "scan.zip"))


def test_zip_of_too_many_files_is_refused(series, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "MAX_ZIP_FILES", 5)
    with pytest.raises(ImageFileError, match=r"scan.zip: 6 files; expected at most 5"):
        load_volume(zip_folder(series, tmp_path / "scan.zip"))


def test_missing_converter_is_named(series, monkeypatch):
    monkeypatch.setitem(sys.modules, "dcm2niix", None)
    with pytest.raises(ImageFileError, match=r"series: DICOM needs.*pip install dcm2niix"):
        load_volume(series)


def test_failure_of_the_converter_is_told(series, tmp_path, monkeypatch):
    import dcm2niix

    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho 'Error: unsupported transfer syntax'\nexit 2\n")
    script.chmod(0o755)
    monkeypatch.setattr(dcm2niix, "bin", str(script))
    with pytest.raises(ImageFileError, match=r"could not convert it \(Error: unsupported"):
        load_volume(series)


def test_real_scan_is_that_of_the_converted_file():
    if "DESKULL_TEST_DATA" not in os.environ:
        pytest.skip("DESKULL_TEST_DATA is not set")
    data = Path(os.environ["DESKULL_TEST_DATA"])
    volume = load_volume(data / "dicom" / "decubitus_supine")
    expected = load_volume(data / "heads" / "decub_sup_T1w.nii.gz")
    assert volume.grid.matches(expected.grid)
    assert np.array_equal(volume.data, expected.data)
