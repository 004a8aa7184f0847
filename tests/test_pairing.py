"""Pairs of prediction and reference, by names and by tables."""

import re

import pytest

from deskull.errors import InputError
from deskull.evaluate import find_swapped, pair_folders, read_pairs


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def find_names(pairing):
    return [(p.scan, p.method, p.prediction.name, p.reference.name) for p in pairing.pairs]


@pytest.mark.parametrize(
    ("prediction", "reference", "scan"),
    [
        ("a_mask.nii.gz", "a_reference.nii.gz", "a"),
        ("a.nii.gz", "a.mgz", "a"),
        ("a_brain_mask.nii", "a_brainmask.nii.gz", "a"),
        ("a_bet_mask.nii.gz", "a-truth.nrrd", "a"),
        ("a.v2_mask.nii.gz", "a.v2_manual.nii.gz", "a.v2"),
        ("sub-01_desc-brain_mask.nii.gz", "sub-01_label-brain_mask.nii.gz", "sub-01"),
        ("sub-01_desc-brain_mask.nii.gz", "sub-01_T1w_reference.nii.gz", "sub-01_T1w"),
        ("sub-01/anat/sub-01_T1w_mask.nii.gz", "sub-01_desc-brain_mask.nii.gz", "sub-01_T1w"),
        ("sub-01/T1w_mask.nii.gz", "sub-01/T1w_reference.nii.gz", "T1w"),
        ("A/sub-A_ses-1_T1w_mask.nii", "B/sub-A_ses-1_T1w_brainmask.nii", "sub-A_ses-1_T1w"),
    ],
)
def test_names_that_match_are_paired(tmp_path, prediction, reference, scan):
    mine, wanted = touch(tmp_path / "p", prediction), touch(tmp_path / "r", reference)
    pairing = pair_folders({"m": mine}, wanted)
    assert find_names(pairing) == [
        (scan, "m", prediction.rpartition("/")[2], reference.rpartition("/")[2])
    ]
    assert pairing.unpaired == []


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("sub-01_ses-1_T1w_mask.nii", "sub-01_ses-2_T1w_mask.nii"),
        ("sub-01_T1w_mask.nii", "sub-01_T2w_mask.nii"),
        ("sub-01_space-MNI_desc-brain_mask.nii", "sub-01_desc-brain_mask.nii"),
        ("a1_mask.nii", "a11_mask.nii"),
    ],
)
def test_names_of_different_scans_are_not_paired(tmp_path, prediction, reference):
    mine, wanted = touch(tmp_path / "p", prediction), touch(tmp_path / "r", reference)
    with pytest.raises(InputError, match="no prediction and reference with the same name"):
        pair_folders({"m": mine}, wanted)


def test_equal_names_are_paired_by_their_folders(tmp_path):
    names = [f"sub-0{number}/T1w_mask.nii.gz" for number in (1, 2)]
    mine, wanted = touch(tmp_path / "p", *names), touch(tmp_path / "r", *names)
    pairs = pair_folders({"m": mine}, wanted).pairs
    assert [pair.scan for pair in pairs] == ["sub-01/T1w", "sub-02/T1w"]
    assert all(pair.prediction.parent.name == pair.reference.parent.name for pair in pairs)


def test_heads_and_brains_are_ignored_and_the_most_trusted_mask_is_taken(tmp_path):
    mine = touch(tmp_path / "p", "a_mask.nii.gz", "a_brain.nii.gz", "a_distance.nii.gz")
    wanted = touch(tmp_path / "r", "a.nii.gz", "a_majority.nii.gz", "a_reference.nii.gz", "b.nii")
    pairing = pair_folders({"m": mine}, wanted, wanted)
    assert find_names(pairing) == [("a", "m", "a_mask.nii.gz", "a_reference.nii.gz")]
    assert pairing.pairs[0].image.name == "a.nii.gz"
    assert pairing.unpaired == []


def test_files_without_a_partner_are_reported(tmp_path):
    mine = touch(tmp_path / "p", "a_mask.nii", "b_mask.nii")
    wanted = touch(tmp_path / "r", "b_mask.nii", "c_mask.nii")
    assert pair_folders({"m": mine}, wanted).unpaired == [
        f"{mine / 'a_mask.nii'}: no reference for this prediction of m",
        f"{wanted / 'c_mask.nii'}: no prediction of m for this reference",
    ]


def test_two_contrasts_do_not_share_a_reference_without_contrast(tmp_path):
    mine = touch(tmp_path / "p", "sub-1_T1w_mask.nii", "sub-1_T2w_mask.nii", "sub-2_mask.nii")
    wanted = touch(tmp_path / "r", "sub-1_mask.nii", "sub-2_mask.nii")
    pairing = pair_folders({"m": mine}, wanted)
    assert [pair.scan for pair in pairing.pairs] == ["sub-2"]
    assert len(pairing.unpaired) == 3


BIDS_MASKS = ["anat/sub-1_desc-brain_mask.nii", "anat/sub-1_desc-brainT2w_mask.nii"]


@pytest.mark.parametrize(
    ("others", "references", "wanted", "unpaired"),
    [
        ([], ["T1w"], {"": "T1w"}, ["anat/sub-1_desc-brainT2w_mask.nii"]),
        ([], ["T1w", "T2w"], {"": "T1w", "T2w": "T2w"}, []),
        (
            ["dwi/sub-1_desc-braindwi_mask.nii"],
            ["T1w", "T2w", "dwi"],
            {"": "T1w", "T2w": "T2w", "dwi": "dwi"},
            [],
        ),
    ],
)
def test_masks_of_a_bids_data_set_are_paired_by_the_contrast_that_they_name(
    tmp_path, others, references, wanted, unpaired
):
    mine = touch(tmp_path / "p", *BIDS_MASKS, *others)
    theirs = touch(tmp_path / "r", *(f"sub-1_{name}_reference.nii" for name in references))
    pairing = pair_folders({"m": mine}, theirs)
    assert {pair.prediction.name: pair.reference.name for pair in pairing.pairs} == {
        f"sub-1_desc-brain{contrast}_mask.nii": f"sub-1_{name}_reference.nii"
        for contrast, name in wanted.items()
    }
    assert [line.partition(":")[0] for line in pairing.unpaired] == [
        str(mine / name) for name in unpaired
    ]


def test_a_mask_that_another_one_stands_for_is_named(tmp_path):
    mine = touch(tmp_path / "p", "a_bet_mask.nii", "a_mask.nii", "a_majority.nii")
    pairing = pair_folders({"m": mine}, touch(tmp_path / "r", "a_reference.nii"))
    assert find_names(pairing) == [("a", "m", "a_bet_mask.nii", "a_reference.nii")]
    assert pairing.unpaired == [
        f"{mine / 'a_mask.nii'}: not compared; by its name of the same scan as a_bet_mask.nii"
    ]


def test_two_files_are_paired_whatever_their_names(tmp_path):
    touch(tmp_path, "x.nii", "y.nii.gz")
    pairing = pair_folders({"m": tmp_path / "x.nii"}, tmp_path / "y.nii.gz")
    assert find_names(pairing) == [("y", "m", "x.nii", "y.nii.gz")]


def test_a_table_lists_pairs(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("Method;prediction;reference;scan\nours;p/1.nii;r/1.nii;one\n;/2.nii;2.nii\n")
    first, second = read_pairs(table).pairs
    assert (first.scan, first.method) == ("one", "ours")
    assert (first.prediction, first.reference) == (tmp_path / "p/1.nii", tmp_path / "r/1.nii")
    assert (second.scan, second.method, str(second.prediction)) == ("2", "prediction", "/2.nii")


def test_scans_of_a_table_with_equal_names_are_named_by_their_paths(tmp_path):
    table = tmp_path / "pairs.tsv"
    table.write_text("prediction\treference\n1.nii\ta/mask.nii\n2.nii\tb/mask.nii\n")
    assert [pair.scan for pair in read_pairs(table).pairs] == ["a/mask.nii", "b/mask.nii"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none; expected `prediction` and `reference`"),
        ("a,b\n1,2\n", "columns a, b; expected"),
        ("prediction,reference\n", "no pair below its first line"),
        ("prediction,reference\n1.nii,\n", "line 2: a path is missing"),
        ("prediction,reference\n1.nii\n", "line 2: a path is missing"),
        ("prediction,reference\n1.nii,r.nii\n2.nii,r.nii\n", "line 3: scan 'r.nii' is there"),
    ],
)
def test_a_wrong_table_is_an_error(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_pairs(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("prediction", "reference", "swapped"),
    [
        ("p/a_reference.nii.gz", "r/a_mask.nii.gz", True),
        ("references/a.nii.gz", "brains/a_mask.nii.gz", True),
        ("p/a_mask_manual.nii.gz", "r/a_mask.nii.gz", True),
        ("brains/a_mask.nii.gz", "references/a.nii.gz", False),
        ("p/a_mask.nii.gz", "r/a_reference.nii.gz", False),
        ("p/a_reference.nii.gz", "r/a_reference.nii.gz", False),
        ("p/a_mask.nii.gz", "r/a_mask.nii.gz", False),
    ],
)
def test_swapped_predictions_and_references_are_noticed_by_their_names(
    tmp_path, prediction, reference, swapped
):
    touch(tmp_path, prediction, reference)
    one, other = (tmp_path / name.partition("/")[0] for name in (prediction, reference))
    message = find_swapped(pair_folders({"m": one}, other).pairs)
    assert (message is not None) == swapped
    if swapped:
        assert "are the two swapped?" in message
