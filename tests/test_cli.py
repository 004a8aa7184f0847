"""The command line in process: what is written where, what is said, and exit codes."""

import json
import os
import subprocess
import sys
import threading
from importlib import metadata

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
from deskull.arguments import make_parser
from deskull.demo import load_demo
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.measure.metrics import dice
from deskull.network.weights import bundled_folder, load_weights
from dicom_files import write_series

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
    wanted = [f"folder/{stem}_brain.nii.gz", f"folder/{stem}_mask.nii.gz"]
    assert new_files(tmp_path, before) == wanted


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
    assert new_files(place, before) == ["series_brain.nii.gz", "series_mask.nii.gz"]


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
def test_in_and_out_can_be_said_in_many_ways(place, form):
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
    assert run("scan.nii.gz", "out.nii.gz") == 0
    assert load(place / "out.nii.gz").shape == HEAD.shape
    assert (place / "scan.nii.gz").read_bytes() == before


def test_a_step_never_replaces_the_scan(place, capsys):
    (place / "scan.nii.gz").rename(place / "01_locate.nii.gz")
    before = list_files(place)
    assert run("01_locate.nii.gz", "--steps", ".") == 1
    assert "01_locate.nii.gz: it is an input" in capsys.readouterr().err
    assert list_files(place) == before


# --- what is said


def test_a_good_scan_passes_in_silence(place, capsys):
    assert run("scan.nii.gz") == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_says_volume_and_seconds(place, capsys):
    assert run("scan.nii.gz", "-v") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deskull: scan.nii.gz: brain of 9")
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


def leave(data, radius):
    pass


@pytest.fixture
def spoil(place):
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
        (leave, slice(24, None), "field-cuts-brain"),
    ],
)
def test_a_doubt_is_one_line_and_a_flag_and_no_failure(place, spoil, capsys, how, crop, flag):
    spoil(how, crop)
    assert run("scan.nii.gz", "--record", "r.json") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["deskull", "scan.nii.gz", flag]
    ]
    assert [one["name"] for one in read_json(place / "r.json")["flags"]] == [flag]


def test_quiet_says_nothing_of_doubts(place, spoil, capsys):
    spoil(make_holes)
    assert run("scan.nii.gz", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_still_says_errors(place, capsys):
    assert run("nope.nii.gz", "-q") == 1
    assert capsys.readouterr().err == "deskull: error: nope.nii.gz: no such file.\n"


def test_debug_shows_where_an_error_came_from(place):
    with pytest.raises(Exception, match=r"nope.nii.gz: no such file"):
        run("nope.nii.gz", "--debug")


def test_a_fault_of_our_own_is_one_line_that_asks_for_a_report(place, monkeypatch, capsys):
    monkeypatch.setattr("deskull.commands.strip.save_results", lambda *_: 1 / 0)
    assert run("scan.nii.gz") == 1
    err = capsys.readouterr().err
    assert err.startswith("deskull: error: a fault of deskull's own (ZeroDivisionError: ")
    assert err.count("\n") == 1


def test_too_little_memory_is_said_so(place, monkeypatch, capsys):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("deskull.commands.strip.save_results", fail)
    assert run("scan.nii.gz") == 1
    assert capsys.readouterr().err.startswith("deskull: error: not enough memory")


@pytest.mark.parametrize("words", WRONG_USE)
def test_wrong_use_leaves_with_2_and_writes_nothing(place, capsys, words):
    before = list_files(place)
    assert run(*words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: deskull" in err
    assert list_files(place) == before


@pytest.mark.parametrize("words", [[""], ["scan.nii.gz", ""], ["scan.nii.gz", "-m", ""]])
def test_an_empty_argument_is_wrong_use(place, capsys, words):
    assert run(*words) == 2
    assert "an empty argument. Is a variable of your shell not set?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "near"), [("strp", "strip"), ("evalute", "evaluate"), ("Batch", "batch")]
)
def test_a_misspelt_command_is_told_the_nearest(place, capsys, word, near):
    assert run(word, "scan.nii.gz") == 2
    words = f"{word}: no such command or file. Is it `deskull {near}`?"
    assert words in capsys.readouterr().err
    (place / "scan.nii.gz").rename(place / word)
    assert run(word, "-m", "mask.nii.gz") != 2


@pytest.mark.parametrize("word", ["series", "scam", "strp.nii"])
def test_a_missing_file_is_no_misspelt_command(place, capsys, word):
    assert run(word) == 1
    assert capsys.readouterr().err.startswith(f"deskull: error: {word}: no such file")


@pytest.mark.parametrize("command", ["strip", "batch", "apply", "demo", "evaluate", "report"])
def test_where_results_go_is_said_by_o_or_out(command):
    check_out(command, {"apply": ["x", "x"], "demo": []}.get(command, ["x"]))


@pytest.mark.parametrize("command", ["index", "train", "finetune", "export"])
def test_where_what_is_learned_goes_is_said_by_o_or_out(command):
    check_out(command, ["x", "--about", "x"] if command == "export" else ["x"])


def check_out(command, words):
    short, long = (
        vars(make_parser().parse_args([command, *words, option, "there"]))
        for option in ("-o", "--out")
    )
    found = {name for name, value in short.items() if value == "there"}
    assert found == {"out_dir" if command == "batch" else "out"}
    assert {name: short[name] for name in found} == {name: long[name] for name in found}


def test_a_name_that_stdout_has_no_letters_for_is_escaped(place):
    for folder in ("café", "refs"):
        (place / folder).mkdir()
        mask = nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.eye(4))
        save_image(mask, place / folder / "x_mask.nii.gz")
    words = [sys.executable, "-m", "deskull", "evaluate", "café", "refs"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(words, capture_output=True, env=environ)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"worst of caf\\xe9: x 1.0000" in done.stdout


def test_works_outside_of_the_main_thread(place):
    codes = []
    worker = threading.Thread(target=lambda: codes.append(run("scan.nii.gz")))
    worker.start()
    worker.join()
    assert codes == [0]


# --- the other commands


def test_info_names_version_runtime_and_weights(capsys):
    assert run("info") == 0
    out = capsys.readouterr().out
    for word in ("deskull 0.", "openvino 20", "threads", "default", load_weights().digest):
        assert word in out
    assert "licence     Apache-2.0" in out


def test_info_for_programs_is_json(capsys):
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    weights = {one["name"]: one for one in facts["weights"]}
    assert weights["default"]["sha256"] == load_weights().digest
    assert {"licence", "population", "convention"} <= set(weights["default"])
    assert set(facts) >= {"deskull", "python", "runtimes", "device", "threads"}


def test_a_runtime_from_a_package_of_another_name_is_named(monkeypatch, capsys):
    def fail(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", fail)
    assert run("info") == 0
    assert "openvino of unknown version" in capsys.readouterr().out


def test_weights_are_listed_shown_and_verified(capsys):
    assert run("weights", "list") == 0
    assert "default" in capsys.readouterr().out.split()
    assert run("weights", "show") == 0
    card = json.loads(capsys.readouterr().out)
    assert card == load_weights().card
    assert run("weights", "verify", "default") == 0
    assert f"all {len(card['files'])} files are as released" in capsys.readouterr().out


def test_damaged_weights_do_not_verify(tmp_path, capsys):
    for file in (bundled_folder() / "default").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    network = tmp_path / "segment.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"?")
    assert run("weights", "verify", tmp_path) == 1
    assert "segment.onnx: SHA-256" in capsys.readouterr().err


def test_demo_says_the_dice_of_what_it_wrote(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("demo") == 0
    folder = tmp_path / "deskull_demo"
    names = ["demo.png", "demo_T1w.nii.gz", "demo_brain.nii.gz", "demo_mask.nii.gz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    agreement = dice(load(folder / "demo_mask.nii.gz") > 0, load_demo()[1].data > 0.5)
    assert f"Dice {agreement:.4f} against the exact truth" in capsys.readouterr().out
    brain = load_volume(folder / "demo_brain.nii.gz")
    assert brain.grid.matches(load_demo()[0].grid)
