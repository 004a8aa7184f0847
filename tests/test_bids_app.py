"""The BIDS App: what it finds, what its outputs are called, and what others find in them."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, load, read_json, run
from deskull.cohort.bids import make_bids_plan
from deskull.cohort.choice import Choice, read_filters
from deskull.errors import InputError, OutputError
from deskull.image.bids import BidsName, parse_name
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.learn.bids import find_bids

__all__ = ["ball"]

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


def write_scan(path, image=HEAD):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)


def write_json(path, fields):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(fields))


def app(*words, level="participant"):
    return run("bids", "raw", "out", level, *words)


def names(*words):
    """Images that would be stripped."""
    choice = Choice(*words) if words else None
    return [task.name for task in make_bids_plan("raw", "out", choice)]


def outputs():
    found = (path.relative_to("out").as_posix() for path in Path("out").glob("sub-*/**/*.*"))
    return sorted(found)


# --- names


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


# --- what is found


def test_t1w_images_of_all_sessions_runs_and_acquisitions_are_found(study):
    assert names() == [RAW[0], *RAW[2:5]]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ((("T2w",),), [1]),
        ((("T1w", "FLAIR"),), [0, 2, 3, 5, 4]),
        ((("T1w",), ("01",)), [0]),
        ((("T1w",), ("sub-02", "sub-02")), [2, 3, 4]),
        ((("T1w",), (), ("B",)), [4]),
        ((("T1w",), (), ("ses-A", "B")), [2, 3, 4]),
    ],
)
def test_a_choice_is_kept(study, choice, found):
    assert names(*choice) == [RAW[number] for number in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"session": "A"}, [2, 3]),
        ({"session": None}, [0]),
        ({"session": "*"}, [2, 3, 4]),
        ({"run": 1}, [2]),
        ({"run": ["1", None]}, [0, 2, 4]),
        ({"acquisition": "hires", "run": "02"}, [3]),
        ({"acquisition": "^hi", "regex_search": True}, [2, 3]),
        ({"suffix": "FLAIR"}, [5]),
        ({"extension": ".nii"}, [4]),
        ({"subject": ["01", "03"]}, [0]),
        ({"datatype": "anat", "suffix": "T1w"}, [0, 2, 3, 4]),
    ],
)
def test_a_filter_file_means_what_it_means_to_fmriprep(study, query, found):
    write_json("filter.json", {"t1w": query, "t2w": {"run": 9}, "bold": {"task": "rest"}})
    assert names(("T1w",), (), (), read_filters("filter.json")) == [RAW[i] for i in found]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"filter.json: cannot be read \(No such file"),
        ("{", r"filter.json: not JSON \("),
        ("[]", r"filter.json: expected an object of queries such as"),
        ('{"T1w": {}}', r"filter.json: query 'T1w'; expected some of t1w, t2w"),
        ('{"t1w": {"run": "(", "regex_search": true}}', r"filter.json: '\(' is no regular expr"),
        ('{"t1w": {"acq": "x"}}', r"filter.json: t1w: entity 'acq'; expected subject, session"),
    ],
)
def test_a_wrong_filter_file_is_told(study, content, message):
    if content is not None:
        Path("filter.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_filters("filter.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nope out participant", "nope: no such folder; expected the root of a BIDS data set."),
        ("raw/sub-01 out participant", "sub-01: no folder sub-*; expected the root of a BIDS"),
        ("raw out participant --participant-label 9", "sub-9: no such participant in "),
        (
            "raw out participant --suffix PDw",
            "no PDw image found of 2 participants; expected",
        ),
        (
            "raw out participant --session-id C",
            "in session C (there are: ses-A, ses-B)",
        ),
        (
            "raw raw participant",
            "raw: among the raw images; expected a folder of its own",
        ),
        ("raw raw/sub-01/x participant", "x: among the raw images; expected a folder of its own"),
        ("raw out group", "out: no records in its folder logs; nothing to sum up. Run the level"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(study, capsys, words, message):
    before = list_files(study / "raw")
    assert run("bids", *words.split()) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study / "raw") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--suffix bold", "suffix 'bold'; expected some of T1w, T2w"),
        ("--nprocs 0", "nprocs 0; expected at least 1."),
        ("--nprocs 2 --omp-nthreads 3", "omp-nthreads 3; expected 1 to 2"),
        ("--nprocs 2 --cluster tcp://x:1", "nprocs and a cluster; the cores"),
        ("--mem-gb 0.1", "mem-gb 0.1; expected more than 0.35"),
        ("-b 51", "border 51.0; expected millimetres"),
    ],
)
def test_an_option_out_of_range_is_wrong_use(study, capsys, words, message):
    assert app(*words.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["", "raw out", "raw out all", "raw out participant --outputs brains", "raw out group x"],
)
def test_wrong_use_leaves_with_2(study, words):
    assert run("bids", *words.split()) == 2


def test_the_program_of_its_own_is_the_same_command(capsys, monkeypatch):
    from deskull.__main__ import bids

    monkeypatch.setattr(sys, "argv", ["deskull-bids", "--version"])
    with pytest.raises(SystemExit, match="0"):
        bids()
    assert capsys.readouterr().out.startswith("deskull-bids ")


def test_the_data_set_of_another_program_is_left_alone(study, capsys):
    write_json("out/dataset_description.json", {"GeneratedBy": [{"Name": "fMRIPrep"}]})
    assert app() == 1
    assert "out: holds a data set made by fMRIPrep." in capsys.readouterr().err


# --- what is written


def test_names_are_those_of_bids(study):
    words = ["--participant-label", "02", "--session-id", "A"]
    assert app(*words, "--outputs", "brain", "mask", "probability", "corrected") == 0
    stem = "sub-02/ses-A/anat/sub-02_ses-A_acq-hires_run-01_"
    assert [name.removeprefix(stem) for name in outputs() if name.startswith(stem)] == [
        "desc-brain_T1w.json",
        "desc-brain_T1w.nii.gz",
        "desc-brain_mask.json",
        "desc-brain_mask.nii.gz",
        "desc-preproc_T1w.json",
        "desc-preproc_T1w.nii.gz",
        "label-brain_probseg.json",
        "label-brain_probseg.nii.gz",
    ]
    assert not any("space-" in name for name in outputs())


def test_two_contrasts_of_the_same_entities_do_not_meet(study):
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01") == 0
    assert [name for name in outputs() if name.endswith(".nii.gz")] == [
        "sub-01/anat/sub-01_desc-brainT2w_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brain_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_T2w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]


def test_what_a_filter_lets_stand_for_t1w_has_the_plain_mask(study):
    write_scan(Path("raw/sub-01/anat/sub-01_UNIT1.nii.gz"))
    write_json("filter.json", {"t1w": {"suffix": "UNIT1"}})
    assert app("--bids-filter-file", "filter.json") == 0
    assert [name for name in outputs() if name.endswith(".nii.gz")] == [
        "sub-01/anat/sub-01_desc-brain_UNIT1.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]


def test_sidecars_say_what_an_image_is_and_was_made_from(study):
    assert app("--outputs", "brain", "mask", "probability", "--participant-label", "01") == 0
    folder, source = Path("out/sub-01/anat"), ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    mask = read_json(folder / "sub-01_desc-brain_mask.json")
    assert (mask["Type"], mask["Sources"]) == ("Brain", source)
    brain = read_json(folder / "sub-01_desc-brain_T1w.json")
    assert (brain["SkullStripped"], brain["Sources"]) == (True, source)
    assert read_json(folder / "sub-01_label-brain_probseg.json")["Sources"] == source


def test_the_description_leads_back_to_the_raw_data_set(study):
    write_json("raw/dataset_description.json", {"Name": "Heads", "DatasetDOI": "doi:10.1/x"})
    assert app() == 0
    fields = read_json(Path("out/dataset_description.json"))
    assert fields["DatasetType"] == "derivative"
    assert fields["GeneratedBy"][0]["Name"] == "deskull"
    assert fields["SourceDatasets"] == [{"URL": "https://doi.org/10.1/x", "DOI": "doi:10.1/x"}]
    assert fields["DatasetLinks"] == {"raw": "../raw"}
    assert "logs/" in Path("out/.bidsignore").read_text().splitlines()


def test_masks_are_on_the_grid_of_their_scan_and_inputs_stay(study):
    before = list_files(study / "raw")
    assert app() == 0
    mask = nib.load("out/sub-02/ses-B/anat/sub-02_ses-B_desc-brain_mask.nii.gz")
    assert mask.shape == HEAD.shape
    np.testing.assert_array_equal(mask.affine, HEAD.affine)
    assert list_files(study / "raw") == before


def test_the_query_of_smriprep_finds_the_mask_of_the_t1w_image(study):
    words = ["--suffix", "T1w", "T2w", "--participant-label", "01"]
    assert app(*words, "--outputs", "mask", "brain", "corrected") == 0
    # as in the specification that sMRIPrep and fMRIPrep ask --derivatives with
    query = {"sub": "01", "datatype": "anat", "space": None}
    mask = query | {"desc": "brain", "suffix": "mask"}
    assert find_by(mask) == ["sub-01_desc-brain_mask.nii.gz"]
    prepared = query | {"desc": "preproc", "suffix": "T1w"}
    assert find_by(prepared) == ["sub-01_desc-preproc_T1w.nii.gz"]


def find_by(query):
    """Files of the derivatives with these entities; None says that there is no such entity."""
    found = []
    for path in sorted(Path("out").glob("sub-*/**/*.nii.gz")):
        name = parse_name(path)
        facts = {**name.entities, "datatype": path.parent.name, "suffix": name.suffix}
        if all(facts.get(key) == value for key, value in query.items()):
            found.append(path.name)
    return found


def test_pybids_finds_the_mask_as_smriprep_asks_for_it(study):
    layouts = pytest.importorskip("bids.layout")
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01") == 0
    layout = layouts.BIDSLayout("out", config=["bids", "derivatives"], validate=False)
    query = {"datatype": "anat", "space": None, "desc": "brain", "suffix": "mask"}
    hits = layout.get(subject="01", extension=[".nii.gz", ".nii"], **query)
    assert [hit.filename for hit in hits] == ["sub-01_desc-brain_mask.nii.gz"]
    assert hits[0].get_metadata()["Type"] == "Brain"


@pytest.mark.slow
def test_the_validator_of_bids_has_no_complaint(study):
    validator = pytest.importorskip("bids_validator_deno")
    everything = ("--suffix", "T1w", "T2w", "--outputs", "brain", "mask", "probability")
    assert app(*everything, "corrected", "--session-id", "B") == 0
    assert app(*everything, "--participant-label", "01", "--one-mask") == 0
    assert app(level="group") == 0
    found = subprocess.run(
        [Path(sys.executable).with_name("bids-validator-deno"), "out", "--format", "json"],
        capture_output=True,
        text=True,
    )
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == [], validator


def test_each_contrast_can_be_learned_from_with_its_own_mask(study):
    words = ["--suffix", "T1w", "T2w", "--participant-label", "01"]
    assert run("bids", "raw", "raw/derivatives/deskull", "participant", *words) == 0
    files = [path.absolute() for path in Path("raw/derivatives").rglob("sub-*.nii.gz")]
    files += [path.absolute() for path in Path("raw/sub-01").rglob("*w.nii.gz")]
    candidates, _ = find_bids(study / "raw", files)
    found = {
        pair.contrast: [mask.name for mask in pair.masks] for pair in candidates if pair.masks
    }
    assert found == {
        "T1w": ["sub-01_desc-brain_mask.nii.gz"],
        "T2w": ["sub-01_desc-brainT2w_mask.nii.gz"],
    }


@pytest.mark.parametrize(
    ("words", "workers", "threads"),
    [
        ("", 1, 6),
        ("--nprocs 4", 1, 4),
        ("--nprocs 4 --omp-nthreads 2", 2, 4),
        ("--nprocs 7 --omp-nthreads 3", 2, 6),
        ("--omp-nthreads 2", 3, 6),
        ("--cluster tcp://there:1", 1, None),
        ("--cluster tcp://there:1 --omp-nthreads 2", 1, 2),
    ],
)
def test_no_more_cores_are_used_than_given(study, monkeypatch, words, workers, threads):
    seen = []

    def strip_cohort(tasks, out, job, *, workers, **_):
        seen.append((workers, job.threads))
        return []

    monkeypatch.setattr("deskull.commands.bids.strip_cohort", strip_cohort)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert app(*words.split(), "-w", "somewhere") == 0
    assert seen == [(workers, threads)]
    assert not Path("somewhere").exists()


# --- done again, in parts, one mask


def test_a_second_run_skips_what_is_done_and_notices_a_lost_sidecar(study, capsys):
    assert app() == 0
    record = Path("out/logs/sub-01/sub-01_T1w_record.json")
    before = record.stat().st_mtime_ns
    assert app() == 0
    assert record.stat().st_mtime_ns == before
    Path("out/sub-01/anat/sub-01_desc-brain_mask.json").unlink()
    assert app() == 0
    assert record.stat().st_mtime_ns != before
    assert Path("out/sub-01/anat/sub-01_desc-brain_mask.json").exists()


def test_jobs_of_several_participants_have_tables_of_their_own(study):
    for label in ("01", "sub-02"):
        assert app("--participant-label", label) == 0
    tables = sorted(path.name for path in Path("out/logs").glob("*.tsv"))
    assert tables == ["deskull_batch_sub-01.tsv", "deskull_batch_sub-02.tsv"]


def test_one_mask_is_made_of_the_t1w_image_and_put_on_the_others(study):
    small = nib.Nifti1Image(np.asarray(HEAD.dataobj)[4:-4], HEAD.affine @ shift(4))
    write_scan(Path("raw", RAW[1]), small)
    assert app("--suffix", "T2w", "T1w", "--participant-label", "01", "--one-mask") == 0
    folder = Path("out/sub-01/anat")
    mask, other = (load(folder / f"sub-01_desc-brain{c}_mask.nii.gz") for c in ("", "T2w"))
    np.testing.assert_array_equal(other, mask[4:-4])
    brain = load(folder / "sub-01_desc-brain_T2w.nii.gz")
    assert (brain[other == 0] == 0).all()
    np.testing.assert_array_equal(brain[other == 1], np.asarray(small.dataobj)[other == 1])
    sources = read_json(folder / "sub-01_desc-brain_T2w.json")["Sources"]
    assert sources == [
        "bids:raw:sub-01/anat/sub-01_T2w.nii.gz",
        "bids::sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]
    record = read_json(Path("out/logs/sub-01/sub-01_T2w_record.json"))
    assert (record["status"], record["mask_of"]) == ("done", "sub-01_T1w.nii.gz")
    before = record["finished"], os.stat("out/logs/sub-01/sub-01_T2w_record.json").st_mtime_ns
    assert app("--suffix", "T2w", "T1w", "--participant-label", "01", "--one-mask") == 0
    assert os.stat("out/logs/sub-01/sub-01_T2w_record.json").st_mtime_ns == before[1]


def shift(voxels):
    affine = np.eye(4)
    affine[0, 3] = voxels
    return affine


def test_without_a_mask_the_others_of_a_session_fail_too(study, capsys):
    Path("raw", RAW[0]).write_text("broken")
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01", "--one-mask") == 1
    err = capsys.readouterr().err
    assert "sub-01_T2w.nii.gz: failed: sub-01/anat/sub-01_T2w.nii.gz: no mask, because" in err
    assert "2 of 2 scans failed" in err
    record = read_json(Path("out/logs/sub-01/sub-01_T2w_record.json"))
    assert "no mask, because sub-01/anat/sub-01_T1w.nii.gz failed" in record["error"]


def test_all_frames_of_a_4d_image_get_the_mask_of_its_session(study):
    data = np.asarray(HEAD.dataobj)
    series = nib.Nifti1Image(np.stack([data, 2 * data], axis=-1), HEAD.affine)
    write_scan(Path("raw", RAW[1]), series)
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01", "--one-mask") == 0
    folder = Path("out/sub-01/anat")
    mask = load(folder / "sub-01_desc-brainT2w_mask.nii.gz")
    brain = load(folder / "sub-01_desc-brain_T2w.nii.gz")
    assert (mask.shape, brain.shape) == (HEAD.shape, (*HEAD.shape, 2))
    np.testing.assert_allclose(brain[..., 1], 2 * brain[..., 0])


def test_without_a_t1w_image_the_best_resolved_one_is_stripped(study):
    coarse = nib.Nifti1Image(
        np.asarray(HEAD.dataobj)[..., ::2], HEAD.affine @ np.diag([1, 1, 2, 1])
    )
    write_scan(Path("raw/sub-03/anat/sub-03_FLAIR.nii.gz"), coarse)
    write_scan(Path("raw/sub-03/anat/sub-03_T2w.nii.gz"))
    choice = Choice(("FLAIR", "T2w"), ("03",))
    (task,) = make_bids_plan("raw", "out", choice, one_mask=True)
    assert task.scan.name == "sub-03_T2w.nii.gz"
    assert [other.scan.name for other in task.others] == ["sub-03_FLAIR.nii.gz"]


# --- links


def test_a_link_of_git_annex_without_content_is_named_and_the_others_are_done(study, capsys):
    link = Path("raw", RAW[0])
    link.unlink()
    link.symlink_to("../../.git/annex/objects/x/y/MD5E-s1.nii.gz")
    assert app() == 1
    err = capsys.readouterr().err
    assert "sub-01_T1w.nii.gz: a link whose content is not here: ../../.git/annex" in err
    assert "git annex get" in err
    assert Path("out/sub-02/ses-B/anat/sub-02_ses-B_desc-brain_mask.nii.gz").exists()


def test_outputs_that_are_links_are_replaced_and_not_written_through(study):
    precious = study / "precious"
    precious.write_text("precious")
    mask = Path("out/sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    mask.parent.mkdir(parents=True)
    mask.symlink_to(precious)
    assert app("--participant-label", "01") == 0
    assert precious.read_text() == "precious"
    assert not mask.is_symlink()


def test_a_folder_of_outputs_that_is_a_link_is_refused(study):
    Path("out").mkdir()
    Path("out/sub-01").symlink_to("../raw/sub-01")
    before = list_files(study / "raw")
    with pytest.raises(OutputError, match=r"out/sub-01/anat: leads by a link to .*/anat;"):
        make_bids_plan("raw", "out")
    assert app() == 1
    assert list_files(study / "raw") == before


# --- group


def test_the_group_is_one_table_with_a_data_dictionary(study):
    Path("raw", RAW[4]).write_text("broken")
    assert app() == 1
    assert app(level="group") == 0
    with open("out/group_brain.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["participant_id"], row["session_id"], row["file"]) for row in rows] == [
        ("sub-01", "n/a", RAW[0]),
        ("sub-02", "ses-A", RAW[2]),
        ("sub-02", "ses-A", RAW[3]),
        ("sub-02", "ses-B", RAW[4]),
    ]
    assert [row["status"] for row in rows] == ["done", "done", "done", "failed"]
    assert float(rows[0]["volume"]) > 800
    assert rows[3]["volume"] == "n/a"
    assert rows[3]["error"].startswith("sub-02_ses-B_T1w.nii: not an image")
    assert "sub-02_ses-B_T1w" in Path("out/deskull_report.html").read_text("utf-8")
    words = read_json(Path("out/group_brain.json"))
    assert list(words) == list(rows[0])
    assert words["volume"]["Units"] == "mL"


# --- killed


@pytest.mark.slow
def test_killed_at_any_time_a_rerun_completes_and_no_file_is_half(tmp_path):
    write_json(tmp_path / "raw/dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    for number in range(8):
        for suffix in ("T1w", "T2w"):
            path = tmp_path / f"raw/sub-{number}/anat/sub-{number}_{suffix}.nii.gz"
            write_scan(path)
    words = [sys.executable, "-m", "deskull", "bids", "raw", "out", "participant"]
    words += ["--suffix", "T1w", "T2w", "--one-mask", "--nprocs", "1"]
    rng = random.Random(1)
    for number in range(8):  # every other time all is to be done anew
        border = ["-b", str(number // 2)]
        with subprocess.Popen([*words, *border], cwd=tmp_path, stderr=subprocess.PIPE) as process:
            time.sleep(rng.uniform(0.3, 2.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
        check_whole(tmp_path / "out")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    check_whole(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_mask.nii.gz"))) == 16
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_mask.json"))) == 16


def check_whole(folder):
    """Every file can be read, every image has its sidecar."""
    for path in folder.rglob("[!.]*.json"):
        read_json(path)
    for path in folder.glob("sub-*/anat/[!.]*.nii.gz"):
        load_volume(path)
