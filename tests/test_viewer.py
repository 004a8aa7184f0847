"""The local page: who may send requests, and which, and the commands that open it."""

import hashlib
import json
import os
import random
import socket
import stat
import threading
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from ball import run
from deskull.cohort.stripped import find_stripped
from deskull.errors import InputError
from deskull.review.marks import load_marks
from deskull.review.scene import make_entries
from deskull.review.server import Answer, LocalServer
from deskull.review.viewer import STATIC, Viewer
from reviewed import batch, stripped_once
from served import Page, serving

__all__ = ["batch", "stripped_once"]


@pytest.fixture(scope="module")
def still(stripped_once):
    """A page on which nothing may be changed."""
    out = stripped_once / "out"
    with serving(Viewer(make_entries(find_stripped(out)), "Review")) as page:
        yield page
    assert load_marks(out.resolve()) == {}
    assert not list(out.rglob("*manual*"))


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
def test_without_the_token_nothing_is_disclosed(still, target):
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


# --- allowed requests


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
    static = files("deskull.review") / "static"
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
    for content in (b"GET", b"POST /x HTTP/1.1\r\nHost:", b"\x00\xff\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", still.server.port)) as line:
            line.sendall(content)
    assert still.get("about?scan=1")


def test_no_random_path_makes_it_fail(still):
    chance = random.Random(0)
    parts = "about view scan mask save marks static/ thumbnail ?scan= ? & 1 -1 nan threshold= "
    parts = [*parts.split(), "/", "..", "%2e%2e", "%00", "9" * 40, "border=1e400", "version=", "="]
    for _ in range(150):
        path = "".join(chance.choices(parts, k=chance.randint(1, 6)))
        method, body = chance.choice([("GET", None), ("POST", b""), ("POST", b"{}")])
        status, _, _ = still.ask(path, method, body)
        assert status in (200, 400, 404, 422), path


def test_an_internal_error_is_reported_without_its_details():
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


# --- the commands


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

    monkeypatch.setattr("deskull.commands.review._has_screen", lambda: True)
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
    def fail(*arguments, **options):
        raise OSError("no space")

    monkeypatch.setattr("deskull.commands.review._has_screen", lambda: True)
    monkeypatch.setattr("deskull.commands.review.TemporaryDirectory", fail)
    assert run("review", batch) == 0
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "Open the address in a browser" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["view", "none.nii.gz"], "no such file"),
        (["view", "study/one.nii.gz", "none.nii.gz"], "no such file"),
        (["view", "study/bad.nii.gz"], "bad.nii.gz"),
        (["view", "study/one.nii.gz", "study/b/two.nii.gz"], "not a mask"),
        (["review", "study"], "no record"),
    ],
)
def test_what_cannot_be_shown_is_said_before_a_page_opens(
    batch, briefly, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(batch.parent)
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_out_of_range_is_wrong_use(batch, briefly, capsys, port):
    assert run("review", batch, "--port", port) == 2
    assert f"port {port}; expected 1 to 65535" in capsys.readouterr().err
