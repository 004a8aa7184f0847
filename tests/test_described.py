"""NRRD and MetaImage: where the text says the voxels lie, in space and in files."""

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from deskull.image.volume import load_volume
from scans import AFFINE, HEAD, LPS, META, WRITERS, write_metaimage, write_nrrd


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_headers_made_from_an_affine_say_scanner(tmp_path, name):
    header = load_volume(WRITERS[name](tmp_path / name)).source.header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    assert header.get_qform() == pytest.approx(AFFINE)


def test_shear_is_in_the_sform_only(tmp_path):
    directions = np.array([[1.0, 0, 0], [0.4, 1, 0], [0, 0, 1]])
    path = write_nrrd(tmp_path / "scan.nrrd", **{"space directions": directions, "space": "RAS"})
    volume = load_volume(path)
    assert volume.grid.affine[:3, :3] == pytest.approx(directions.T)
    assert int(volume.source.header["qform_code"]) == 0


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("LAS", (-1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
        ("scanner-xyz", (-1, -1, 1)),
    ],
)
def test_nrrd_spaces(tmp_path, space, signs):
    changes = {"space": space, "space directions": np.diag([1.0, 2, 3])}
    changes["space origin"] = [4.0, 5, 6]
    affine = load_volume(write_nrrd(tmp_path / "scan.nrrd", **changes)).grid.affine
    assert affine[:3, :3] == pytest.approx(np.diag([1.0, 2, 3]) * np.array(signs)[:, None])
    assert affine[:3, 3] == pytest.approx(np.array([4, 5, 6]) * signs)


def test_nrrd_with_spacings_only(tmp_path):
    nrrd.write(str(tmp_path / "scan.nrrd"), HEAD, {"spacings": [1.0, 2, 3]})
    assert load_volume(tmp_path / "scan.nrrd").grid.voxel_size == pytest.approx((1, 2, 3))


def test_nrrd_axis_of_frames_may_come_first(tmp_path):
    frames = np.stack([HEAD, HEAD + 1])
    directions = np.vstack([[np.nan] * 3, LPS[:3, :3].T])
    path = write_nrrd(
        tmp_path / "scan.nrrd",
        frames,
        **{"space directions": directions, "kinds": ["list"] + ["domain"] * 3},
    )
    assert np.array_equal(load_volume(path, frame=1).data, HEAD + 1)
    assert load_volume(path, frame=1).grid.affine == pytest.approx(AFFINE)


def test_metaimage_is_placed_where_itk_places_it(tmp_path):
    angles = np.radians([20, -35, 70])
    c, s = np.cos(angles), np.sin(angles)
    turn = np.array([[c[0], -s[0], 0], [s[0], c[0], 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, c[1], -s[1]], [0, s[1], c[1]]])
    image = sitk.GetImageFromArray(HEAD.T)
    image.SetSpacing([2, 1.5, 3])
    image.SetDirection(turn.ravel())
    image.SetOrigin([4, 5, 6])
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"), True)
    grid = load_volume(tmp_path / "scan.mhd").grid
    for index in [(0, 0, 0), (3, 0, 0), (0, 4, 0), (1, 2, 5)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        assert grid.to_mm(index) == pytest.approx((-x, -y, z), abs=1e-4)


META_TYPES = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("dtype", [*META_TYPES, "float32", "float64"])
def test_metaimage_of_every_type(tmp_path, name, dtype):
    volume = load_volume(write_metaimage(tmp_path / name, HEAD.astype(dtype)))
    assert volume.source.dataobj.dtype == np.dtype(dtype)
    assert np.array_equal(volume.data, HEAD)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("ElementDataFile = LOCAL\n", HEAD.tobytes("F")),
        ("BinaryDataByteOrderMSB = True\nElementDataFile = LOCAL\n", HEAD.astype(">i2")),
        ("BinaryData = False\nElementDataFile = LOCAL\n", " ".join(map(str, HEAD.ravel("F")))),
        ("HeaderSize = -1\nElementDataFile = scan.raw\n", None),
        ("HeaderSize = 3\nElementDataFile = scan.raw\n", None),
        ("ElementDataFile = slice%02d.raw 1 6 1\n", None),
        ("ElementDataFile = LIST\n" + "".join(f"slice0{k}.raw\n" for k in range(1, 7)), None),
    ],
    ids=["local", "big-endian", "text", "end", "offset", "pattern", "list"],
)
def test_metaimage_finds_its_voxels(tmp_path, text, content):
    if isinstance(content, np.ndarray):
        content = content.tobytes("F")
    content = content.encode() if isinstance(content, str) else content or b""
    (tmp_path / "scan.mhd").write_bytes((META + text).encode() + content)
    (tmp_path / "scan.raw").write_bytes(b"abc" + HEAD.tobytes("F"))
    for k in range(6):
        (tmp_path / f"slice0{k + 1}.raw").write_bytes(HEAD[..., k].tobytes("F"))
    assert np.array_equal(load_volume(tmp_path / "scan.mhd").data, HEAD)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr"])
def test_nrrd_of_every_encoding(tmp_path, encoding, name):
    path = write_nrrd(tmp_path / name, HEAD.astype("i4"), encoding=encoding)
    assert np.array_equal(load_volume(path).data, HEAD)


@pytest.mark.parametrize("skip", [("line skip: 2", b"a\nb\n"), ("byte skip: 3", b"abc")])
@pytest.mark.parametrize("type_name", ["unsigned short int", "ushort", "uint16_t", "signed short"])
def test_nrrd_skips_and_spellings(tmp_path, skip, type_name):
    text = f"NRRD0004\ntype: {type_name}\ndimension: 3\nsizes: 4 5 6\nencoding: raw\n{skip[0]}\n"
    content = skip[1] + HEAD.astype(">i2").tobytes("F")
    (tmp_path / "scan.nrrd").write_bytes(f"{text}endian: big\n\n".encode() + content)
    assert np.array_equal(load_volume(tmp_path / "scan.nrrd").data, HEAD)
