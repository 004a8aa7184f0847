"""What becomes of a batch when a mask is corrected or judged: outputs, records, tables, marks."""

import csv
import json
import shlex

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, load_ball, run
from deskull import stripper
from deskull.cohort import Job, make_plan, strip_cohort
from deskull.cohort.stripped import find_stripped
from deskull.corrections_table import TABLE, load_corrections
from deskull.errors import InputError, OutputError
from deskull.review.marks import Mark, find_user, load_marks, make_mark, save_mark
from deskull.review.report import write_report
from deskull.review.scene import make_entries, make_entry
from deskull.review.viewer import Viewer
from reviewed import batch, edit, stripped_once
from served import serving
from test_viewer_masks import draw_ball, number_of, save

__all__ = ["batch", "stripped_once"]


@pytest.fixture
def scans(batch):
    return find_stripped(batch)


@pytest.fixture
def page(scans):
    with serving(Viewer(make_entries(scans), "Review")) as page:
        yield page


def load(path):
    return np.asarray(nib.load(path).dataobj)


def find(folder, name):
    return next(scan for scan in find_stripped(folder) if scan.name == name)


# --- outputs made from the mask


def test_a_saved_correction_remakes_the_brain(page, scans, batch):
    status, said = save(page, number_of(scans, "one.nii.gz"), draw_ball())
    assert (status, said["remade"], said["old"]) == (200, ["one_brain.nii.gz"], [])
    expected = np.where(draw_ball(), HEAD.get_fdata(), 0)
    np.testing.assert_allclose(load(batch / "one_brain.nii.gz"), expected, atol=0.01)
    scan = find(batch, "one.nii.gz")
    assert not scan.has_old_outputs
    assert scan.volume_ml == pytest.approx(draw_ball().sum() * 0.064)


def test_the_fill_value_of_the_batch_is_kept(page, scans, batch):
    record = batch / "one_record.json"
    request = json.loads(record.read_text())["request"]
    request["settings"]["fill"] = -7.0
    edit(record, request=request)
    assert save(page, number_of(scans, "one.nii.gz"), draw_ball())[0] == 200
    brain = load(batch / "one_brain.nii.gz")
    assert (brain[draw_ball() == 0] == -7).all()


def test_a_batch_run_again_keeps_what_a_correction_remade(page, scans, batch, monkeypatch):
    assert save(page, number_of(scans, "one.nii.gz"), draw_ball())[0] == 200
    brain = (batch / "one_brain.nii.gz").read_bytes()
    monkeypatch.setattr(stripper, "make_engine", stripper.make_engine)  # load_ball replaces it
    tasks = make_plan([batch.parent / "study"], batch, ("brain", "mask", "probability"))
    outcomes = strip_cohort(tasks, batch, Job(load=load_ball, threads=1))
    assert (batch / "one_brain.nii.gz").read_bytes() == brain
    assert {one.name: one.mask for one in outcomes if one.earlier} == {
        "one.nii.gz": "corrected",
        "b/two.nii.gz": "automatic",
        find_hostile(scans): "automatic",
    }
    with (batch / "deskull_batch.tsv").open(newline="") as stream:
        rows = {row["input"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert rows["one.nii.gz"]["mask"] == "corrected"
    assert float(rows["one.nii.gz"]["volume_ml"]) == pytest.approx(draw_ball().sum() * 0.064)


def find_hostile(scans):
    return next(scan.name for scan in scans if "<" in scan.name)


def test_a_brain_that_cannot_be_remade_is_reported_with_the_command(
    page, scans, batch, monkeypatch
):
    def fail(*arguments):
        raise OutputError("one_brain.nii.gz: the disk is full.")

    monkeypatch.setattr("deskull.cohort.stripped.save_output", fail)
    before = load(batch / "one_brain.nii.gz")
    status, said = save(page, number_of(scans, "one.nii.gz"), draw_ball())
    assert (status, said["remade"], said["old"]) == (200, [], ["one_brain.nii.gz"])
    assert said["reason"] == "one_brain.nii.gz: the disk is full."
    assert (load(batch / "one_mask_manual.nii.gz") == draw_ball()).all()
    assert (load(batch / "one_brain.nii.gz") == before).all()
    program, *arguments = shlex.split(said["command"])
    assert program == "deskull"
    monkeypatch.undo()
    assert run(*arguments) == 0
    expected = np.where(draw_ball(), HEAD.get_fdata(), 0)
    np.testing.assert_allclose(load(batch / "one_brain.nii.gz"), expected, atol=0.01)


def test_a_correction_without_its_brain_is_shown_in_the_report(page, scans, batch):
    assert save(page, number_of(scans, "one.nii.gz"), draw_ball())[0] == 200
    edit(batch / "one_record.json", corrected=None)  # as after `deskull batch --force`
    scan = find(batch, "one.nii.gz")
    assert scan.has_old_outputs
    text = write_report(batch).read_text("utf-8")
    assert "old brain" in text
    assert "deskull apply" in text


def test_of_a_scan_without_a_record_the_command_remakes_the_brain(tmp_path, monkeypatch):
    HEAD.to_filename(tmp_path / "x.nii.gz")
    HEAD.to_filename(tmp_path / "x_brain.nii.gz")
    with serving(Viewer([make_entry(tmp_path / "x.nii.gz")])) as page:
        status, said = save(page, 0, draw_ball())
    assert (status, said["old"]) == (200, ["x_brain.nii.gz"])
    program, *arguments = shlex.split(said["command"])
    assert program == "deskull"
    assert run(*arguments) == 0
    expected = np.where(draw_ball(), HEAD.get_fdata(), 0)
    np.testing.assert_allclose(load(tmp_path / "x_brain.nii.gz"), expected, atol=0.01)


# --- the table of corrected masks


def test_who_corrected_a_mask_and_when_is_kept(page, scans, batch):
    assert save(page, number_of(scans, "one.nii.gz"), draw_ball())[0] == 200
    (row,) = load_corrections(batch / TABLE)
    sidecar = json.loads((batch / "one_mask_manual.json").read_text())
    assert (row.by, row.manual, row.schema) == (find_user(), "true", 2)
    assert (sidecar["SavedBy"], sidecar["Saved"]) == (row.by, row.saved)
    assert row.saved.endswith("Z")


def test_a_table_of_schema_1_is_read_and_continued(page, scans, batch):
    (batch / TABLE).write_text("image\tmask\tmanual\n../x.nii\tx_mask_manual.nii.gz\ttrue\n")
    assert save(page, number_of(scans, "one.nii.gz"), draw_ball())[0] == 200
    first, second = load_corrections(batch / TABLE)
    assert (first.mask, first.by, second.image) == (
        "one_mask_manual.nii.gz",
        find_user(),
        "../x.nii",
    )


def test_a_table_that_cannot_be_read_keeps_nothing_from_being_saved(page, scans, batch):
    (batch / TABLE).write_text("a\tb\n1\t2\n")
    number = number_of(scans, "one.nii.gz")
    for mask in (draw_ball(), draw_ball(6)):
        status, said = save(page, number, mask)
        assert (status, said["remade"]) == (200, ["one_brain.nii.gz"])
        assert said["version"] == page.about(number)["version"]
        (reason,) = said["refused"]
        assert "deskull_corrected.tsv, which does not list the mask" in reason
        assert "columns a, b; expected `image` and `mask`" in reason
        assert (load(batch / "one_mask_manual.nii.gz") == mask).all()
        expected = np.where(mask, HEAD.get_fdata(), 0)
        np.testing.assert_allclose(load(batch / "one_brain.nii.gz"), expected, atol=0.01)
    (batch / TABLE).unlink()
    assert save(page, number, draw_ball())[1]["refused"] == []
    assert len(load_corrections(batch / TABLE)) == 1


# --- marks


def post_mark(page, number, **fields):
    seen = page.about(number)["mask_sha256"]
    body = {"scan": number, "mark": "pass", "mask_sha256": seen} | fields
    return page.post("marks", json.dumps(body).encode())


def test_a_mark_holds_who_gave_it_when_and_of_which_mask(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    assert post_mark(page, number, tags=["motion"], comment="blurred\tat the front")[0] == 200
    mark = load_marks(batch.resolve())["one_record.json"]
    assert (mark.mark, mark.by, mark.tags) == ("pass", find_user(), ("motion",))
    assert mark.comment == "blurred at the front"
    assert mark.marked.endswith("Z")
    record = json.loads((batch / "one_record.json").read_text())
    assert mark.mask_sha256 == record["outputs"]["mask"]["sha256"]


def test_a_mark_for_a_mask_that_was_replaced_meanwhile_is_refused(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    seen = page.about(number)["mask_sha256"]
    assert save(page, number, draw_ball())[0] == 200
    status, said = post_mark(page, number, mask_sha256=seen)
    assert status == 409
    assert "not of the mask that counts now" in said["error"]
    assert post_mark(page, number, mask_sha256="")[0] == 409
    assert load_marks(batch.resolve()) == {}
    assert post_mark(page, number)[0] == 200


def test_a_failed_scan_is_marked_without_a_mask(page, scans, batch):
    body = json.dumps({"scan": number_of(scans, "bad.nii.gz"), "mark": "fail"}).encode()
    assert page.post("marks", body)[0] == 200


@pytest.mark.parametrize(
    "fields", [{"tags": ["nice"]}, {"comment": "x" * 3000}, {"mark": "perfect"}]
)
def test_what_a_mark_cannot_hold_is_refused(page, scans, batch, fields):
    assert post_mark(page, number_of(scans, "one.nii.gz"), **fields)[0] == 422
    assert load_marks(batch.resolve()) == {}


@pytest.mark.parametrize("fields", [{"tags": "motion"}, {"tags": [1]}, {"comment": None}])
def test_a_mark_of_the_wrong_kind_is_refused(page, scans, fields):
    assert post_mark(page, number_of(scans, "one.nii.gz"), **fields)[0] == 400


def test_marks_of_schema_1_are_read_and_continued(batch):
    table = batch / "deskull_review.tsv"
    table.write_text("record\tinput\tmark\tmarked\nx_record.json\tx.nii\tfail\t2026\n")
    assert load_marks(batch) == {
        "x_record.json": Mark("x_record.json", "x.nii", "fail", "2026", schema=1)
    }
    scan = find(batch, "one.nii.gz")
    save_mark(scan, make_mark(scan, "", comment="look again"))
    marks = load_marks(batch.resolve())
    assert marks["x_record.json"].mark == "fail"
    assert (marks["one_record.json"].mark, marks["one_record.json"].comment) == ("", "look again")


def test_a_table_of_marks_that_cannot_be_read_is_reported(batch):
    (batch / "deskull_review.tsv").mkdir()
    with pytest.raises(InputError, match="Move it away"):
        load_marks(batch)
