"""Outputs on the grid of their scan: headers byte for byte, stored values bit for bit."""

import re

import nibabel as nib
import numpy as np
import pytest

from deskull.errors import GeometryError, InputError
from deskull.image.derived import make_brain_image, make_map_image, make_mask_image
from deskull.image.formats import open_image
from deskull.image.stored import StoredArray, to_stored
from deskull.image.volume import load_volume, make_volume
from deskull.image.writing import save_image
from nifti_files import (
    AFFINE,
    CONTENT,
    EXTENSION,
    FRAMES,
    HEAD,
    MASK,
    RNG,
    SHAPE,
    ZERO,
    find_changed_fields,
    make_header,
    open_in_memory,
    read_bytes,
    scan,
    scan_4d,
    write_nifti,
)

__all__ = ["scan", "scan_4d"]


def test_brain_keeps_every_header_byte(scan, tmp_path):
    path, header = scan
    save_image(make_brain_image(MASK, open_image(path)), tmp_path / "out.nii.gz")
    assert find_changed_fields(path, tmp_path / "out.nii.gz", header) == set()


@pytest.mark.parametrize("make", [make_mask_image, make_map_image])
def test_mask_and_map_change_only_what_their_content_must(scan, tmp_path, make):
    path, header = scan
    save_image(make(MASK, open_image(path)), tmp_path / "out.nii.gz")
    assert find_changed_fields(path, tmp_path / "out.nii.gz", header) <= CONTENT


def test_nibabel_places_output_where_it_places_the_scan(scan, tmp_path):
    path, _ = scan
    volume = load_volume(path)
    save_image(make_mask_image(MASK, volume.source), tmp_path / "out.nii.gz")
    expected = nib.load(path)
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").affine, expected.affine)
    assert np.array_equal(volume.grid.affine, expected.affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("given", ["scan.hdr", "scan.img"])
def test_pair_in_pair_out_keeps_every_header_byte(tmp_path, kind, given):
    header = make_header(kind)
    path = write_nifti(tmp_path / "scan.hdr", header, HEAD)
    save_image(make_brain_image(MASK, open_image(tmp_path / given)), tmp_path / "out.img")
    assert find_changed_fields(path, tmp_path / "out.hdr", header) == set()
    assert np.array_equal(nib.load(tmp_path / "out.hdr").get_fdata(), HEAD * MASK)


def test_pair_to_single_file_changes_magic_and_offset(tmp_path):
    header = make_header(nib.Nifti1Pair)
    path = write_nifti(tmp_path / "scan.hdr", header, HEAD, lead=b"")
    save_image(make_brain_image(MASK, open_image(path)), tmp_path / "out.nii")
    changed = find_changed_fields(path, tmp_path / "out.nii", header)
    assert changed == {"magic", "vox_offset"}
    assert np.array_equal(nib.load(tmp_path / "out.nii").get_fdata(), HEAD * MASK)


@pytest.mark.parametrize("make", [make_brain_image, make_mask_image])
def test_extensions_are_kept(tmp_path, make):
    header = make_header()
    path = write_nifti(tmp_path / "scan.nii", header, HEAD, lead=EXTENSION)
    save_image(make(MASK, open_image(path)), tmp_path / "out.nii")
    assert read_bytes(tmp_path / "out.nii")[348 : 348 + len(EXTENSION)] == EXTENSION
    assert nib.load(tmp_path / "out.nii").header.extensions[0].get_content() == b"note".ljust(24)


def test_extensions_of_images_in_memory_are_kept(tmp_path):
    path = write_nifti(tmp_path / "scan.nii", make_header(), HEAD, lead=EXTENSION)
    save_image(make_mask_image(MASK, nib.load(path)), tmp_path / "out.nii")
    assert read_bytes(tmp_path / "out.nii")[348 : 348 + len(EXTENSION)] == EXTENSION


@pytest.mark.parametrize("extension", [b"\7" * 12, b"\0" * 28], ids=["cut", "endless"])
def test_damaged_extensions_are_kept_as_bytes(tmp_path, extension):
    lead = b"\1\0\0\0" + extension
    path = write_nifti(tmp_path / "scan.nii", make_header(), HEAD, lead=lead)
    save_image(make_mask_image(MASK, open_image(path)), tmp_path / "out.nii")
    assert read_bytes(tmp_path / "out.nii")[348 : 348 + len(lead)] == lead


def test_sheared_sform_survives(tmp_path):
    shear = np.array([[1.0, 0.4, 0, 1], [0, 1, 0.3, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    fields = {"srow_x": shear[0], "srow_y": shear[1], "srow_z": shear[2]}
    path = write_nifti(tmp_path / "scan.nii", make_header(**fields), HEAD)
    save_image(make_mask_image(MASK, load_volume(path).source), tmp_path / "out.nii")
    assert nib.load(tmp_path / "out.nii").affine == pytest.approx(shear)


STORED = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [*STORED, "float32", "float64"])
def test_brain_keeps_stored_values_bit_for_bit(tmp_path, dtype, order):
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    raw = RNG.integers(0, 100, SHAPE).astype(dtype)
    raw[2, 3, 3], raw[2, 3, 4] = limits.min, limits.max
    header = make_header(dtype=dtype, order=order, scl_slope=0.1, scl_inter=0)
    path = write_nifti(tmp_path / "scan.nii", header, raw)
    save_image(make_brain_image(MASK, open_image(path)), tmp_path / "out.nii")
    brain = nib.load(tmp_path / "out.nii").dataobj
    assert brain.get_unscaled().dtype == np.dtype(dtype).newbyteorder(order)
    assert np.array_equal(brain.get_unscaled(), np.where(MASK, raw, 0))


def test_brain_keeps_nan_inside(tmp_path):
    raw = HEAD.astype(float)
    raw[2, 3, 3], raw[2, 3, 4], raw[0] = np.nan, np.inf, np.nan
    path = write_nifti(tmp_path / "scan.nii", make_header(dtype="float32"), raw)
    brain = np.asarray(make_brain_image(MASK, open_image(path)).dataobj)
    assert np.isnan(brain[2, 3, 3])
    assert np.isinf(brain[2, 3, 4])
    assert (brain[0] == 0).all()


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "fill", "expected"),
    [
        ("int16", 0, 0, 0.0, 0),
        ("int16", 0.5, -3, 0.0, 6),
        ("int16", 2, 0, 4.9, 2),
        ("int16", 1, 0, 1e9, 32767),
        ("uint8", 1, 0, -5.0, 0),
        ("int16", -1, 0, np.inf, -32768),
        ("uint64", 1, 0, 1e30, 2**64 - 1),
        ("float32", 1, 0, -1024.5, -1024.5),
        ("float32", 1, 0, np.inf, np.inf),
        ("float32", 1, 0, -1e300, np.finfo("float32").min),
    ],
)
def test_fill_is_the_nearest_storable_value(dtype, slope, inter, fill, expected):
    stored = StoredArray(np.ones(SHAPE, dtype), slope, inter)
    source = open_in_memory(stored)
    brain = to_stored(make_brain_image(MASK, source, fill=fill)).raw
    assert brain[0, 0, 0] == np.dtype(dtype).type(expected)
    assert brain[2, 3, 3] == 1


def test_fill_nan_in_float():
    brain = make_brain_image(MASK, open_in_memory(StoredArray(HEAD.astype("f4"))), fill=np.nan)
    assert np.isnan(np.asarray(brain.dataobj)[~MASK]).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_mask_in_any_memory_order(order):
    source = open_in_memory(StoredArray(HEAD.astype("i2")))
    mask = np.array(MASK.astype(np.uint8), order=order)
    assert np.array_equal(np.asarray(make_mask_image(mask, source).dataobj), MASK)
    assert np.array_equal(np.asarray(make_brain_image(mask, source).dataobj), HEAD * MASK)


def test_empty_mask_gives_empty_outputs():
    source = open_in_memory(StoredArray(HEAD.astype("i2")))
    assert not np.asarray(make_mask_image(MASK * 0, source).dataobj).any()
    assert not np.asarray(make_brain_image(MASK * 0, source).dataobj).any()


@pytest.mark.parametrize("frame", [None, 1])
def test_brain_of_one_frame_changes_only_dim(scan_4d, tmp_path, frame):
    path, header = scan_4d
    source = open_image(path, frame=1) if frame is None else open_image(path)
    save_image(make_brain_image(MASK, source, frame=frame), tmp_path / "out.nii.gz")
    assert find_changed_fields(path, tmp_path / "out.nii.gz", header) == {"dim"}
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").get_fdata(), (HEAD + 1) * MASK)


@pytest.mark.parametrize("mask", [MASK, np.stack([MASK] * 3, axis=-1)], ids=["3D", "4D"])
def test_brain_of_all_frames_keeps_every_header_byte(scan_4d, tmp_path, mask):
    path, header = scan_4d
    save_image(make_brain_image(mask, open_image(path)), tmp_path / "out.nii.gz")
    assert find_changed_fields(path, tmp_path / "out.nii.gz", header) == set()
    brain = nib.load(tmp_path / "out.nii.gz").get_fdata()
    assert np.array_equal(brain, FRAMES * MASK[..., None])


def test_mask_of_all_frames(scan_4d, tmp_path):
    path, header = scan_4d
    save_image(make_mask_image(FRAMES > 500, open_image(path)), tmp_path / "out.nii.gz")
    assert find_changed_fields(path, tmp_path / "out.nii.gz", header) <= CONTENT
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").get_fdata(), FRAMES > 500)


@pytest.mark.parametrize("array", [HEAD > 500, HEAD.astype("f2"), HEAD.astype("i8")])
def test_arrays_in_memory_of_types_without_a_nifti_code(array, tmp_path):
    image = nib.Nifti1Image(np.zeros(SHAPE, "u1"), AFFINE)
    image._dataobj = array
    volume = make_volume(image, checked=False)
    save_image(make_brain_image(MASK, volume.source), tmp_path / "out.nii")
    assert np.array_equal(nib.load(tmp_path / "out.nii").get_fdata(), array * MASK)


def test_nibabel_saves_our_images_with_right_values(tmp_path):
    header = make_header(scl_slope=0.5, scl_inter=-3)
    path = write_nifti(tmp_path / "scan.nii", header, HEAD)
    brain = make_brain_image(MASK, open_image(path))
    nib.save(brain, tmp_path / "out.nii")
    saved = nib.load(tmp_path / "out.nii").get_fdata()
    assert saved == pytest.approx(np.where(MASK, HEAD * 0.5 - 3, 0), abs=0.02)
    assert np.array_equal(brain.slicer[1:3].get_fdata(), brain.get_fdata()[1:3])


SOURCE = nib.Nifti1Image(HEAD.astype("i2"), AFFINE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: make_mask_image(MASK[1:], SOURCE), GeometryError, r"shape \(4, 6, 7\); expected"),
        (lambda: make_mask_image(MASK[0], SOURCE), GeometryError, r"shape \(6, 7\); expected"),
        (lambda: make_map_image(ZERO[1:], SOURCE), GeometryError, r"shape \(4, 6, 7\); expected"),
        (lambda: make_brain_image(MASK[1:], SOURCE), GeometryError, r"shape \(4, 6, 7\)"),
        (lambda: make_brain_image(MASK[..., None], SOURCE), GeometryError, r"\(5, 6, 7, 1\)"),
        (lambda: make_brain_image(MASK, SOURCE, np.nan), InputError, "fill nan: the image stores"),
    ],
)
def test_refuses_outputs_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("dtype", "scaling", "fill", "written"),
    [
        ("u1", (1, 0), -1, "0 is written, not -1; the nearest number that uint8 voxels can hold"),
        ("i2", (1, 0), 0.35, "0 is written, not 0.35"),
        ("u1", (1, 100), 0, "100 is written, not 0; .* with slope 1 and intercept 100"),
        ("i2", (0.37, -3.3), 0, "0.03 is written, not 0"),
        ("f4", (1, 0), 1e300, r"3.403e\+38 is written, not 1e\+300"),
    ],
)
def test_a_fill_that_the_type_cannot_hold_is_reported(dtype, scaling, fill, written, caplog):
    scan = open_in_memory(StoredArray(HEAD.astype(dtype), *scaling))
    make_brain_image(MASK, scan, fill, name="scan.nii")
    (message,) = caplog.messages
    assert re.match(f"scan.nii: outside of the brain {written}", message)


@pytest.mark.parametrize(
    ("dtype", "scaling", "fill"),
    [
        ("i2", (1, 0), -1),
        ("u1", (0.1, 0), 2.5),
        ("u1", (float(np.float32(0.1)), float(np.float32(-3.3))), 0),
        ("f4", (1, 0), 0.1),
        ("f4", (1, 0), np.nan),
    ],
)
def test_a_fill_that_the_type_can_hold_needs_no_warning(dtype, scaling, fill, caplog):
    scan = open_in_memory(StoredArray(HEAD.astype(dtype), *scaling))
    make_brain_image(MASK, scan, fill)
    assert caplog.messages == []
