"""The heads that training takes from tables and folders, and what is said of those it does not."""

import nibabel as nib
import numpy as np
import pytest

from conftest import make_head
from train_heads import make_label_map, recipe

pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.image.volume import make_volume
from deskull.train.checking import save_sheets
from deskull.train.data import load_sources
from deskull.train.index import load_index
from deskull.train.labels import make_labelled_head
from deskull.train.recipe import make_recipe

__all__ = ["recipe"]

OWN = {258: 9, 165: 8, 24: 7, 3: 6, 2: 5, 4: 4}
OWN_TABLE = """
[labels]
soft = [9]
bone = [8]
csf = [7]
cortex = [6]
white_matter = [5]
ventricle = [4]
"""


def rename(codes):
    """The label map of balls with other labels."""
    image = make_label_map(size=48, voxel_size=4.0)
    labels = np.asarray(image.dataobj)
    renamed = labels.copy()
    for theirs, ours in codes.items():
        renamed[labels == theirs] = ours
    return nib.Nifti1Image(renamed, image.affine)


def write_pair(folder, shift=0.0):
    image, brain = make_head()
    affine = image.affine.copy()
    affine[:3, 3] += shift
    nib.save(image, folder / "a_T1w.nii.gz")
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), folder / "a_T1w_mask.nii.gz")


def write_table(folder, *rows):
    lines = ["image\tmask\tlabel_map", *("\t".join(row) for row in rows)]
    (folder / "t.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "t.tsv"


def test_labels_toml_counts_for_maps_in_a_table(recipe, tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "labels.toml").write_text(OWN_TABLE, "utf-8")
    nib.save(rename(OWN), tmp_path / "maps" / "p.nii.gz")
    table = write_table(tmp_path, ("", "", "maps/p.nii.gz"))
    expected = make_labelled_head(make_volume(rename({})))
    (head,) = load_sources([table], recipe).labelled
    np.testing.assert_array_equal(head.tissue, expected.tissue)
    assert save_sheets(load_index(table), tmp_path / "look.png")


def test_freesurfers_parcellations_are_brain():
    image = rename({})
    labels = np.asarray(image.dataobj).copy()
    left = np.arange(48)[:, None, None] < 24
    labels[(labels == 3) & left], labels[(labels == 3) & ~left] = 1012, 12130
    labels[(labels == 2) & left], labels[(labels == 2) & ~left] = 253, 77
    head = make_labelled_head(make_volume(nib.Nifti1Image(labels, image.affine)))
    expected = make_labelled_head(make_volume(rename({})))
    np.testing.assert_array_equal(head.tissue, expected.tissue)


def test_labels_in_no_tissue_are_warned_of_by_name_and_share(caplog):
    make_labelled_head(make_volume(rename({})))
    assert "no tissue" not in caplog.text
    image = rename({24: 900})
    labels = np.asarray(image.dataobj)
    share = 100 * (labels == 900).sum() / (labels != 0).sum()
    make_labelled_head(make_volume(image))
    assert f"{share:.1f} % of the labelled head are in no tissue" in caplog.text
    assert "labels 900." in caplog.text


def test_a_pair_stays_where_its_label_map_is_bad(recipe, tmp_path, caplog):
    write_pair(tmp_path)
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    table = write_table(tmp_path, ("a_T1w.nii.gz", "a_T1w_mask.nii.gz", "bad.nii.gz"))
    sources = load_sources([table], recipe)
    assert (len(sources.real), len(sources.labelled)) == (1, 0)
    assert "left out: " in caplog.text
    assert "bad.nii.gz" in caplog.text


def test_a_mask_without_its_scan_is_left_out_by_name(recipe, tmp_path, caplog):
    write_pair(tmp_path)
    nib.save(make_label_map(size=48, voxel_size=4.0), tmp_path / "p.nii.gz")
    table = write_table(tmp_path, ("", "a_T1w_mask.nii.gz", "p.nii.gz"))
    sources = load_sources([table], recipe)
    assert (len(sources.real), len(sources.labelled)) == (0, 1)
    assert "a_T1w_mask.nii.gz: a mask without an image" in caplog.text


def test_a_mask_that_lies_elsewhere_is_left_out_by_name(recipe, tmp_path, caplog):
    write_pair(tmp_path, shift=600.0)
    table = write_table(tmp_path, ("a_T1w.nii.gz", "a_T1w_mask.nii.gz", ""))
    with pytest.raises(InputError, match="no pair found"):
        load_sources([table], recipe)
    assert "a_T1w_mask.nii.gz: does not lie on a_T1w.nii.gz (0% of it" in caplog.text


@pytest.mark.parametrize("outputs", [["tissue", "brain"], ["tissue"], ["brain", "brain"], []])
def test_outputs_in_another_order_are_refused(outputs):
    window = {"shape": [16, 16, 16], "voxel_size": 12.0}
    sections = {
        "window": window,
        "network": {"filters": [4], "outputs": outputs},
        "training": {"horizon": 1},
    }
    with pytest.raises(InputError, match=r"'outputs' in network.*in this order"):
        make_recipe(sections, "turned")
    sections["network"]["outputs"] = ["brain"]
    assert make_recipe(sections, "straight").network.outputs == ("brain",)
