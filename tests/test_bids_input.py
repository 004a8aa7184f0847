"""The BIDS App: which images it finds and selects, its options, and errors."""

import re
import sys
from pathlib import Path

import pytest

from ball import ball, list_files, run
from bids_study import RAW, app, study, write_json
from deskull.cohort.bids import make_bids_plan
from deskull.cohort.bids_images import Choice, read_filters
from deskull.errors import InputError, OptionError

__all__ = ["ball", "study"]


def names(*args):
    """Images that would be stripped."""
    choice = Choice(*args) if args else None
    return [task.name for task in make_bids_plan("raw", "out", choice)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"participants": ["raw/sub-01"]}, "label 'raw/sub-01'; expected letters and digits"),
        ({"participants": ["sub-0*"]}, "with or without sub-, such as sub-01."),
        ({"sessions": [""]}, "label ''; expected letters and digits, with or without ses-"),
    ],
)
def test_labels_that_no_folder_has_are_refused(labels, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        Choice(**labels)


# --- images


def test_t1w_images_of_all_sessions_runs_and_acquisitions_are_found(study):
    assert names() == [RAW[0], *RAW[2:5]]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ((("T2w",),), [1]),
        ((("T1w", "FLAIR"),), [0, 2, 3, 5, 4]),
        ((("T1w",), ("01",)), [0]),
        ((("T1w",), ("sub-02", "sub-02")), [2, 3, 4]),
        ((("T1w",), ("sub-02/",), ("ses-A/",)), [2, 3]),
        ((("T1w",), (), ("B",)), [4]),
        ((("T1w",), (), ("ses-A", "B")), [2, 3, 4]),
    ],
)
def test_only_the_requested_images_are_found(study, choice, found):
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
def test_a_filter_file_selects_as_in_fmriprep(study, query, found):
    write_json("filter.json", {"t1w": query, "t2w": {"run": 9}, "bold": {"task": "rest"}})
    assert names(("T1w",), (), (), read_filters("filter.json")) == [RAW[i] for i in found]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"filter.json: cannot be read \(No such file"),
        ("{", r"filter.json: not JSON \("),
        ("[]", r"filter.json: expected an object of queries such as"),
        ('{"T1w": {}}', r"filter.json: query 'T1w'; expected one of t1w, t2w"),
        (
            '{"t1w": {"run": "(", "regex_search": true}}',
            r"filter.json: '\(' is not a regular expr",
        ),
        ('{"t1w": {"acq": "x"}}', r"filter.json: t1w: entity 'acq'; expected subject, session"),
    ],
)
def test_a_wrong_filter_file_is_an_error(study, content, message):
    if content is not None:
        Path("filter.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_filters("filter.json")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("nope out participant", "nope: no such folder; expected the root of a BIDS data set."),
        ("raw/sub-01 out participant", "sub-01: no folder sub-*; expected the root of a BIDS"),
        (
            "raw out participant --suffix PDw",
            "raw: nothing to strip; sub-01: no PDw image; there are: T1w, T2w, bold; sub-02: no",
        ),
        (
            "raw out participant --session-id C",
            "sub-02: no T1w image in session C; there are: ses-A, ses-B. Choose contrasts",
        ),
        (
            "raw raw participant",
            "raw: among the raw images; expected a folder of its own",
        ),
        (
            "raw raw/derivatives participant",
            "derivatives: the folder of all derivatives; expected one of its own, such as",
        ),
        ("raw raw/sub-01/x participant", "x: among the raw images; expected a folder of its own"),
        (
            "raw out group",
            "out: no records in its folder logs; nothing to summarise. Run the level",
        ),
    ],
)
def test_errors_are_one_line(study, capsys, args, message):
    before = list_files(study / "raw")
    assert run("bids", *args.split()) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list_files(study / "raw") == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--suffix T1-w", "suffix 'T1-w'; expected letters and digits, such as T1w, T2w"),
        ("--nprocs 0", "nprocs 0; expected at least 1."),
        ("--nprocs 2 --omp-nthreads 3", "omp-nthreads 3; expected 1 to 2"),
        ("--nprocs 2 --cluster tcp://x:1", "--nprocs with --cluster; expected one"),
        ("--mem-gb 0.1", "mem-gb 0.1; expected more than 0.35"),
        ("-b 51", "border 51.0; expected millimetres"),
    ],
)
def test_an_option_out_of_range_exits_with_2(study, capsys, args, message):
    assert app(*args.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.fixture
def requested(study, monkeypatch):
    """Collect the arguments of the app without running it."""
    seen = []

    def strip_cohort(plan, out, job, *, workers, **_):
        seen.append((workers, job, [task.name for task in plan]))
        return []

    monkeypatch.setattr("deskull.cohort.strip_cohort", strip_cohort)
    return seen


@pytest.mark.parametrize(
    ("args", "memory"),
    [
        ("--mem-gb 2.5", 2.5),
        ("--mem_gb 2.5", 2.5),
        ("--mem 2500", 2.5),
        ("--mem-mb 2500", 2.5),
        ("--mem_mb 2500M", 2.5),
        ("--mem 3G", 3),
        ("--mem 3GiB", 3),
        ("--mem 500000K", 0.5),
        ("--mem 1T", 1000),
    ],
)
def test_memory_options_of_other_apps_are_accepted(requested, args, memory):
    assert app(*args.split()) == 0
    assert requested[0][1].memory_gb == pytest.approx(memory)


@pytest.mark.parametrize("word", ["--nprocs", "--nthreads", "--n-cpus", "--n_cpus"])
def test_core_options_of_other_apps_are_accepted(requested, word):
    assert app(word, "3", "--omp_nthreads", "1") == 0
    assert (requested[0][0], requested[0][1].threads) == (3, 3)


def test_options_may_be_spelled_with_underscores(requested):
    write_json("f.json", {"t1w": {"session": "A"}})
    args = "--participant_label 02 --session_label A --bids_filter_file f.json --one_mask"
    assert app(*args.split()) == 0
    assert requested[0][2] == [RAW[2]]


@pytest.mark.parametrize(
    "args",
    [
        "--skip-bids-validation",
        "--skip_bids_validation",
        "--notrack",
        "--low-mem",
        "--stop-on-first-crash",
        "--bids-database-dir x",
        "-w x",
        "--work_dir x",
    ],
)
def test_options_of_other_apps_without_effect_are_accepted_with_a_note(requested, capsys, args):
    assert app(*args.split()) == 0
    assert len(requested[0][2]) == 4
    note = f"deskull: {args.split()[0]}: accepted for compatibility, without effect\n"
    assert capsys.readouterr().err.startswith(note)
    assert not Path("x").exists()


@pytest.mark.parametrize(
    "args",
    [
        "",
        "raw out",
        "raw out participant --mem much",
        "raw out participant --mp2rage inv-1",
        "raw out participant --orientation lps",
        "raw out all",
        "raw out participant --outputs brains",
        "raw out group x",
    ],
)
def test_wrong_use_exits_with_2(study, args):
    assert run("bids", *args.split()) == 2


def test_deskull_bids_is_deskull_with_the_command_bids(capsys, monkeypatch):
    from deskull.__main__ import bids

    monkeypatch.setattr(sys, "argv", ["deskull-bids", "--version"])
    with pytest.raises(SystemExit, match="0"):
        bids()
    assert capsys.readouterr().out.startswith("deskull-bids ")


def test_the_data_set_of_another_program_is_not_written_to(study, capsys):
    write_json("out/dataset_description.json", {"GeneratedBy": [{"Name": "fMRIPrep"}]})
    assert app() == 1
    assert "out: holds a data set made by fMRIPrep." in capsys.readouterr().err
