"""What the generator adds to the heads at hand: faults, lesions, electrodes, phantoms."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deskull.image.volume import make_volume
from deskull.prepare.conform import WindowSettings
from deskull.train.augment import add_ghosts, blur, cut_field, ring, thicken
from deskull.train.draws import Draws
from deskull.train.examples import make_phantom
from deskull.train.labels import TISSUE, make_brain_mask, make_labelled_head, tissue_codes
from deskull.train.recipe import NO_AUGMENTATION, AugmentSettings
from deskull.train.synthesis import draw_intensities, synthesise, vary_anatomy
from train_heads import make_label_map

CODES = tissue_codes()


def draw(seed=0):
    return Draws(seed)


@pytest.fixture(scope="module")
def labelled():
    return make_labelled_head(make_volume(make_label_map(), "toy"))


@pytest.fixture(scope="module")
def posed(labelled):
    """Tissue codes of the head as it is, and where each voxel lies."""
    tissue = torch.from_numpy(labelled.tissue)
    axes = [(torch.arange(n) - (n - 1) / 2) * labelled.voxel_size for n in tissue.shape]
    return tissue, torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def vary(posed, seed=0, **settings):
    tissue, points = posed
    quiet = AugmentSettings(**{"lesion": 0.0, "electrodes": 0.0, **settings})
    return vary_anatomy(tissue, points, 3.0, quiet, draw(seed))


@pytest.mark.parametrize("voxel_size", [0.5, 1.0])
def test_the_brain_takes_a_rim_of_the_csf_around_it_and_no_bone(voxel_size):
    axis = (np.arange(90) - 44.5) * voxel_size
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    tissue = np.full(radius.shape, CODES["bone"], np.uint8)
    tissue[radius < 15] = CODES["csf"]
    tissue[radius < 12] = CODES["cortex"]
    bare = (radius >= 12) & (z > 0)  # bone lies on the upper half of the cortex
    tissue[bare] = CODES["bone"]
    brain = make_brain_mask(tissue, tissue == CODES["cortex"], voxel_size)
    assert brain[radius < 12].all()
    assert not brain[bare].any()
    rim = brain & (radius >= 12)
    assert rim.sum() * voxel_size**3 == pytest.approx(2 / 3 * np.pi * (13.3**3 - 12**3), rel=0.15)
    assert radius[rim].max() < 13.5


def test_ringing_overshoots_an_edge_as_gibbs_found():
    edge = torch.zeros(4, 4, 4096)
    edge[..., 1024:3072] = 1.0
    heights = [float(ring(edge, draw(seed)).max()) - 1 for seed in range(20)]
    rung = [height for height in heights if height > 1e-3]  # those along the edge's axis
    assert rung
    assert all(height == pytest.approx(0.0895, abs=0.02) for height in rung)


def test_ringing_leaves_slow_waves_alone():
    wave = 1 + torch.cos(2 * math.pi * 3 * torch.arange(64) / 64).expand(64, 64, 64)
    torch.testing.assert_close(ring(wave, draw()), wave, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_ghosts_are_faint_copies_of_the_whole_image(seed):
    image = torch.zeros(20, 24, 28)
    image[10, 12, 14] = 1.0
    ghosts = add_ghosts(image, draw(seed)) - image
    assert 0.02 <= float(ghosts.sum()) <= 0.15
    assert 1 <= int((ghosts > 0).sum()) <= 4
    assert float(ghosts[10, 12, 14]) == 0


def test_a_cut_field_may_wrap_onto_its_other_side():
    image = draw(5).uniforms(20, 22, 24) + 1
    settings = AugmentSettings(field_cut=1.0, wrap=1.0)
    seen = 0
    for seed in range(30):
        out, field = cut_field(image, settings, draw(seed))
        cut = [axis for axis in range(3) if field.sum(axis).max() < image.shape[axis]]
        assert not out[field == 0].any()
        if len(cut) == 1 and field.flatten().diff().abs().sum() > 0:
            (axis,) = cut
            line = field.movedim(axis, 0)[:, 0, 0]
            kept = line.nonzero().flatten()
            period, lost = len(kept), (line == 0).nonzero().flatten()
            if lost.max() - lost.min() + 1 != len(lost):
                continue  # cut at both ends
            seen += 1
            moved, plain = out.movedim(axis, 0), image.movedim(axis, 0)
            for index in lost.tolist():
                target = index + period if index < kept.min() else index - period
                torch.testing.assert_close(moved[target], plain[target] + plain[index])
    assert seen > 3


def test_a_field_that_does_not_wrap_loses_what_is_cut():
    image = torch.ones(40, 40, 40)
    out, field = cut_field(image, AugmentSettings(field_cut=1.0, wrap=0.0), draw(3))
    assert torch.equal(out, field)
    assert 0 < field.mean() < 1


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_stays_inside_the_brain(posed, seed):
    tissue, _ = posed
    brain = torch.isin(tissue, torch.tensor([CODES[name] for name in TISSUE], dtype=torch.uint8))
    varied = vary(posed, seed, lesion=1.0)
    changed = (varied != tissue) & torch.isin(
        varied, torch.tensor([CODES["lesion"], CODES["fluid"]], dtype=torch.uint8)
    )
    inside = changed & brain
    assert inside.any()
    assert not (changed & ~brain & (tissue != CODES["soft"])).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_skull_grows_or_thins_by_a_voxel_and_the_brain_stays(posed, seed):
    tissue, _ = posed
    varied = vary(posed, seed)
    inner = torch.isin(tissue, torch.tensor([CODES[name] for name in TISSUE], dtype=torch.uint8))
    assert torch.equal(varied[inner], tissue[inner])


def test_electrodes_lie_on_the_brain_and_nowhere_else(posed):
    tissue, _ = posed
    shell = torch.isin(
        tissue, torch.tensor([CODES[name] for name in ("dura", "csf")], dtype=torch.uint8)
    )
    contacts = 0
    for seed in range(10):
        without, with_grid = vary(posed, seed), vary(posed, seed, electrodes=1.0)
        changed = with_grid != without
        assert not (changed & ~shell).any()
        contacts += int(changed.sum())
    assert contacts > 50


@pytest.mark.parametrize("seed", range(9))
def test_a_phantom_has_something_to_see_and_no_brain(seed):
    example = make_phantom(WindowSettings((24, 24, 24), 8.0), AugmentSettings(), draw(seed))
    assert not example.target.any()
    assert example.image.isfinite().all()
    assert float(example.image.max()) > 0.05


def test_a_stripped_head_is_dark_outside_of_the_brain(labelled):
    settings = AugmentSettings(stripped=1.0, corruption=0.0, deface=0.0, field_cut=0.0)
    example = synthesise(labelled, WindowSettings((32, 32, 32), 6.0), settings, draw(2), "T1w")
    brain = example.target[0] > 0.5
    assert brain.any()
    assert not example.image[~brain].any()
    assert (example.image[brain] > 0).float().mean() > 0.95


def test_contrast_agent_lights_up_the_sinuses():
    tissue = torch.full((8, 8, 8), CODES["sinus"], dtype=torch.uint8)
    with_agent = [float(draw_intensities(tissue, draw(seed), "T1c").mean()) for seed in range(20)]
    without = [float(draw_intensities(tissue, draw(seed), "T1w").mean()) for seed in range(20)]
    assert sum(with_agent) / 20 > 1.2
    assert sum(without) / 20 < 0.9


def test_the_truth_stays_on_the_image(labelled):
    example = synthesise(
        labelled, WindowSettings((32, 32, 32), 6.0), NO_AUGMENTATION, draw(), contrast="T1w"
    )
    grid = np.stack(np.meshgrid(*[(np.arange(32) - 15.5) * 6.0] * 3, indexing="ij"), -1)
    radius = np.linalg.norm(grid, axis=-1)
    target = example.target[0].numpy()
    assert target[radius < 60].min() > 0.9
    assert target[radius > 76].max() < 0.1


def test_the_seed_decides_the_synthetic_head(labelled):
    settings = AugmentSettings()
    first = synthesise(labelled, WindowSettings((16, 16, 16), 12.0), settings, draw(1))
    again = synthesise(labelled, WindowSettings((16, 16, 16), 12.0), settings, draw(1))
    other = synthesise(labelled, WindowSettings((16, 16, 16), 12.0), settings, draw(2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("seed", range(12))
def test_every_head_is_finite_not_negative_and_has_a_brain(labelled, seed):
    example = synthesise(
        labelled, WindowSettings((16, 16, 16), 12.0), AugmentSettings(), draw(seed)
    )
    assert torch.isfinite(example.image).all()
    assert example.image.min() >= 0
    assert example.image.std() > 0
    assert ((example.target >= 0) & (example.target <= 1)).all()
    assert example.target[0].sum() > 20


def test_blur_keeps_the_sum_and_spreads_by_its_sigma():
    point = torch.zeros(31, 31, 31)
    point[15, 15, 15] = 1
    soft = blur(point, 2.0)
    line = torch.arange(31) - 15
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    variance = (soft.sum((1, 2)) * line**2).sum()
    assert variance == pytest.approx(4, rel=0.2)


def test_thick_slices_keep_the_mean():
    image = torch.rand(24, 24, 24)
    assert thicken(image, 1.0, draw()).mean() == pytest.approx(float(image.mean()), abs=0.02)
