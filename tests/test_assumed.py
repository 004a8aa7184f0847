"""Headers that leave something open: read as nibabel, ITK and FSL read them, and reported."""

import logging
import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from deskull.errors import GeometryError, ImageFileError
from deskull.image.derived import make_brain_image, make_mask_image
from deskull.image.formats import open_image
from deskull.image.volume import load_volume, make_volume
from deskull.image.writing import save_image
from nifti_files import HEAD, SHAPE, find_changed_fields, make_header, write_nifti

QFORM = make_header().get_qform()
ZERO_SFORM = {"srow_x": 0, "srow_y": 0, "srow_z": 0}
LONG = {"sform_code": 0, "quatern_b": 0.6, "quatern_c": 0.8, "quatern_d": 0.02}


def write(folder, data=HEAD, name="scan.nii", **fields):
    header = make_header(**fields)
    return write_nifti(folder / name, header, data), header


def list_warnings(caplog):
    """What open_image warned of."""
    return [one.getMessage() for one in caplog.records if one.name == "deskull.image.formats"]


def same_header(path, header, out):
    """Write a brain of a scan, and give the header fields in which it differs."""
    save_image(make_brain_image(np.ones(SHAPE, bool), load_volume(path).source), out)
    return find_changed_fields(path, out, header)


# --- fields, and what is assumed: the note, and the affine that another reader gives

OPEN = {
    "zero in an unused dimension": (
        {"dim": [4, *SHAPE, 0, 1, 1, 1]},
        r"dim\[4\] is 0; used as 1",
    ),
    "zeros in several": ({"dim": [6, *SHAPE, 0, 1, 0, 1]}, r"dim\[4\] is 0; used as 1"),
    "minus in an unused dimension": ({"dim": [5, *SHAPE, 1, -1, 1, 1]}, r"dim\[5\] is -1"),
    "zero sform": (ZERO_SFORM, "its sform is no valid affine; its qform was used"),
    "NaN in the sform": ({"srow_x": np.nan}, "its qform was used"),
    "flat sform": ({"srow_z": 0}, "its qform was used"),
    "no code": ({"sform_code": 0, "qform_code": 0}, "both codes are 0.*axes assumed to be LAS"),
    "long quaternion": (LONG, r"its qform's quaternion .* is 1.0002 long; used as 1"),
    "minus": (
        {"sform_code": 0, "pixdim": [-1, -2, 1.5, 3, 0, 0, 0, 0]},
        "the minus sign was ignored",
    ),
    "millimetres called metres": (
        {"xyzt_units": 1},
        "says metres, but voxel sizes 2.002.* as millimetres",
    ),
    "millimetres called micrometres": ({"xyzt_units": 3}, "says micrometres, but .* as milli"),
}


@pytest.mark.parametrize("name", OPEN)
def test_assumptions_about_a_header_are_reported(tmp_path, name, caplog):
    fields, note = OPEN[name]
    path, header = write(tmp_path, **fields)
    volume = load_volume(path)
    assert np.array_equal(volume.data, HEAD)
    assert len(volume.notes) >= 1
    assert any(re.search(note, one) for one in volume.notes)
    assert list_warnings(caplog) == [f"scan.nii: {one}." for one in volume.notes]
    assert same_header(path, header, tmp_path / "out.nii") <= {"dim"}


@pytest.mark.parametrize("name", ["zero sform", "NaN in the sform", "flat sform"])
def test_a_useless_sform_gives_way_to_the_qform(tmp_path, name):
    path, _ = write(tmp_path, **OPEN[name][0])
    assert load_volume(path).grid.affine == pytest.approx(QFORM, abs=1e-4)


@pytest.mark.parametrize("name", ["zero sform", "long quaternion"])
def test_the_place_is_that_of_itk(tmp_path, name):
    path, _ = write(tmp_path, **OPEN[name][0])
    image = sitk.ReadImage(str(path))
    grid = load_volume(path).grid
    for index in ((0, 0, 0), (4, 5, 6), (1, 0, 5)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(grid.to_mm(index), (-x, -y, z), atol=1e-3)


@pytest.mark.parametrize("name", ["no code", "minus"])
def test_the_place_is_that_of_nibabel(tmp_path, name):
    path, _ = write(tmp_path, **OPEN[name][0])
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    assert load_volume(path).grid.affine == pytest.approx(nib.load(path).affine, abs=1e-5)


def test_a_frame_count_of_zero_is_read_as_itk_reads_it(tmp_path):
    path, _ = write(tmp_path, dim=[4, *SHAPE, 0, 0, 0, 0])
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).squeeze().T
    assert np.array_equal(load_volume(path).data, expected)


@pytest.mark.parametrize(
    "fields", [{}, {"qform_code": 0}, {"sform_code": 0}, {"dim": [3, *SHAPE, 0, 0, 0, 0]}]
)
def test_a_complete_header_needs_no_assumption(tmp_path, fields, caplog):
    path, _ = write(tmp_path, **fields)
    assert load_volume(path).notes == ()
    assert list_warnings(caplog) == []


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"dim": [3, 5, 0, 7, 1, 1, 1, 1]}, ImageFileError, r"shape \(5, 0, 7\)"),
        ({**ZERO_SFORM, "qform_code": 0}, GeometryError, "singular affine"),
        ({**ZERO_SFORM, "quatern_b": 3}, GeometryError, "singular affine"),
        ({"sform_code": 0, "quatern_b": 3}, GeometryError, "no rotation"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, GeometryError, "voxel size"),
    ],
)
def test_a_header_that_allows_no_assumption_is_refused(tmp_path, fields, error, message):
    path, _ = write(tmp_path, **fields)
    with pytest.raises(error, match=message):
        load_volume(path)


# --- units

STRAIGHT = np.array([[-2.0, 0, 0, 40], [0, 1.5, 0, -30], [0, 0, 3, 10], [0, 0, 0, 1]])
UNITS = {"metres": (1, 1000.0), "micrometres": (3, 0.001)}


def write_in(folder, unit):
    code, factor = UNITS[unit]
    affine = np.diag([1 / factor] * 3 + [1]) @ STRAIGHT
    place = {f"srow_{axis}": row for axis, row in zip("xyz", affine, strict=False)}
    sizes = np.array([-1, 2 / factor, 1.5 / factor, 3 / factor, 0, 0, 0, 0])
    return write(folder, xyzt_units=code, qform_code=0, pixdim=sizes, **place)


@pytest.mark.parametrize("unit", UNITS)
def test_a_scan_in_other_units_lies_where_that_in_millimetres_does(tmp_path, unit):
    path, header = write_in(tmp_path, unit)
    volume = load_volume(path)
    assert volume.grid.affine == pytest.approx(STRAIGHT, abs=1e-4)
    assert volume.notes[0].startswith(f"its header is in {unit}: ")
    image = sitk.ReadImage(str(path))
    assert image.GetSpacing() == pytest.approx(volume.grid.voxel_size, rel=1e-4)
    assert same_header(path, header, tmp_path / "out.nii") == set()


@pytest.mark.parametrize("unit", UNITS)
def test_a_nibabel_image_in_other_units_is_taken_alike(tmp_path, unit):
    path, _ = write_in(tmp_path, unit)
    assert make_volume(nib.load(path)).grid.affine == pytest.approx(STRAIGHT, abs=1e-4)


def test_a_mask_lies_on_the_scans_voxels_in_its_own_units(tmp_path):
    path, _ = write_in(tmp_path, "micrometres")
    save_image(make_mask_image(HEAD > 9, open_image(path)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, nib.load(path).affine)


def test_sizes_that_no_unit_makes_sense_of_are_refused(tmp_path):
    path, _ = write(tmp_path, xyzt_units=3, qform_code=0, srow_x=[1e7, 0, 0, 0])
    with pytest.raises(GeometryError, match="Are the header's units"):
        load_volume(path)
