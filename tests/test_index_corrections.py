"""Masks corrected in the viewer on their way to fine-tuning: their table is an index."""

import os
from pathlib import Path

import pytest

from index_files import names, write, write_mask, write_text

pd = pytest.importorskip("pandas")

from deskull.corrections_table import TABLE, Correction, load_corrections, save_corrections
from deskull.errors import InputError
from deskull.review.save_correction import _list_correction
from deskull.train.index import COLUMNS, load_index, make_index


def test_the_table_of_corrected_masks_is_an_index(tmp_path):
    write(tmp_path / "study" / "p1_T2w.nii.gz")
    (tmp_path / "out").mkdir()
    write_mask(tmp_path / "out" / "p1_T2w_mask_manual.nii.gz")
    pair = Correction("../study/p1_T2w.nii.gz", "p1_T2w_mask_manual.nii.gz", saved="2026", by="me")
    save_corrections([pair], tmp_path / "out" / TABLE)
    (row,) = load_index(tmp_path / "out" / TABLE).to_dict("records")
    assert (row["participant"], row["contrast"], row["manual"]) == ("p1", "T2w", True)
    assert os.path.exists(row["image"])
    assert set(row) == set(COLUMNS)
    index, findings = make_index(tmp_path / "out" / TABLE)
    assert (names(index, "mask"), findings) == (["p1_T2w_mask_manual.nii.gz"], [])


def test_columns_that_a_user_adds_count_and_stay(tmp_path):
    header = "image\tmask\tmanual\tsaved\tby\tschema\tparticipant\tpart\tborder\n"
    lines = "b.nii\tb_mask.nii\ttrue\t\t\t2\tben\ttest\t0.5\n", "a.nii\ta_mask.nii\ttrue\n"
    table = write_text(tmp_path / TABLE, header + "".join(lines))
    save_corrections([*load_corrections(table), Correction("c.nii", "c_mask.nii")], table)
    rows = load_index(table)[["participant", "part", "border"]].to_numpy().tolist()
    assert rows == [["a", "", 0.0], ["ben", "test", 0.5], ["c", "", 0.0]]
    write_text(table, table.read_text("utf-8").replace("test", "tset"))
    with pytest.raises(InputError, match="line 3: part 'tset'"):
        load_index(table)


def test_saving_in_the_viewer_again_keeps_the_columns_of_a_row(tmp_path):
    table = write_text(tmp_path / TABLE, "image\tmask\tpart\na.nii\ta_mask.nii\ttest\n")
    for name in ("a", "b"):
        image, mask = (str(tmp_path / f"{name}{end}") for end in (".nii", "_mask.nii"))
        assert _list_correction(Correction(image, mask, by="ann"), table) == []
    rows = [(row.by, row.more) for row in load_corrections(table)]
    assert rows == [("ann", {"part": "test"}), ("ann", {"part": ""})]


def test_a_table_of_corrections_of_schema_1_is_read(tmp_path):
    text = "image\tmask\tmanual\na.nii\ta_mask_manual.nii.gz\ttrue\n"
    (row,) = load_index(write_text(tmp_path / TABLE, text)).to_dict("records")
    assert (Path(row["image"]).name, row["manual"]) == ("a.nii", True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.nii\tm.nii\ttrue\t2026\tme\t3", "a table of schema 3; this deskull knows it up to"),
        ("a.nii\t\ttrue\t2026\tme\t2", "line 2 names no mask; expected the paths of a scan and"),
        ("\tm.nii\ttrue\t2026\tme\t2", "line 2 names no image; expected the paths of a scan and"),
    ],
)
def test_corrections_that_cannot_be_read_are_an_error(tmp_path, line, message):
    head = "image\tmask\tmanual\tsaved\tby\tschema\n"
    with pytest.raises(InputError, match=message):
        load_index(write_text(tmp_path / TABLE, head + line + "\n"))
