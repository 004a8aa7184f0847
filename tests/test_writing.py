"""Writing: whole or not at all, never over an input, equal bytes, and between formats."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from conftest import full_disk
from deskull.errors import OutputError
from deskull.image import writing
from deskull.image.derived import make_brain_image, make_map_image, make_mask_image
from deskull.image.volume import load_volume
from deskull.image.writing import check_output_path, save_bytes, save_image

SHAPE = (4, 5, 6)
HEAD = np.arange(120).reshape(SHAPE).astype("i2")
MASK = np.zeros(SHAPE, bool)
MASK[1:3, 1:4, 2:5] = True
AFFINE = np.array([[-2.0, 0.1, 0, 40], [0.1, 1.5, 0.2, -30], [0, -0.2, 3, 10], [0, 0, 0, 1]])
NAMES = ["out.nii", "out.nii.gz", "out.hdr", "out.img", "out.mgh", "out.mgz"]


def read(path):
    """Image by nibabel, which leaves an .mgh open if it is given the path."""
    return nib.MGHImage.from_bytes(path.read_bytes()) if path.suffix == ".mgh" else nib.load(path)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(HEAD, AFFINE), path)
    return path


@pytest.fixture
def mgz(tmp_path):
    image = nib.MGHImage(HEAD, AFFINE)
    image.header["tr"], image.header["flip_angle"], image.header["ti"] = 2300, 0.2, 900
    nib.save(image, tmp_path / "scan.mgz")
    return tmp_path / "scan.mgz"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["scan", "mgz"])
def test_round_trip_through_every_format(tmp_path, name, source, request):
    volume = load_volume(request.getfixturevalue(source))
    save_image(make_brain_image(MASK, volume.source), tmp_path / name)
    again = read(tmp_path / name)
    assert np.array_equal(again.get_fdata(), HEAD * MASK)
    assert again.get_data_dtype().newbyteorder("=") == np.int16
    assert again.affine == pytest.approx(AFFINE, abs=1e-4)
    assert load_volume(tmp_path / name).data[2, 2, 3] == HEAD[2, 2, 3]


@pytest.mark.parametrize("make", [make_mask_image, make_brain_image, make_map_image])
def test_mgz_in_mgz_out_keeps_every_header_byte_but_the_type(tmp_path, mgz, make):
    save_image(make(MASK, load_volume(mgz).source), tmp_path / "out.mgz")
    before, after = (gzip.decompress(p.read_bytes()) for p in (mgz, tmp_path / "out.mgz"))
    assert before[:20] == after[:20]
    assert before[24:284] == after[24:284]
    assert before[-20:] == after[-20:]
    expected = {make_mask_image: 0, make_brain_image: 4, make_map_image: 3}[make]
    assert int.from_bytes(after[20:24]) == expected


def test_mgz_to_nifti_says_scanner(tmp_path, mgz):
    save_image(make_mask_image(MASK, load_volume(mgz).source), tmp_path / "out.nii")
    header = read(tmp_path / "out.nii").header
    assert int(header["sform_code"]) == 1
    assert header.get_data_dtype() == np.uint8


def test_mgh_of_one_frame(tmp_path):
    nib.save(nib.MGHImage(np.stack([HEAD, HEAD + 1], -1), AFFINE), tmp_path / "bold.mgz")
    volume = load_volume(tmp_path / "bold.mgz", frame=1)
    save_image(make_brain_image(MASK, volume.source, frame=1), tmp_path / "out.mgz")
    assert np.array_equal(read(tmp_path / "out.mgz").get_fdata(), (HEAD + 1) * MASK)


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("int8", "int16"),
        ("uint16", "uint16"),
        ("uint32", "int32"),
        ("int64", "int32"),
        ("float64", "float32"),
    ],
)
def test_mgh_takes_the_nearest_type(tmp_path, stored, written):
    image = nib.Nifti1Image((HEAD % 100).astype(stored), AFFINE, dtype=stored)
    save_image(image, tmp_path / "out.mgh")
    again = read(tmp_path / "out.mgh")
    assert again.get_data_dtype().newbyteorder("=") == np.dtype(written)
    assert np.array_equal(again.get_fdata(), HEAD % 100)


def test_mgh_of_numbers_beyond_float32_is_infinite(tmp_path):
    save_image(nib.Nifti1Image(HEAD * 1e300, AFFINE), tmp_path / "out.mgh")
    expected = np.where(HEAD > 0, np.inf, 0)
    assert np.array_equal(read(tmp_path / "out.mgh").get_fdata(), expected)


def test_mgh_of_integers_beyond_int32_is_float(tmp_path):
    save_image(nib.Nifti1Image(HEAD.astype("u4") + 2**31, AFFINE), tmp_path / "out.mgh")
    assert read(tmp_path / "out.mgh").get_data_dtype() == np.dtype(">f4")


def test_mgh_of_scaled_integers_is_float(tmp_path):
    image = nib.Nifti1Image(HEAD, AFFINE)
    image.header.set_slope_inter(0.5, 2)
    nib.save(image, tmp_path / "scaled.nii")
    save_image(load_volume(tmp_path / "scaled.nii").source, tmp_path / "out.mgh")
    assert np.array_equal(read(tmp_path / "out.mgh").get_fdata(), HEAD * 0.5 + 2)


def test_image_in_memory_is_written_in_its_own_type(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype("i2")
    save_image(nib.Nifti1Image(HEAD + 0.25, AFFINE, header), tmp_path / "out.nii")
    assert np.array_equal(read(tmp_path / "out.nii").get_fdata(), HEAD + 0.25)


@pytest.mark.parametrize("name", ["out.nii.gz", "out.mgz"])
def test_equal_images_give_equal_bytes_under_any_name(tmp_path, scan, name):
    image = make_mask_image(MASK, load_volume(scan).source)
    save_image(image, tmp_path / name)
    save_image(image, tmp_path / f"other_{name}")
    written = (tmp_path / name).read_bytes()
    assert written == (tmp_path / f"other_{name}").read_bytes()
    assert written[3:8] == b"\0" * 5  # no name, no time


def test_existing_output_is_replaced(tmp_path, scan):
    (tmp_path / "out.nii").write_text("old")
    save_image(make_mask_image(MASK, load_volume(scan).source), tmp_path / "out.nii")
    assert load_volume(tmp_path / "out.nii").data.sum() == MASK.sum()


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        save_bytes(b"{}", tmp_path / "record.json")
    finally:
        os.umask(old)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz", "out.hdr", "out.mgz"])
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, name, scan):
    (tmp_path / name).write_text("old")
    before = sorted(tmp_path.iterdir())
    noise = np.random.default_rng(0).normal(size=SHAPE)
    image = make_map_image(noise, load_volume(scan).source)
    with (
        pytest.raises(OutputError, match=r"out.*not written \(File too large\)"),
        full_disk(100),
    ):
        save_image(image, tmp_path / name)
    assert (tmp_path / name).read_text() == "old"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interruption_leaves_the_old_file_and_nothing_else(tmp_path, scan, monkeypatch, error):
    (tmp_path / "out.nii.gz").write_text("old")
    before = sorted(tmp_path.iterdir())
    write = writing._write

    def interrupt(path, parts, compress):
        write(path, parts[:1], compress)
        raise error

    monkeypatch.setattr(writing, "_write", interrupt)
    with pytest.raises(error):
        save_image(make_mask_image(MASK, load_volume(scan).source), tmp_path / "out.nii.gz")
    assert (tmp_path / "out.nii.gz").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == before


def test_the_files_of_a_transaction_appear_at_its_end(tmp_path, scan):
    image = load_volume(scan).source
    with writing.Transaction() as transaction:
        save_image(image, tmp_path / "a.nii", transaction)
        save_image(image, tmp_path / "b.hdr", transaction)
        save_bytes(b"{}", tmp_path / "c.json", transaction)
        assert not {"a.nii", "b.hdr", "b.img", "c.json"} & {p.name for p in tmp_path.iterdir()}
    names = ["a.nii", "b.hdr", "b.img", "c.json", "scan.nii.gz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def save_then(folder, spoil):
    """Save c.json in a batch that then meets with something."""
    with writing.Transaction() as transaction:
        save_bytes(b"{}", folder / "c.json", transaction)
        spoil()


def test_a_transaction_that_fails_leaves_nothing(tmp_path, scan):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        save_then(tmp_path, lambda: 1 / 0)
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_taken_by_a_folder_meanwhile_is_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"c.json: not written \("):
        save_then(tmp_path, (tmp_path / "c.json").mkdir)
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_file_for_a_folder_is_an_error(tmp_path, scan):
    with pytest.raises(OutputError, match="cannot be made"):
        save_image(load_volume(scan).source, scan / "out.nii")


def test_save_bytes(tmp_path):
    save_bytes(b"{}", tmp_path / "record.json")
    save_bytes(b"{1}", tmp_path / "record.json")
    assert (tmp_path / "record.json").read_bytes() == b"{1}"
    assert len(list(tmp_path.iterdir())) == 1


def test_good_output_paths_pass(tmp_path, scan):
    for name in NAMES:
        check_output_path(tmp_path / name, [scan, tmp_path / "missing.nii", tmp_path])


@pytest.fixture
def places(tmp_path, scan):
    """A folder with links to a scan, a pair, and a folder with an image's name."""
    (tmp_path / "link.nii.gz").symlink_to(scan)
    (tmp_path / "hard.nii.gz").hardlink_to(scan)
    (tmp_path / "folder.nii").mkdir()
    nib.save(nib.Nifti1Pair(HEAD, AFFINE), tmp_path / "pair.hdr")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scan.nii.gz", "it is an input, and an input is never replaced"),
        ("link.nii.gz", "it is an input"),
        ("hard.nii.gz", "it is an input"),
        ("folder.nii/../scan.nii.gz", "it is an input"),
        ("pair.hdr", "it is an input"),
        ("pair.img", "it is an input"),
        ("out.nrrd", r"expected a name that ends in .nii.gz, .nii, .hdr, .img, .mgz, .mgh"),
        ("out.txt", "cannot write this kind of file"),
        ("out", "cannot write this kind of file"),
        (".nii.gz", "cannot write this kind of file"),
        ("out", r"Did you mean out\.nii\.gz\?"),
        ("scan.nii.gz/out.nii", "scan.nii.gz is a file, and no folder"),
        ("folder.nii", "a folder; expected a file name"),
    ],
)
def test_refuses_output_paths(places, name, message):
    with pytest.raises(OutputError, match=message):
        check_output_path(places / name, [places / "scan.nii.gz", places / "pair.img"])


def test_refuses_a_name_that_is_too_long(tmp_path):
    with pytest.raises(OutputError, match="cannot be written \\(File name too long"):
        check_output_path(tmp_path / ("a" * 300 + ".nii"), [])


def test_refuses_closed_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission to write in"):
        check_output_path(tmp_path / "out.nii", [])


def test_relative_output_path(tmp_path, scan, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_output_path("out.nii", ["scan.nii.gz"])
    with pytest.raises(OutputError, match="it is an input"):
        check_output_path("scan.nii.gz", [scan])


def test_save_image_refuses_unknown_extension(tmp_path):
    with pytest.raises(OutputError, match="cannot write this kind"):
        save_image(nib.Nifti1Image(HEAD, AFFINE), tmp_path / "out.mnc")


def test_a_missing_folder_is_made_and_taken_away_again_if_nothing_comes_of_it(tmp_path):
    save_bytes(b"1", tmp_path / "new" / "deep" / "record.json")
    assert (tmp_path / "new" / "deep" / "record.json").read_bytes() == b"1"
    transaction = writing.Transaction()
    for name in ("other/deep/a.json", "other/b.json", "new/newer/c.json"):
        save_bytes(b"", tmp_path / name, transaction)
    transaction.__exit__(RuntimeError)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["deep"]


def write_parts(folder):
    """Files that belong to an input, by the input's name."""
    nib.Nifti1Pair(np.ones((4, 4, 4), np.uint8), np.eye(4)).to_filename(folder / "pair.hdr")
    (folder / "T1w.json").write_text('{"EchoTime": 0.003}')
    (folder / "a.nhdr").write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: a.img\n"
    )
    (folder / "b.mhd").write_text(
        "NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = b.img\n"
    )
    for name in ("a.img", "b.img"):
        (folder / name).write_bytes(bytes(64))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("pair.hdr", "pair.img"),
        ("pair.img", "pair.hdr"),
        ("T1w.nii.gz", "T1w.json"),
        ("a.nhdr", "a.img"),
        ("b.mhd", "b.img"),
    ],
)
def test_what_belongs_to_an_input_is_not_replaced(tmp_path, given, name):
    write_parts(tmp_path)
    with pytest.raises(OutputError, match="it is an input"):
        check_output_path(tmp_path / name, [tmp_path / given], (".json", ".img", ".hdr"))


def test_a_record_of_an_earlier_run_is_no_sidecar(tmp_path):
    (tmp_path / "T1w.json").write_text('{"deskull": "0.1.0"}')
    check_output_path(tmp_path / "T1w.json", [tmp_path / "T1w.nii.gz"], (".json",))


@pytest.mark.parametrize("head", [bytes(128) + b"DICM", b"\x08\0\x05\0CS", b"\x02\0\0\0UL"])
def test_a_dicom_file_is_not_replaced_whatever_its_name(tmp_path, head):
    (tmp_path / "IM1.img").write_bytes(head + bytes(200))
    with pytest.raises(OutputError, match="a DICOM file, which is never replaced"):
        check_output_path(tmp_path / "IM1.img", [])


def test_other_kinds_of_output_are_checked_alike(tmp_path):
    check_output_path(tmp_path / "record.json", [], (".json",))
    with pytest.raises(OutputError, match=r"ends in \.json"):
        check_output_path(tmp_path / "record.txt", [], (".json",))
