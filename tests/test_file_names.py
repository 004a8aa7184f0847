"""What a file's name says: whose head, which contrast, made from a scan or not; BIDS names."""

from pathlib import Path

import pytest

from deskull.image.bids_names import (
    BidsName,
    find_folder,
    find_inversion,
    is_folder_of,
    is_made,
    name_scan_of,
    parse_name,
)
from deskull.image.file_names import (
    MADE_ENDINGS,
    find_base,
    is_foreign,
    name_head,
    name_manual,
    rank_mask,
    says_label,
    says_manual,
    says_reference,
)
from deskull.outputs import OUTPUTS, find_output


@pytest.mark.parametrize(
    ("name", "base", "label"),
    [
        ("sub-01_T1w.nii.gz", None, False),
        ("brainstem.nii", None, False),
        ("unmask.nii", None, False),
        ("sub-01_brain_T1w.nii", None, False),
        ("maskT1.nii", None, False),
        ("scan_mask.nii.gz", "scan", True),
        ("scan-mask.nii.gz", "scan", True),
        ("scan.mask.mgz", "scan", True),
        ("scan_MASK.nii", "scan", True),
        ("scan_brain.nii", "scan", False),
        ("scan_brain_mask.nii.gz", "scan", True),
        ("scan_mask_manual.nii.gz", "scan", True),
        ("scan_Distance.nii.gz", "scan", False),
        ("scan_corrected.nii.gz", "scan", False),
        ("scan_dseg.nii", "scan", True),
        ("scan_probseg.nii", "scan", False),
        ("3_AX_T1_BRAIN.nii.gz", "3_AX_T1", False),
        ("MRI_Brain.nii", "MRI", False),
        ("brain.mgz", "", False),
        ("brainmask.mgz", "", True),
        ("aseg.mgz", "", True),
        ("aparc+aseg.mgz", "", True),
    ],
)
def test_a_name_tells_from_which_image_a_file_may_be_made(name, base, label):
    assert find_base(Path(name), MADE_ENDINGS) == base
    assert says_label(Path(name)) is label


@pytest.mark.parametrize("output", [row.name for row in OUTPUTS if row.is_image])
def test_the_names_of_our_outputs_lead_back_to_the_scan(output):
    assert find_base(Path("scan" + find_output(output).ending)) == "scan"


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("scan.PAR", True),
        ("scan.rec", True),
        ("scan+orig.BRIK.gz", True),
        ("scan.nii.lz4", True),
        ("scan.nii.gz.part", True),
        ("scan.nii.gz", False),
        ("scan.mnc", False),
        ("notes.txt", False),
        ("IM0001", False),
    ],
)
def test_images_that_cannot_be_read_are_told_from_other_files(name, foreign):
    assert is_foreign(Path(name)) is foreign


@pytest.mark.parametrize(
    ("name", "participant", "session", "contrast"),
    [
        ("x/ds011_01_T1w.nii.gz", "ds011_01", "", "T1w"),
        ("x/sub-01_ses-b_acq-hi_T2w.nii.gz", "sub-01", "ses-b", "T2w"),
        ("x/IXI002-Guys-0828-PD.nii", "IXI002-Guys-0828", "", "PDw"),
        ("x/PD_003_flair.mgz", "PD_003", "", "FLAIR"),
        ("x/T1_T1patient.nii", "T1patient", "", "T1w"),
        ("p7/mprage.nii.gz", "p7", "", "T1w"),
        ("x/head-current-01.nii.gz", "head-current-01", "", ""),
        ("x/a_t1ce.nii", "a", "", "T1ce"),
        ("x/subject01_labels.nii.gz", "subject01", "", ""),
        ("x/bert_aparc.DKTatlas+aseg.mgz", "bert", "", ""),
        ("bert/mri/aseg.mgz", "bert", "", ""),
        ("x/anna_ses1_T1.nii.gz", "anna", "ses1", "T1w"),
        ("x/anna_ses-1_T1.nii.gz", "anna", "ses-1", "T1w"),
        ("x/anna_Visit_02.nii.gz", "anna", "Visit_02", ""),
        ("x/tp3-anna_flair_run2.nii.gz", "anna", "tp3", "FLAIR"),
        ("x/OAS1_0001_MR1_mpr-2_anon.hdr", "OAS1_0001_anon", "MR1", ""),
        ("x/study_MR1_T1.nii", "study_MR1", "", "T1w"),
        ("x/MR001_T1.nii", "MR001", "", "T1w"),
        ("x/sessile4_T1.nii", "sessile4", "", "T1w"),
        ("x/sub-tp1_T1w.nii", "sub-tp1", "", "T1w"),
        ("anna/ses1/T1.nii", "anna", "", "T1w"),
    ],
)
def test_names_say_participant_session_and_contrast(name, participant, session, contrast):
    head = name_head(Path(name))
    assert (head.participant, head.session, head.contrast) == (participant, session, contrast)


# --- masks


@pytest.mark.parametrize(
    ("name", "scan", "rank", "reference", "manual"),
    [
        ("x/scan_mask.nii", ("scan", ""), True, False, False),
        ("x/scan_mask_manual.nii", ("scan", ""), True, True, True),
        ("x/scan_bet_mask.nii", ("scan", ""), True, False, False),
        ("x/scan-truth.nrrd", ("scan", ""), True, True, False),
        ("references/scan.nii", ("scan", ""), False, True, False),
        ("x/scan_distance.nii", ("scan_distance", ""), False, False, False),
        ("x/sub-1_desc-brain_mask.nii", ("sub-1", ""), True, False, False),
        ("x/sub-1_desc-brainManual_mask.nii", ("sub-1", ""), True, False, True),
        ("x/sub-1_desc-brainT2w_mask.nii", ("sub-1", "T2w"), True, False, False),
        ("x/sub-1_desc-brainManualT2w_mask.nii", ("sub-1", "T2w"), True, False, True),
        ("x/sub-1_acq-a_T2w_reference.nii", ("sub-1_acq-a", "T2w"), True, True, False),
    ],
)
def test_the_name_of_a_mask_tells_its_scan_and_who_made_it(name, scan, rank, reference, manual):
    path = Path(name)
    assert name_scan_of(path) == scan
    assert (rank_mask(path) is not None) is rank
    assert says_reference(path) is reference
    assert says_manual(path) is manual


@pytest.mark.parametrize(
    ("scan", "mask", "manual"),
    [
        ("scan", None, "scan_mask_manual"),
        ("scan", "other_mask", "other_mask_manual"),
        ("scan", "brain", "scan_mask_manual"),
        ("scan", "scan_mask_manual", "scan_mask_manual"),
        ("sub-1_T1w", "sub-1_desc-brain_mask", "sub-1_desc-brainManual_mask"),
        ("sub-1_T2w", "sub-1_desc-brainT2w_mask", "sub-1_desc-brainManualT2w_mask"),
        ("sub-1_T1w", "sub-1_desc-brainManual_mask", "sub-1_desc-brainManual_mask"),
    ],
)
def test_a_corrected_mask_is_named_after_the_automatic_one(scan, mask, manual):
    assert name_manual(scan, mask) == manual
    assert says_manual(Path(f"{manual}.nii.gz"))


# --- BIDS


@pytest.mark.parametrize(
    ("name", "participant", "session", "raw", "role"),
    [
        ("sub-01_T1w.nii.gz", "sub-01", "", True, "image"),
        ("sub-01_ses-A_acq-hires_T2w.nii", "sub-01", "ses-A", True, "image"),
        ("sub-01_desc-preproc_T1w.nii", "sub-01", "", False, "prepared"),
        ("sub-01_desc-brain_T1w.nii", "sub-01", "", False, "brain"),
        ("sub-01_desc-brain_mask.nii", "sub-01", "", False, "mask"),
        ("sub-01_desc-brainManualT2w_mask.nii", "sub-01", "", False, "mask"),
        ("sub-01_desc-lesion_mask.nii", "sub-01", "", False, ""),
        ("sub-01_space-MNI_T1w.nii", "sub-01", "", False, ""),
        ("sub-01_bold.nii", "sub-01", "", True, ""),
    ],
)
def test_a_bids_name_tells_whose_it_is_and_what_for(name, participant, session, raw, role):
    parsed = parse_name(Path(name))
    assert (parsed.participant, parsed.session) == (participant, session)
    assert (parsed.is_raw, parsed.role) == (raw, role)


@pytest.mark.parametrize(
    ("path", "participant", "session"),
    [
        ("sub-01/anat/sub-01_T1w.nii", "sub-01", ""),
        ("sub-01/ses-A/anat/sub-01_ses-A_T1w.nii", "sub-01", "ses-A"),
        ("sub-01", "sub-01", ""),
        ("scan.nii", "", ""),
    ],
)
def test_folders_tell_participant_and_session(path, participant, session):
    assert find_folder("sub", Path(path)) == participant
    assert find_folder("ses", Path(path)) == session


@pytest.mark.parametrize(
    ("name", "kind", "is_one"),
    [
        ("sub-01", "sub", True),
        ("sub-01", "ses", False),
        ("sub-", "sub", False),
        ("sub_01", "sub", False),
        ("ses-a+b", "ses", True),
    ],
)
def test_folders_of_participants_and_sessions_are_told_from_others(name, kind, is_one):
    assert is_folder_of(kind, name) is is_one


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_T1w.nii.gz",
        "sub-01_ses-A_acq-hires_run-02_T1w.nii",
        "sub-01_space-orig_label-brain_desc-x_probseg.nii.gz",
    ],
)
def test_a_name_is_written_as_it_was_read(name):
    parsed = parse_name(Path(name))
    assert parsed is not None
    assert str(parsed) == name.split(".")[0]


@pytest.mark.parametrize(
    "name",
    ["T1w.nii.gz", "scan_T1w.nii.gz", "sub-01.nii.gz", "sub-_T1w.nii", "sub-01_T1w_mask.nii"],
)
def test_other_names_are_no_bids_names(name):
    assert parse_name(Path(name)) is None


def test_entities_of_a_derived_name_stand_in_their_order():
    name = BidsName({"sub": "01", "run": "1"}, "T1w")
    derived = name.derive("probseg", desc="x", label="brain", acq="a")
    assert str(derived) == "sub-01_acq-a_run-1_label-brain_desc-x_probseg"


@pytest.mark.parametrize(
    ("name", "made", "inversion"),
    [
        ("sub-01_T1w.nii", False, ""),
        ("sub-01_desc-preproc_T1w.nii", False, ""),
        ("sub-01_desc-brain_T1w.nii", True, ""),
        ("sub-01_desc-brainT2w_mask.nii", True, ""),
        ("sub-01_label-GM_probseg.nii", True, ""),
        ("sub-01_inv-2_part-mag_MP2RAGE.nii", False, "inv-2"),
        ("sub-01_inv-01_MP2RAGE.nii", False, "inv-1"),
        ("sub-01_UNIT1.nii", False, "UNIT1"),
    ],
)
def test_a_bids_name_tells_what_was_made_and_which_image_of_mp2rage_it_is(name, made, inversion):
    parsed = parse_name(Path(name))
    assert is_made(parsed) is made
    assert find_inversion(parsed) == inversion
