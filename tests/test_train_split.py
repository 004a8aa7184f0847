"""Who of a run learns, and who is held out for validation and test."""

from dataclasses import replace

import numpy as np
import pytest

from train_heads import labelled

pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.train.pairs import RealHead
from deskull.train.sources import Sources
from deskull.train.split import SplitPlan, count_split, draw_split, settle_split

__all__ = ["labelled"]


def make_participants(labelled, maps, scans, fixed=None):
    heads = [replace(labelled, participant=name) for name in maps]
    channels = np.zeros((2, 4, 4, 4), np.float32)
    return Sources(
        heads,
        [RealHead(name, name, channels, np.full(3, 24.0), 12.0) for name in scans],
        fixed or {},
    )


def test_scans_are_always_among_those_held_out(labelled):
    sources = make_participants(labelled, [f"m{n}" for n in range(20)], ["r0", "r1", "r2"])
    for seed in range(5):
        parts = draw_split(sources, SplitPlan(0.1), seed)
        held_out = [participant for participant, part in parts.items() if part == "validation"]
        assert sorted(name[0] for name in held_out) == ["m", "m", "r"]


def test_participants_who_were_held_out_are_never_trained_on(labelled, tmp_path, caplog):
    names = [f"p{n}" for n in range(5)]
    first = settle_split(tmp_path, make_participants(labelled, names, []), SplitPlan(0.4), 1)
    apart = first.validation.participants
    sources = make_participants(labelled, [*apart, *first.train.participants[1:], "new"], [])
    again = settle_split(tmp_path, sources, SplitPlan(), 9)
    assert again.validation.participants == apart
    assert again.train.participants == sorted([*first.train.participants[1:], "new"])
    assert "1 participants of this run are missing from the sources" in caplog.text
    counts = {"train": 4, "validation": 2, "test": 0}
    assert count_split(tmp_path) == {"share": 0.4, "seed": 1, **counts}
    with pytest.raises(InputError, match="none of the run's validation participants"):
        settle_split(
            tmp_path, make_participants(labelled, first.train.participants, []), SplitPlan(), 1
        )
    with pytest.raises(InputError, match="no training participant"):
        settle_split(tmp_path, make_participants(labelled, apart, []), SplitPlan(), 1)


def test_folds_take_turns_at_the_test_and_a_run_keeps_its_own(labelled, tmp_path):
    names = [f"p{n}" for n in range(9)]
    tested = []
    for fold in range(3):
        plan = SplitPlan(0.2, folds=3, fold=fold)
        parts = settle_split(tmp_path / f"{fold}", make_participants(labelled, names, []), plan, 0)
        sizes = [len(part.participants) for part in (parts.train, parts.validation, parts.test)]
        assert sizes == [5, 1, 3]
        tested += parts.test.participants
    assert sorted(tested) == names
    assert count_split(tmp_path / "2")["fold"] == 2
    again = settle_split(tmp_path / "2", make_participants(labelled, names, []), plan, 5)
    assert again.test.participants == parts.test.participants
    with pytest.raises(InputError, match="begun with fold 2 of 3"):
        settle_split(tmp_path / "2", make_participants(labelled, names, []), SplitPlan(), 0)


def test_a_split_of_an_older_run_without_a_test_goes_on(labelled, tmp_path):
    (tmp_path / "split.json").write_text(
        '{"share": 0.2, "seed": 0, "train": ["a"], "validation": ["b"]}', "utf-8"
    )
    parts = settle_split(tmp_path, make_participants(labelled, ["a", "b"], []), SplitPlan(), 0)
    assert (parts.train.participants, parts.validation.participants, parts.test.participants) == (
        ["a"],
        ["b"],
        [],
    )


def test_a_damaged_split_is_not_overwritten(labelled, tmp_path):
    (tmp_path / "split.json").write_text('{"train": 3}', "utf-8")
    sources = make_participants(labelled, ["a", "b"], [])
    with pytest.raises(InputError, match="not a readable split"):
        settle_split(tmp_path, sources, SplitPlan(0.5), 0)


FIXED = {"a": "train", "b": "validation", "c": "test", "not here": "test"}


def sizes(split):
    return [part.participants for part in (split.train, split.validation, split.test)]


def test_parts_fixed_by_a_table_are_kept_for_any_seed(labelled, tmp_path):
    sources = make_participants(labelled, [], ["a", "b", "c"], FIXED)
    for seed in range(3):
        split = settle_split(tmp_path / str(seed), sources, SplitPlan(0.5), seed)
        assert sizes(split) == [["a"], ["b"], ["c"]]


def test_participants_without_a_fixed_part_are_drawn(labelled, tmp_path):
    drawn = [f"x{n}" for n in range(10)]
    sources = make_participants(labelled, ["m"], ["a", "b", "c", *drawn], FIXED)
    train, validation, test = sizes(settle_split(tmp_path, sources, SplitPlan(0.2), 0))
    assert ("a" in train, "b" in validation, test) == (True, True, ["c"])
    assert "m" in train  # the only label map
    assert len(set(validation) & set(drawn)) == 2


def test_a_table_may_hold_out_new_participants_of_a_run_but_not_its_old_ones(labelled, tmp_path):
    old = make_participants(labelled, [], ["a", "b"])
    settle_split(tmp_path, old, SplitPlan(0.5), 0)
    more = make_participants(labelled, [], ["a", "b", "c"], {"c": "test"})
    split = settle_split(tmp_path, more, SplitPlan(0.5), 0)
    assert split.test.participants == ["c"]
    name = split.train.participants[0]
    changed = make_participants(labelled, [], ["a", "b", "c"], {name: "test"})
    with pytest.raises(InputError, match=f"began with participant {name} in train"):
        settle_split(tmp_path, changed, SplitPlan(0.5), 0)


def test_a_table_that_trains_nobody_is_refused(labelled, tmp_path):
    sources = make_participants(labelled, [], ["b", "c"], FIXED)
    with pytest.raises(InputError, match="no training participant"):
        settle_split(tmp_path, sources, SplitPlan(), 0)
