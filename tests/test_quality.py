import numpy as np
import pytest

from deskull.measure.likeness import describe_traits
from deskull.measure.quality import find_flags, find_trait_flags
from deskull.measure.score import COSTS, LOW, TERMS, judge, make_score
from deskull.measure.traits import TRAITS, measure_traits

VOXEL_SIZE = (3.0, 3.0, 3.0)
SHAPE = (80, 84, 80)


def make_ellipsoid(radii, centre=(0.0, 0.0, 0.0)):
    """Voxels of SHAPE within an ellipsoid given in mm about the middle of the field."""
    middle = (np.array(SHAPE) - 1) / 2 * VOXEL_SIZE + np.array(centre)
    mm = np.indices(SHAPE) * np.array(VOXEL_SIZE)[:, None, None, None]
    scaled = (mm - middle[:, None, None, None]) / np.array(radii)[:, None, None, None]
    return (scaled**2).sum(axis=0) <= 1


BRAIN = make_ellipsoid((68, 84, 62))
SKULL = make_ellipsoid((75, 91, 69))
HEAD = make_ellipsoid((84, 100, 80)) | make_ellipsoid((55, 60, 60), (0, 0, -70))


def make_scan(air=3.0, skull=15.0, scalp=140.0, brain=100.0):
    """Scan of noise in air, skull, scalp with a neck, and a brain of two tissues (1480 ml)."""
    rng = np.random.default_rng(0)
    tissue = np.where(rng.random(SHAPE) < 0.5, 0.85, 1.15) * brain
    scan = np.select([BRAIN, SKULL, HEAD], [tissue, skull, scalp], 0.0)
    scan += rng.normal(0, 6, SHAPE) * (scan > 0) + np.abs(rng.normal(0, air, SHAPE))
    return scan.astype(np.float32)


def make_ct():
    rng = np.random.default_rng(0)
    scan = np.select([BRAIN, SKULL, HEAD], [35.0, 900.0, 40.0], -1000.0)
    scan[HEAD & ~SKULL & (rng.random(SHAPE) < 0.4)] = -100
    return (scan + rng.normal(0, 8, SHAPE)).astype(np.float32)


def make_probability(mask=BRAIN):
    return np.where(mask, np.float32(0.98), np.float32(0.01))


def find_names(data=None, mask=BRAIN, probability=None, voxel_size=VOXEL_SIZE):
    data = make_scan() if data is None else data
    probability = make_probability(mask) if probability is None else probability
    return [flag.name for flag in find_flags(data, mask, probability, voxel_size)]


def find_sentence(name, **arguments):
    arguments = {"data": make_scan(), "mask": BRAIN, "voxel_size": VOXEL_SIZE} | arguments
    arguments.setdefault("probability", make_probability(arguments["mask"]))
    return {flag.name: flag.sentence for flag in find_flags(**arguments)}[name]


def test_a_good_scan_has_no_flags():
    assert find_names() == []


def test_memory_order_does_not_matter():
    assert find_names(np.asfortranarray(make_ct())) == find_names(make_ct())


# --- not-finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(value):
    scan = make_scan()
    scan[3, 4, 5:8] = value
    assert find_names(scan) == ["not-finite"]
    assert find_sentence("not-finite", data=scan).startswith("3 voxels are NaN or infinite")


def test_a_background_of_nan_is_only_not_finite():
    scan = np.where(HEAD, make_scan(), np.nan).astype(np.float32)
    assert find_names(scan) == ["not-finite"]


# --- looks-like-ct


def test_a_ct_is_seen():
    assert find_names(make_ct()) == ["looks-like-ct"]


def test_a_ct_padded_below_air_is_seen():
    scan = make_ct()
    scan[:12] = -3024
    assert "looks-like-ct" in find_names(scan)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, -100.0), (10.4, -1000.0), (15.0, -1024.0), (0.02, -1.0)]
)
def test_an_mr_with_negatives_is_no_ct(scale, offset):
    assert find_names((make_scan() * scale + offset).astype(np.float32)) == []


# --- already-stripped


@pytest.mark.parametrize("background", [0.0, -5.0, 7.0])
def test_a_stripped_brain_is_seen(background):
    scan = np.where(BRAIN, make_scan(), background).astype(np.float32)
    assert find_names(scan) == ["already-stripped"]


def test_a_stripped_brain_on_nan_is_seen():
    scan = np.where(BRAIN, make_scan(), np.nan).astype(np.float32)
    assert find_names(scan) == ["not-finite", "already-stripped"]


@pytest.mark.parametrize("radii", [(65, 81, 59), (71, 87, 65)])
def test_a_stripped_brain_is_seen_through_a_mask_that_is_a_little_off(radii):
    scan = np.where(BRAIN, make_scan(), 0).astype(np.float32)
    assert find_names(scan, make_ellipsoid(radii)) == ["already-stripped"]


def test_a_zeroed_background_is_not_stripped():
    assert find_names(np.where(HEAD, make_scan(), 0).astype(np.float32)) == []


def test_a_defaced_head_is_not_stripped():
    scan = make_scan()
    scan[:, 50:, :38] = 0
    assert find_names(scan) == []


# --- field-cuts-brain


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_field_that_cuts_the_brain_is_seen(axis, end):
    cut = [slice(None)] * 3
    cut[axis] = slice(24, None) if end == 0 else slice(None, -24)
    cut = tuple(cut)
    flags = find_flags(make_scan()[cut], BRAIN[cut], make_probability()[cut], VOXEL_SIZE)
    assert [flag.name for flag in flags] == ["field-cuts-brain"]
    assert f"at the {'end' if end else 'start'} of axis {axis}" in flags[0].sentence


def test_a_brain_stem_may_leave_the_field():
    stem = BRAIN.copy()
    stem[38:44, 38:44, :40] = True
    assert np.count_nonzero(stem[:, :, 0]) * 9 == 324
    assert find_names(mask=stem) == []


def test_area_of_the_cut_is_in_mm():
    cut = (slice(None), slice(None), slice(40, None))
    mask = BRAIN[cut]
    area = np.count_nonzero(mask[:, :, 0]) * 9 / 100
    sentence = find_sentence(
        "field-cuts-brain", data=make_scan()[cut], mask=mask, probability=make_probability()[cut]
    )
    assert f" {area:.0f} cm2 " in sentence


# --- volume


@pytest.mark.parametrize(("radii", "ml"), [((45, 50, 45), 424), ((84, 95, 72), 2407)])
def test_an_implausible_volume_is_seen(radii, ml):
    mask = make_ellipsoid(radii)
    assert "volume" in find_names(mask=mask)
    said = find_sentence("volume", mask=mask)
    assert float(said.split()[3]) == pytest.approx(ml, rel=0.02)


@pytest.mark.parametrize("radii", [(55, 65, 50), (75, 92, 70)])
def test_a_plausible_volume_is_not_flagged(radii):
    assert "volume" not in find_names(mask=make_ellipsoid(radii))


def test_a_part_of_a_brain_may_be_small():
    slab = (slice(None), slice(None), slice(36, 44))
    names = find_names(make_scan()[slab], BRAIN[slab], make_probability()[slab])
    assert names == ["field-cuts-brain"]


# --- pieces


def test_a_second_piece_that_was_left_out_is_seen():
    probability = make_probability()
    probability[make_ellipsoid((30, 30, 30), (0, 0, -95))] = 0.9
    assert find_names(probability=probability) == ["pieces"]


def test_specks_are_no_pieces():
    probability = make_probability()
    probability[make_ellipsoid((15, 15, 15), (0, 0, -95))] = 0.9
    assert find_names(probability=probability) == []


def test_an_empty_mask_is_only_a_volume():
    mask = np.zeros(SHAPE, bool)
    assert find_names(mask=mask) == ["volume"]


# --- traits

EDGE = 2.0
WINDOW = (96, 112, 96)
MM = (np.indices(WINDOW) - (np.array(WINDOW)[:, None, None, None] - 1) / 2) * EDGE


def make_brain(radii=(68.0, 84.0, 62.0)):
    """Logits that fall by 1.4 per mm, of an ellipsoid with a blunt back and a stem below."""
    x, y, z = MM
    width = 1 - 0.2 * y / radii[1] + 0.2 * z / radii[2]
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


def test_every_trait_has_words_and_a_finite_value():
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
def test_a_plain_phantom_is_seen(form, noise):
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


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda a: a[:, ::-1], "tapers to the back"),
        (lambda a: a[:, :, ::-1], "tapers upwards"),
        (lambda a: np.pad(a, [(8, 8), (0, 0), (0, 0)])[:, 8:-8].swapaxes(0, 1), "not longest"),
    ],
)
def test_a_brain_that_does_not_fit_the_header_is_seen(turn, words):
    traits = measure(turn(IMAGE), turn(LOGITS))
    (flag,) = [f for f in find_trait_flags(traits, None, False) if f.name == "orientation"]
    assert words in flag.sentence
    assert "orientation" not in find_trait_names(traits, cut=True)


def test_left_for_right_cannot_be_seen():
    assert find_trait_names(measure(IMAGE[::-1], LOGITS[::-1])) == []


def test_a_mask_that_lacks_a_part_on_one_side_is_seen():
    logits = LOGITS.copy()
    logits[54:, 56:] = -8
    assert "asymmetric" in find_trait_names(measure(logits=logits))
    assert "asymmetric" not in find_trait_names(measure(logits=logits), cut=True)


def test_an_undecided_network_is_seen():
    traits = measure(logits=LOGITS / 4)
    assert find_trait_names(traits) == ["uncertain-rim"]
    (flag,) = find_trait_flags(traits, None, False)
    assert f"a layer of {traits['rim_mm']:.1f} mm" in flag.sentence


def test_a_head_unlike_the_training_heads_is_seen_and_told_by_what():
    unlike = {"core_50": 2.5, "length_x": 0.0, "structure": 0.1}
    assert find_trait_names(USUAL, unlike) == ["unlike-training"]
    (flag,) = find_trait_flags(USUAL, unlike, False)
    assert "most of all in the brightness of the inside (2.5 times" in flag.sentence
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


def judge_usual(card, traits=USUAL):
    return judge(make_scan(), BRAIN, make_probability(), VOXEL_SIZE, traits, card)


def test_a_card_that_says_nothing_does_no_harm():
    quality = judge_usual({})
    assert quality.flags == []
    assert quality.score == make_score(USUAL, [])
    assert quality.traits == {name: pytest.approx(v, rel=1e-3) for name, v in USUAL.items()}


def test_a_card_lets_a_strange_head_be_found():
    rng = np.random.default_rng(0)
    heads = [{n: v + 0.05 * rng.normal() for n, v in USUAL.items()} for _ in range(30)]
    card = {"likeness": {"training": {"heads": 30, "traits": describe_traits(heads)}}}
    assert judge_usual(card).flags == []
    strange = judge_usual(card, {**USUAL, "shell_50": USUAL["shell_50"] + 1})
    assert [flag.name for flag in strange.flags] == ["unlike-training"]
    assert "the brightness of what lies around" in strange.flags[0].sentence
    assert strange.score < judge_usual(card).score
