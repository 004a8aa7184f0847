"""The command line in this process: outputs and their names, messages, exit codes."""

import os
import re
import subprocess
import sys
import threading

import nibabel as nib
import numpy as np
import pytest

from ball import (
    ALONE,
    BRAIN_MM,
    HEAD,
    ball,
    ball_ml,
    list_files,
    load,
    new_files,
    place,
    read_json,
    run,
)
from deskull.commands import make_parser
from deskull.image.writing import save_image
from test_dicom import write_series

__all__ = ["ball", "place"]

FORMS = [
    "scan.nii.gz OUT",
    "strip scan.nii.gz OUT",
    "-i scan.nii.gz -o OUT",
    "--image scan.nii.gz --out OUT",
    "-i scan.nii.gz OUT",
    "scan.nii.gz -o OUT",
    "-o OUT scan.nii.gz",
    "-b 0 scan.nii.gz OUT",
    "scan.nii.gz -b 0 OUT",
    "scan.nii.gz OUT -b 0",
    "scan.nii.gz --no-n4 OUT -q",
    "-- scan.nii.gz OUT",
]
WRONG_USE = [
    "",
    "strip",
    "-q",
    "a b c",
    "-i a b c",
    "-i a b -o c",
    "a b -o c",
    "scan.nii.gz --nope",
    "scan.nii.gz -m",
    "scan.nii.gz -t x",
    "scan.nii.gz -b x",
    "scan.nii.gz --frame x",
    "scan.nii.gz --frame -1",
    "scan.nii.gz --frame ²",
    "view scan.nii.gz --frame -1",
    "weights",
    "weights burn",
    "info x",
    "apply mask.nii.gz",
    "train",
    "export",
]


# --- names


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_T1w"),
        ("scan.v2.nii", "scan.v2"),
        ("scan.hdr", "scan"),
        ("scan.img", "scan"),
        ("scan.mgz", "scan"),
        ("SCAN.NII.GZ", "SCAN"),
        ("with space 'é'.nii.gz", "with space 'é'"),
        ("strip.nii", "strip"),
    ],
)
def test_without_options_brain_and_mask_lie_beside_the_scan(tmp_path, ball, name, stem):
    (tmp_path / "folder").mkdir()
    save_image(HEAD, tmp_path / "folder" / name)
    before = list_files(tmp_path)
    assert run(tmp_path / "folder" / name) == 0
    expected = [f"folder/{stem}_brain.nii.gz", f"folder/{stem}_mask.nii.gz"]
    assert new_files(tmp_path, before) == expected


@pytest.mark.parametrize("given", ["series", "series/", "./series", "series/../series"])
def test_outputs_of_a_dicom_folder_lie_beside_it(place, given):
    write_series(place / "series")
    before = list_files(place)
    assert run(given) == 0
    assert new_files(place, before) == ["series_brain.nii.gz", "series_mask.nii.gz"]


@pytest.mark.parametrize("given", [".", "../series"])
def test_a_dicom_folder_can_be_named_from_within(place, monkeypatch, given):
    monkeypatch.chdir(write_series(place / "series"))
    before = list_files(place)
    assert run(given) == 0
    expected = ["series/series_brain.nii.gz", "series/series_mask.nii.gz"]
    assert new_files(place, before) == expected
    assert run(given) == 0  # and again


@pytest.mark.parametrize("option", ALONE)
def test_an_output_option_alone_writes_only_that(place, option):
    before = list_files(place)
    assert run("scan.nii.gz", option, ALONE[option]) == 0
    assert new_files(place, before) == [ALONE[option]]


def test_out_and_mask_are_written_and_nothing_else(place):
    before = list_files(place)
    assert run("scan.nii.gz", "brain.nii.gz", "-m", "mask.nii.gz") == 0
    assert new_files(place, before) == ["brain.nii.gz", "mask.nii.gz"]


@pytest.mark.parametrize("form", FORMS)
def test_in_and_out_can_be_given_in_many_ways(place, form):
    before = list_files(place)
    assert run(*form.replace("OUT", "out.nii.gz").split()) == 0
    assert new_files(place, before) == ["out.nii.gz"]


def test_a_name_may_begin_with_a_dash(place):
    (place / "scan.nii.gz").rename(place / "-scan.nii.gz")
    assert run("--", "-scan.nii.gz") == 0
    assert (place / "-scan_mask.nii.gz").exists()


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz", "out.hdr", "out.img", "out.mgz"])
def test_the_name_of_an_output_chooses_its_format(place, name):
    assert run("scan.nii.gz", "-m", name) == 0
    kind = {".mgz": nib.MGHImage, ".hdr": nib.Nifti1Pair, ".img": nib.Nifti1Pair}
    assert type(nib.load(place / name)) is kind.get((place / name).suffix, nib.Nifti1Image)
    assert load(place / name).sum() * 0.064 == pytest.approx(ball_ml(BRAIN_MM), rel=0.02)


def test_an_existing_output_is_replaced_and_the_input_is_not(place):
    before = (place / "scan.nii.gz").read_bytes()
    (place / "out.nii.gz").write_text("old")
    assert run("scan.nii.gz", "-o", "out.nii.gz") == 0
    assert load(place / "out.nii.gz").shape == HEAD.shape
    assert (place / "scan.nii.gz").read_bytes() == before


def test_a_step_never_replaces_the_scan(place, capsys):
    (place / "scan.nii.gz").rename(place / "01_locate.nii.gz")
    before = list_files(place)
    assert run("01_locate.nii.gz", "--steps", ".") == 1
    assert "01_locate.nii.gz: it is an input" in capsys.readouterr().err
    assert list_files(place) == before


# --- messages


def test_a_good_scan_prints_nothing(place, capsys):
    assert run("scan.nii.gz") == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_prints_volume_and_seconds(place, capsys):
    assert run("scan.nii.gz", "-v") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deskull: scan.nii.gz: mask of 9")
    assert err.count("\n") == 1


def make_ct(data, radius):
    data[radius < 88] = 40
    data[radius < 73] = 900
    data[radius < 60] = 35
    data[radius >= 88] = -1000


def make_stripped(data, radius):
    data[radius > BRAIN_MM] = 0


def make_holes(data, radius):
    data[:2, 0, 0] = np.nan, np.inf


def keep(data, radius):
    pass


@pytest.fixture
def change_scan(place):
    """Function that changes the scan on disk."""

    def change(how, crop=slice(None)):
        data = np.asarray(HEAD.dataobj).copy()
        axes = [np.arange(n) - (n - 1) / 2 for n in data.shape]
        how(data, 4 * np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij"))))
        save_image(nib.Nifti1Image(data[:, :, crop], HEAD.affine), place / "scan.nii.gz")

    return change


@pytest.mark.parametrize(
    ("how", "crop", "flag"),
    [
        (make_ct, slice(None), "looks-like-ct"),
        (make_stripped, slice(None), "already-stripped"),
        (make_holes, slice(None), "not-finite"),
        (keep, slice(24, None), "field-cuts-brain"),
    ],
)
def test_a_doubt_is_one_warning_and_a_flag_in_the_record(
    place, change_scan, capsys, how, crop, flag
):
    change_scan(how, crop)
    assert run("scan.nii.gz", "--record", "r.json") == 0
    out, err = capsys.readouterr()
    assert out == ""
    warnings = [line.split(": ")[:3] for line in err.splitlines()]
    low = [["deskull", "scan.nii.gz", "low score"]]
    record = read_json(place / "r.json")
    assert warnings == low * (record["score"] < 70) + [["deskull", "scan.nii.gz", flag]]
    assert [one["name"] for one in record["flags"]] == [flag]


def test_a_low_score_without_flags_is_a_warning(place, capsys, monkeypatch):
    monkeypatch.setattr("deskull.measure.score.make_score", lambda *_: 28)
    assert run("scan.nii.gz") == 0
    advice = "check the mask before you use it: deskull view scan.nii.gz scan_mask.nii.gz"
    line = f"deskull: scan.nii.gz: low score: 28 of 100; {advice}\n"
    assert capsys.readouterr().err == line
    assert run("scan.nii.gz", "-q") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("deskull.measure.score.make_score", lambda *_: 70)
    assert run("scan.nii.gz") == 0
    replaced = "deskull: replaced: scan_brain.nii.gz, scan_mask.nii.gz\n"
    assert capsys.readouterr().err == replaced


def test_quiet_hides_doubts(place, change_scan, capsys):
    change_scan(make_holes)
    assert run("scan.nii.gz", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_still_prints_errors(place, capsys):
    assert run("nope.nii.gz", "-q") == 1
    assert capsys.readouterr().err == "deskull: error: nope.nii.gz: no such file.\n"


def test_debug_shows_where_an_error_came_from(place):
    with pytest.raises(Exception, match=r"nope.nii.gz: no such file"):
        run("nope.nii.gz", "--debug")


def test_an_internal_error_is_one_line_that_asks_for_a_report(place, monkeypatch, capsys):
    monkeypatch.setattr("deskull.result.save_results", lambda *_: 1 / 0)
    assert run("scan.nii.gz") == 1
    err = capsys.readouterr().err
    assert err.startswith("deskull: error: an internal error of deskull (ZeroDivisionError: ")
    assert err.count("\n") == 1


def test_too_little_memory_is_reported_as_such(place, monkeypatch, capsys):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("deskull.result.save_results", fail)
    assert run("scan.nii.gz") == 1
    assert capsys.readouterr().err.startswith("deskull: error: not enough memory")


@pytest.mark.parametrize("arguments", WRONG_USE)
def test_wrong_use_exits_with_2_and_writes_nothing(place, capsys, arguments):
    before = list_files(place)
    assert run(*arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    if arguments:  # without any, the help is shown
        assert re.fullmatch(r"deskull: error: .*\n", err)
    assert list_files(place) == before


@pytest.mark.parametrize("arguments", [[""], ["scan.nii.gz", ""], ["scan.nii.gz", "-m", ""]])
def test_an_empty_argument_is_wrong_use(place, capsys, arguments):
    assert run(*arguments) == 2
    assert "an empty argument; is a shell variable not set?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "near"), [("strp", "strip"), ("evalute", "evaluate"), ("Batch", "batch")]
)
def test_a_misspelt_command_gets_the_nearest_as_suggestion(place, capsys, name, near):
    assert run(name, "scan.nii.gz") == 2
    message = f"{name}: no such command or file. Did you mean: deskull {near}?"
    assert message in capsys.readouterr().err
    (place / "scan.nii.gz").rename(place / f"{name}.nii.gz")
    assert run(name, "-m", "mask.nii.gz") == 0  # as FSL's tools name a scan
    (place / f"{name}.nii.gz").rename(place / name)
    assert run(name, "-m", "mask.nii.gz") == 0


@pytest.mark.parametrize("name", ["series", "head", "strp.nii"])
def test_a_missing_file_is_not_taken_for_a_misspelt_command(place, capsys, name):
    assert run(name) == 1
    assert capsys.readouterr().err.startswith(f"deskull: error: {name}: no such file")


@pytest.mark.parametrize("command", ["strip", "batch", "apply", "demo", "evaluate", "report"])
def test_o_and_out_name_the_output_of_every_command(command):
    check_out(command, {"apply": ["x", "x"], "demo": []}.get(command, ["x"]))


@pytest.mark.parametrize("command", ["index", "pack", "train", "finetune", "export"])
def test_o_and_out_name_the_output_of_every_command_that_trains(command):
    check_out(command, ["x", "--about", "x"] if command == "export" else ["x"])


def check_out(command, arguments):
    short, long = (
        vars(make_parser().parse_args([command, *arguments, option, "there"]))
        for option in ("-o", "--out")
    )
    found = {name for name, value in short.items() if value == "there"}
    assert found == {"out_dir" if command == "batch" else "out"}
    assert {name: short[name] for name in found} == {name: long[name] for name in found}


def test_a_name_that_stdout_cannot_encode_is_escaped(place):
    for folder in ("café", "refs"):
        (place / folder).mkdir()
        mask = nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.eye(4))
        save_image(mask, place / folder / "x_mask.nii.gz")
    arguments = [sys.executable, "-m", "deskull", "evaluate", "café", "refs"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(arguments, capture_output=True, env=environ)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"worst of caf\\xe9: x 1.0000" in done.stdout


def test_a_command_runs_outside_of_the_main_thread(place):
    codes = []
    worker = threading.Thread(target=lambda: codes.append(run("scan.nii.gz")))
    worker.start()
    worker.join()
    assert codes == [0]
