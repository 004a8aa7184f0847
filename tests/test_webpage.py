"""The page that strips in the browser, as this installation serves and packs it.

What the page does is tested in `web/`, by vitest and in Chromium (`make web`).
"""

import runpy
from pathlib import Path

import pytest

from deskull.network.weights import bundled_folder
from deskull.review import webpage
from deskull.review.webpage import WebPage, find_web_page
from served import serving

FilesHook = runpy.run_path(str(Path(__file__).parents[1] / "hatch_build.py"))["FilesHook"]
FILES = {
    "index.html": b"<!doctype html>",
    "service-worker.js": b"0",
    "assets/a.mjs": b"1",
    "assets/b.wasm": b"2",
    "weights/card.json": b"old",
}


@pytest.fixture
def dist(tmp_path, monkeypatch):
    """A checkout whose page is built."""
    for name, content in FILES.items():
        path = tmp_path / "web" / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    package = tmp_path / "src" / "deskull"
    for place in ("weights/default", "data"):
        (package / place).mkdir(parents=True)
    for path in (bundled_folder() / "default").glob("*.json"):
        (package / "weights" / "default" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(webpage.resources, "files", lambda _: package)
    return tmp_path


def test_it_serves_the_page_with_the_headers_for_threads(dist):
    with serving(find_web_page()) as page:
        status, content, headers = page.ask("")
        assert (status, content) == (200, FILES["index.html"])
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Content-Type"] == "text/html"
        assert "default-src" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mjs", "text/javascript"), ("b.wasm", "application/wasm")]
)
def test_a_browser_gets_the_media_types_that_it_insists_on(dist, name, kind):
    with serving(find_web_page()) as page:
        assert page.ask(f"assets/{name}")[2]["Content-Type"] == kind


def test_the_networks_are_those_of_the_package(dist):
    card = (bundled_folder() / "default" / "card.json").read_bytes()
    with serving(find_web_page()) as page:
        assert page.get("weights/card.json?0123") == card


@pytest.mark.parametrize(
    "name",
    ["../pyproject.toml", "assets/../index.html", "service-worker.js", "weights/", "%2e%2e/"],
)
def test_nothing_else_is_served(dist, name):
    with serving(find_web_page()) as page:
        assert page.ask(name)[0] == 404
        assert page.ask("index.html", "POST", b"")[0] == 404


def test_without_a_built_page_it_says_how_to_build_one(dist):
    (dist / "web" / "dist" / "index.html").unlink()
    with pytest.raises(webpage.InputError, match="npm ci && npm run build"):
        find_web_page()


def list_added(root, target, version="standard"):
    """Return what the build hook adds to a distribution."""
    hook = FilesHook(str(root), {}, None, None, str(root), target)
    data = {"force_include": {}}
    hook.initialize(version, data)
    hook.finalize(version, data, "")
    return data


def test_a_wheel_holds_the_page_but_not_the_networks_twice(dist):
    data = list_added(dist, "wheel")
    assert sorted(data["force_include"].values()) == [
        "deskull/web/assets/a.mjs",
        "deskull/web/assets/b.wasm",
        "deskull/web/index.html",
    ]


def test_an_sdist_holds_the_whole_page(dist):
    data = list_added(dist, "sdist")
    assert sorted(data["force_include"].values()) == sorted(f"web/dist/{n}" for n in FILES)


@pytest.mark.parametrize("version", ["editable", "standard"])
def test_a_checkout_without_a_page_builds_all_the_same(tmp_path, version):
    assert list_added(tmp_path, "wheel", version)["force_include"] == {}


def test_a_page_answers_only_what_it_has():
    with pytest.raises(webpage.RefusedError):
        WebPage({}).answer(webpage.Request("GET", ""))
