"""Tables of text: what people write is read, and names survive the way out and in."""

import pytest

from deskull.errors import InputError
from deskull.text_files import make_tsv, read_table


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "In\tMask\nx,1.nii\tm.nii\n"),
        ("a.csv", '\ufeffin, mask\n"x,1.nii", m.nii\n'),
        ("a.CSV", "in;mask\nx,1.nii;m.nii;more\n"),
    ],
)
def test_the_tables_of_spreadsheets_are_read(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert read_table(path, ("in",)) == [(2, {"in": "x,1.nii", "mask": "m.nii"})]


def test_empty_lines_are_passed_over_and_short_ones_filled(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("in\tmask\n\nx.nii\n")
    assert read_table(path) == [(3, {"in": "x.nii", "mask": ""})]


def test_a_missing_value_of_an_optional_column_is_empty(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("in\tout\tmask\nn/a\tn/a\tm.nii\n")
    ((_, row),) = read_table(path, ("in",), ("out", "mask"))
    assert row == {"in": "n/a", "out": "", "mask": "m.nii"}


def test_a_name_that_is_no_text_survives(tmp_path):
    name, path = b"caf\xe9.nii".decode("utf-8", "surrogateescape"), tmp_path / "a.tsv"
    path.write_bytes(make_tsv(["in"], [[name]]).encode("utf-8", "surrogateescape"))
    assert read_table(path, ("in",)) == [(2, {"in": name})]


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("one,two\n1,2\n")
    message = r"^a.csv: columns one, two; expected `in` and `out`, and if wanted `mask`,"
    with pytest.raises(InputError, match=message):
        read_table(path, ("in", "out"), ("mask",))
