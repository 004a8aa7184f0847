"""Words of the command line: those of other tools, misspelt ones, names that are commands."""

import re

import pytest

from ball import ball, load, place, run
from deskull.commands import COMMANDS, parse
from deskull.errors import OptionError
from test_bad_input import check_refusal

__all__ = ["ball", "place"]


# --- misspelt


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("scan.nii.gz --bordr 2", "--border"),
        ("scan.nii.gz --boarder=2", "--border"),
        ("scan.nii.gz --tresh 0.4", "--threshold"),
        ("scan.nii.gz --nocsf", "--no-csf"),
        ("batch scan.nii.gz -o out --worker-s 2", "--workers"),
        ("bids . out participant --participants 01", "--participant_label"),
        ("apply mask.nii.gz scan.nii.gz --filll 2", "--fill"),
        ("scan.nii.gz -mask m.nii", "--mask"),
        ("scan.nii.gz -device cpu", "--device"),
        ("scan.nii.gz -threshold=0.4", "--threshold"),
    ],
)
def test_an_unknown_option_names_the_nearest(place, capsys, words, near):
    check_refusal(capsys, place, words.split(), f"id you mean {near}?", 2)


def test_what_resembles_nothing_is_refused_without_a_guess(place, capsys):
    check_refusal(
        capsys, place, ["scan.nii.gz", "--zzz"], "--zzz: unknown option of deskull strip. S", 2
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_wrong_words_in_one_line(place, capsys, command):
    program = "deskull-bids" if command == "bids" else f"deskull {command}"
    check_refusal(capsys, place, [command, "--zzz"], f"See: {program} --help", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("scan.nii.gz -m", "-m/--mask: no value; expected -m FILE"),
        ("scan.nii.gz --border", "-b/--border: no value; expected -b MM"),
        ("scan.nii.gz -b thick", "invalid float value: 'thick'"),
        ("info x", "x: too many arguments"),
        ("view a b c", "c: too many arguments"),
    ],
)
def test_what_is_wrong_is_said(place, capsys, words, message):
    check_refusal(capsys, place, words.split(), message, 2)


# --- help


@pytest.mark.parametrize("words", ["help", "help strip", "help bids", "-help", "--help", "-h"])
def test_help_is_a_word_too(capsys, words):
    assert run(*words.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: deskull")
    assert "example: deskull" in out
    assert err == ""


def test_help_for_a_misspelt_command_names_the_nearest(place, capsys):
    check_refusal(capsys, place, ["help", "evalute"], "Did you mean: deskull evaluate?", 2)
    check_refusal(capsys, place, ["help", "xyz"], "xyz: no such command", 2)


def test_a_scan_named_help_is_stripped(place):
    (place / "scan.nii.gz").rename(place / "help")
    assert run("help", "-m", "mask.nii") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("scan.nii.gz --weights", "--weights: no value; expected --weights NAME|PATH"),
        ("scan.nii.gz -o", "-o/--out: no value; expected -o FILE|DIR/"),
        ("batch study --cluster", "--cluster: no value; expected --cluster "),
        ("--completion", "--completion: no value; expected --completion SHELL"),
    ],
)
def test_an_option_without_its_value_is_told(place, capsys, words, message):
    check_refusal(capsys, place, words.split(), message, 2)


# --- a path that is a command


@pytest.mark.parametrize("make", ["mkdir", "touch"])
@pytest.mark.parametrize("command", ["export", "view", "batch", "apply"])
def test_a_path_that_is_also_a_command_is_explained(place, capsys, make, command):
    getattr(place / command, make)()
    words = f"There is a {command} here too; to strip it: deskull ./{command}"
    check_refusal(capsys, place, [command], words, 2)


def test_a_command_that_needs_no_words_says_so_before_it_runs(place, capsys):
    (place / "info").mkdir()
    assert run("info") == 0
    out, err = capsys.readouterr()
    assert "runtimes" in out
    words = "info is a command. (There is a info here too; to strip it: deskull ./info)"
    assert err == f"deskull: {words}\n"
    assert run("info", "--json") == 0
    assert capsys.readouterr().err == ""


def test_a_scan_whose_name_is_a_command_is_stripped_by_its_path(place):
    (place / "scan.nii.gz").rename(place / "export")
    assert run("./export", "-m", "mask.nii") == 0


# --- words of other tools


@pytest.mark.parametrize("option", ["-g", "--gpu"])
def test_the_gpu_has_the_letter_of_synthstrip(option):
    for words in (["scan.nii.gz"], ["batch", "x", "-o", "y"], ["demo"], ["train", "x", "-o", "y"]):
        assert parse([*words, option]).device == "cuda"


def test_the_distance_has_the_name_of_synthstrip(place):
    assert run("scan.nii.gz", "--sdt", "d.nii.gz") == 0
    assert load(place / "d.nii.gz").min() < 0


@pytest.mark.parametrize("value", ["0.35", ".5", "0.7"])
def test_the_f_of_bet_is_taken_as_the_fill_and_told(place, capsys, value):
    assert run("scan.nii.gz", "-o", "brain.nii.gz", "-f", value) == 0
    err = capsys.readouterr().err
    assert re.fullmatch(rf"deskull: -f {float(value)}: used as .*BET's .* --border MM\n", err)
    assert load(place / "brain.nii.gz")[0, 0, 0] == pytest.approx(float(value))


@pytest.mark.parametrize("words", [["--fill", "0.35"], ["-f", "-1"], ["-f", "0"], ["-f", "100"]])
def test_a_fill_that_cannot_be_meant_for_bets_is_no_matter(place, capsys, words):
    assert run("scan.nii.gz", "-o", "brain.nii.gz", *words) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "scan.nii.gz brain.nii.gz -R",
            "-R: unknown option of deskull strip. An option of another tool: BET's",
        ),
        ("scan.nii.gz brain.nii.gz -f 0.3 -g 0.1", "-g 0.1: asks for the GPU here"),
        ("scan.nii.gz -g 0", "-g 0: asks for the GPU here"),
        ("scan.nii.gz -g -.2", "-g -.2: asks for the GPU"),
        ("-i scan.nii.gz --model x.pt", "write --weights"),
        ("-i scan.nii.gz -o brain.nii.gz --save_bet_mask", "write -m FILE"),
        ("-input scan.nii.gz -prefix brain.nii.gz", "write -i FILE"),
        ("-i scan.nii.gz -o brain.nii.gz -mode fast", "there is only one mode"),
    ],
)
def test_options_of_other_tools_are_explained(place, capsys, words, message):
    check_refusal(capsys, place, words.split(), message, 2)


def test_a_name_for_the_brain_without_suffix_is_told_one(place, capsys):
    check_refusal(capsys, place, ["scan.nii.gz", "brain"], "Did you mean brain.nii.gz?")


# --- the home folder


@pytest.fixture
def home(place, monkeypatch):
    (place / "home").mkdir()
    monkeypatch.setenv("HOME", str(place / "home"))
    return place / "home"


@pytest.mark.parametrize(
    "words",
    ["scan.nii.gz -o~/b.nii", "scan.nii.gz --out=~/b.nii", "scan.nii.gz -b 0 ~/b.nii"],
)
def test_the_home_folder_is_found_where_the_shell_does_not(place, home, words):
    assert run(*words.split()) == 0
    assert (home / "b.nii").exists()
    assert not (place / "~").exists()


def test_every_path_may_lie_at_home(home):
    words = ["apply", "~/m.nii", "~/a.nii", "~/b.nii", "-f", "0", "~/c.nii"]
    found = parse(words)
    assert [found.mask, *found.images] == [f"{home}/{name}.nii" for name in "mabc"]
    found = parse(["bids", "~/x", "~/y", "participant", "--bids-filter-file=~/f.json"])
    assert (found.bids_dir, found.bids_filter_file) == (f"{home}/x", f"{home}/f.json")
    assert parse(["scan.nii.gz", "--weights=~/w"]).weights == f"{home}/w"


# --- standard input


@pytest.mark.parametrize("words", [["-"], ["-", "-o", "."], ["-", "--picture", "pictures/"]])
def test_standard_input_names_no_output(place, capsys, words):
    check_refusal(
        capsys,
        place,
        words,
        "standard input: has no name to derive output names from; expected -o",
    )


@pytest.mark.parametrize("words", ["- -o b.nii", "-o b.nii -", "-i - -o b.nii", "- b.nii"])
def test_a_dash_is_a_name(words):
    found = parse(words.split())
    assert "-" in (found.image, *found.names)


def test_two_lists_of_names_are_one(place):
    found = parse(["batch", "a", "b", "-o", "out", "c", "--force", "d"])
    assert found.inputs == ["a", "b", "c", "d"]


def test_no_words_are_no_error_of_the_parser():
    assert parse([]) is None
    with pytest.raises(OptionError):
        parse([""])
