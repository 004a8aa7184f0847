"""The local page: the scans and masks that it shows, and the masks and marks that it saves."""

import hashlib
import json
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD
from conftest import make_head, reorient
from deskull.cohort.stripped import find_stripped
from deskull.corrections_table import TABLE as CORRECTED
from deskull.errors import EmptyMaskError, GeometryError
from deskull.image.volume import load_volume
from deskull.prepare.postprocess import clean_mask, move_border
from deskull.review.encoding import decode_mask, encode_mask, encode_scan
from deskull.review.marks import load_marks
from deskull.review.save_correction import save_correction
from deskull.review.scene import ScanFiles, load_scene, make_entries, make_entry
from deskull.review.viewer import Viewer
from deskull.train.index import load_index, make_index
from dicom_files import write_series
from reviewed import HOSTILE, batch, stripped_once
from served import serving

__all__ = ["batch", "stripped_once"]

VOXELS = HEAD.shape[0] * HEAD.shape[1] * HEAD.shape[2]
MACHINE = {"threshold": 0.5, "border": 0.0}


@pytest.fixture
def scans(batch):
    return find_stripped(batch)


@pytest.fixture
def page(scans):
    with serving(Viewer(make_entries(scans), "Review")) as page:
        yield page


def number_of(scans, name):
    return [scan.name for scan in scans].index(name)


def draw_ball(radius=8, middle=(20, 24, 22)):
    """A mask as a page sends it: x fastest."""
    index = np.indices(HEAD.shape) - np.array(middle)[:, None, None, None]
    return ((index**2).sum(axis=0) <= radius**2).astype(np.uint8)


def send(mask):
    return mask.astype(np.uint8).tobytes(order="F")


# --- scans and masks


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "AIL", "PIR"])
@pytest.mark.parametrize("oblique", [False, True])
def test_what_is_drawn_comes_back_to_its_place(tmp_path, codes, oblique):
    """A ball drawn on the page lies where it was drawn, in mm, however the scan is stored."""
    image = make_head((12, 14, 16), (4.0, 4.0, 6.0))[0]
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.3, 0.1)) if oblique else None
    affine = image.affine if turn is None else turn @ image.affine
    reorient(nib.Nifti1Image(image.get_fdata(), affine), codes).to_filename(tmp_path / "x.nii.gz")
    volume = load_volume(tmp_path / "x.nii.gz")
    shown = nib.Nifti1Image.from_bytes(encode_scan(volume))
    assert nib.aff2axcodes(shown.affine) == ("R", "A", "S")
    assert shown.shape == (12, 14, 16)
    np.testing.assert_allclose(shown.get_fdata(), image.get_fdata(), atol=0.01)
    drawn = np.zeros((12, 14, 16), np.uint8)
    drawn[3, 5, 9] = 1
    files = ScanFiles("x", tmp_path / "x.nii.gz", None, None, tmp_path / "x_mask_manual.nii.gz")
    save_correction(decode_mask(send(drawn), volume), volume, files, "")
    saved = nib.load(files.manual)
    (index,) = np.argwhere(np.asarray(saved.dataobj))
    np.testing.assert_allclose(
        nib.affines.apply_affine(saved.affine, index),
        nib.affines.apply_affine(affine, (3, 5, 9)),
        atol=1e-3,
    )
    again = load_scene(ScanFiles("x", files.scan, files.manual, None, files.manual), MACHINE)
    assert encode_mask(again.pair.mask, volume) == send(drawn)


def test_the_scan_is_given_with_its_intensities(page, scans):
    number = number_of(scans, "one.nii.gz")
    shown = nib.Nifti1Image.from_bytes(page.get(f"scan?scan={number}"))
    assert shown.get_data_dtype() == np.int16
    np.testing.assert_allclose(shown.get_fdata(), HEAD.get_fdata(), atol=0.01)


def test_a_mask_that_was_changed_is_shown_and_can_be_given_up(page, scans, batch):
    number, path = number_of(scans, "one.nii.gz"), batch / "one_mask.nii.gz"
    automatic = np.asarray(nib.load(path).dataobj)
    assert not page.about(number)["own"]
    page.get(f"card?scan={number}")
    changed = np.roll(automatic, 5, axis=1)
    nib.Nifti1Image(changed, None, nib.load(path).header).to_filename(path)
    assert page.about(number)["own"]  # its probability was kept
    assert page.get(f"mask?scan={number}") == send(changed)
    assert page.get(f"mask?scan={number}&own=1") == send(automatic)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert page.ask(f"card?scan={number}")[2]["Deskull-Mask"] == digest


def test_the_mask_at_first_is_the_automatic_one(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    mask = np.asarray(nib.load(batch / "one_mask.nii.gz").dataobj)
    assert page.get(f"mask?scan={number}") == send(mask)
    assert page.get(f"mask?scan={number}&threshold=0.5&border=0") == send(mask)


@pytest.mark.parametrize(("threshold", "border"), [(0.2, 0), (0.9, 0), (0.5, 6), (0.3, -7.5)])
def test_the_sliders_make_what_the_command_would(page, scans, batch, threshold, border):
    number = number_of(scans, "one.nii.gz")
    probability = np.asarray(nib.load(batch / "one_probability.nii.gz").dataobj)
    expected = move_border(clean_mask(probability >= threshold), (4, 4, 4), border)
    given = page.get(f"mask?scan={number}&threshold={threshold}&border={border}")
    assert given == send(expected)


def test_without_a_probability_the_border_moves_the_machines_mask(batch, scans):
    (batch / "one_probability.nii.gz").unlink()
    number = number_of(scans, "one.nii.gz")
    mask = np.asarray(nib.load(batch / "one_mask.nii.gz").dataobj)
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        assert not page.about(number)["probability"]
        given = page.get(f"mask?scan={number}&threshold=0.5&border=6")
        assert given == send(move_border(mask, (4, 4, 4), 6))


@pytest.mark.parametrize("query", ["threshold=2", "threshold=nan", "border=inf", "border=-100"])
def test_a_slider_out_of_range_is_refused(page, query):
    assert page.ask(f"mask?scan=1&{query}")[0] == 422
    assert page.ask("mask?scan=1&border=x")[0] == 400


def test_pictures_are_made_when_asked(page, scans):
    number = number_of(scans, HOSTILE)
    for name in ("card", "picture"):
        assert page.get(f"{name}?scan={number}")[8:12] == b"WEBP"


def test_a_scan_that_failed_is_said(page, scans):
    status, content, _ = page.ask(f"about?scan={number_of(scans, 'bad.nii.gz')}")
    assert status == 422
    assert "bad.nii.gz" in json.loads(content)["error"]


def test_a_scan_that_vanishes_is_said_and_the_others_go_on(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    assert page.about(number)
    (batch.parent / "study" / "one.nii.gz").unlink()
    for path in ("about", "scan", "mask"):
        status, content, _ = page.ask(f"{path}?scan={number}")
        assert status == 422
        assert "the scan is missing" in json.loads(content)["error"]
    assert page.about(number_of(scans, "b/two.nii.gz"))


def test_a_mask_on_another_grid_is_shown_in_its_place_and_said(tmp_path):
    head, brain = make_head()
    head.to_filename(tmp_path / "x.nii.gz")
    small = nib.Nifti1Image(brain[4:, 4:, 4:].astype(np.uint8), head.slicer[4:, 4:, 4:].affine)
    small.to_filename(tmp_path / "y_mask.nii.gz")
    with serving(Viewer([make_entry(tmp_path / "x.nii.gz", tmp_path / "y_mask.nii.gz")])) as page:
        about = page.about()
        assert "lies on another grid (36 x 44 x 40) than the scan (40 x 48 x 44)" in about["note"]
        given = np.frombuffer(page.get("mask?scan=0"), np.uint8).reshape(HEAD.shape, order="F")
        assert (given > 0).sum() == pytest.approx(brain.sum(), rel=0.02)


def test_a_scan_without_a_mask_can_be_given_one(tmp_path):
    HEAD.to_filename(tmp_path / "x.nii.gz")
    with serving(Viewer([make_entry(tmp_path / "x.nii.gz")])) as page:
        assert page.about()["mask"] == ""
        assert not any(page.get("mask?scan=0"))
        assert page.post("save?scan=0&version=", send(draw_ball()))[0] == 200
    assert (tmp_path / "x_mask_manual.nii.gz").exists()


def test_a_series_of_a_folder_of_dicom(tmp_path):
    folder = tmp_path / "dicom"
    folder.mkdir()
    for number in (3, 5):
        write_series(folder, series=number)
    entry = make_entry(folder, series="5")
    with serving(Viewer([entry])) as page:
        drawn = np.ones(page.about()["shape"])
        drawn[0] = 0
        assert page.post("save?scan=0&version=", send(drawn))[0] == 200
    assert (folder / "dicom_mask_manual.nii.gz").exists()


# --- saving


def save(page, number, mask, version=None):
    version = page.about(number)["version"] if version is None else version
    return page.post(f"save?scan={number}&version={version}", send(mask))


def test_a_corrected_mask_lies_beside_the_machines(page, scans, batch):
    before = (batch / "one_mask.nii.gz").read_bytes()
    number = number_of(scans, "one.nii.gz")
    status, said = save(page, number, draw_ball())
    assert status == 200
    assert said["path"] == str(batch.resolve() / "one_mask_manual.nii.gz")
    assert (batch / "one_mask.nii.gz").read_bytes() == before
    machine, saved = (nib.load(batch / f"one_mask{word}.nii.gz") for word in ("", "_manual"))
    assert saved.header == machine.header
    np.testing.assert_array_equal(np.asarray(saved.dataobj), draw_ball())
    sidecar = json.loads((batch / "one_mask_manual.json").read_text())
    assert sidecar["Manual"] is True
    assert sidecar["Sources"] == ["one.nii.gz"]
    assert page.get(f"mask?scan={number}&manual=1") == send(draw_ball())
    assert page.about(number)["version"] == said["version"] != ""


def test_the_corrected_are_listed_for_learning(page, scans, batch):
    for name in ("b/two.nii.gz", "one.nii.gz", "one.nii.gz"):
        assert save(page, number_of(scans, name), draw_ball())[0] == 200
    index = load_index(batch / CORRECTED)
    study = batch.resolve().parent / "study"
    assert index["image"].tolist() == [str(study / "b/two.nii.gz"), str(study / "one.nii.gz")]
    assert index["mask"].tolist() == [
        str(batch.resolve() / "b/two_mask_manual.nii.gz"),
        str(batch.resolve() / "one_mask_manual.nii.gz"),
    ]
    assert index["manual"].all()


def test_a_corrected_mask_beside_its_scan_is_what_the_index_takes(tmp_path):
    head, brain = make_head()
    head.to_filename(tmp_path / "p1_T1w.nii.gz")
    nib.Nifti1Image(brain.astype(np.uint8), head.affine).to_filename(
        tmp_path / "p1_T1w_mask.nii.gz"
    )
    with serving(Viewer([make_entry(tmp_path / "p1_T1w.nii.gz")])) as page:
        assert save(page, 0, brain)[0] == 200
    (row,) = make_index(tmp_path)[0].itertuples()
    assert row.mask == str(tmp_path / "p1_T1w_mask_manual.nii.gz")
    assert row.manual


def test_in_bids_too(tmp_path):
    head, brain = make_head()
    raw, made = tmp_path / "sub-1/anat", tmp_path / "derivatives/deskull/sub-1/anat"
    for folder in (raw, made):
        folder.mkdir(parents=True)
    (tmp_path / "derivatives/deskull/dataset_description.json").write_text(
        json.dumps({"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"})
    )
    mask = nib.Nifti1Image(brain.astype(np.uint8), head.affine)
    for contrast, label in (("T1w", "brain"), ("T2w", "brainT2w")):
        shown = nib.Nifti1Image(head.get_fdata() + (contrast == "T2w"), head.affine)
        shown.to_filename(raw / f"sub-1_{contrast}.nii.gz")
        mask.to_filename(made / f"sub-1_desc-{label}_mask.nii.gz")
        (made / f"sub-1_desc-{label}_mask.json").write_text(
            json.dumps(
                {"Type": "Brain", "Sources": [f"bids:raw:sub-1/anat/sub-1_{contrast}.nii.gz"]}
            )
        )
        entry = make_entry(
            raw / f"sub-1_{contrast}.nii.gz", made / f"sub-1_desc-{label}_mask.nii.gz"
        )
        with serving(Viewer([entry])) as page:
            assert save(page, 0, brain)[0] == 200
    found = {row.contrast: row for row in make_index(tmp_path)[0].itertuples()}
    assert found["T1w"].mask == str(made / "sub-1_desc-brainManual_mask.nii.gz")
    assert found["T2w"].mask == str(made / "sub-1_desc-brainManualT2w_mask.nii.gz")
    assert found["T1w"].manual
    assert found["T2w"].manual


def test_of_two_tabs_the_second_gets_a_message_and_loses_nothing(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    first, second = draw_ball(8), draw_ball(6)
    assert save(page, number, first, version="")[0] == 200
    status, said = save(page, number, second, version="")
    assert status == 409
    assert "saved from another page meanwhile" in said["error"]
    saved = batch / "one_mask_manual.nii.gz"
    np.testing.assert_array_equal(np.asarray(nib.load(saved).dataobj), first)
    assert page.post(f"save?scan={number}&version=&over=1", send(second))[0] == 200
    np.testing.assert_array_equal(np.asarray(nib.load(saved).dataobj), second)


def test_many_saves_at_once_let_one_through(page, scans):
    number = number_of(scans, "one.nii.gz")
    page.about(number)
    statuses = []

    def go():
        statuses.append(save(page, number, draw_ball(), version="")[0])

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409, 409]


@pytest.mark.parametrize("length", [0, 1, VOXELS - 1])
def test_a_drawing_of_another_size_is_refused(page, scans, length, batch):
    number = number_of(scans, "one.nii.gz")
    status, said = page.post(f"save?scan={number}&version=", b"\x01" * length)
    assert status == 422
    assert f"expected {VOXELS}" in said["error"]
    assert not (batch / "one_mask_manual.nii.gz").exists()


def test_an_empty_drawing_is_refused(page, scans, batch):
    status, said = page.post(f"save?scan={number_of(scans, 'one.nii.gz')}&version=", bytes(VOXELS))
    assert status == 422
    assert "empty" in said["error"]
    assert not (batch / "one_mask_manual.nii.gz").exists()
    volume = load_volume(batch.parent / "study" / "one.nii.gz")
    with pytest.raises(EmptyMaskError):
        decode_mask(bytes(VOXELS), volume)
    with pytest.raises(GeometryError):
        decode_mask(b"", volume)


def test_where_nothing_can_be_saved_it_is_said_and_can_be_downloaded(page, scans, batch):
    number = number_of(scans, "one.nii.gz")
    (batch / "one_mask_manual.json").mkdir()  # no file can take this name
    status, said = save(page, number, draw_ball())
    assert status == 422
    assert "one_mask_manual.json" in said["error"]
    status, content, _ = page.ask(f"download?scan={number}", "POST", send(draw_ball()))
    assert status == 200
    (batch / "given.nii.gz").write_bytes(content)
    np.testing.assert_array_equal(
        np.asarray(nib.load(batch / "given.nii.gz").dataobj), draw_ball()
    )
    assert not list(batch.glob(".deskull-*"))


def test_a_link_leads_no_mask_out_of_the_folder(page, scans, batch):
    number = number_of(scans, "b/two.nii.gz")
    outside = batch.parent / "outside"
    outside.mkdir()
    secret = outside / "secret.nii.gz"
    shutil.copy(batch / "one_mask.nii.gz", secret)
    content = secret.read_bytes()
    (batch / "b/two_mask_manual.nii.gz").symlink_to(secret)
    status, said, _ = page.ask(f"mask?scan={number}&manual=1")
    assert status == 422
    assert b"a link leads it out" in said
    assert save(page, number, draw_ball())[0] == 200  # takes the link's place
    assert secret.read_bytes() == content
    shutil.rmtree(batch / "b")
    (batch / "b").symlink_to(outside)
    assert save(page, number, draw_ball(), version="x")[0] == 422
    assert [path.name for path in outside.iterdir()] == ["secret.nii.gz"]


# --- marks


def test_marks_are_saved_beside_the_data(page, scans, batch):
    number = number_of(scans, "b/two.nii.gz")
    seen = page.about(number)["mask_sha256"]
    body = json.dumps({"scan": number, "mark": "maybe", "mask_sha256": seen}).encode()
    status, said = page.post("marks", body)
    assert (status, said["mark"]) == (200, "maybe")
    assert load_marks(batch.resolve())["b/two_record.json"].mark == "maybe"
    assert page.about(number)["mark"] == "maybe"
    assert 'data-mark="maybe" data-tags' in page.get("").decode()
    assert page.post("marks", body.replace(b"maybe", b"good"))[0] == 422


def test_a_viewer_of_one_scan_takes_no_marks(tmp_path):
    HEAD.to_filename(tmp_path / "x.nii.gz")
    with serving(Viewer([make_entry(tmp_path / "x.nii.gz")])) as page:
        assert page.post("marks", b'{"scan": 0, "mark": "pass"}')[0] == 400
        assert b'id="pane2"' in page.get("")
