"""Columns of an index that a user writes: participant, part, border."""

import pytest

from ball import run
from index_files import nfbs, write_text

pd = pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.train.index import fix_parts, load_index, make_index, save_index

__all__ = ["nfbs"]


def test_an_index_keeps_fixed_parts_and_borders(nfbs):
    index, _ = make_index(nfbs)
    index["part"], index["border"] = ["train", "", "test"], [0.5, 0.0, -1.25]
    save_index(index, nfbs / "index.tsv")
    pd.testing.assert_frame_equal(load_index(nfbs / "index.tsv"), index)
    again, _ = make_index(nfbs / "index.tsv")
    pd.testing.assert_frame_equal(again, index)


@pytest.mark.parametrize("name", ["person", "participant_id", "participant"])
def test_the_participant_is_known_by_older_names_and_that_of_bids(tmp_path, name):
    table = write_text(tmp_path / "t.tsv", f"{name}\tlabel_map\nanna\tx.nii\n")
    assert list(load_index(table)["participant"]) == ["anna"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label_map\tpart\na\ttrain\nb\tvalid\n", "line 3: part 'valid'; expected train"),
        ("label_map\tborder\na\tone\n", "line 2: border 'one'; expected mm from -10 to 10"),
        ("label_map\tborder\na\t11\n", "line 2: border '11'"),
        ("label_map\tborder\na\tnan\n", "line 2: border 'nan'"),
        (
            "participant\tlabel_map\tpart\nx\ta\ttrain\nx\tb\ttest\n",
            "participant x is in train and in test",
        ),
    ],
)
def test_invalid_parts_and_borders_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_index(write_text(tmp_path / "t.tsv", text))


def test_names_of_a_split_that_match_nobody_are_warned_of(nfbs, caplog):
    rows = ["sub-A1\ttest", *(f"x{n:02}\ttest" for n in range(12))]
    split = write_text(nfbs / "split.tsv", "\n".join(["participant\tpart", *rows]))
    fix_parts(make_index(nfbs)[0], split)
    assert "12 of its 13 participants are not in the index: x00, x01" in caplog.text
    assert "x09, ..." in caplog.text
    assert "x10" not in caplog.text


def test_a_split_is_fixed_by_a_table_of_participants(nfbs, capsys):
    split = write_text(nfbs / "split.tsv", "participant_id\tpart\nsub-A1\ttest\nX\ttrain\n")
    out = nfbs / "index.tsv"
    assert run("index", nfbs, "-o", out, "--split", split) == 0
    assert list(load_index(out)["part"]) == ["test", "", ""]
    write_text(split, "participant_id\tpart\nA1\ttest\n")
    assert run("index", nfbs, "-o", out, "--split", split) == 1
    assert "none of the participants of the index, such as sub-A1" in capsys.readouterr().err
    write_text(split, "participant_id\tgroup\nA1\ttest\n")
    assert run("index", nfbs, "-o", out, "--split", split) == 1
    assert "no columns participant and part" in capsys.readouterr().err
