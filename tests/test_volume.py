"""Volumes as they are read: values, frames, and what is refused."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from deskull.errors import GeometryError, ImageFileError
from deskull.image.derived import make_brain_image
from deskull.image.formats import open_image
from deskull.image.stored import StoredArray
from deskull.image.volume import count_frames, load_volume, make_mean_volume, make_volume
from deskull.image.writing import save_image
from nifti_files import (
    AFFINE,
    FRAMES,
    HEAD,
    MASK,
    SHAPE,
    ZERO,
    find_changed_fields,
    make_header,
    open_in_memory,
    scan,
    scan_4d,
    write_nifti,
)

__all__ = ["scan", "scan_4d"]


def test_values_are_those_of_nibabel(scan):
    path, _ = scan
    assert np.array_equal(load_volume(path).data, nib.load(path).get_fdata(dtype=np.float32))


def test_frame_of_4d(scan_4d):
    volume = load_volume(scan_4d[0], frame=2)
    assert volume.frame == 2
    assert np.array_equal(volume.data, HEAD[::-1])


def test_frame_of_4d_in_memory(scan_4d):
    volume = make_volume(open_image(scan_4d[0]), frame=2)
    assert volume.frame == 2
    assert count_frames(volume.source) == 3
    assert np.array_equal(volume.data, HEAD[::-1])


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of nibabel, which leaves files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["scaled+tlrc.HEAD", "phantom_EPI_asc_CLEAR_2_1.PAR"])
def test_images_that_nibabel_scales_in_other_ways_keep_their_scale(name):
    """AFNI has a factor for each frame, PAR/REC one for each slice."""
    path = Path(nib.__file__).parent / "tests" / "data" / name
    if not path.exists():
        pytest.skip("needs the test data of nibabel")
    image = nib.load(path)
    expected = image.get_fdata(dtype=np.float32).reshape(*image.shape[:3], -1)[..., 0]
    volume = make_volume(image, frame=0 if image.ndim == 4 else None)
    np.testing.assert_allclose(volume.data, expected, rtol=1e-6, atol=1e-3 * expected.max())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti1Pair])
def test_one_frame_of_a_series_too_large_for_memory_is_read(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("deskull.image.stored.MAX_BYTES", 2 * HEAD.size * 2)
    name = "bold.nii" if kind is nib.Nifti1Image else "bold.hdr"
    path = write_nifti(tmp_path / name, make_header(kind, shape=FRAMES.shape), FRAMES)
    with pytest.raises(ImageFileError, match=r"only a frame of it fits .deskull strip --frame N."):
        load_volume(path)
    assert np.array_equal(load_volume(path, frame=2).data, HEAD[::-1])


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


@pytest.mark.parametrize("kind", [nib.Spm2AnalyzeImage, nib.Minc1Image])
def test_images_of_other_classes_become_nifti(kind):
    volume = make_volume(kind(HEAD.astype("f4"), AFFINE))
    assert isinstance(volume.source, nib.Nifti1Image)
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert np.array_equal(volume.data, HEAD)


def test_the_mean_of_a_series_leaves_out_what_is_not_finite():
    frames = np.stack([HEAD + 1.0, HEAD + 2.0, HEAD + 6.0], -1)
    frames[0, 0, 0] = [np.nan, 5, 7]
    frames[1, 0, 0] = [np.inf, -np.inf, 7]
    frames[2, 0, 0] = np.nan
    mean = make_mean_volume(nib.Nifti1Image(frames.astype("f4"), AFFINE), "bold.nii").data
    assert mean[:3, 0, 0] == pytest.approx([6, 7, np.nan], nan_ok=True)
    assert mean[3:] == pytest.approx(HEAD[3:] + 3.0)


def test_an_mgh_image_moved_in_memory_lies_where_its_affine_says(tmp_path):
    image = nib.MGHImage(HEAD.astype("f4"), AFFINE)
    image.affine[0, 3] += 40
    volume = make_volume(image)
    save_image(make_brain_image(MASK, volume.source), tmp_path / "brain.mgz")
    assert load_volume(tmp_path / "brain.mgz").grid.affine == pytest.approx(image.affine)
    assert volume.grid.affine == pytest.approx(image.affine)


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii", nib.Nifti1Image), ("a.mgz", nib.MGHImage), ("a.img", nib.Spm2AnalyzeImage)],
)
def test_an_image_that_is_converted_or_moved_keeps_the_name_of_its_file(tmp_path, name, kind):
    path = tmp_path / name
    nib.save(kind(HEAD.astype("f4"), AFFINE), path)
    image = nib.load(path)
    image.affine[0, 3] += 5
    assert make_volume(image).source.get_filename() == str(path)
