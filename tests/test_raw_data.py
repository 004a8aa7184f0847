"""Nothing that a user has is lost: names that exist, folders, links, two names of one file."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, new_files, place, run
from deskull.image.writing import save_image
from deskull.review.scene import make_entry
from test_bad_input import check_refusal
from test_dicom import write_series

__all__ = ["ball", "place"]

MASK = nib.Nifti1Image((np.asarray(HEAD.dataobj) > 80).astype(np.uint8), HEAD.affine)


@pytest.fixture
def crowd(place):
    """More scans, in many forms."""
    (place / "other.nii.gz").write_bytes((place / "scan.nii.gz").read_bytes())
    (place / "results.nii").write_bytes(b"of months")
    nib.Nifti1Pair(np.asarray(HEAD.dataobj), HEAD.affine).to_filename(place / "pair.hdr")
    (place / "annex.nii.gz").symlink_to(".git/annex/objects/x")
    write_series(place / "series")
    (place / "study").mkdir()
    save_image(MASK, place / "mask.nii.gz")
    return place


def read_line(err, start):
    """Words of a line to type that a message offers."""
    return shlex.split(re.search(f"`({start}[^`]*)`", err)[1])


# --- IN OUT without -o


@pytest.mark.parametrize("out", ["other.nii.gz", "results.nii", "pair.hdr", "annex.nii.gz"])
def test_out_without_a_letter_never_replaces_anything(crowd, capsys, out):
    check_refusal(capsys, crowd, ["scan.nii.gz", out], f"{out}: exists; only -o replaces files")


def test_half_of_a_pair_counts(crowd, capsys):
    (crowd / "pair.hdr").unlink()
    check_refusal(capsys, crowd, ["scan.nii.gz", "pair.hdr"], "pair.img: exists")


def test_the_line_that_a_message_offers_replaces_it(crowd, capsys):
    assert run("scan.nii.gz", "other.nii.gz") == 1
    assert run(*read_line(capsys.readouterr().err, "deskull scan")[1:]) == 0
    assert nib.load(crowd / "other.nii.gz").shape == HEAD.shape


@pytest.mark.parametrize(
    "arguments",
    ["scan.nii.gz other.nii.gz", "scan.nii.gz other.nii.gz pair.hdr", "a.nii o.nii -o x.nii"],
)
def test_several_scans_are_told_the_line_of_a_batch(crowd, capsys, arguments):
    for name in ("a.nii", "o.nii"):
        save_image(HEAD, crowd / name)
    before = list_files(crowd)
    assert run(*arguments.split()) != 0
    assert list_files(crowd) == before
    line = read_line(capsys.readouterr().err, "deskull batch")
    scans = [word for word in arguments.split() if word not in ("-o", "x.nii")]
    assert [word for word in line if (crowd / word).exists()] == scans


def test_the_line_of_a_batch_runs(crowd, capsys):
    assert run("scan.nii.gz", "other.nii.gz", "o dd.nii.gz") == 2
    save_image(HEAD, crowd / "o dd.nii.gz")
    capsys.readouterr()
    assert run("scan.nii.gz", "other.nii.gz", "o dd.nii.gz") == 2
    line = read_line(capsys.readouterr().err, "deskull batch")
    assert line[2:] == ["scan.nii.gz", "other.nii.gz", "o dd.nii.gz", "-o", "brains"]
    assert run(*line[1:]) == 0
    assert len(list((crowd / "brains").glob("*_mask.nii.gz"))) == 3


def test_the_files_of_a_series_are_told_their_folder(crowd, capsys):
    files = sorted(str(path.relative_to(crowd)) for path in (crowd / "series").iterdir())
    assert len(files) > 2
    message = f"{len(files)} files; expected one scan. Run: `deskull series`"
    check_refusal(capsys, crowd, files, message, 2)
    check_refusal(capsys, crowd, files[:2], "To strip both: `deskull series`.")
    line = "Run: `deskull batch series scan.nii.gz -o brains`"
    check_refusal(capsys, crowd, [*files, "scan.nii.gz"], line, 2)


def test_names_without_suffix_are_scans_too(crowd, capsys):
    check_refusal(
        capsys, crowd, ["scan", "other"], "`deskull batch scan.nii.gz other.nii.gz -o brains`"
    )
    check_refusal(
        capsys, crowd, ["scan", "other", "pair"], "Run: `deskull batch scan.nii.gz other.nii.gz", 2
    )
    check_refusal(capsys, crowd, ["new", "other"], "The scan comes first: `deskull other new`")


def test_two_folders_of_dicom_are_two_scans(crowd, capsys):
    shutil.copytree(crowd / "series", crowd / "second")
    message = "To strip both: `deskull batch series second -o brains`."
    check_refusal(capsys, crowd, ["series", "second"], message)
    check_refusal(capsys, crowd, ["scan.nii.gz", "series/"], "series: exists")


def test_swapped_names_are_told(crowd, capsys):
    message = "The scan comes first: `deskull other.nii.gz new.nii.gz`"
    check_refusal(capsys, crowd, ["new.nii.gz", "other.nii.gz"], message)


def test_a_pattern_that_no_shell_expanded_is_told_the_line_of_a_batch(crowd, capsys):
    message = "Scans that it matches: `deskull batch 's*.nii.gz' -o brains`"
    check_refusal(capsys, crowd, ["s*.nii.gz"], message)
    check_refusal(capsys, crowd, ["x*.nii.gz"], "x*.nii.gz: no such file.")


def test_too_many_names_that_are_no_scans_are_told(crowd, capsys):
    check_refusal(capsys, crowd, ["scan.nii.gz", "x", "y"], "y: too many file names", 2)
    (crowd / "Jane Doe T1.nii").write_text("")
    message = "A name with spaces needs quotes: 'Jane Doe T1.nii'"
    check_refusal(capsys, crowd, ["Jane", "Doe", "T1.nii"], message, 2)


def test_a_mask_in_the_folder_of_out_is_no_scan_to_strip(crowd, capsys):
    (crowd / "out").mkdir()
    save_image(MASK, crowd / "out" / "scan_mask.nii.gz")
    message = "scan_mask.nii.gz: exists, but scan_brain.nii.gz does not"
    check_refusal(capsys, crowd, ["scan.nii.gz", "out/"], message)
    save_image(MASK, crowd / "out" / "scan_brain.nii.gz")
    message = "only -o replaces files. To replace it: `deskull scan.nii.gz -o out/`"
    check_refusal(capsys, crowd, ["scan.nii.gz", "out/"], message)
    assert run("scan.nii.gz", "-o", "out/") == 0


def test_a_mask_that_is_named_is_replaced_also_beside_a_new_folder(crowd):
    assert run("scan.nii.gz", "new/", "-m", "mask.nii.gz") == 0
    assert sorted(path.name for path in (crowd / "new").iterdir()) == ["scan_brain.nii.gz"]


def test_a_new_folder_may_have_the_name_of_the_scan(crowd):
    assert run("scan.nii.gz", "scan/") == 0
    names = sorted(path.name for path in (crowd / "scan").iterdir())
    assert names == ["scan_brain.nii.gz", "scan_mask.nii.gz"]


# --- usual names


@pytest.mark.parametrize("lone", ["scan_mask.nii.gz", "scan_brain.nii.gz"])
def test_a_mask_or_brain_that_no_run_wrote_stays(crowd, capsys, lone):
    save_image(MASK, crowd / lone)
    check_refusal(capsys, crowd, ["scan.nii.gz"], f"{lone}: exists, but scan_")
    check_refusal(capsys, crowd, ["scan.nii.gz", "-o", "."], f"{lone}: exists, but scan_")


def test_what_an_earlier_run_wrote_is_replaced(crowd):
    assert run("scan.nii.gz") == 0
    first = (crowd / "scan_mask.nii.gz").read_bytes()
    assert run("scan.nii.gz", "-b", "8") == 0
    assert (crowd / "scan_mask.nii.gz").read_bytes() != first


# --- inputs


@pytest.mark.parametrize(
    "arguments",
    [
        "series -o series/IM1.img",
        "series/0.dcm -m series/IM1.img",
        "scan.nii.gz --record scan.json",
        "scan -o scan.nii.gz",
        "pair -m pair.img",
        "apply mask scan -o mask.nii.gz",
        "scan.nii.gz --weights weights --record weights/card.json",
        "apply mask.nii.gz scan.nii.gz -o mask.nii.gz",
        "apply mask.nii.gz scan.nii.gz other.nii.gz -o other.nii.gz/",
        "apply mask.nii.gz pair.hdr -o pair.img",
        "scan.nii.gz --steps steps -o steps/01_locate.nii.gz",
        "scan.nii.gz -o brain.nii -m link.nii",
        "scan.nii.gz -o brain.nii -m hard.nii",
    ],
)
def test_an_input_or_another_output_is_never_replaced(crowd, capsys, arguments):
    series = sorted((crowd / "series").iterdir())
    series[0].rename(crowd / "series" / "0.dcm")
    series[1].rename(crowd / "series" / "IM1.img")
    (crowd / "scan.json").write_text('{"EchoTime": 0.003}')
    (crowd / "weights").mkdir()
    (crowd / "weights" / "card.json").write_text("{}")
    (crowd / "steps").mkdir()
    (crowd / "brain.nii").write_text("old")
    (crowd / "link.nii").symlink_to("brain.nii")
    (crowd / "hard.nii").hardlink_to(crowd / "brain.nii")
    check_refusal(capsys, crowd, arguments.split(), "")


def test_what_comes_in_by_a_pipe_is_an_input_too(crowd):
    with (crowd / "scan.nii.gz").open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "deskull", "-", "-o", "scan.nii.gz"],
            stdin=stdin,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert "it is an input" in done.stderr


def test_export_keeps_the_words_of_the_card(place, capsys):
    pytest.importorskip("torch")
    (place / "card.json").write_text(
        '{"licence": "x", "population": "x", "convention": "x", "data": "x"}'
    )
    arguments = ["export", "run", "--about", "card.json", "-o", "."]
    check_refusal(capsys, place, arguments, "card.json: it is an input")


def test_a_run_keeps_the_tables_that_it_learns_from(place, capsys):
    pytest.importorskip("torch")
    (place / "validation.tsv").write_text("image\tmask\n")
    arguments = ["train", "validation.tsv", "-o", "."]
    check_refusal(capsys, place, arguments, "validation.tsv: it is an input")


def test_an_evaluation_that_is_not_ours_stays(place, capsys):
    for folder in ("a", "b"):
        (place / folder).mkdir()
        save_image(MASK, place / folder / "x_mask.nii.gz")
    (place / "evaluation.tsv").write_text("of mine")
    check_refusal(capsys, place, ["evaluate", "a", "b", "-o", "."], "evaluation.tsv: exists, but")
    check_refusal(capsys, place, ["evaluate", "a", "b", "-o", "t.tsv"], "expected a folder for", 2)
    assert run("evaluate", "a", "b", "-o", "out/new") == 0
    assert run("evaluate", "a", "b", "-o", "out/new") == 0


# --- folders


@pytest.mark.parametrize("out", ["study", "study/", "new/", "new/deep/", "./new/"])
def test_a_folder_takes_the_usual_names(crowd, out):
    before = list_files(crowd)
    assert run("scan.nii.gz", "-o", out) == 0
    files = [name for name in new_files(crowd, before) if name.endswith(".gz")]
    folder = os.path.normpath(out)
    assert files == [f"{folder}/scan_brain.nii.gz", f"{folder}/scan_mask.nii.gz"]


def test_a_folder_without_a_letter_does_too_but_nothing_in_it_is_replaced(crowd, capsys):
    assert run("scan.nii.gz", "study/") == 0
    assert sorted(os.listdir(crowd / "study")) == ["scan_brain.nii.gz", "scan_mask.nii.gz"]
    check_refusal(capsys, crowd, ["scan.nii.gz", "study"], "study/scan_brain.nii.gz: exists")


def test_each_output_can_have_its_folder(crowd):
    before = list_files(crowd)
    options = "-m masks/ -p study -d maps/ -c maps/ --record maps/ --picture pictures/ -o new.nii"
    assert run("scan.nii.gz", *options.split()) == 0
    assert [name for name in new_files(crowd, before) if "." in name] == [
        "maps/scan_corrected.nii.gz",
        "maps/scan_distance.nii.gz",
        "maps/scan_record.json",
        "masks/scan_mask.nii.gz",
        "new.nii",
        "pictures/scan_picture.png",
        "study/scan_probability.nii.gz",
    ]


def test_a_mask_of_its_own_leaves_the_folder_to_the_brain(crowd):
    assert run("scan.nii.gz", "-o", "study/", "-m", "m.nii") == 0
    assert os.listdir(crowd / "study") == ["scan_brain.nii.gz"]


def test_a_missing_parent_is_made_only_if_something_comes_of_it(crowd, capsys):
    assert run("scan.nii.gz", "-o", "a/b/brain.nii.gz", "-m", "a/mask.nii.gz") == 0
    assert (crowd / "a/b/brain.nii.gz").exists()
    (crowd / "bad.nii.gz").write_text("no image")
    check_refusal(capsys, crowd, ["bad.nii.gz", "-o", "c/d/brain.nii.gz"], "not an image")


def test_apply_takes_a_folder_for_all(crowd):
    before = list_files(crowd)
    assert run("apply", "mask.nii.gz", "scan.nii.gz", "other.nii.gz", "-o", "new/") == 0
    files = [name for name in new_files(crowd, before) if "." in name]
    assert files == ["new/other_brain.nii.gz", "new/scan_brain.nii.gz"]


@pytest.mark.parametrize(
    ("where", "given"),
    [
        ("", "raw/series"),
        ("", "raw/series/"),
        ("raw", "./series"),
        ("raw/series", "."),
        ("raw/series", "./"),
        ("raw/series", "../series"),
        ("raw/series/deep", ".."),
        ("elsewhere", "../raw/series"),
        ("elsewhere", "PLACE/raw/series"),
        ("raw", "PLACE/raw/series/"),
    ],
)
def test_outputs_of_a_folder_stay_in_the_working_folder_or_in_it(place, monkeypatch, where, given):
    (place / "raw").mkdir()
    write_series(place / "raw" / "series")
    (place / "raw" / "series" / "deep").mkdir()
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / where)
    before = list_files(place)
    assert run(given.replace("PLACE", str(place))) == 0
    beside = where in ("", "raw")
    folder = "raw" if beside else "raw/series"
    wanted = [f"{folder}/series_brain.nii.gz", f"{folder}/series_mask.nii.gz"]
    assert new_files(place, before) == wanted


def test_a_mask_corrected_in_a_folder_of_dicom_lies_beside_the_one_of_the_strip(
    place, monkeypatch
):
    folder = write_series(place / "series")
    for where, home in ((place, place), (folder, folder)):
        monkeypatch.chdir(where)
        files = make_entry(folder).find()
        assert files.manual == home / "series_mask_manual.nii.gz"
        assert files.mask is None
        assert run(folder) == 0
        assert make_entry(folder).find().mask == home / "series_mask.nii.gz"
