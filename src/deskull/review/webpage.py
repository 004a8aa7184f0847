"""The page that strips scans in the browser, served from this installation.

The page itself is built from `web/` (TypeScript); its networks and its example head are those of
this package. Nothing that a user opens in it is sent here: the browser does the work.
"""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from pathlib import Path

from deskull.errors import InputError
from deskull.review.server import Answer, LocalServer, RefusedError, Request

START = "index.html"
OFFLINE = "service-worker.js"  # what keeps a page for later; a local one is always at hand

PACKAGE_FILES = {"weights": "weights/default", "data": "data"}
"""Folders of the page that a wheel does not hold twice, and where they lie in the package."""

KINDS = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
"""Media types on which a browser insists, whatever this system's table says."""

ISOLATED = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
"""With the headers of every answer: memory shared by threads; the page has its own policy."""


@dataclass(frozen=True)
class WebPage:
    """The files of the page.

    Parameters
    ----------
    files
        Path of each file by its name below the page's address.
    """

    files: Mapping[str, Path]

    def start(self, port: int = 0) -> LocalServer:
        """Make a server of the page.

        Parameters
        ----------
        port
            0 takes any that is free.

        Raises
        ------
        InputError
            If the port is taken or not allowed.
        """
        return LocalServer(self.answer, 0, port)

    def answer(self, request: Request) -> Answer:
        """Answer with a file.

        Raises
        ------
        RefusedError
            If there is none of that name.
        """
        path = self.files.get(request.path or START)
        if path is None or request.method != "GET":
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such file.")
        kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        return Answer(path.read_bytes(), kind or "application/octet-stream", headers=ISOLATED)


def find_web_page() -> WebPage:
    """Find the built page, in the wheel or in a checkout.

    Raises
    ------
    InputError
        If this installation has none.
    """
    package = Path(str(resources.files("deskull")))
    folders = [package / "web", package.parents[1] / "web" / "dist"]
    folder = next((one for one in folders if (one / START).is_file()), None)
    if folder is None:
        raise InputError(
            "deskull web: this installation has no built page. In a checkout run "
            "`npm ci && npm run build` in web/, or install a released wheel."
        )
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    files.pop(OFFLINE, None)
    for name, place in PACKAGE_FILES.items():
        files |= {f"{name}/{p.name}": p for p in (package / place).iterdir() if p.is_file()}
    return WebPage(files)
