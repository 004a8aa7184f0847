"""Headers from end to end: what goes in comes out, and three other tools see one and the same."""

import gzip
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ball import ALONE, HEAD, ball, place, run
from deskull.image.formats import open_image
from deskull.image.grid import Grid
from deskull.image.lookup import find_partner
from deskull.image.writing import save_image
from nifti_files import (
    CONTENT,
    EXTENSION,
    find_changed_fields,
    make_header,
    read_bytes,
    write_nifti,
)
from scans import write_metaimage

__all__ = ["ball", "place"]

DATA = np.round(np.asarray(HEAD.dataobj)).astype(np.int16)
IMAGES = {word: file for word, file in ALONE.items() if word in ("-o", "-m", "-p", "-d", "-c")}
TURN = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = TURN @ np.diag([-4.0, 4, 4])
OBLIQUE[:3, 3] = [78, -94, -86]
PLACE = {
    "srow_x": OBLIQUE[0],
    "srow_y": OBLIQUE[1],
    "srow_z": OBLIQUE[2],
    "pixdim": [-1, 4, 4, 4, 0.7, 0, 0, 0],
}
KINDS = {
    "NIfTI-1": ("scan.nii.gz", {}),
    "big-endian": ("scan.nii", {"order": ">"}),
    "NIfTI-2": ("scan.nii.gz", {"kind": nib.Nifti2Image}),
    "pair": ("scan.hdr", {"kind": nib.Nifti1Pair}),
    "scaled": ("scan.nii", {"scl_slope": -0.5, "scl_inter": 100}),
    "sform unlike qform": ("scan.nii", {"qform_code": 2, "sform_code": 1}),
    "sform only": ("scan.nii", {"qform_code": 0}),
    "4D": ("scan.nii", {"shape": (*DATA.shape, 2)}),
}


def write_scan(folder, name, fields):
    """Write a head under a header in which every field holds something of its own."""
    fields = {"shape": DATA.shape} | PLACE | fields
    header = make_header(**fields)
    frames = np.stack([DATA] * 2, axis=-1) if len(fields["shape"]) == 4 else DATA
    raw = np.round((frames - 100) / -0.5) if "scl_slope" in fields else frames
    return write_nifti(folder / name, header, raw, lead=EXTENSION), header


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_keeps_every_header_byte_that_its_content_need_not_change(place, kind):
    name, fields = KINDS[kind]
    path, header = write_scan(place, name, fields)
    suffix = ".hdr" if kind == "pair" else ".nii"
    frames = ["--frame", "all"] if kind == "4D" else []
    arguments = [word for option in IMAGES for word in (option, f"out{option}{suffix}")]
    assert run(name, *frames, *arguments) == 0
    for option in IMAGES:
        out = place / f"out{option}{suffix}"
        changed = find_changed_fields(path, out, header)
        assert changed <= (set() if option == "-o" else CONTENT), option
        size = header.sizeof_hdr
        assert read_bytes(out)[size : size + len(EXTENSION)] == EXTENSION


def test_one_frame_changes_the_dimensions_only(place):
    path, header = write_scan(place, *KINDS["4D"])
    assert run("scan.nii", "out.nii", "--frame", "1") == 0
    assert find_changed_fields(path, place / "out.nii", header) == {"dim"}


@pytest.mark.parametrize("option", IMAGES)
def test_an_mgz_keeps_geometry_scan_parameters_and_tags(place, option):
    image = nib.MGHImage(DATA, OBLIQUE)
    image.header["tr"], image.header["flip_angle"], image.header["te"] = 2300, 0.2, 3
    nib.save(image, place / "scan.mgz")
    tags = b"\0\0\0\3" + (5).to_bytes(8, "big") + b"hello"
    whole = gzip.decompress((place / "scan.mgz").read_bytes()) + tags
    (place / "scan.mgz").write_bytes(gzip.compress(whole))
    assert run("scan.mgz", option, "out.mgz") == 0
    made = gzip.decompress((place / "out.mgz").read_bytes())
    assert made[:20] == whole[:20]  # version and dimensions
    assert made[24:284] == whole[24:284]  # geometry; before it the type
    assert made[-20 - len(tags) :] == whole[-20 - len(tags) :]


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])
def test_outputs_of_formats_without_a_nifti_header_lie_where_the_scan_does(place, name):
    if name == "scan.mha":
        write_metaimage(place / name, DATA)
    else:
        write_oblique_nrrd(place / name)
    assert run(name, "out.nii.gz", "-m", "m.nii.gz") == 0
    expected = open_image(place / name).affine
    for out in ("out.nii.gz", "m.nii.gz"):
        made = nib.load(place / out)
        np.testing.assert_allclose(made.affine, expected, atol=1e-5)
        assert made.shape == DATA.shape


def write_oblique_nrrd(path):
    import nrrd

    nrrd.write(str(path), DATA, {"space": "RAS", "space directions": OBLIQUE[:3, :3].T})


# --- three readers, one place


@pytest.fixture(params=["oblique", "straight", "both codes"])
def overlaid(place, request):
    """A scan, its mask and its brain, in a place that every tool can say."""
    affine = HEAD.affine if request.param == "straight" else OBLIQUE
    image = nib.Nifti1Image(DATA, affine)
    if request.param == "both codes":
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
    save_image(image, place / "scan.nii.gz")
    assert run("scan.nii.gz", "brain.nii.gz", "-m", "mask.nii.gz") == 0
    return place


def test_nibabel_sees_the_mask_on_the_scans_voxels(overlaid):
    scan, mask, brain = (nib.load(overlaid / f"{n}.nii.gz") for n in ("scan", "mask", "brain"))
    np.testing.assert_array_equal(mask.affine, scan.affine)
    np.testing.assert_array_equal(mask.get_fdata() * scan.get_fdata(), brain.get_fdata())


def test_simpleitk_sees_the_mask_on_the_scans_voxels(overlaid):
    scan, mask, brain = (
        sitk.ReadImage(str(overlaid / f"{n}.nii.gz")) for n in ("scan", "mask", "brain")
    )
    masked = sitk.Mask(scan, mask)  # refuses images that lie elsewhere
    np.testing.assert_array_equal(sitk.GetArrayFromImage(masked), sitk.GetArrayFromImage(brain))
    grid = Grid(DATA.shape, nib.load(overlaid / "mask.nii.gz").affine)
    for index in ((0, 0, 0), (39, 47, 43), (7, 20, 30)):
        x, y, z = mask.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(grid.to_mm(index), (-x, -y, z), atol=1e-3)


@pytest.mark.skipif(shutil.which("niimath") is None, reason="niimath is not installed")
def test_niimath_sees_the_mask_on_the_scans_voxels(overlaid):
    arguments = ["niimath", "scan.nii.gz", "-mas", "mask.nii.gz", "masked.nii.gz"]
    subprocess.run(arguments, cwd=overlaid, check=True, capture_output=True)
    masked, brain = (nib.load(overlaid / f"{name}.nii.gz") for name in ("masked", "brain"))
    np.testing.assert_array_equal(masked.get_fdata(), brain.get_fdata())
    np.testing.assert_allclose(masked.affine, brain.affine, atol=1e-5)


@pytest.mark.parametrize("name", ["out.hdr", "out.img"])
def test_both_files_of_a_pair_are_there_and_read_alike(place, name):
    assert run("scan.nii.gz", name) == 0
    assert find_partner(place / name).exists()
    image = nib.load(place / name)
    np.testing.assert_array_equal(image.affine, HEAD.affine)
