"""A BIDS data set of two participants, and the BIDS App on it."""

import json
from pathlib import Path

import pytest

from ball import run
from studies import write_scan

RAW = [
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-01/anat/sub-01_T2w.nii.gz",
    "sub-02/ses-A/anat/sub-02_ses-A_acq-hires_run-01_T1w.nii.gz",
    "sub-02/ses-A/anat/sub-02_ses-A_acq-hires_run-02_T1w.nii.gz",
    "sub-02/ses-B/anat/sub-02_ses-B_T1w.nii",
    "sub-02/ses-B/anat/sub-02_ses-B_FLAIR.nii.gz",
]
NOT_WANTED = [
    "sub-01/func/sub-01_task-rest_bold.nii.gz",
    "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    "sub-01/anat/sub-01_part-phase_T1w.nii.gz",
    "sub-01/anat/notes.txt",
    "derivatives/other/sub-01/anat/sub-01_T1w.nii.gz",
]


@pytest.fixture
def study(tmp_path, monkeypatch, ball):
    """Work in a folder with a BIDS data set, with the ball for a network."""
    monkeypatch.chdir(tmp_path)
    write_json("raw/dataset_description.json", {"Name": "Heads", "BIDSVersion": "1.10.0"})
    for name in RAW:
        write_scan(Path("raw", name))
    for name in NOT_WANTED:
        Path("raw", name).parent.mkdir(parents=True, exist_ok=True)
        Path("raw", name).write_text("no image")
    return tmp_path


def write_json(path, fields):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(fields))


def app(*arguments, level="participant"):
    return run("bids", "raw", "out", level, *arguments)
