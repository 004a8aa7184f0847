"""The report of a batch: what is on its pages, and what must not be."""

import base64
import csv
import hashlib
import json
import re

import nibabel as nib
import numpy as np
import pytest
from markupsafe import escape

from ball import HEAD, run
from deskull.cohort.stripped import find_stripped
from deskull.errors import InputError
from deskull.image.lookup import find_manual
from deskull.image.volume import make_volume
from deskull.picture.page import make_page, to_data_address
from deskull.picture.plot import Point, draw_chart
from deskull.review.marks import load_marks, make_mark, save_mark
from deskull.review.pictures import MAX_BYTES, Pair, draw_picture
from deskull.review.report import NAME, write_report
from reviewed import HOSTILE, batch, edit, stripped_once

__all__ = ["batch", "stripped_once"]


def read_report(folder, **options):
    return write_report(folder, **options).read_text("utf-8")


def list_names(folder):
    return [scan.name for scan in find_stripped(folder)]


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose pictures take no time."""
    for name in ("draw_picture", "draw_card"):
        monkeypatch.setattr(f"deskull.review.report.{name}", lambda *_: b"drawn")
    monkeypatch.setattr("deskull.review.report.draw_svg", lambda *_: b"<svg/>")


# --- the page


def make_frame(title, **options):
    return make_page("deskull.picture", "base.html", title=title, **options)


def test_a_page_allows_its_own_script_and_nothing_else():
    page = make_frame("title", script="let x = 1;")
    digest = base64.b64encode(hashlib.sha256(b"let x = 1;").digest()).decode()
    assert "default-src 'none'" in page
    assert f"script-src 'sha256-{digest}'" in page
    assert "script-src 'none'" in make_frame("title")


def test_a_page_escapes_its_title():
    page = make_frame("<b>\"'&")
    assert "<title>&lt;b&gt;&#34;&#39;&amp;</title>" in page


def test_a_script_cannot_end_its_own_element():
    with pytest.raises(ValueError, match="</script"):
        make_frame("title", script="x</SCRIPT>")


def test_a_data_address_holds_the_content():
    assert to_data_address(b"abc", "image/webp") == "data:image/webp;base64,YWJj"


# --- the report of a cohort


def test_a_mask_that_was_changed_comes_first_and_says_so(batch, undrawn):
    path = batch / "one_mask.nii.gz"
    image = nib.load(path)
    nib.Nifti1Image(np.roll(image.dataobj, 3, 0), None, image.header).to_filename(path)
    assert list_names(batch)[:2] == ["bad.nii.gz", "one.nii.gz"]
    page = read_report(batch)
    assert page.count("mask-changed</b>") == 1
    assert "The mask is not the file that deskull wrote" in page
    path.with_name("one_mask_manual.nii.gz").write_bytes(path.read_bytes())
    assert "mask-changed" not in read_report(batch)  # the corrected mask counts


def test_a_mask_made_with_other_settings_than_most_comes_first_and_says_so(batch, undrawn):
    settings = json.loads((batch / "one_record.json").read_text("utf-8"))["settings"]
    edit(batch / "one_record.json", settings=settings | {"border": 6.0})
    assert list_names(batch)[:2] == ["bad.nii.gz", "one.nii.gz"]
    assert "Not made as most masks of this folder: border 6.0 (most: 0.0)." in read_report(batch)


def test_the_report_holds_every_scan_those_in_need_first(batch):
    page = read_report(batch)
    names = re.findall(r'data-name="([^"]*)"', page)
    assert names[0] == "bad.nii.gz"
    assert sorted(names) == sorted(str(escape(name)) for name in list_names(batch))
    assert len(names) == 4
    assert page.count('src="data:image/webp') == 3
    assert page.count('data-picture="data:image/webp') == 3
    assert "4 scans, 1 failed" in " ".join(page.split())


def test_the_report_asks_for_nothing_from_outside(batch):
    page = read_report(batch)
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "@import" not in page
    assert "url(" not in page


def test_what_a_file_is_called_or_says_runs_nowhere(batch, undrawn):
    edit(
        batch / "one_record.json",
        flags=[{"name": "<script>", "sentence": "</script><script>alert(2)</script>"}],
        score=10,
    )
    page = read_report(batch, each=True)
    assert str(escape(HOSTILE)) in page
    assert "<img src=x" not in page
    assert page.count("<script>") == 1
    assert page.count("</script>") == 1
    own = (batch / "one_report.html").read_text("utf-8")
    assert "<script" not in own
    assert "&lt;script&gt;" in own


def test_score_order_and_flags(batch, undrawn):
    edit(batch / "one_record.json", score=93)
    edit(
        batch / "b/two_record.json", score=12, flags=[{"name": "rim", "sentence": "It is rough."}]
    )
    assert list_names(batch)[:3] == ["bad.nii.gz", "b/two.nii.gz", "one.nii.gz"]
    page = read_report(batch)
    assert "It is rough." in page
    assert '<span class="fact doubtful">score 12</span>' in page
    assert page.count("<figure") == 3  # volume, score, seconds


@pytest.mark.parametrize(
    "fields",
    [
        {"score": "high", "flags": 3, "seconds": [1], "volume_ml": "much"},
        {"score": float("nan"), "flags": ["x", {"name": 1}], "settings": [], "weights": None},
        {"outputs": [], "score": True},
        {"outputs": {"mask": {"path": 7}}},
        {"outputs": {"mask": {"path": "\0"}}, "volume_ml": float("inf"), "score": 10**400},
    ],
)
def test_a_record_with_odd_fields_is_still_shown(batch, fields, undrawn):
    edit(batch / "one_record.json", **fields)
    assert "one.nii.gz" in read_report(batch, each=True)


def test_a_json_that_is_no_record_is_passed_by(batch):
    (batch / "x_record.json").write_text("[1, 2]")
    (batch / "y_record.json").write_text("{")
    assert len(find_stripped(batch)) == 4


def test_of_a_large_cohort_only_the_worst_have_large_pictures(batch, undrawn, monkeypatch):
    monkeypatch.setattr("deskull.review.report.LARGE_PICTURES", 2)
    page = read_report(batch)
    assert page.count('src="data:image/webp') == 3
    assert page.count('data-picture="data:image/webp') == 1  # of the first two one has failed


def test_a_scan_that_vanished_or_changed_is_said(batch, undrawn):
    study = batch.parent / "study"
    (study / "one.nii.gz").unlink()
    HEAD.to_filename(study / "b/two.nii.gz")
    with (study / "b/two.nii.gz").open("ab") as stream:
        stream.write(b"more")
    page = read_report(batch)
    assert "one.nii.gz: the scan is missing; expected it at" in page
    assert "has changed since" in page
    assert page.count('src="data:image/webp') == 1


def test_a_record_that_does_not_say_where_its_scan_is(batch, undrawn):
    content = json.loads((batch / "one_record.json").read_text())
    del content["input"]["file"]
    (batch / "one_record.json").write_text(json.dumps(content))
    assert "its record does not name the scan" in read_report(batch)


def test_outputs_out_of_the_folder_are_not_read(batch):
    outside = batch.parent / "secret_mask.nii.gz"
    (batch / "one_mask.nii.gz").rename(outside)
    outputs = {"mask": {"path": "../secret_mask.nii.gz"}}
    edit(batch / "one_record.json", outputs=outputs)
    scan = next(scan for scan in find_stripped(batch) if scan.name == "one.nii.gz")
    assert scan.find_output("mask") is None
    (batch / "one_mask.nii.gz").symlink_to(outside)
    edit(batch / "one_record.json", outputs={"mask": {"path": "one_mask.nii.gz"}})
    scan = next(scan for scan in find_stripped(batch) if scan.name == "one.nii.gz")
    assert scan.find_output("mask") is None


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(InputError, match="no record"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "none")


def test_the_page_must_be_html(batch):
    with pytest.raises(InputError, match=r"ends in \.html"):
        write_report(batch, batch / "report.pdf")


def test_a_folder_for_the_page_is_made(batch, undrawn):
    assert run("report", batch, "-o", f"{batch.parent}/new/deep/") == 0
    assert (batch.parent / "new" / "deep" / NAME).exists()


def test_the_command_says_where_the_page_is(batch, capsys, undrawn):
    assert run("report", batch) == 0
    assert str(batch / NAME) in capsys.readouterr().err
    assert run("report", batch.parent / "study") == 1


# --- the page of one scan


def test_each_scan_gets_a_page_that_the_report_links_to(batch):
    page = read_report(batch, each=True)
    for name in ("one_report.html", "b/two_report.html", "bad_report.html"):
        assert f'href="{name}"' in page
        assert (batch / name).exists()
    own = (batch / "one_report.html").read_text("utf-8")
    assert "Voxel size" in own
    assert "4 × 4 × 4 mm" in own
    assert len(own) < 300_000
    assert "no image" in (batch / "bad_report.html").read_text("utf-8") or "failed" in own


def test_in_bids_names_are_those_of_bids(batch, undrawn):
    anat = batch / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (batch / "one_mask.nii.gz").rename(anat / "sub-01_desc-brain_mask.nii.gz")
    outputs = {"mask": {"path": "sub-01/anat/sub-01_desc-brain_mask.nii.gz"}}
    edit(batch / "one_record.json", outputs=outputs)
    page = read_report(batch, each=True)
    assert 'href="sub-01.html"' in page
    assert (batch / "sub-01.html").exists()
    figure = batch / "sub-01" / "figures" / "sub-01_desc-brain_mask.svg"
    assert b"<svg" in figure.read_bytes()


def test_a_noisy_scan_stays_small():
    noise = np.random.default_rng(0).normal(size=(90, 90, 90)).astype(np.float32)
    volume = make_volume(nib.Nifti1Image(noise, np.diag([2, 2, 2, 1])))
    assert len(draw_picture(Pair(volume, noise > 9), "noise", 1600)) <= MAX_BYTES


# --- marks


def test_marks_are_kept_in_a_table(batch, undrawn):
    one, two = (s for s in find_stripped(batch) if s.name in ("one.nii.gz", "b/two.nii.gz"))
    for scan, mark in ((one, "fail"), (two, "pass"), (one, "maybe")):
        save_mark(scan, make_mark(scan, mark))
    marks = load_marks(batch.resolve())
    assert {key: mark.mark for key, mark in marks.items()} == {
        one.path.relative_to(one.folder).as_posix(): "maybe",
        two.path.relative_to(two.folder).as_posix(): "pass",
    }
    with (batch / "deskull_review.tsv").open(newline="") as stream:
        rows = [*csv.DictReader(stream, delimiter="\t")]
    assert {row["input"]: row["mark"] for row in rows} == {one.name: "maybe", two.name: "pass"}
    save_mark(one, make_mark(one, ""))
    assert len(load_marks(batch.resolve())) == 1
    assert 'data-mark="pass" data-tags' in read_report(batch)


def test_an_unknown_mark_is_refused(batch):
    with pytest.raises(InputError, match="mark 'good'"):
        make_mark(find_stripped(batch)[0], "good")


def test_a_name_that_is_no_text_can_be_marked(batch, undrawn):
    strange = "a\udcff_record.json"
    try:
        (batch / "one_record.json").rename(batch / strange)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    scan = next(s for s in find_stripped(batch) if s.path.name == strange)
    save_mark(scan, make_mark(scan, "pass"))
    assert load_marks(batch.resolve())[strange].mark == "pass"
    assert "one.nii.gz" in read_report(batch)


# --- charts and names


def test_a_chart_has_a_dot_for_each_scan_inside_its_frame():
    points = [
        Point(f"scan {value}", value, target="scan-0", doubtful=value > 30)
        for value in (1, 1, 2, 40)
    ]
    chart = draw_chart("Volume", "ml", points)
    assert chart.count("<ellipse") == 4
    assert chart.count("doubtful") == 1
    centres = [float(x) for x in re.findall(r'cx="([\d.]+)"', chart)]
    assert centres == sorted(centres)
    assert min(centres) > 0
    assert max(centres) < 360
    assert draw_chart("Volume", "ml", []) == ""


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e-9, 2e-9], [-1e9, 1e9], [3.0] * 5000])
def test_a_chart_of_any_values(values):
    chart = draw_chart("x", "", [Point("", value) for value in values])
    assert "nan" not in chart
    assert chart.count("<ellipse") == len(values)
    assert min(float(y) for y in re.findall(r'cy="([\d.-]+)"', chart)) > 0


@pytest.mark.parametrize(
    ("mask", "manual"),
    [
        ("x_mask.nii.gz", "x_mask_manual.nii.gz"),
        ("x_mask.mgz", "x_mask_manual.nii.gz"),
        ("x_mask_manual.nii.gz", "x_mask_manual.nii.gz"),
        ("sub-1_desc-brain_mask.nii.gz", "sub-1_desc-brainManual_mask.nii.gz"),
        ("sub-1_desc-brainT2w_mask.nii.gz", "sub-1_desc-brainManualT2w_mask.nii.gz"),
        ("sub-1_desc-brainManual_mask.nii.gz", "sub-1_desc-brainManual_mask.nii.gz"),
        ("odd.nii.gz", "scan_mask_manual.nii.gz"),
        (None, "scan_mask_manual.nii.gz"),
    ],
)
def test_the_name_of_a_corrected_mask(tmp_path, mask, manual):
    given = None if mask is None else tmp_path / mask
    assert find_manual(tmp_path / "scan.nii", given) == tmp_path / manual


def test_the_name_of_the_mask_of_a_folder_of_dicom(tmp_path):
    (tmp_path / "series.nii").mkdir()
    expected = tmp_path / "series.nii_mask_manual.nii.gz"
    assert find_manual(tmp_path / "series.nii", None) == expected
