"""A cohort run: outputs, records and table, and which scans the next run skips."""

import hashlib
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, read_json, run
from deskull.cohort import make_plan
from deskull.cohort.plan import share_masks
from deskull.errors import ImageFileError
from deskull.image.fingerprint import is_unchanged, make_fingerprint
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from deskull.network.weights import bundled_folder, load_weights
from studies import (
    SCANS,
    STEMS,
    batch,
    changed,
    read_messages,
    read_table,
    records,
    study,
    write_scan,
)

__all__ = ["ball", "study"]


# --- outputs, records, table


def test_each_scan_has_its_outputs_and_record_and_row(study, capsys):
    inputs = list_files(study / "study")
    assert batch() == 0
    wanted = [f"{stem}_{name}" for stem in STEMS for name in FILES]
    assert files() == sorted([*wanted, "deskull_batch.tsv"])
    assert list_files(study / "study") == inputs
    rows = read_table()
    assert [row["input"] for row in rows] == SCANS
    assert {(row["status"], row["error"], row["flags"]) for row in rows} == {("done", "", "")}
    assert all(float(row["volume_ml"]) > 800 and float(row["seconds"]) > 0 for row in rows)
    assert read_messages(capsys) == [
        "deskull: 3 scans done; 0 failed, 0 flagged; lowest score 96: a/one.nii",
        "deskull: table: out/deskull_batch.tsv",
        "deskull: next: deskull review out",
    ]


FILES = ["brain.nii.gz", "mask.nii.gz", "record.json"]


def files():
    return sorted(name for name, content in list_files(Path("out")).items() if content is not None)


def test_outputs_are_those_of_strip(study):
    assert (
        batch("--outputs", "brain,mask,probability,distance,picture", "-b", "2", "-f", "-5") == 0
    )
    args = "study/a/one.nii -o o.nii.gz -m m.nii.gz -p p.nii.gz -d d.nii.gz --picture p.png -b 2"
    assert run(*args.split(), "-f", "-5") == 0
    for name, alone in [
        ("brain.nii.gz", "o.nii.gz"),
        ("mask.nii.gz", "m.nii.gz"),
        ("probability.nii.gz", "p.nii.gz"),
        ("distance.nii.gz", "d.nii.gz"),
        ("picture.png", "p.png"),
    ]:
        assert (study / f"out/a/one_{name}").read_bytes() == (study / alone).read_bytes()


def test_the_record_describes_input_settings_and_outputs(study):
    assert batch("--border", "1") == 0
    record = read_json(study / "out/a/one_record.json")
    assert record["status"] == "done"
    assert record["input"]["path"] == "a/one.nii"
    assert record["input"]["bytes"] == (study / "study/a/one.nii").stat().st_size
    assert record["input"]["shape"] == [40, 48, 44]
    assert len(record["input"]["sha256"]) == 64
    assert record["weights"]["sha256"] == record["request"]["weights"] == load_weights().digest
    assert record["request"]["settings"]["border"] == record["settings"]["border"] == 1
    assert set(record["seconds"]) == {"read", "strip", "save"}
    assert record["outputs"]["mask"]["path"] == "one_mask.nii.gz"
    assert {"deskull", "runtime", "volume_ml", "flags", "steps", "finished"} <= set(record)


def test_a_rerun_reports_how_many_scans_an_earlier_run_finished(study, capsys):
    (study / "study/b/three.nii").unlink()
    assert batch() == 0
    write_scan(study / "study/b/three.nii")
    assert batch() == 0
    assert run("batch", "study", "-o", "out") == 0
    err = capsys.readouterr().err.splitlines()
    summary = [line.split("; ")[0] for line in err if " done" in line]
    assert summary == [
        "deskull: 2 scans done",
        "deskull: 3 scans done, 2 by an earlier run",
        "deskull: 3 scans done, all by an earlier run",
    ]


@pytest.mark.parametrize("inputs", [["study"], ["study/**"], ["study/a", "study/b", "study/out"]])
def test_outputs_in_the_input_folder_are_not_stripped_by_the_next_run(study, inputs):
    args = [*inputs, "-o", "study/out", "--outputs", "brain,mask,probability,distance,picture"]
    first = inputs if len(inputs) == 1 else inputs[:2]
    assert run("batch", *first, *args[len(inputs) :]) == 0
    before = list_files(study)
    assert run("batch", *args) == 0
    assert [row["input"] for row in read_table("study/out/deskull_batch.tsv")] == SCANS
    assert list_files(study).keys() == before.keys()


def test_quiet_prints_nothing(study, capsys):
    assert batch("-q") == 0
    assert capsys.readouterr() == ("", "")


# --- skipped or not


@pytest.mark.parametrize(
    ("spoil", "args", "again"),
    [
        (lambda: None, [], []),
        (lambda: os.utime("study/a/one.nii"), [], []),
        (lambda: os.utime("out/a/one_mask.nii.gz"), [], []),
        (lambda: None, ["-t", "1", "--workers", "1"], []),
        (lambda: write_changed("study/a/one.nii"), [], ["a/one"]),
        (lambda: os.unlink("out/a/two_mask.nii.gz"), [], ["a/two"]),
        (lambda: cut("out/a/two_brain.nii.gz"), [], ["a/two"]),
        (lambda: cut("out/b/three_record.json"), [], ["b/three"]),
        (lambda: Path("out/b/three_record.json").write_text("[]"), [], ["b/three"]),
        (lambda: write_outputs({"brain": {}, "mask": {}}), [], ["b/three"]),
        (lambda: write_outputs({"brain": 1, "mask": None}), [], ["b/three"]),
        (lambda: write_outputs(["brain", "mask"]), [], ["b/three"]),
        (lambda: None, ["--border", "1"], STEMS),
        (lambda: None, ["--fill", "nan"], STEMS),
        (lambda: None, ["--n4"], STEMS),
        (lambda: None, ["--outputs", "mask"], []),
        (lambda: None, ["--outputs", "mask,distance"], STEMS),
        (lambda: None, ["--force"], STEMS),
    ],
)
def test_only_what_changed_is_stripped_again(study, spoil, args, again):
    assert batch() == 0
    spoil()
    before = records()
    assert batch(*args) == 0
    assert changed(before) == again
    assert [row["status"] for row in read_table()] == ["done"] * 3


@pytest.mark.parametrize("args", [[], ["--border", "1"]])
def test_a_mask_edited_in_place_is_kept_until_force(study, capsys, args):
    assert batch() == 0
    mask = Path("out/a/one_mask.nii.gz")
    image = nib.load(mask)
    edited = np.asarray(image.dataobj)
    edited[:2] = 1
    save_image(nib.Nifti1Image(edited, image.affine, image.header), mask)
    content = mask.read_bytes()
    assert batch(*args) == 1
    assert (
        "rename it to one_mask_manual.nii.gz; to replace it, add --force"
        in capsys.readouterr().err
    )
    assert mask.read_bytes() == content
    assert [row["status"] for row in read_table()] == ["failed", "done", "done"]
    assert batch(*args) == 1
    assert batch(*args, "--force") == 0
    assert mask.read_bytes() != content


def write_changed(path):
    save_image(nib.Nifti1Image(np.asarray(HEAD.dataobj) + 1, HEAD.affine), path)


def write_outputs(outputs):
    path = Path("out/b/three_record.json")
    path.write_text(json.dumps(read_json(path) | {"outputs": outputs}), "utf-8")


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def test_scans_are_stripped_again_with_other_weights(study):
    assert batch() == 0
    (study / "w").mkdir()
    for file in (bundled_folder() / "default").iterdir():
        (study / "w" / file.name).write_bytes(file.read_bytes())
    before = records()
    assert batch("--weights", "w") == 0
    assert changed(before) == []
    card = read_json(study / "w/card.json")
    (study / "w/extra").write_text("of other weights")
    card["files"]["extra"] = hashlib.sha256(b"of other weights").hexdigest()
    (study / "w/card.json").write_text(json.dumps(card))
    assert batch("--weights", "w") == 0
    assert changed(before) == STEMS


def test_inputs_and_outputs_can_move_together_with_their_records(study):
    assert batch() == 0
    before = records()
    (study / "moved").mkdir()
    (study / "study").rename(study / "moved/study")
    (study / "out").rename(study / "moved/out")
    os.chdir(study / "moved")
    assert batch() == 0
    assert changed(before) == []


def test_a_rerun_strips_new_scans(study):
    assert batch() == 0
    before = records()
    write_scan(study / "study/c/four.nii")
    assert batch() == 0
    assert changed(before) == []
    assert (study / "out/c/four_mask.nii.gz").exists()


def test_a_missing_file_has_no_fingerprint(tmp_path):
    with pytest.raises(ImageFileError, match=r"x.nii: cannot be read \(No such file"):
        make_fingerprint(tmp_path / "x.nii")


def test_the_fingerprint_of_a_pair_or_folder_covers_all_its_files(tmp_path):
    for name in ("x.hdr", "x.img", "series/1", "series/2"):
        write_file(tmp_path / name, name)
    for name, last in (("x.hdr", "x.img"), ("series", "series/2")):
        before = make_fingerprint(tmp_path / name)
        assert is_unchanged(tmp_path / name, before)
        write_file(tmp_path / last, last.upper())
        assert not is_unchanged(tmp_path / name, before)


def write_file(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


# --- 4D scans, one mask for several


def test_a_4d_scan_needs_a_frame_and_the_error_names_the_option(study, capsys):
    data = np.asarray(HEAD.dataobj)
    series = nib.Nifti1Image(np.stack([data, 2 * data], axis=-1), HEAD.affine)
    write_scan(study / "study/series.nii.gz", series)
    assert batch() == 1
    assert "expected 3. Choose one with --frame N (0 to 1)." in capsys.readouterr().err
    assert run("batch", "study/series.nii.gz", "--out-dir", "out", "--frame", "1") == 0
    brain = nib.load("out/series_brain.nii.gz").get_fdata()
    assert brain.shape == HEAD.shape
    inside = brain != 0
    np.testing.assert_allclose(brain[inside], 2 * data[inside], rtol=1e-6)
    assert read_json(study / "out/series_record.json")["request"]["settings"]["frame"] == 1


def test_scans_share_a_mask_if_their_names_differ_only_in_the_contrast(study):
    for name in ("p1_T1", "p1_FLAIR", "p2_FLAIR", "p3-T2", "p3-FLAIR", "other"):
        write_scan(study / f"heads/{name}.nii.gz")
    tasks = share_masks(make_plan(["heads"], "out", ["mask", "distance"]))
    found = {task.scan.name: [other.scan.name for other in task.others] for task in tasks}
    assert found == {
        "other.nii.gz": [],
        "p1_T1.nii.gz": ["p1_FLAIR.nii.gz"],
        "p2_FLAIR.nii.gz": [],
        "p3-FLAIR.nii.gz": ["p3-T2.nii.gz"],
    }
    assert run("batch", "heads", "--out-dir", "out", "--one-mask") == 0
    assert [row["status"] for row in read_table()] == ["done"] * 6
    one, other = (load_volume(f"out/p1_{name}_mask.nii.gz").data for name in ("T1", "FLAIR"))
    np.testing.assert_array_equal(one, other)
    given, own = (read_json(study / f"out/p1_{name}_record.json") for name in ("FLAIR", "T1"))
    assert given["mask_of"] == "p1_T1.nii.gz"
    assert given["input"]["voxel_size"] == own["input"]["voxel_size"] == [4, 4, 4]
