"""The brain's surface as a mesh: closed, outward, where the ball's surface is, on any grid."""

import nibabel as nib
import numpy as np
import pytest

from ball import BRAIN_MM, HEAD, ball, load, place, run
from deskull import outputs
from deskull.errors import EmptyMaskError
from deskull.image.grid import Grid
from deskull.image.writing import save_image

marching = pytest.importorskip("skimage")
from deskull.surface import make_surface

__all__ = ["ball", "place"]
MIDDLE, RADIUS = np.array([3.3, -7.2, 5.1]), 30.0
TURN = np.array([[0.9, -0.3, 0.2], [0.3, 0.95, -0.1], [-0.2, 0.15, 0.97]])
AXES = {
    "as the scanner's": np.eye(3),
    "left-handed": np.diag([-1.0, 1, 1]),
    "oblique": TURN,
    "oblique and left-handed": TURN @ np.diag([1, 1, -1.3]),
    "sheared": np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1.1]]),
    "slices of 3 mm": np.diag([1.0, 1, 3]),
    "small voxels, axes swapped": np.eye(3)[[2, 0, 1]] * 0.7,
}


def make_grid(axes, reach=40.0):
    """A grid with these axes that holds a ball about the middle."""
    size = np.linalg.norm(axes, axis=0)
    shape = np.ceil(2 * reach / size * 1.2).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = MIDDLE - axes @ ((shape - 1) / 2)
    return Grid(tuple(shape), affine)


def make_ball(grid, middle=MIDDLE, radius=RADIUS):
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.linalg.norm(grid.to_mm(index) - middle, axis=-1) < radius


def count_edges(triangles):
    """How many triangles each directed edge has, and its opposite."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    number = int(triangles.max()) + 1
    return set(edges @ [number, 1]), set(edges @ [1, number]), len(edges)


def enclose(points, triangles):
    """Volume by the divergence theorem, in mm3; positive if normals point outward."""
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_a_ball_has_the_surface_of_a_ball_on_any_grid(axes):
    grid = make_grid(axes)
    mask = make_ball(grid)
    mesh = make_surface(mask, grid)
    off = np.linalg.norm(mesh.points - MIDDLE, axis=1) - RADIUS
    voxel = max(grid.voxel_size)
    assert np.abs(off).max() < 0.6 * voxel
    assert np.sqrt((off**2).mean()) < 0.2 * voxel
    volume = enclose(mesh.points, mesh.triangles)
    assert volume == pytest.approx(mask.sum() * grid.voxel_volume, rel=0.01)
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert volume == pytest.approx(mesh.volume_mm3)


@pytest.mark.parametrize("shift", [(0, 0, 0), (35, 0, 0), (0, -38, 45)])
def test_the_mesh_is_closed_also_where_the_field_cuts_the_mask(shift):
    grid = make_grid(TURN)
    mask = make_ball(grid, MIDDLE + shift)
    mesh = make_surface(mask, grid)
    there, back, count = count_edges(mesh.triangles)
    assert there == back  # each edge is walked once each way
    assert len(there) == count
    assert len(mesh.points) - count / 2 + len(mesh.triangles) == 2  # a sphere's Euler number
    volume = enclose(mesh.points, mesh.triangles)
    assert volume == pytest.approx(mask.sum() * grid.voxel_volume, rel=0.01)


def test_two_pieces_stay_and_specks_go():
    grid = make_grid(np.eye(3), 60.0)
    pair = make_ball(grid, MIDDLE - 30, 20) | make_ball(grid, MIDDLE + 30, 20)
    speck = make_ball(grid, MIDDLE, 2)
    both, same = make_surface(pair, grid), make_surface(pair | speck, grid)
    assert both.volume_mm3 == pytest.approx(2 * 4 / 3 * np.pi * 20**3, rel=0.01)
    assert same.volume_mm3 == pytest.approx(both.volume_mm3, rel=0.01)
    assert np.linalg.norm(same.points - MIDDLE, axis=1).min() > 10


def test_an_empty_mask_has_no_surface():
    grid = make_grid(np.eye(3))
    with pytest.raises(EmptyMaskError, match="empty"):
        make_surface(np.zeros(grid.shape), grid)


# --- the file


def read(path):
    mesh = nib.load(path)
    points, triangles = mesh.agg_data(("pointset", "triangle"))
    return mesh, points, triangles


def test_the_file_lies_on_the_scan_in_scanner_mm(place):
    assert run("scan.nii.gz", "-m", "m.nii", "--surface", "s.surf.gii") == 0
    mesh, points, triangles = read(place / "s.surf.gii")
    assert (points.dtype, triangles.dtype) == (np.float32, np.int32)
    assert np.linalg.norm(points, axis=1) == pytest.approx(BRAIN_MM, abs=2.5)
    volume = load(place / "m.nii").sum() * 64
    assert enclose(points.astype(float), triangles) == pytest.approx(volume, rel=0.01)
    (pointset,) = mesh.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    system = pointset.coordsys
    assert nib.nifti1.xform_codes.niistring[system.dataspace] == "NIFTI_XFORM_SCANNER_ANAT"
    np.testing.assert_array_equal(system.xform, np.eye(4))


@pytest.mark.parametrize(("sform", "qform", "space"), [(4, 1, 4), (0, 3, 3), (0, 1, 1), (2, 0, 1)])
def test_the_space_is_the_scanners_or_that_of_a_template(place, sform, qform, space):
    image = nib.Nifti1Image(np.asarray(HEAD.dataobj), HEAD.affine)
    image.set_sform(HEAD.affine, sform)
    image.set_qform(HEAD.affine, qform)
    save_image(image, "scan.nii.gz")
    assert run("scan.nii.gz", "--surface", "s.gii") == 0
    mesh, _, _ = read(place / "s.gii")
    assert {array.coordsys.dataspace for array in mesh.darrays[:1]} == {space}


def test_equal_scans_give_equal_files(place):
    for name in ("a.gii", "b.gii"):
        assert run("scan.nii.gz", "--surface", name) == 0
    assert (place / "a.gii").read_bytes() == (place / "b.gii").read_bytes()


def test_the_missing_extra_is_named_before_any_work(place, capsys, monkeypatch):
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    assert run("scan.nii.gz", "--surface", "s.gii", "-m", "m.nii") == 1
    error = capsys.readouterr().err
    assert "output surface: scikit-image is not installed." in error
    assert "pip install 'deskull[surface]'" in error
    assert run("batch", "scan.nii.gz", "-o", "out", "--outputs", "surface") == 1
    assert "pip install 'deskull[surface]'" in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == ["scan.nii.gz"]
