"""The local page: what it gives, what it saves, and what it refuses to whom."""

import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import stat
import threading
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, run
from conftest import make_head, reorient
from deskull.assess.correction import (
    CORRECTED,
    Files,
    decode_mask,
    encode_mask,
    encode_scan,
    load_scene,
    save_manual,
)
from deskull.assess.marks import load_marks
from deskull.assess.server import Answer, LocalServer
from deskull.assess.stripped import find_stripped
from deskull.assess.viewer import STATIC, Viewer, make_entries, make_entry
from deskull.errors import EmptyMaskError, GeometryError, InputError
from deskull.image.volume import load_volume
from deskull.learn.index import load_index, make_index
from deskull.prepare.postprocess import clean_mask, move_border
from reviewed import HOSTILE, batch, stripped_once
from test_dicom import write_series

__all__ = ["batch", "stripped_once"]

VOXELS = HEAD.shape[0] * HEAD.shape[1] * HEAD.shape[2]
MACHINE = {"threshold": 0.5, "border": 0.0}


class Client(http.client.HTTPConnection):
    """Sends any byte, as attackers do."""

    def _encode_request(self, request):
        return request.encode("latin-1")


class Page:
    """A client that can also misbehave."""

    def __init__(self, server):
        self.server, self.token = server, server.token

    def ask(self, path, method="GET", body=None, raw=False, **headers):
        """Status, body and headers; `raw` takes the path as it is, without the token."""
        connection = Client("127.0.0.1", self.server.port, timeout=20)
        target = path if raw else f"/{self.token}/{path}"
        connection.putrequest(method, target, skip_host="Host" in headers)
        if body is not None and "Content_Length" not in headers:
            headers["Content_Length"] = str(len(body))
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, answer.headers

    def get(self, path):
        status, content, _ = self.ask(path)
        assert status == 200, content
        return content

    def about(self, number=0):
        return json.loads(self.get(f"about?scan={number}"))

    def post(self, path, body):
        status, content, _ = self.ask(path, "POST", body)
        return status, json.loads(content)


@contextmanager
def serving(viewer):
    with viewer.start() as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield Page(server)
        finally:
            server.stop()
            thread.join()


@pytest.fixture
def scans(batch):
    return find_stripped(batch)


@pytest.fixture
def page(scans):
    with serving(Viewer(make_entries(scans), "Review")) as page:
        yield page


@pytest.fixture(scope="module")
def still(stripped_once):
    """A page on which nothing may be changed."""
    out = stripped_once / "out"
    with serving(Viewer(make_entries(find_stripped(out)), "Review")) as page:
        yield page
    assert load_marks(out.resolve()) == {}
    assert not list(out.rglob("*manual*"))


def number_of(scans, name):
    return [scan.name for scan in scans].index(name)


def draw_ball(radius=8, middle=(20, 24, 22)):
    """A mask as a page sends it: x fastest."""
    index = np.indices(HEAD.shape) - np.array(middle)[:, None, None, None]
    return ((index**2).sum(axis=0) <= radius**2).astype(np.uint8)


def send(mask):
    return mask.astype(np.uint8).tobytes(order="F")


# --- who may ask


def test_only_this_machine_can_reach_it(still):
    assert still.server._server.server_address[0] == "127.0.0.1"
    assert still.server.address.startswith("http://127.0.0.1:")
    assert len(still.token) >= 32


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "//",
        "/wrong/",
        "/wrong/about?scan=0",
        "/static/viewer.js",
        "/%00/",
        "/é",
        "x://[x/",
    ],
)
def test_without_the_token_nothing_is_told(still, target):
    status, content, _ = still.ask(target.encode().decode("latin-1"), raw=True)
    assert status in (400, 403)
    assert b"nii" not in content


def test_without_the_last_slash_one_is_sent_there(still):
    status, content, headers = still.ask(f"/{still.token}", raw=True)
    assert (status, content, headers["Location"]) == (308, b"", f"/{still.token}/")


def test_a_token_cut_short_or_added_to_is_wrong(still):
    for token in (still.token[:-1], still.token + "x", still.token.swapcase(), "%" + still.token):
        assert still.ask(f"/{token}/", raw=True)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "[::1]:80", "", None]
)
def test_another_name_than_its_own_is_refused(still, host):
    """A site that lets its name point here (DNS rebinding) learns nothing."""
    status, content, _ = still.ask("about?scan=0", Host=host)
    assert status == 403
    assert b"ssh -L" in content


def test_localhost_is_its_own_name_too(still):
    assert still.ask("about?scan=1", Host=f"localhost:{still.server.port}")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "file://"])
def test_the_page_of_another_site_can_change_nothing(still, origin):
    body = json.dumps({"scan": 0, "mark": "pass"}).encode()
    assert still.ask("marks", "POST", body, Origin=origin)[0] == 403


# --- what may be asked


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "static/../server.py",
        "static/..%2fserver.py",
        "static/%2e%2e/server.py",
        "static//etc/passwd",
        "static/viewer.html%00.js",
        "static/",
        "static",
        "static/niivue.LICENSES.txt",
        "one.nii.gz",
        "one_record.json",
        "..\\..\\windows\\win.ini",
        "scan/../about",
        "file:///etc/passwd",
    ],
)
def test_no_address_leads_to_a_file(still, path):
    status, content, _ = still.ask(path)
    assert status == 404
    assert json.loads(content) == {"error": "no such page."}


@pytest.mark.parametrize(
    "scan", ["-1", "4", "99999999999999999999", "1e0", "../one", "0x0", "%00", "%D9%A2x", "1;2"]
)
def test_a_scan_is_a_number_of_the_list(still, scan):
    assert still.ask(f"scan?scan={scan}")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_refused(still, method):
    assert still.ask("about?scan=0", method)[0] == 501


def test_every_answer_forbids_framing_and_guessing(still):
    for path in ("", "view?scan=1", "static/viewer.js", "about?scan=1", "none", "scan?scan=1"):
        _, _, headers = still.ask(path)
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
        assert "Python" not in headers["Server"]


def test_pages_run_only_their_own_scripts(still):
    _, content, headers = still.ask("view?scan=0")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert b"onclick" not in content
    assert b"http" not in content
    cohort = still.get("").decode()
    assert "script-src 'sha256-" in cohort
    assert "<img src=x" not in cohort


def test_the_static_files_are_there(still):
    for name in STATIC:
        assert len(still.get(f"static/{name}")) > 500


def test_niivue_is_the_file_that_its_licences_name():
    static = files("deskull.assess") / "static"
    digest = hashlib.sha256((static / "niivue.umd.js").read_bytes()).hexdigest()
    assert digest in (static / "niivue.LICENSES.txt").read_text("utf-8")


# --- limits of what may be sent


def test_too_much_is_refused_unread(still):
    for length in ("99999999999", "9" * 30):
        status, content, _ = still.ask("marks", "POST", b"", Content_Length=length)
        assert status == 413, content


@pytest.mark.parametrize("length", ["-5", "abc", "", "1.5", "٣".encode().decode("latin-1")])
def test_a_body_of_no_known_length_is_refused(still, length):
    assert still.ask("marks", "POST", b"", Content_Length=length)[0] == 411


def test_a_chunked_body_is_refused(still):
    status, _, _ = still.ask(
        "marks", "POST", b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"
    )
    assert status == 411


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"scan": 0}',
        b'{"scan": "0", "mark": "pass"}',
        b'{"scan": true, "mark": "pass"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_mark_that_is_none(still, body):
    assert still.post("marks", body)[0] in (400, 404)


def test_a_browser_that_goes_away_harms_nobody(still):
    for words in (b"GET", b"POST /x HTTP/1.1\r\nHost:", b"\x00\xff\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", still.server.port)) as line:
            line.sendall(words)
    assert still.get("about?scan=1")


def test_no_words_in_any_order_make_it_fail(still):
    chance = random.Random(0)
    words = "about view scan mask save marks static/ thumbnail ?scan= ? & 1 -1 nan threshold= "
    words = [*words.split(), "/", "..", "%2e%2e", "%00", "9" * 40, "border=1e400", "version=", "="]
    for _ in range(150):
        path = "".join(chance.choices(words, k=chance.randint(1, 6)))
        method, body = chance.choice([("GET", None), ("POST", b""), ("POST", b"{}")])
        status, _, _ = still.ask(path, method, body)
        assert status in (200, 400, 404, 422), path


def test_a_fault_is_told_without_its_details():
    def fail(request):
        raise RuntimeError("secret")

    with LocalServer(fail, 0) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        status, content, _ = Page(server).ask("")
        server.stop()
        thread.join()
    assert status == 500
    assert b"secret" not in content


def test_a_port_that_is_taken_is_said():
    with LocalServer(lambda _: Answer(b""), 0) as server:
        with pytest.raises(InputError, match=f"port {server.port}: .* Choose another --port"):
            LocalServer(lambda _: Answer(b""), 0, server.port)
        with pytest.raises(InputError, match="port 70000"):
            LocalServer(lambda _: Answer(b""), 0, 70000)


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
    files = Files("x", tmp_path / "x.nii.gz", None, None, tmp_path / "x_mask_manual.nii.gz")
    save_manual(decode_mask(send(drawn), volume), volume, files, "")
    saved = nib.load(files.manual)
    (index,) = np.argwhere(np.asarray(saved.dataobj))
    np.testing.assert_allclose(
        nib.affines.apply_affine(saved.affine, index),
        nib.affines.apply_affine(affine, (3, 5, 9)),
        atol=1e-3,
    )
    again = load_scene(Files("x", files.scan, files.manual, None, files.manual), MACHINE)
    assert encode_mask(again.pair.mask, volume) == send(drawn)


def test_the_scan_is_given_with_its_intensities(page, scans):
    number = number_of(scans, "one.nii.gz")
    shown = nib.Nifti1Image.from_bytes(page.get(f"scan?scan={number}"))
    assert shown.get_data_dtype() == np.int16
    np.testing.assert_allclose(shown.get_fdata(), HEAD.get_fdata(), atol=0.01)


def test_the_mask_at_first_is_the_machines(page, scans, batch):
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
    for name in ("thumbnail", "picture"):
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
        assert "the scan is gone" in json.loads(content)["error"]
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
        assert page.post("save?scan=0&version=", send(drawn))[0] == 200
    assert (tmp_path / "dicom_mask_manual.nii.gz").exists()


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


def test_of_two_tabs_the_second_is_told_and_loses_nothing(page, scans, batch):
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


# --- marks and commands


def test_marks_are_saved_beside_the_data(page, scans, batch):
    number = number_of(scans, "b/two.nii.gz")
    body = json.dumps({"scan": number, "mark": "maybe"}).encode()
    assert page.post("marks", body) == (200, {"mark": "maybe"})
    assert load_marks(batch.resolve()) == {"b/two_record.json": "maybe"}
    assert page.about(number)["mark"] == "maybe"
    assert 'data-mark="maybe"' in page.get("").decode()
    assert page.post("marks", json.dumps({"scan": number, "mark": "good"}).encode())[0] == 422


def test_a_viewer_of_one_scan_takes_no_marks(tmp_path):
    HEAD.to_filename(tmp_path / "x.nii.gz")
    with serving(Viewer([make_entry(tmp_path / "x.nii.gz")])) as page:
        assert page.post("marks", b'{"scan": 0, "mark": "pass"}')[0] == 400
        assert b'id="canvas"' in page.get("")


@pytest.fixture
def briefly(monkeypatch):
    """Servers that are interrupted at once."""

    def interrupt(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalServer, "serve", interrupt)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_the_commands_print_the_address_and_end_well(batch, briefly, capsys):
    assert run("review", batch) == 0
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "Open the address in a browser" in err
    assert run("view", batch.parent / "study" / "one.nii.gz", "--no-browser", "-q") == 0
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert err == ""


def test_the_browser_is_not_given_the_token_on_its_command_line(
    batch, briefly, capsys, monkeypatch
):
    opened = []

    def open_browser(address):
        page = Path(url2pathname(urlsplit(address).path))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (page, page.parent)]
        opened.append((address, page, page.read_text("utf-8"), modes))
        return True

    monkeypatch.setattr("deskull.commands.view._has_screen", lambda: True)
    monkeypatch.setattr("webbrowser.open", open_browser)
    assert run("review", batch) == 0
    out, err = capsys.readouterr()
    [(address, page, content, modes)] = opened
    token = out.rstrip("/\n").rpartition("/")[2]
    assert token not in address
    assert f'url={out.strip()}"' in content
    assert os.name != "posix" or modes == [0o600, 0o700]
    assert not page.parent.exists()
    assert "If no page opens, open the address" in err


def test_without_a_place_for_the_browsers_page_the_address_is_there(
    batch, briefly, capsys, monkeypatch
):
    def fail(*words, **options):
        raise OSError("no space")

    monkeypatch.setattr("deskull.commands.view._has_screen", lambda: True)
    monkeypatch.setattr("deskull.commands.view.TemporaryDirectory", fail)
    assert run("review", batch) == 0
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "Open the address in a browser" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["view", "none.nii.gz"], "no such file"),
        (["view", "study/one.nii.gz", "none.nii.gz"], "no such file"),
        (["view", "study/bad.nii.gz"], "bad.nii.gz"),
        (["view", "study/one.nii.gz", "study/b/two.nii.gz"], "no mask"),
        (["review", "study"], "no record"),
    ],
)
def test_what_cannot_be_shown_is_said_before_a_page_opens(
    batch, briefly, capsys, monkeypatch, words, said
):
    monkeypatch.chdir(batch.parent)
    assert run(*words) == 1
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_out_of_range_is_wrong_use(batch, briefly, capsys, port):
    assert run("review", batch, "--port", port) == 2
    assert f"port {port}; expected 1 to 65535" in capsys.readouterr().err
