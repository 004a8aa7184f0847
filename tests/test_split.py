"""Splits by participant: exact counts, one part each, the same whatever the order."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deskull.errors import InputError
from deskull.train.split import make_folds, split_participants

SHARES = {"train": 0.8, "validation": 0.2}
PARTICIPANTS = [f"sub-{number:03}" for number in range(125)]

some_participants = st.lists(st.text(min_size=1, max_size=4), min_size=3, max_size=60)
some_shares = st.dictionaries(
    st.sampled_from(["train", "validation", "test"]), st.floats(0.01, 5), min_size=1
)


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (125, SHARES, {"train": 100, "validation": 25}),
        (125, {"train": 100, "validation": 25, "test": 0}, {"train": 100, "validation": 25}),
        (10, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 4, "b": 3, "c": 3}),
        (
            10,
            {"train": 0.7, "validation": 0.2, "test": 0.1},
            {"train": 7, "validation": 2, "test": 1},
        ),
        (2, {"train": 0.99, "validation": 0.01}, {"train": 1, "validation": 1}),
        (125, {"train": 1 - 0.2, "validation": 0.2}, {"train": 100, "validation": 25}),
    ],
)
def test_sizes_are_exact(count, shares, sizes):
    assert Counter(split_participants(PARTICIPANTS[:count], shares, 1).values()) == sizes


def test_a_participant_with_many_rows_counts_once():
    rows = PARTICIPANTS[:5] * 7 + PARTICIPANTS[:1] * 100
    assert Counter(split_participants(rows, SHARES).values()) == {"train": 4, "validation": 1}


def test_the_seed_decides_the_split():
    first = split_participants(PARTICIPANTS, SHARES, 1)
    assert split_participants(PARTICIPANTS, SHARES, 1) == first
    assert split_participants(PARTICIPANTS, SHARES, 2) != first


def test_a_split_stays_what_it_is_over_versions():
    assert split_participants("abcde", {"train": 3, "test": 2}, seed=7) == {
        "a": "train",
        "b": "train",
        "c": "train",
        "d": "test",
        "e": "test",
    }


def test_json_keeps_a_split():
    split = split_participants(PARTICIPANTS, SHARES)
    assert json.loads(json.dumps(split)) == split
    assert list(split) == sorted(PARTICIPANTS)


@settings(max_examples=60, deadline=None)
@given(some_participants, some_shares, st.integers(0, 9), st.randoms(use_true_random=False))
def test_every_participant_has_one_part_whatever_the_order(participants, shares, seed, chance):
    if len(set(participants)) < len(shares):
        return
    split = split_participants(participants, shares, seed)
    assert set(split) == set(participants)
    assert set(split.values()) == set(shares)
    mixed = list(participants) * 2
    random.Random.shuffle(chance, mixed)
    assert split_participants(mixed, dict(shares), seed) == split


@settings(max_examples=30, deadline=None)
@given(some_participants, st.integers(2, 5), st.integers(0, 9))
def test_folds_are_even_and_do_not_share_participants(participants, count, seed):
    if len(set(participants)) < count:
        return
    folds = make_folds(participants, count, seed)
    assert set(folds) == set(participants)
    sizes = Counter(folds.values())
    assert set(sizes) == set(range(count))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert make_folds(reversed(participants), count, seed) == folds


@pytest.mark.parametrize(
    ("participants", "shares", "message"),
    [
        (["a"], SHARES, "1 participants for 2 parts"),
        ([], {"train": 1}, "0 participants for 1 parts"),
        (["a", "b"], {"train": 0}, "above zero"),
        (["a", "b"], {"train": 2, "test": -1}, "above zero"),
        (["a", "b"], {}, "above zero"),
        (["a", "b"], {"train": float("nan")}, "above zero"),
    ],
)
def test_impossible_splits_are_refused(participants, shares, message):
    with pytest.raises(InputError, match=message):
        split_participants(participants, shares)


@pytest.mark.parametrize(
    ("count", "message"), [(1, "expected at least 2"), (4, "3 participants in 4 folds")]
)
def test_impossible_folds_are_refused(count, message):
    with pytest.raises(InputError, match=message):
        make_folds(["a", "b", "c"], count)
