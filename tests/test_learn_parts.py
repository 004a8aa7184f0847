"""Who of a run learns, and who is kept apart for validation and test."""

from dataclasses import replace

import numpy as np
import pytest

from learn_heads import labelled

pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.learn.dataset import Sources, draw_parts
from deskull.learn.pairs import RealHead
from deskull.learn.parts import count_parts, settle_parts
from deskull.learn.split import SplitPlan

__all__ = ["labelled"]


def make_persons(labelled, maps, scans):
    heads = [replace(labelled, person=name) for name in maps]
    channels = np.zeros((2, 4, 4, 4), np.float32)
    return Sources(
        heads, [RealHead(name, name, channels, np.full(3, 24.0), 12.0) for name in scans]
    )


def test_scans_are_always_among_those_kept_apart(labelled):
    sources = make_persons(labelled, [f"m{n}" for n in range(20)], ["r0", "r1", "r2"])
    for seed in range(5):
        parts = draw_parts(sources, SplitPlan(0.1), seed)
        kept_apart = [person for person, part in parts.items() if part == "validation"]
        assert sorted(name[0] for name in kept_apart) == ["m", "m", "r"]


def test_who_was_kept_apart_never_learns(labelled, tmp_path, caplog):
    names = [f"p{n}" for n in range(5)]
    first = settle_parts(tmp_path, make_persons(labelled, names, []), SplitPlan(0.4), 1)
    apart = first.validation.persons
    sources = make_persons(labelled, [*apart, *first.train.persons[1:], "new"], [])
    again = settle_parts(tmp_path, sources, SplitPlan(), 9)
    assert again.validation.persons == apart
    assert again.train.persons == sorted([*first.train.persons[1:], "new"])
    assert "1 persons of this run are not in the sources" in caplog.text
    counts = {"train": 4, "validation": 2, "test": 0}
    assert count_parts(tmp_path) == {"share": 0.4, "seed": 1, **counts}
    with pytest.raises(InputError, match="nobody of those whom the run keeps apart"):
        settle_parts(tmp_path, make_persons(labelled, first.train.persons, []), SplitPlan(), 1)
    with pytest.raises(InputError, match="nobody of the run is left to learn from"):
        settle_parts(tmp_path, make_persons(labelled, apart, []), SplitPlan(), 1)


def test_folds_take_turns_at_the_test_and_a_run_keeps_its_own(labelled, tmp_path):
    names = [f"p{n}" for n in range(9)]
    tested = []
    for fold in range(3):
        plan = SplitPlan(0.2, folds=3, fold=fold)
        parts = settle_parts(tmp_path / f"{fold}", make_persons(labelled, names, []), plan, 0)
        sizes = [len(part.persons) for part in (parts.train, parts.validation, parts.test)]
        assert sizes == [5, 1, 3]
        tested += parts.test.persons
    assert sorted(tested) == names
    assert count_parts(tmp_path / "2")["fold"] == 2
    again = settle_parts(tmp_path / "2", make_persons(labelled, names, []), plan, 5)
    assert again.test.persons == parts.test.persons
    with pytest.raises(InputError, match="begun with fold 2 of 3"):
        settle_parts(tmp_path / "2", make_persons(labelled, names, []), SplitPlan(), 0)


def test_a_split_of_an_older_run_without_a_test_goes_on(labelled, tmp_path):
    (tmp_path / "split.json").write_text(
        '{"share": 0.2, "seed": 0, "train": ["a"], "validation": ["b"]}', "utf-8"
    )
    parts = settle_parts(tmp_path, make_persons(labelled, ["a", "b"], []), SplitPlan(), 0)
    assert (parts.train.persons, parts.validation.persons, parts.test.persons) == (
        ["a"],
        ["b"],
        [],
    )


def test_a_damaged_split_is_not_overwritten(labelled, tmp_path):
    (tmp_path / "split.json").write_text('{"train": 3}', "utf-8")
    sources = make_persons(labelled, ["a", "b"], [])
    with pytest.raises(InputError, match="not a readable split"):
        settle_parts(tmp_path, sources, SplitPlan(0.5), 0)
