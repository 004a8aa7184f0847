"""NIfTI files written by hand, every header field its own, and looked at byte by byte."""

import gzip

import nibabel as nib
import numpy as np
import pytest

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


def open_in_memory(stored):
    image = nib.Nifti1Image(np.zeros(stored.shape, stored.dtype), np.eye(4), dtype=stored.dtype)
    image._dataobj = stored
    return image


FRAMES = np.stack([HEAD, HEAD + 1, HEAD[::-1]], axis=-1)


@pytest.fixture
def scan_4d(tmp_path):
    header = make_header(shape=FRAMES.shape)
    return write_nifti(tmp_path / "bold.nii.gz", header, FRAMES), header


ZERO = np.zeros(SHAPE, "f4")
