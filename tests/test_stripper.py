import threading
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from conftest import ORIENTATIONS, reorient
from deskull.demo import load_demo
from deskull.errors import EmptyMaskError, InputError, WeightsError
from deskull.image.volume import make_volume
from deskull.measure.metrics import dice
from deskull.stripper import Settings, Stripper, strip


@pytest.fixture(scope="module")
def stripper():
    return Stripper.load(device="cpu", threads=2)


@pytest.fixture(scope="module")
def demo():
    head, truth = load_demo()
    return head, truth.data > 0.5


@pytest.fixture(scope="module")
def result(stripper, demo):
    return stripper(demo[0])


@pytest.fixture(scope="module")
def small(demo):
    """The demo head at about 3 mm: quick, and still a head."""
    data, affine = demo[0].data[::3, ::3, ::3], demo[0].grid.affine @ np.diag([3, 3, 3, 1])
    return nib.Nifti1Image(np.ascontiguousarray(data), affine)


def test_the_demo_head_is_stripped_well(result, demo):
    assert dice(result.mask, demo[1]) >= 0.95


def test_mask_is_probability_at_the_threshold_cleaned(result):
    assert result.mask.dtype == bool
    assert result.mask.shape == result.volume.grid.shape
    inside = result.probability >= 0.5
    assert dice(result.mask, inside) > 0.98
    assert 0 <= result.probability.min() <= result.probability.max() <= 1


def test_signed_distance_has_the_masks_sign(result):
    assert ((result.signed_distance < 0) == result.mask).all()


def test_volume_is_voxels_times_their_size(result):
    ml = result.mask.sum() * result.volume.grid.voxel_volume / 1000
    assert result.volume_ml == pytest.approx(ml)
    assert result.record.volume_ml == pytest.approx(ml, abs=1e-3)


def test_the_brain_keeps_the_scans_own_numbers(result):
    np.testing.assert_array_equal(result.brain, result.to_image("brain").get_fdata())
    brain = np.asarray(result.to_image("brain").dataobj)
    raw = np.asarray(result.volume.source.dataobj)
    assert (brain[result.mask] == raw[result.mask]).all()
    assert (brain[~result.mask] == 0).all()


def test_same_scan_same_bytes(stripper, result, demo):
    again = stripper(demo[0])
    assert again.probability.tobytes() == result.probability.tobytes()
    assert again.mask.tobytes() == result.mask.tobytes()


def test_all_48_orientations_give_one_mask(stripper, small):
    first = stripper(small)
    wanted = first.to_image("mask")
    for codes in ORIENTATIONS:
        mask = stripper(reorient(small, codes)).to_image("mask")
        np.testing.assert_array_equal(
            np.asarray(mask.dataobj), np.asarray(reorient(wanted, codes).dataobj), err_msg=codes
        )


@pytest.mark.parametrize(("scale", "shift"), [(1 / 200, 0.0), (30, 0.0), (1, -500.0)])
def test_units_of_intensity_do_not_matter(stripper, small, scale, shift):
    first = stripper(small)
    data = np.asarray(small.dataobj, np.float32) * np.float32(scale) + np.float32(shift)
    other = stripper(nib.Nifti1Image(data.astype(np.float32), small.affine))
    np.testing.assert_allclose(other.probability, first.probability, atol=5e-3)


def test_nan_and_inf_are_air_and_are_flagged(stripper, small):
    data = np.asarray(small.dataobj, np.float32).copy()
    data[:2, :2, :2] = np.nan
    data[-1, -1, -1] = np.inf
    result = stripper(nib.Nifti1Image(data, small.affine))
    assert "not-finite" in [flag.name for flag in result.flags]
    assert dice(result.mask, stripper(small).mask) > 0.99


def test_eight_threads_share_one_stripper(stripper, small):
    first, found = stripper(small).mask.tobytes(), []
    workers = [
        threading.Thread(target=lambda: found.append(stripper(small).mask.tobytes()))
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [first] * 8


def test_border_moves_the_surface_by_millimetres(stripper, small):
    volumes = [stripper(small, Settings(border=mm)).volume_ml for mm in (-4, 0, 4)]
    assert volumes[0] < volumes[1] < volumes[2]
    # A ball of 1300 ml has a radius of 68 mm; 4 mm more make it 1.19 times as large.
    assert volumes[2] / volumes[1] == pytest.approx(1.19, abs=0.08)


def test_without_csf_the_mask_is_smaller_and_inside(stripper, small):
    whole, tissue = stripper(small), stripper(small, Settings(csf=False))
    assert tissue.volume_ml < whole.volume_ml
    assert (tissue.mask & whole.mask).sum() / tissue.mask.sum() > 0.95


def test_weights_without_a_second_output_say_so(stripper, small, monkeypatch):
    stage = stripper.weights.segment
    poor = replace(
        stripper.weights, segment=replace(stage, spec=replace(stage.spec, outputs=("brain",)))
    )
    monkeypatch.setattr(stripper, "weights", poor)
    with pytest.raises(WeightsError, match="cannot leave out the CSF"):
        stripper(small, Settings(csf=False))


def test_n4_is_a_step_that_can_be_requested(stripper, small):
    steps = []
    result = stripper(small, Settings(n4=True), lambda name, *_: steps.append(name))
    assert steps[0] == "n4"
    assert result.record.settings.n4.shrink == 4
    assert result.corrected is result.bias_corrected
    assert dice(result.mask, stripper(small).mask) > 0.95


def test_every_step_can_be_observed(stripper, small):
    seen = {}
    stripper(small, observe=lambda name, array, grid: seen.update({name: (array, grid)}))
    assert {"conformed", "normalised", "logits_brain", "probability", "mask_raw"} <= set(seen)
    assert all(array.shape == grid.shape for array, grid in seen.values())


def test_noise_is_never_a_brain_without_a_doubt(stripper):
    noise = np.random.default_rng(0).normal(100, 1, (40, 40, 40)).astype(np.float32)
    try:
        flags = stripper(nib.Nifti1Image(noise, np.diag([4, 4, 4, 1.0]))).flags
    except EmptyMaskError:
        return
    assert flags


def test_no_brain_is_an_error_that_says_what_to_do(stripper, small, monkeypatch):
    stage = stripper.weights.segment
    nothing = np.full((len(stage.spec.outputs), *stage.window.shape), -9, np.float32)
    network = replace(stripper._segment, engine=lambda image: nothing)
    monkeypatch.setattr(stripper, "_segment", network)
    with pytest.raises(EmptyMaskError, match="no brain found"):
        stripper(small)


@pytest.mark.parametrize(
    "settings", [{"threshold": 0}, {"threshold": 1.5}, {"border": 99}, {"border": np.nan}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="expected"):
        Settings(**settings)


def test_strip_takes_a_path(tmp_path, small):
    nib.save(small, tmp_path / "a.nii.gz")
    result = strip(tmp_path / "a.nii.gz", threads=2)
    result.save(mask=tmp_path / "m.nii.gz", record=tmp_path / "r.json")
    mask = nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(mask.affine, small.affine)
    assert np.asarray(mask.dataobj).sum() == result.mask.sum()
    with pytest.raises(InputError, match="output 'skull'"):
        result.save(skull=tmp_path / "s.nii.gz")


def test_zero_threads_are_refused():
    with pytest.raises(InputError, match="threads 0"):
        Stripper.load(threads=0)


def test_a_frame_of_a_4d_image_is_stripped(stripper, small):
    data = np.stack([np.asarray(small.dataobj)] * 2, axis=-1)
    volume = make_volume(nib.Nifti1Image(data, small.affine), frame=1)
    result = stripper(volume)
    assert result.to_image("brain").shape == small.shape
    assert result.record.input.frame == 1
