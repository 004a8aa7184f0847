"""Parsing of the command line: misspelt options, options of other tools, names of commands."""

import re

import pytest

from ball import ball, load, place, run
from deskull.commands import COMMANDS, parse
from deskull.errors import OptionError
from test_bad_input import check_refusal

__all__ = ["ball", "place"]


# --- invalid arguments


@pytest.mark.parametrize(
    ("arguments", "near"),
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
def test_an_unknown_option_gets_the_nearest_as_suggestion(place, capsys, arguments, near):
    check_refusal(capsys, place, arguments.split(), f"id you mean {near}?", 2)


def test_an_option_unlike_any_other_is_refused_without_a_suggestion(place, capsys):
    check_refusal(
        capsys, place, ["scan.nii.gz", "--zzz"], "--zzz: unknown option of deskull strip. S", 2
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_unknown_option_in_one_line(place, capsys, command):
    program = "deskull-bids" if command == "bids" else f"deskull {command}"
    check_refusal(capsys, place, [command, "--zzz"], f"See: {program} --help", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("scan.nii.gz -m", "-m/--mask: no value; expected -m FILE"),
        ("scan.nii.gz --border", "-b/--border: no value; expected -b MM"),
        ("scan.nii.gz -b thick", "invalid float value: 'thick'"),
        ("info x", "x: too many arguments"),
        ("view a b c", "c: too many arguments"),
    ],
)
def test_invalid_values_and_superfluous_arguments_are_named(place, capsys, arguments, message):
    check_refusal(capsys, place, arguments.split(), message, 2)


# --- help


@pytest.mark.parametrize("arguments", ["help", "help strip", "help bids", "-help", "--help", "-h"])
def test_help_is_shown_by_command_and_by_option(capsys, arguments):
    assert run(*arguments.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: deskull")
    assert "example: deskull" in out
    assert err == ""


def test_help_for_a_misspelt_command_suggests_the_nearest(place, capsys):
    check_refusal(capsys, place, ["help", "evalute"], "Did you mean: deskull evaluate?", 2)
    check_refusal(capsys, place, ["help", "xyz"], "xyz: no such command", 2)


def test_a_scan_named_help_is_stripped(place):
    (place / "scan.nii.gz").rename(place / "help")
    assert run("help", "-m", "mask.nii") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("scan.nii.gz --weights", "--weights: no value; expected --weights NAME|PATH"),
        ("scan.nii.gz -o", "-o/--out: no value; expected -o FILE|DIR/"),
        ("batch study --cluster", "--cluster: no value; expected --cluster "),
        ("--completion", "--completion: no value; expected --completion SHELL"),
    ],
)
def test_an_option_without_its_value_is_refused_with_its_metavar(
    place, capsys, arguments, message
):
    check_refusal(capsys, place, arguments.split(), message, 2)


# --- a path that is a command


@pytest.mark.parametrize("make", ["mkdir", "touch"])
@pytest.mark.parametrize("command", ["export", "view", "batch", "apply"])
def test_a_path_with_the_name_of_a_command_is_explained(place, capsys, make, command):
    getattr(place / command, make)()
    message = f"There is a {command} here too; to strip it: deskull ./{command}"
    check_refusal(capsys, place, [command], message, 2)


def test_a_command_without_arguments_notes_a_path_of_its_name_and_runs(place, capsys):
    (place / "info").mkdir()
    assert run("info") == 0
    out, err = capsys.readouterr()
    assert "runtimes" in out
    note = "info is a command. (There is a info here too; to strip it: deskull ./info)"
    assert err == f"deskull: {note}\n"
    assert run("info", "--json") == 0
    assert capsys.readouterr().err == ""


def test_a_scan_whose_name_is_a_command_is_stripped_by_its_path(place):
    (place / "scan.nii.gz").rename(place / "export")
    assert run("./export", "-m", "mask.nii") == 0


# --- options of other tools


@pytest.mark.parametrize("option", ["-g", "--gpu"])
def test_g_requests_the_gpu_as_in_synthstrip(option):
    for arguments in (
        ["scan.nii.gz"],
        ["batch", "x", "-o", "y"],
        ["demo"],
        ["train", "x", "-o", "y"],
    ):
        assert parse([*arguments, option]).device == "cuda"


def test_sdt_writes_the_distance_as_in_synthstrip(place):
    assert run("scan.nii.gz", "--sdt", "d.nii.gz") == 0
    assert load(place / "d.nii.gz").min() < 0


@pytest.mark.parametrize("value", ["0.35", ".5", "0.7"])
def test_a_fraction_after_f_is_used_as_fill_with_a_note_about_bet(place, capsys, value):
    assert run("scan.nii.gz", "-o", "brain.nii.gz", "-f", value) == 0
    err = capsys.readouterr().err
    assert re.fullmatch(rf"deskull: -f {float(value)}: used as .*BET's .* --border MM\n", err)
    assert load(place / "brain.nii.gz")[0, 0, 0] == pytest.approx(float(value))


@pytest.mark.parametrize(
    "arguments", [["--fill", "0.35"], ["-f", "-1"], ["-f", "0"], ["-f", "100"]]
)
def test_a_fill_that_cannot_be_a_threshold_of_bet_gets_no_note(place, capsys, arguments):
    assert run("scan.nii.gz", "-o", "brain.nii.gz", *arguments) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_options_of_other_tools_are_explained(place, capsys, arguments, message):
    check_refusal(capsys, place, arguments.split(), message, 2)


def test_an_output_without_suffix_is_refused_with_a_suggestion(place, capsys):
    check_refusal(capsys, place, ["scan.nii.gz", "brain"], "Did you mean brain.nii.gz?")


# --- the home folder


@pytest.fixture
def home(place, monkeypatch):
    (place / "home").mkdir()
    monkeypatch.setenv("HOME", str(place / "home"))
    return place / "home"


@pytest.mark.parametrize(
    "arguments",
    ["scan.nii.gz -o~/b.nii", "scan.nii.gz --out=~/b.nii", "scan.nii.gz -b 0 ~/b.nii"],
)
def test_a_tilde_that_the_shell_left_is_expanded(place, home, arguments):
    assert run(*arguments.split()) == 0
    assert (home / "b.nii").exists()
    assert not (place / "~").exists()


def test_a_tilde_is_expanded_in_every_argument(home):
    arguments = ["apply", "~/m.nii", "~/a.nii", "~/b.nii", "-f", "0", "~/c.nii"]
    options = parse(arguments)
    assert [options.mask, *options.images] == [f"{home}/{name}.nii" for name in "mabc"]
    options = parse(["bids", "~/x", "~/y", "participant", "--bids-filter-file=~/f.json"])
    assert (options.bids_dir, options.bids_filter_file) == (f"{home}/x", f"{home}/f.json")
    assert parse(["scan.nii.gz", "--weights=~/w"]).weights == f"{home}/w"


# --- standard input


@pytest.mark.parametrize("arguments", [["-"], ["-", "-o", "."], ["-", "--picture", "pictures/"]])
def test_standard_input_needs_names_for_its_outputs(place, capsys, arguments):
    check_refusal(
        capsys,
        place,
        arguments,
        "standard input: has no name to derive output names from; expected -o",
    )


@pytest.mark.parametrize("arguments", ["- -o b.nii", "-o b.nii -", "-i - -o b.nii", "- b.nii"])
def test_a_dash_is_parsed_as_a_file_name(arguments):
    options = parse(arguments.split())
    assert "-" in (options.image, *options.names)


def test_inputs_before_and_after_an_option_are_joined(place):
    options = parse(["batch", "a", "b", "-o", "out", "c", "--force", "d"])
    assert options.inputs == ["a", "b", "c", "d"]


def test_an_empty_command_line_is_none_and_an_empty_argument_an_error():
    assert parse([]) is None
    with pytest.raises(OptionError):
        parse([""])
