import csv
import json

import numpy as np
import pytest

from ball import HEAD, ball, place, run
from deskull.errors import InputError, WeightsError
from deskull.evaluate.drift import (
    GEOMETRY,
    Head,
    describe_drift,
    find_drift,
    load_population,
    store_tested,
    store_training,
)
from deskull.measure.likeness import (
    MIN_HEADS,
    QUANTILES,
    EvaluatedHead,
    Likeness,
    TrainingHeads,
    describe_traits,
    find_chance,
    find_unlike,
    sum_up,
)
from deskull.measure.traits import TRAITS
from deskull.network.weights import bundled_folder
from deskull.stripper import Stripper
from deskull.typed_json import from_plain

__all__ = ["ball", "place"]  # fixtures
FEW = 3
MIDDLE = {"ml": 1400.0, "core_50": 0.3, "voxel_large": 1.0, "field_z": 200.0}


def make_heads(count=40, seed=0, shift=None, dice=None):
    """Make heads whose traits vary by a tenth of the mean; one trait may be shifted."""
    rng = np.random.default_rng(seed)
    return [
        Head(
            f"head {number}",
            {
                name: value * (1 + 0.1 * rng.normal()) + (shift or {}).get(name, 0.0)
                for name, value in MIDDLE.items()
            },
            score=90.0,
            dice=dice,
        )
        for number in range(count)
    ]


def make_likeness(training, tested=()):
    traits = describe_traits([head.traits for head in training])
    rows = tuple(EvaluatedHead(h.dice, h.score, h.traits) for h in tested)
    return Likeness(TrainingHeads(len(training), traits), rows)


LIKENESS = make_likeness(
    make_heads(), [*make_heads(6, 1, dice=0.97), *make_heads(3, 2, {"voxel_large": 4.0}, 0.93)]
)


# --- likeness


def test_quantiles_are_those_of_the_heads():
    heads = [{"ml": float(value)} for value in range(101)]
    assert describe_traits(heads) == {"ml": tuple(float(q) for q in QUANTILES)}


def test_distance_counts_ranges_beyond_the_outer_percentiles():
    likeness = make_likeness([Head("", {"compact": float(v)}, 0) for v in range(101)])
    for value, wanted in ((50, 0), (1, 0), (99, 0), (148, 0.5), (-97, 1)):
        unlike = find_unlike({"compact": value}, likeness)
        assert unlike == {"compact": pytest.approx(wanted)}
    assert sum_up({"a": 3.0, "b": 4.0}) == 5
    assert sum_up({}) == 0


@pytest.mark.parametrize("likeness", [None, Likeness(), make_likeness(make_heads(MIN_HEADS - 1))])
def test_too_few_training_heads_give_no_distance(likeness):
    assert find_unlike({"compact": 1.0}, likeness) is None


# --- drift


def test_heads_of_the_same_kind_do_not_differ():
    assert not [one for one in find_drift(make_heads(30, 3), LIKENESS) if one.differs]


@pytest.mark.parametrize(("shift", "sign"), [(3.0, 1), (-3.0, -1)])
def test_a_shifted_trait_is_found_and_comes_first(shift, sign):
    first, *others = find_drift(make_heads(30, 3, {"voxel_large": shift}), LIKENESS)
    assert first.trait == "voxel_large"
    assert first.differs
    assert first.outside == 30
    assert np.sign(first.middle - 1) == sign
    assert not any(one.differs for one in others)


def test_a_single_head_differs_only_if_it_lies_far_outside():
    (far,) = make_heads(1, 3, {"voxel_large": 3.0})
    assert find_drift([far], LIKENESS)[0].differs
    high = LIKENESS.training.traits["voxel_large"][-1]
    near = Head("", {**far.traits, "voxel_large": high + 0.01}, 90)
    assert not find_drift([near], LIKENESS)[0].differs


def test_the_heads_of_a_card_that_was_rounded_do_not_differ_from_it():
    heads = [Head("", {"field_x": 256 * 0.97656, "voxel_small": 0.97656}, 90)] * 30
    assert [one.outside for one in find_drift(heads, make_likeness(heads))] == [0, 0]


def test_few_training_heads_make_chance_outliers_likely():
    rng = np.random.default_rng(0)
    for count in (20, 200):
        wrong = 0
        for _ in range(400):
            training = np.percentile(rng.standard_normal(30), (1, 99))
            values = rng.standard_normal(count)
            outside = int(((values < training[0]) | (values > training[1])).sum())
            wrong += find_chance(outside, count, heads=30) < 0.01
        assert wrong <= 10


def test_the_chance_of_heads_outside_is_that_of_the_beta_binomial():
    stats = pytest.importorskip("scipy.stats")
    a = 2 * 1.29
    expected = stats.betabinom(50, a, 31 - a).sf(6)
    assert find_chance(7, 50, heads=30) == pytest.approx(expected)
    assert 0 < find_chance(3000, 5000, heads=30) < 1e-6


def describe(heads, likeness=LIKENESS):
    return "\n".join(describe_drift(find_drift(heads, likeness), heads, likeness))


def test_a_difference_that_mattered_is_described_by_test_heads_on_the_same_side():
    text = describe(make_heads(30, 3, {"voxel_large": 3.0}))
    assert "differs: the largest edge of a voxel in mm: 4" in text
    assert "30 of 30 outside" in text
    assert "3 test heads with this trait: Dice 0.930, lowest 0.930; worse than all 9" in text
    assert "(0.957)" in text
    assert "no difference: the other 3 traits" in text


def test_a_difference_that_did_not_matter_is_described():
    likeness = make_likeness(make_heads(), make_heads(5, 2, {"voxel_large": 4.0}, 0.96))
    text = describe(make_heads(9, 3, {"voxel_large": 3.0}), likeness)
    assert "5 test heads with this trait: Dice 0.960, lowest 0.960; as good as all 5" in text


def test_test_heads_without_the_trait_do_not_count():
    tested = make_heads(5, 2, dice=0.96)
    for head in tested:
        del head.traits["voxel_large"]
    text = describe(make_heads(9, 3, {"voxel_large": 3.0}), make_likeness(make_heads(), tested))
    assert "No test head has this trait" in text


def test_without_test_heads_the_effect_is_unknown():
    text = describe(make_heads(30, 3, {"voxel_large": -0.9}))
    assert "No test head has this trait" in text
    assert "Dice" not in text


def test_a_card_without_training_heads_is_an_error():
    with pytest.raises(WeightsError, match="does not describe the training heads"):
        find_drift(make_heads(3), Likeness())


# --- the card


def copy_card(folder):
    card = (bundled_folder() / "default" / "card.json").read_text("utf-8")
    (folder / "card.json").write_text(card, "utf-8")
    return json.loads(card)


def test_stored_traits_can_be_compared_with(tmp_path):
    before = copy_card(tmp_path)
    store_training(make_heads(), tmp_path)
    store_tested(make_heads(5, 1, dice=0.97), tmp_path)
    card = json.loads((tmp_path / "card.json").read_text("utf-8"))
    likeness = card.pop("likeness")
    before.pop("likeness", None)
    assert card == before
    assert likeness["training"]["heads"] == 40
    assert len(likeness["tested"]) == 5
    drifts = find_drift(make_heads(30, 3), from_plain(Likeness, likeness))
    assert {one.trait for one in drifts} == set(MIDDLE)


def test_too_few_heads_or_no_dice_are_not_stored(tmp_path):
    copy_card(tmp_path)
    with pytest.raises(InputError, match="19 heads; expected at least 20"):
        store_training(make_heads(19), tmp_path)
    with pytest.raises(InputError, match="head 0: no reference mask"):
        store_tested(make_heads(3), tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(WeightsError, match="Expected the card"):
        store_training(make_heads(), tmp_path)


# --- from scans and records, through the command


@pytest.fixture
def weights(place, monkeypatch):
    """The bundled weights in a folder of their own, with a card without heads."""
    for module in ("evaluate.drift", "measure.likeness"):
        monkeypatch.setattr(f"deskull.{module}.MIN_HEADS", FEW)
    folder = place / "mine"
    folder.mkdir()
    for file in (bundled_folder() / "default").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card.pop("likeness", None)
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    return folder


@pytest.fixture
def table(place):
    """A few scans, each with the ball as its mask."""
    assert run("scan.nii.gz", "-m", "mask.nii.gz", "-q") == 0
    with (place / "heads.tsv").open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["participant", "image", "mask", "label_map"])
        writer.writerows([[n, "scan.nii.gz", "mask.nii.gz", ""] for n in range(FEW)])
        writer.writerow(["map", "", "", "map.nii.gz"])
    return place / "heads.tsv"


def test_the_command_stores_and_compares_a_cohort(place, weights, table, capsys):
    assert run("drift", table, "--weights", weights) == 1
    assert "does not describe the training heads" in capsys.readouterr().err
    for keep in ("training", "tested"):
        assert run("drift", table, "--weights", weights, "--keep", keep, "-q") == 0
        assert f"{FEW} heads stored in the card as {keep}" in capsys.readouterr().out
    tested = json.loads((weights / "card.json").read_text("utf-8"))["likeness"]["tested"]
    assert [one["dice"] for one in tested] == [1.0] * FEW
    before = sorted(place.rglob("*"))
    assert run("drift", table, "--weights", weights) == 0
    text = capsys.readouterr().out
    assert f"{FEW} heads compared with {FEW} training heads" in text
    assert "differs" not in text
    assert sorted(place.rglob("*")) == before


def test_the_page_shows_each_trait_over_the_training_range(place, weights, table, capsys):
    assert run("drift", table, "--weights", weights, "--keep", "training", "-q") == 0
    assert run("drift", table, "--weights", weights, "-o", "drift.html") == 0
    page = (place / "drift.html").read_text("utf-8")
    traits = len(GEOMETRY | TRAITS)
    assert page.count("<svg") == page.count('class="range"') == traits
    assert page.count("<ellipse") == FEW * traits
    assert "No trait differs" in page
    assert run("drift", table, "--weights", weights, "-o", "drift.pdf") == 1
    assert run("drift", table, "-o", "x.html", "--keep", "tested") == 2
    assert "--out with --keep" in capsys.readouterr().err


def test_records_of_a_batch_give_the_same_as_stripping(place, weights, capsys):
    (place / "study").mkdir()
    HEAD.to_filename(place / "study" / "a.nii.gz")
    out = place / "out"
    assert run("batch", "study", "--out-dir", out, "--weights", weights, "-q") == 0
    read = load_population(out, lambda: pytest.fail("stripped though there are records"))
    (head,) = read.heads
    assert set(head.traits) == set(TRAITS) | set(GEOMETRY)
    assert head.traits["voxel_small"] == head.traits["voxel_large"] == 4
    assert [head.traits[f"field_{axis}"] for axis in "xyz"] == [160, 192, 176]


def test_scans_of_a_folder_are_stripped(place, weights):
    (place / "study").mkdir()
    HEAD.to_filename(place / "study" / "a.nii.gz")
    population = load_population(place / "study", lambda: Stripper.load(weights, "cpu", 1))
    (head,) = population.heads
    assert head.dice is None
    assert head.traits["ml"] == pytest.approx(4 / 3 * np.pi * 60**3 / 1000, rel=0.03)


def test_scans_that_fail_are_reported_and_left_out(place, weights, table, capsys):
    (place / "bad.nii.gz").write_bytes(b"no image")
    with table.open("a") as stream:
        stream.write("x\tbad.nii.gz\t\t\n")
    assert run("drift", table, "--weights", weights, "--keep", "training") == 0
    captured = capsys.readouterr()
    assert "left out: bad.nii.gz: " in captured.err
    assert f"{FEW} heads stored" in captured.out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.tsv", None, "none.tsv: cannot be read"),
        (
            "empty.tsv",
            "image\tmask\n",
            "empty.tsv: no scan in it; expected the column image",
        ),
        ("bad.csv", "in\nscan.nii\n", "bad.csv: no head could be measured; "),
        ("nowhere", None, "nowhere"),
    ],
)
def test_a_source_without_heads_is_an_error(place, weights, capsys, name, content, message):
    if content is not None:
        (place / name).write_text(content)
    assert run("drift", name, "--weights", weights) == 1
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text


def test_records_of_an_older_version_are_an_error(place, weights, capsys):
    (place / "out").mkdir()
    record = {"status": "done", "input": {"path": "a.nii"}, "outputs": {}}
    (place / "out" / "a_record.json").write_text(json.dumps(record))
    assert run("drift", "out", "--weights", weights) == 1
    assert "no record says what the head is like" in capsys.readouterr().err
