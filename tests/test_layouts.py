"""What the finders make of folders: masks beside images, BIDS, FreeSurfer, patterns."""

import json
import os

import numpy as np
import pytest

from index_files import SHAPE, names, nfbs, whats, write, write_mask, write_text

pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.train.index import COLUMNS, make_index

__all__ = ["nfbs"]
DERIVATIVE = '{"DatasetType": "derivative"}'


@pytest.fixture
def raw(tmp_path):
    """A raw BIDS data set with T1w and T2w of two participants, one of them seen twice."""
    for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"):
        folder = tmp_path / "raw" / name.replace("_", "/") / "anat"
        write(folder / f"{name}_T1w.nii.gz")
        write(folder / f"{name}_T2w.nii.gz", shape=(6, 7, 4))
        write(folder.parent / "func" / f"{name}_task-rest_bold.nii.gz")
    return tmp_path / "raw"


def write_derivative(root, mask_name="desc-brain_mask", participants=("01_ses-1", "02_ses-1")):
    write_text(root / "dataset_description.json", DERIVATIVE)
    paths = []
    for participant in participants:
        folder = root / f"sub-{participant}".replace("_", "/") / "anat"
        paths.append(write_mask(folder / f"sub-{participant}_{mask_name}.nii.gz"))
    return paths


# ---- NFBS and other folders with masks beside images


def test_nfbs_is_found_and_a_missing_mask_is_reported(nfbs):
    index, findings = make_index(nfbs)
    assert list(index.columns) == list(COLUMNS)
    assert list(index["participant"]) == ["sub-A1", "sub-A2", "sub-A3"]
    assert list(index["session"]) == ["ses-NFB3", "ses-NFB3", "ses-NFB2"]
    assert set(index["contrast"]) == {"T1w"}
    assert names(index, "mask")[0] == "sub-A1_ses-NFB3_T1w_brainmask.nii.gz"
    assert names(index, "brain")[0] == "sub-A1_ses-NFB3_T1w_brain.nii.gz"
    assert list(index["shape"]) == ["6x7x8"] * 3
    assert list(index["voxel_size"]) == ["2x2x2"] * 3
    assert not index["manual"].any()
    assert whats(findings, nfbs) == [("A000A3/sub-A3_ses-NFBR2_T1w.nii.gz", "no-mask")]


def test_paths_are_absolute_also_from_a_relative_folder(nfbs, monkeypatch):
    monkeypatch.chdir(nfbs.parent)
    index, _ = make_index(nfbs.name)
    assert index["image"].map(os.path.isabs).all()
    assert index["image"].map(os.path.exists).all()


@pytest.mark.parametrize("word", ["mask", "brainmask", "brain_mask", "reference", "majority"])
def test_common_names_of_masks_are_known(tmp_path, word):
    write(tmp_path / "p1_T2w.nii")
    write_mask(tmp_path / f"p1_T2w_{word}.nii.gz")
    index, findings = make_index(tmp_path)
    assert list(index["participant"]) == ["p1"]
    assert list(index["contrast"]) == ["T2w"]
    assert findings == []


def test_a_mask_corrected_by_hand_is_preferred(tmp_path):
    write(tmp_path / "a.nii.gz")
    for word in ("reference", "mask", "mask_manual"):
        write_mask(tmp_path / f"a_{word}.nii.gz")
    index, _ = make_index(tmp_path)
    assert names(index, "mask") == ["a_mask_manual.nii.gz"]
    assert index["manual"].all()


def test_a_sidecar_says_that_a_mask_was_corrected_by_hand(tmp_path):
    write(tmp_path / "a.nii.gz")
    write_mask(tmp_path / "a_reference.nii.gz")
    write_mask(tmp_path / "a_majority.nii.gz")
    write_text(tmp_path / "a_majority.json", '{"Manual": true}')
    assert names(make_index(tmp_path)[0], "mask") == ["a_majority.nii.gz"]


@pytest.mark.parametrize("text", ["{", "[]", '{"Manual": "yes"}'])
def test_other_sidecars_do_not_make_a_mask_manual(tmp_path, text):
    write(tmp_path / "a.nii.gz")
    write_mask(tmp_path / "a_mask.nii.gz")
    write_text(tmp_path / "a_mask.json", text)
    assert not make_index(tmp_path)[0]["manual"].any()


def test_folders_of_participants_with_plain_names_are_known(tmp_path):
    for participant in ("p1", "p2"):
        write(tmp_path / participant / f"T1_{participant}.nii.gz")
        write(tmp_path / participant / "FLAIR.nii.gz")
        write_mask(tmp_path / participant / "brainmask.nii.gz")
    write(tmp_path / "p2" / "FLAIR.nii.gz", values=np.random.default_rng(0).random(SHAPE))
    index, findings = make_index(tmp_path)
    assert list(index["participant"]) == ["p1", "p1", "p2", "p2"]
    assert list(index["contrast"]) == ["FLAIR", "T1w"] * 2
    assert findings == []


def test_outputs_of_deskull_beside_a_scan_are_no_scans(tmp_path):
    for word in ("", "_brain", "_probability", "_distance", "_corrected"):
        write(tmp_path / f"a{word}.nii.gz")
    write_mask(tmp_path / "a_mask.nii.gz")
    index, findings = make_index(tmp_path)
    assert names(index, "image") == ["a.nii.gz"]
    assert findings == []


# ---- BIDS


@pytest.mark.parametrize("place", ["raw/derivatives/deskull", "derivatives/deskull", "deskull"])
def test_bids_masks_are_found_below_and_beside(raw, place):
    write_derivative(raw.parent / place)
    index, findings = make_index(raw)
    assert list(index["participant"]) == ["sub-01", "sub-02"]
    assert list(index["session"]) == ["ses-1", "ses-1"]
    assert names(index, "image") == ["sub-01_ses-1_T1w.nii.gz", "sub-02_ses-1_T1w.nii.gz"]
    assert [finding.what for finding in findings].count("no-mask") == 2  # both of session 2
    assert [finding.what for finding in findings].count("grids-differ") == 2  # T2w of session 1
    assert len(findings) == 4


def test_bids_with_derivatives_beside_is_found_from_above(raw):
    write_derivative(raw.parent / "derivatives" / "deskull")
    index, _ = make_index(raw.parent)
    assert list(index["participant"]) == ["sub-01", "sub-02"]


def test_a_derivative_of_another_data_set_beside_is_not_taken(raw):
    write(raw.parent / "other" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    root = raw.parent / "deskull"
    write_derivative(root)
    assert make_index(raw)[0].empty
    fields = {"DatasetType": "derivative", "SourceDatasets": [{"URL": "file://../raw"}, "x", {}]}
    write_text(root / "dataset_description.json", json.dumps(fields))
    assert len(make_index(raw)[0]) == 2
    fields = {"DatasetType": "derivative", "DatasetLinks": {"raw": "../other"}}
    write_text(root / "dataset_description.json", json.dumps(fields))
    assert make_index(raw)[0].empty


def test_participants_of_one_name_in_two_data_sets_are_two(raw):
    write_derivative(raw / "derivatives" / "deskull")
    other = raw.parent / "other"
    write(other / "sub-01" / "anat" / "sub-01_acq-x_T1w.nii.gz")
    write_mask(other / "sub-01" / "anat" / "sub-01_acq-x_T1w_mask.nii.gz")
    index, _ = make_index(raw.parent)
    assert list(index["participant"]) == ["other/sub-01", "raw/sub-01", "sub-02"]


@pytest.mark.parametrize("kind", ["name", "sidecar"])
def test_a_bids_mask_corrected_by_hand_is_preferred(raw, kind):
    root = raw / "derivatives" / "a"
    write_derivative(root)
    if kind == "name":
        write_derivative(root, "desc-brainManual_mask", ["01_ses-1"])
    else:
        (mask,) = write_derivative(raw / "derivatives" / "b", participants=["01_ses-1"])
        write_text(mask.with_name(mask.name.replace(".nii.gz", ".json")), '{"Manual": true}')
    index, _ = make_index(raw)
    assert list(index["manual"]) == [True, False]
    assert ("Manual_mask" if kind == "name" else "/b/") in index["mask"][0]


def test_the_next_mask_is_taken_where_the_manual_one_is_broken(raw):
    root = raw / "derivatives" / "a"
    write_derivative(root)
    (mask,) = write_derivative(root, "desc-brainManual_mask", ["01_ses-1"])
    write_mask(mask, empty=True)
    index, findings = make_index(raw)
    assert list(index["manual"]) == [False, False]
    assert (mask, "empty-mask") in [(finding.where, finding.what) for finding in findings]


def test_sources_of_a_mask_say_whose_it_is(raw):
    (mask,) = write_derivative(raw / "derivatives" / "a", participants=["01_ses-1"])
    write_mask(mask, shape=(6, 7, 4))
    source = "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz"
    write_text(
        mask.with_name("sub-01_ses-1_desc-brain_mask.json"), json.dumps({"Sources": source})
    )
    index, findings = make_index(raw)
    assert list(index["contrast"]) == ["T2w"]
    assert {finding.what for finding in findings} == {"no-mask"}


def test_masks_match_by_entities_and_template_space_is_skipped(raw):
    anat = raw / "sub-02" / "ses-1" / "anat"
    write(anat / "sub-02_ses-1_acq-hi_ce-gad_T1w.nii.gz")
    root = raw / "derivatives" / "a"
    for name in ("acq-hi_ce-gad_desc-brain_mask", "space-MNI_desc-brain_mask", "label-WM_mask"):
        write_derivative(root, name, ["02_ses-1"])
    write_derivative(root, "desc-brain_T1w", ["02_ses-1"])
    write_derivative(root, "acq-hi_ce-gad_desc-brain_T1w", ["02_ses-1"])
    index, findings = make_index(raw)
    assert names(index, "image") == ["sub-02_ses-1_acq-hi_ce-gad_T1w.nii.gz"]
    assert names(index, "brain") == ["sub-02_ses-1_acq-hi_ce-gad_desc-brain_T1w.nii.gz"]
    assert list(index["contrast"]) == ["T1ce"]
    assert not [finding for finding in findings if "space-" in finding.where.name]


def test_a_prepared_image_is_taken_where_the_mask_does_not_fit_the_raw_one(raw):
    root = raw / "derivatives" / "smriprep"
    (mask,) = write_derivative(root, participants=["01_ses-1"])
    write_mask(mask, shape=(8, 7, 6))
    write(mask.with_name("sub-01_ses-1_desc-preproc_T1w.nii.gz"), shape=(8, 7, 6))
    index, _ = make_index(raw)
    assert names(index, "image") == ["sub-01_ses-1_desc-preproc_T1w.nii.gz"]
    assert list(index["participant"]) == ["sub-01"]


def test_the_raw_image_is_taken_where_the_mask_fits_it(raw):
    root = raw / "derivatives" / "smriprep"
    (mask,) = write_derivative(root, participants=["01_ses-1"])
    write(mask.with_name("sub-01_ses-1_desc-preproc_T1w.nii.gz"))
    assert names(make_index(raw)[0], "image") == ["sub-01_ses-1_T1w.nii.gz"]


def test_a_bids_mask_without_an_image_is_reported(raw):
    write_derivative(raw / "derivatives" / "a", participants=["09_ses-1"])
    _, findings = make_index(raw)
    assert [f.where.name for f in findings if f.what == "no-image"] == [
        "sub-09_ses-1_desc-brain_mask.nii.gz"
    ]


def test_masks_beside_raw_images_are_known_too(raw):
    anat = raw / "sub-02" / "ses-1" / "anat"
    write_mask(anat / "sub-02_ses-1_T1w_mask.nii.gz")
    write(anat / "sub-02_ses-1_T1w_brain.nii.gz")
    index, findings = make_index(raw)
    assert names(index, "mask") == ["sub-02_ses-1_T1w_mask.nii.gz"]
    assert names(index, "brain") == ["sub-02_ses-1_T1w_brain.nii.gz"]
    assert {finding.what for finding in findings} == {"no-mask"}


# ---- FreeSurfer


def write_subject(folder, *files):
    for name in files:
        path = folder / "mri" / name
        if name in ("orig.mgz", "T1.mgz"):
            write(path, values=np.random.default_rng(len(str(path))).random(SHAPE, np.float32))
        else:
            write_mask(path)


def test_freesurfer_subjects_are_found(tmp_path):
    write_subject(tmp_path / "bert", "orig.mgz", "T1.mgz", "brainmask.mgz", "aseg.mgz", "wm.mgz")
    write_subject(tmp_path / "sub-02_ses-b", "T1.mgz", "aseg.mgz")
    write_subject(tmp_path / "unfinished", "orig.mgz")
    write_subject(tmp_path / "imageless_x", "aseg.mgz")
    write_subject(tmp_path / "fsaverage", "orig.mgz", "brainmask.mgz")
    write(tmp_path / "bert" / "mri" / "orig" / "001.mgz", shape=(9, 9, 9))
    index, findings = make_index(tmp_path)
    assert list(index["participant"]) == ["bert", "sub-02"]
    assert list(index["session"]) == ["", "ses-b"]
    assert names(index, "image") == ["orig.mgz", "T1.mgz"]
    assert names(index, "mask") == ["brainmask.mgz", "aseg.mgz"]
    assert whats(findings, tmp_path) == [
        ("imageless_x/mri/aseg.mgz", "no-image"),
        ("unfinished/mri/orig.mgz", "no-mask"),
    ]


def test_time_points_of_freesurfer_are_one_participant(tmp_path):
    for number, name in enumerate(("anna", "t1", "t1.long.anna", "t2", "t2.long.anna")):
        folder = tmp_path / name / "mri"
        write(folder / "orig.mgz", values=np.random.default_rng(number).random(SHAPE, np.float32))
        write_mask(folder / "brainmask.mgz")
    index, _ = make_index(tmp_path)
    assert list(index["participant"]) == ["anna"] * 5
    assert sorted(index["session"]) == ["", "t1", "t1", "t2", "t2"]


def test_freesurfer_among_derivatives_keeps_the_participants_of_its_data_set(raw):
    write_derivative(raw / "derivatives" / "deskull")
    write_subject(raw / "derivatives" / "freesurfer" / "sub-01", "orig.mgz", "brainmask.mgz")
    index, _ = make_index(raw)
    assert list(index["participant"]) == ["sub-01", "sub-01", "sub-02"]


def test_a_subject_linked_into_the_folder_is_found_and_a_circle_ends(tmp_path):
    write_subject(tmp_path / "store" / "a" / "bert", "orig.mgz", "brainmask.mgz")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "bert").symlink_to(tmp_path / "store" / "a" / "bert")
    (tmp_path / "study" / "again").symlink_to(tmp_path / "study")
    index, findings = make_index(tmp_path / "study")
    assert list(index["participant"]) == ["bert"]
    assert findings == []


# ---- patterns


def test_patterns_name_images_and_masks_in_folders_of_their_own(tmp_path):
    for participant in ("p1", "p2"):
        for session in ("a", "b"):
            write(tmp_path / "scans" / f"{participant}s{session}_pd.nii.gz")
            write_mask(tmp_path / "masks" / f"{participant}s{session}.nii.gz")
    write_mask(tmp_path / "masks" / "p3sa.nii.gz")
    index, findings = make_index(
        tmp_path,
        "scans/{participant}s{session}_{contrast}.nii.gz",
        "masks/{participant}s{session}.nii.gz",
    )
    assert list(index["participant"]) == ["p1", "p1", "p2", "p2"]
    assert list(index["session"]) == ["a", "b"] * 2
    assert set(index["contrast"]) == {"pd"}
    assert whats(findings, tmp_path) == [("masks/p3sa.nii.gz", "no-image")]


def test_patterns_without_a_folder_join_files_of_one_folder(tmp_path):
    for folder in ("x", "y"):
        write(tmp_path / folder / f"{folder}_1_T1.nii.gz")
        write_mask(tmp_path / folder / f"{folder}_1_T1_seg.nii.gz")
    write(tmp_path / "z" / "z_1_T1.nii.gz")
    index, findings = make_index(
        tmp_path, "{participant}_{contrast}.nii.gz", "{participant}_{contrast}_seg.nii.gz"
    )
    assert list(index["participant"]) == ["x_1", "y_1"]
    assert whats(findings, tmp_path) == [("z/z_1_T1.nii.gz", "no-mask")]


def test_a_pattern_may_repeat_a_field_and_know_common_masks(tmp_path):
    write(tmp_path / "p1" / "p1_001_T2w.nii.gz")
    write_mask(tmp_path / "p1" / "p1_001_T2w_mask.nii.gz")
    write(tmp_path / "p1" / "p2_001_T2w.nii.gz")
    index, _ = make_index(tmp_path, "{participant}/{participant}_*.nii.gz")
    assert list(index["participant"]) == ["p1"]
    assert list(index["contrast"]) == ["T2w"]


@pytest.mark.parametrize(
    ("pattern", "mask_pattern", "message"),
    [
        ("{contrast}.nii.gz", None, r"no \{participant\}"),
        ("{participant}_{run}.nii.gz", None, r"unknown field \{run\}"),
        ("{participant}.nii.gz", "x_mask.nii.gz", r"no \{participant\}"),
        (None, "{participant}_mask.nii.gz", "Give both"),
        ("{participant}.mgz", None, "no head with a mask among 1 images"),
    ],
)
def test_bad_patterns_are_refused(tmp_path, pattern, mask_pattern, message):
    write(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=message):
        make_index(tmp_path, pattern, mask_pattern)
