"""Traits of a mask, their flags, and the score."""

import re

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from deskull.demo import load_demo
from deskull.image.grid import to_canonical_array
from deskull.image.volume import make_volume
from deskull.measure.likeness import Likeness, TrainingHeads, describe_traits
from deskull.measure.quality import find_trait_flags
from deskull.measure.score import COSTS, LOW, TERMS, judge, make_score
from deskull.measure.traits import TRAITS, measure_traits
from ellipsoids import BRAIN, VOXEL_SIZE, make_probability, make_scan

# --- traits

EDGE = 2.0
WINDOW = (96, 112, 96)
MM = (np.indices(WINDOW) - (np.array(WINDOW)[:, None, None, None] - 1) / 2) * EDGE


def make_brain(radii=(68.0, 84.0, 62.0)):
    """Logits that fall by 1.4 per mm, of an ellipsoid with a blunt back and a stem below."""
    x, y, z = MM
    width = 1 - 0.2 * y / radii[1] - 0.35 * z / radii[2]
    radius = np.sqrt((x / radii[0] / width) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
    stem = np.maximum(np.hypot(x, y + 20) - 18, np.abs(z + 50) - 30)
    ball = (radius - 1) * min(radii)
    return np.clip(-1.4 * np.minimum(ball, stem), -8, 8).astype(np.float32)


def make_head_image(logits, contrast=0.35, noise=0.1, seed=0):
    """Normalised image: tissues in clumps of 2 cm within the brain, a skull, a bright scalp."""
    rng = np.random.default_rng(seed)
    clumps = np.sin(MM[0] / 6) * np.sin(MM[1] / 6) * np.sin(MM[2] / 6) > 0
    brain = 0.4 + contrast * np.where(clumps, 1.0, -1.0)
    image = np.select([logits > 0, logits > -5, logits > -8], [brain, -1.5, 1.2], -2.0)
    return (image + noise * rng.normal(size=WINDOW)).astype(np.float32)


LOGITS = make_brain()
IMAGE = make_head_image(LOGITS)


def measure(image=IMAGE, logits=LOGITS):
    return measure_traits(image, logits, EDGE)


USUAL = measure()


def find_trait_names(traits, unlike=None, cut=False):
    return [flag.name for flag in find_trait_flags(traits, unlike, cut)]


def test_every_trait_has_a_description_and_a_finite_value():
    assert set(USUAL) == set(TRAITS)
    assert np.isfinite(list(USUAL.values())).all()


def test_an_empty_mask_has_no_traits_no_flags_and_no_score():
    assert measure(logits=np.full(WINDOW, -8, np.float32)) == {}
    assert find_trait_flags({}, None, False) == []
    assert make_score({}, []) == 0


def test_traits_of_a_ball_are_known():
    radius = np.sqrt((MM**2).sum(axis=0))
    traits = measure(logits=np.clip(60 - radius, -8, 8).astype(np.float32))
    assert traits["ml"] == pytest.approx(4 / 3 * np.pi * 60**3 / 1000, rel=0.02)
    assert traits["compact"] == pytest.approx(1, abs=0.1)
    assert traits["mirror"] < 0.03
    assert abs(traits["skew_y"]) < 0.02
    assert abs(traits["skew_z"]) < 0.02
    assert traits["length_x"] == traits["length_y"] == traits["length_z"]
    # probability 0.2 to 0.8 is 1.39 mm either way; faces of a ball are 3/2 of its surface
    assert traits["rim_mm"] == pytest.approx(2 * 1.39 / 1.5, rel=0.2)


def test_a_second_piece_and_holes_are_measured():
    logits = LOGITS.copy()
    logits[4:14, 4:14, 4:14] = 5
    logits[44:52, 50:58, 50:58] = -5
    traits = measure(logits=logits)
    assert traits["second"] == pytest.approx(1000 * 8e-3 / USUAL["ml"], rel=0.3)
    assert traits["holes"] == pytest.approx(512 * 8e-3 / USUAL["ml"], rel=0.3)
    assert USUAL["second"] == USUAL["holes"] == 0


def test_a_field_that_the_mask_fills_is_measured():
    traits = measure(logits=np.full(WINDOW, 5, np.float32))
    assert traits["ml"] == pytest.approx(np.prod(WINDOW) * 8e-3)
    assert np.isfinite(list(traits.values())).all()


# --- flags of traits


def test_a_usual_head_has_no_flag_and_a_high_score():
    assert find_trait_names(USUAL) == []
    assert make_score(USUAL, []) > 90


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("form", ["ball", "cylinder", "box"])
def test_a_plain_phantom_is_flagged(form, noise):
    x, y, z = MM
    inside = {
        "ball": 70 - np.sqrt(x**2 + y**2 + z**2),
        "cylinder": np.minimum(65 - np.hypot(x, y), 75 - np.abs(z)),
        "box": 65 - np.abs(MM).max(axis=0),
    }[form]
    bias = np.exp(0.2 * x / 70)
    image = np.where(inside > 0, 2 * bias, 0) - 1
    image += noise * np.random.default_rng(0).normal(size=WINDOW)
    logits = np.clip(inside, -8, 8).astype(np.float32)
    traits = measure(image.astype(np.float32), logits)
    assert "looks-like-phantom" in find_trait_names(traits)
    assert make_score(traits, find_trait_names(traits)) < LOW


@pytest.mark.parametrize(("contrast", "noise"), [(0.35, 0.5), (0.2, 0.1), (0.2, 0.0)])
def test_a_noisy_or_dull_head_is_no_phantom(contrast, noise):
    traits = measure(make_head_image(LOGITS, contrast, noise))
    assert "looks-like-phantom" not in find_trait_names(traits)


def measure_demo(turn):
    """Traits of the bundled brain, which is real anatomy, turned as its header is not."""
    volume = load_demo()[1]
    brain = to_canonical_array(volume.data, volume.grid) > 0.5
    brain = np.pad(brain, [(60, 60), (40, 40), (50, 50)])[::2, ::2, ::2]
    logits = np.where(turn(brain), 4, -4).astype(np.float32)
    return measure_traits(logits, logits, 2 * volume.grid.voxel_size[0])


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a[:, ::-1],
        lambda a: a[:, :, ::-1],
        lambda a: a[:, ::-1, ::-1],
        lambda a: a.swapaxes(0, 1),
        lambda a: a.swapaxes(1, 2),
        lambda a: a.swapaxes(0, 2),
    ],
)
def test_a_brain_that_does_not_fit_the_header_is_flagged(turn):
    traits = measure_demo(turn)
    (flag,) = [f for f in find_trait_flags(traits, None, False) if f.name == "orientation"]
    assert int(re.search(r"turned by (\d+) degrees", flag.sentence)[1]) >= 70
    assert "orientation" not in find_trait_names(traits, cut=True)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
@pytest.mark.parametrize("axes", [(1, 2), (0, 1), (0, 2)])
def test_a_tilted_head_with_a_true_header_is_not_doubted(axes, degrees):
    traits = measure_demo(lambda a: ndimage.rotate(a, degrees, axes, reshape=False, order=0))
    assert "orientation" not in find_trait_names(traits)


def test_swapped_left_and_right_cannot_be_detected():
    assert find_trait_names(measure(IMAGE[::-1], LOGITS[::-1])) == []


def test_a_mask_that_lacks_a_part_on_one_side_is_flagged():
    logits = LOGITS.copy()
    logits[54:, 56:] = -8
    assert "asymmetric" in find_trait_names(measure(logits=logits))
    assert "asymmetric" not in find_trait_names(measure(logits=logits), cut=True)


def test_an_undecided_network_is_flagged():
    traits = measure(logits=LOGITS / 4)
    assert find_trait_names(traits) == ["uncertain-rim"]
    (flag,) = find_trait_flags(traits, None, False)
    assert f"a layer of {traits['rim_mm']:.1f} mm" in flag.sentence


def test_a_head_unlike_the_training_heads_is_flagged_with_the_reason():
    unlike = {"core_50": 2.5, "length_x": 0.0, "structure": 0.1}
    assert find_trait_names(USUAL, unlike) == ["unlike-training"]
    (flag,) = find_trait_flags(USUAL, unlike, False)
    assert "mostly in the brightness of the inside (2.5 times" in flag.sentence
    assert find_trait_names(USUAL, dict.fromkeys(unlike, 0.3)) == []


# --- the score


@pytest.mark.parametrize("name", TERMS)
def test_the_score_falls_as_a_trait_gets_worse(name):
    term = TERMS[name]
    steps = np.sign(term.weight) * np.linspace(-2, 5, 15)
    scores = [make_score({**USUAL, name: term.limit + step}, []) for step in steps]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


@pytest.mark.parametrize("name", COSTS)
def test_a_flag_costs(name):
    assert make_score(USUAL, [name]) < make_score(USUAL, [])


def test_the_farther_from_the_training_heads_the_lower():
    scores = [make_score(USUAL, [], {"core_50": far}) for far in (0.0, 0.5, 2.0, 9.0)]
    assert scores == sorted(set(scores), reverse=True)


def test_the_score_is_a_whole_number_from_0_to_100():
    best = {"rim_mm": 1.0, "sure_in": 8.0, "sure_out": -2.0, "second": 0.0, "mirror": 0.0}
    assert make_score({**USUAL, **best}, []) == 100
    assert make_score({**USUAL, "rim_mm": 1e6}, [*COSTS], {"core_50": 1e9}) == 0


def test_a_less_sure_network_scores_lower():
    scores = [make_score(measure(logits=LOGITS / by), []) for by in (1, 2, 4, 8)]
    assert scores == sorted(set(scores), reverse=True)


def judge_usual(likeness, traits=USUAL):
    scan = make_volume(nib.Nifti1Image(make_scan(), np.diag([*VOXEL_SIZE, 1.0])))
    return judge(scan, BRAIN, make_probability(), traits, likeness)


def test_a_card_without_traits_flags_no_head():
    quality = judge_usual(Likeness())
    assert quality.flags == []
    assert quality.score == make_score(USUAL, [])
    assert quality.traits == {name: pytest.approx(v, rel=1e-3) for name, v in USUAL.items()}


def test_a_card_with_traits_flags_an_unusual_head():
    rng = np.random.default_rng(0)
    heads = [{n: v + 0.05 * rng.normal() for n, v in USUAL.items()} for _ in range(30)]
    likeness = Likeness(TrainingHeads(30, describe_traits(heads)))
    assert judge_usual(likeness).flags == []
    strange = judge_usual(likeness, {**USUAL, "shell_50": USUAL["shell_50"] + 1})
    assert [flag.name for flag in strange.flags] == ["unlike-training"]
    assert "the brightness of what lies around" in strange.flags[0].sentence
    assert strange.score < judge_usual(likeness).score
