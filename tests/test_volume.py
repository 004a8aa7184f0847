"""Volumes and outputs on their grid: values, frames, refusals, and headers byte for byte."""

import gzip
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from deskull.errors import GeometryError, ImageFileError, InputError
from deskull.image.formats import open_image
from deskull.image.stored import StoredArray, to_stored
from deskull.image.volume import (
    count_frames,
    load_volume,
    make_brain_image,
    make_map_image,
    make_mask_image,
    make_volume,
)
from deskull.image.writing import save_image

SHAPE = (5, 6, 7)
RNG = np.random.default_rng(7)
HEAD = RNG.integers(0, 1000, SHAPE)
MASK = np.zeros(SHAPE, bool)
MASK[1:4, 2:5, 2:6] = True
AFFINE = np.array([[-2.0, 0.1, 0, 40], [0.1, 1.5, 0.2, -30], [0, -0.2, 3, 10], [0, 0, 0, 1]])
CONTENT = {
    *("datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max"),
    *("intent_code", "intent_p1", "intent_p2", "intent_p3", "intent_name"),
}
EXTENSION = (
    b"\1\0\0\0" + (32).to_bytes(4, "little") + (6).to_bytes(4, "little") + b"note".ljust(24)
)


def make_header(kind=nib.Nifti1Image, order="<", dtype="int16", shape=SHAPE, **fields):
    """Header in which every field that may be copied holds something of its own."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header["pixdim"][1:8] = [2, 1.5, 3, 0.7, 0, 0, 0]
    header["pixdim"][0] = -1
    header["dim_info"], header["xyzt_units"] = 54, 10
    header["qform_code"], header["sform_code"] = 1, 4
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = 0.1, -0.2, 0.3
    header["qoffset_x"], header["srow_x"] = 11, AFFINE[0]
    header["srow_y"], header["srow_z"] = AFFINE[1], AFFINE[2]
    header["slice_code"], header["slice_end"], header["slice_duration"] = 3, 6, 0.01
    header["toffset"], header["cal_max"], header["cal_min"] = 0.5, 900, 10
    header["descrip"], header["aux_file"] = b"made by hand", b"none"
    header["scl_slope"], header["scl_inter"] = 0, 0
    header["vox_offset"] = len(header.binaryblock) + 4 if header.is_single else 0
    for name, value in fields.items():
        header[name] = value
    return header


def write_nifti(path, header, raw, lead=b"\0\0\0\0"):
    stored = np.asarray(raw).astype(header.get_data_dtype()).tobytes(order="F")
    if header.is_single:
        header["vox_offset"] = len(header.binaryblock) + len(lead)
        whole = header.binaryblock + lead + stored
        path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
    else:
        path.write_bytes(header.binaryblock + lead)
        path.with_suffix(".img").write_bytes(stored)
    return path


def read_bytes(path):
    whole = path.read_bytes()
    return gzip.decompress(whole) if whole[:2] == b"\x1f\x8b" else whole


def find_changed_fields(first, second, header):
    """Names of the header fields whose bytes differ between two files."""
    fields = header.structarr.dtype
    size = fields.itemsize
    one, other = (np.frombuffer(read_bytes(p)[:size], fields)[0] for p in (first, second))
    return {name for name in fields.names if one[name].tobytes() != other[name].tobytes()}


HEADERS = {
    "NIfTI-1": {},
    "NIfTI-2": {"kind": nib.Nifti2Image},
    "big-endian": {"order": ">"},
    "NIfTI-2 big-endian float": {"kind": nib.Nifti2Image, "order": ">", "dtype": "float64"},
    "scaled": {"scl_slope": 0.5, "scl_inter": -3},
    "slope NaN": {"scl_slope": np.nan, "scl_inter": np.nan},
    "sform only": {"qform_code": 0},
    "qform only": {"sform_code": 0},
    "no code": {"sform_code": 0, "qform_code": 0},
    "unknown code": {"qform_code": 77},
    "qfac 0": {"pixdim": [0, 2, 1.5, 3, 0, 0, 0, 0]},
    "pixdim unused and wrong": {"pixdim": [-1, 0, -1, 3, 0, 0, 0, 0], "qform_code": 0},
    "intent": {"intent_code": 3, "intent_p1": 9, "intent_name": b"t"},
    "dimensions beyond the third": {"dim": [3, *SHAPE, 0, 0, 0, 0]},
}


@pytest.fixture(params=HEADERS, ids=str)
def scan(request, tmp_path):
    header = make_header(**HEADERS[request.param])
    return write_nifti(tmp_path / "scan.nii.gz", header, HEAD), header


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


def test_values_are_those_of_nibabel(scan):
    path, _ = scan
    assert np.array_equal(load_volume(path).data, nib.load(path).get_fdata(dtype=np.float32))


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


def open_in_memory(stored):
    image = nib.Nifti1Image(np.zeros(stored.shape, stored.dtype), np.eye(4), dtype=stored.dtype)
    image._dataobj = stored
    return image


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


FRAMES = np.stack([HEAD, HEAD + 1, HEAD[::-1]], axis=-1)


@pytest.fixture
def scan_4d(tmp_path):
    header = make_header(shape=FRAMES.shape)
    return write_nifti(tmp_path / "bold.nii.gz", header, FRAMES), header


def test_frame_of_4d(scan_4d):
    volume = load_volume(scan_4d[0], frame=2)
    assert volume.frame == 2
    assert np.array_equal(volume.data, HEAD[::-1])


def test_frame_of_4d_in_memory(scan_4d):
    volume = make_volume(open_image(scan_4d[0]), frame=2)
    assert volume.frame == 2
    assert count_frames(volume.source) == 3
    assert np.array_equal(volume.data, HEAD[::-1])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti1Pair])
def test_one_frame_of_a_series_too_large_for_memory_is_read(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("deskull.image.stored.MAX_BYTES", 2 * HEAD.size * 2)
    name = "bold.nii" if kind is nib.Nifti1Image else "bold.hdr"
    path = write_nifti(tmp_path / name, make_header(kind, shape=FRAMES.shape), FRAMES)
    with pytest.raises(ImageFileError, match="or choose a frame with --frame N"):
        load_volume(path)
    assert np.array_equal(load_volume(path, frame=2).data, HEAD[::-1])


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


@pytest.mark.parametrize("shape", [(*SHAPE, 1), (*SHAPE, 1, 1), (*SHAPE, 1, 1, 1, 1)], ids=str)
def test_trailing_singletons_are_dropped(tmp_path, shape):
    header = make_header(shape=shape)
    path = write_nifti(tmp_path / "scan.nii", header, HEAD)
    volume = load_volume(path)
    assert volume.data.shape == SHAPE
    assert volume.frame is None
    assert count_frames(volume.source) == 1
    save_image(make_brain_image(MASK, volume.source), tmp_path / "out.nii")
    assert find_changed_fields(path, tmp_path / "out.nii", header) == {"dim"}
    assert nib.load(tmp_path / "out.nii").shape == SHAPE


def test_singleton_between_space_and_frames_is_dropped(tmp_path):
    header = make_header(shape=(*SHAPE, 1, 3))
    path = write_nifti(tmp_path / "scan.nii", header, FRAMES)
    assert np.array_equal(load_volume(path, frame=1).data, HEAD + 1)


def test_frame_0_of_3d_is_the_image(tmp_path):
    path = write_nifti(tmp_path / "scan.nii", make_header(), HEAD)
    assert load_volume(path, frame=0).frame is None


def test_nan_and_inf_stay_in_data():
    head = HEAD.astype("f4")
    head[0, 0, :2] = np.nan, np.inf
    data = make_volume(nib.Nifti1Image(head, np.eye(4))).data
    assert np.array_equal(data, head, equal_nan=True)


def test_values_beyond_float32_become_inf():
    data = make_volume(nib.Nifti1Image(HEAD * 1e36, np.eye(4))).data
    assert np.isinf(data[HEAD > 400]).all()
    assert np.isfinite(data[HEAD < 300]).all()


def test_large_offset_with_small_range_keeps_its_precision():
    stored = StoredArray((HEAD + 10**9).astype("i4"), 0.001, -(10.0**6))
    assert make_volume(open_in_memory(stored)).data == pytest.approx(HEAD * 0.001, abs=1e-6)


@pytest.mark.parametrize("array", [HEAD > 500, HEAD.astype("f2"), HEAD.astype("i8")])
def test_arrays_in_memory_of_types_without_a_nifti_code(array, tmp_path):
    image = nib.Nifti1Image(np.zeros(SHAPE, "u1"), AFFINE)
    image._dataobj = array
    volume = make_volume(image)
    save_image(make_brain_image(MASK, volume.source), tmp_path / "out.nii")
    assert np.array_equal(nib.load(tmp_path / "out.nii").get_fdata(), array * MASK)


@pytest.mark.parametrize("kind", [nib.Spm2AnalyzeImage, nib.Minc1Image])
def test_images_of_other_classes_become_nifti(kind):
    volume = make_volume(kind(HEAD.astype("f4"), AFFINE))
    assert isinstance(volume.source, nib.Nifti1Image)
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert np.array_equal(volume.data, HEAD)


def test_nibabel_saves_our_images_with_right_values(tmp_path):
    header = make_header(scl_slope=0.5, scl_inter=-3)
    path = write_nifti(tmp_path / "scan.nii", header, HEAD)
    brain = make_brain_image(MASK, open_image(path))
    nib.save(brain, tmp_path / "out.nii")
    saved = nib.load(tmp_path / "out.nii").get_fdata()
    assert saved == pytest.approx(np.where(MASK, HEAD * 0.5 - 3, 0), abs=0.02)
    assert np.array_equal(brain.slicer[1:3].get_fdata(), brain.get_fdata()[1:3])


ZERO = np.zeros(SHAPE, "f4")
SINGULAR = nib.Nifti1Image(ZERO + HEAD, AFFINE)
SINGULAR._affine = np.diag([1.0, 0, 1, 1])
SINGULAR_MINC = nib.Minc1Image(ZERO + HEAD, np.diag([1.0, 0, 1, 1]))
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("image", "frame", "error", "message"),
    [
        (nib.Nifti1Image(FRAMES, None, dtype="i2"), None, GeometryError, "head: no affine"),
        (nib.Nifti1Image(FRAMES, AFFINE, dtype="i2"), None, ImageFileError, r"--frame N \(0 to 2"),
        (nib.Nifti1Image(FRAMES, AFFINE, dtype="i2"), 3, ImageFileError, "no frame 3; expected 0"),
        (nib.Nifti1Image(FRAMES, AFFINE, dtype="i2"), -1, ImageFileError, "no frame -1"),
        (nib.Nifti1Image(ZERO + HEAD, AFFINE), 1, ImageFileError, "no frame 1; it is a 3D image"),
        (nib.Nifti1Image(np.ones((4, 4, 4, 2, 2)), AFFINE), None, ImageFileError, "5 dimensions"),
        (nib.Nifti1Image(np.ones((4, 4)), AFFINE), None, ImageFileError, r"\(4, 4\) is not a 3D"),
        (nib.Nifti1Image(np.ones((4, 4, 1)), AFFINE), None, ImageFileError, "single slice"),
        (nib.Nifti1Image(np.ones((1, 4, 4, 4)), AFFINE), None, ImageFileError, "single slice"),
        (nib.Nifti1Image(ZERO, AFFINE), None, ImageFileError, "every voxel is 0"),
        (nib.Nifti1Image(ZERO + 3, AFFINE), None, ImageFileError, "every voxel is 3"),
        (nib.Nifti1Image(ZERO * np.nan, AFFINE), None, ImageFileError, "NaN or infinite"),
        (nib.Nifti1Image(ZERO + 1j, AFFINE), None, ImageFileError, r"complex voxels \(complex64"),
        (nib.Nifti1Image(np.zeros(SHAPE, RGB), AFFINE), None, ImageFileError, "colour voxels"),
        (SINGULAR, None, GeometryError, "head: singular affine"),
        (SINGULAR_MINC, None, GeometryError, "head: singular affine"),
        ("a string", None, ImageFileError, "head: str is not a 3D image"),
    ],
)
def test_refuses_what_is_no_head(image, frame, error, message):
    with pytest.raises(error, match=message):
        make_volume(image, "head", frame)


def test_constant_among_nan_is_refused():
    head = ZERO.copy()
    head[0] = np.nan
    with pytest.raises(ImageFileError, match="every voxel is 0"):
        make_volume(nib.Nifti1Image(head, AFFINE))


def test_truncated_nibabel_image_is_refused(tmp_path):
    path = write_nifti(tmp_path / "scan.nii", make_header(), HEAD)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageFileError, match="voxels cannot be read"):
        make_volume(nib.load(path, mmap=False))


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


def test_import_is_light():
    heavy = "SimpleITK nrrd h5py dcm2niix isal torch pandas"
    code = f"import sys, deskull.image.volume; print({{*'{heavy}'.split()}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("size", [0.001, 90.0])
def test_voxels_in_metres_or_micrometres_are_refused(size):
    image = nib.Nifti1Image(
        np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.diag([size] * 3 + [1])
    )
    with pytest.raises(GeometryError, match="units metres or micrometres"):
        make_volume(image)
