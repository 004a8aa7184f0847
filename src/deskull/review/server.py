"""A web server for this machine only, and only for those who know its address.

It listens on the loopback interface; its address contains a random token; requests under another
host name are refused, so that no other site can reach it through a browser. A function given to
it answers the requests: nothing here maps an address to a file. Written by hand on the standard
library so that every check stands in one place.
"""

import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from deskull.errors import DeskullError, InputError, OptionError

LOOPBACK = "127.0.0.1"
IDLE_SECONDS = 60.0
"""An idle connection is closed after so many seconds."""

HTML, JSON, BYTES = "text/html; charset=utf-8", "application/json", "application/octet-stream"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request of the page.

    Parameters
    ----------
    method
        ``"GET"`` or ``"POST"``.
    path
        Path after the token, as it was sent: nothing is decoded.
    query
        Values of the query by name.
    body
        Content of a POST.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Parameters
    ----------
    content
        Body of the answer.
    kind
        Media type of the body.
    status
        HTTP status.
    headers
        Headers in addition to those of every answer.
    """

    content: bytes
    kind: str = BYTES
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """A request that is refused: HTTP status, and a message for the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer_json(value: Any, status: int = 200) -> Answer:
    """Make an answer of JSON."""
    return Answer(json.dumps(value).encode(), JSON, status)


class LocalServer:
    """The server. ``with LocalServer(...) as server: server.serve()``.

    Parameters
    ----------
    answer
        Function that answers a request, or raises `RefusedError` or a `DeskullError`; called
        from several threads.
    max_bytes
        Size of a POST; a larger one is refused unread.
    port
        Port to listen on; 0 chooses a free one.

    Raises
    ------
    InputError
        If the port is taken or not allowed.
    """

    def __init__(self, answer: Callable[[Request], Answer], max_bytes: int, port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise OptionError(f"port {port}; expected 1 to 65535, or 0 to choose a free one.")
        self.token = secrets.token_urlsafe(24)
        try:
            self._server = _Server((LOOPBACK, port), _Handler)
        except OSError as error:
            raise InputError(
                f"port {port}: {error.strerror or error}. Choose another --port, or leave "
                "--port out to use a free one."
            ) from error
        self._server.token, self._server.answer = self.token, answer
        self._server.max_bytes = max_bytes

    @property
    def port(self) -> int:
        """Port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Address of the page, with the token."""
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer requests until `stop` is called from another thread, or an interrupt."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Make `serve` return."""
        self._server.shutdown()

    def __enter__(self) -> "LocalServer":
        return self

    def __exit__(self, *details: object) -> None:
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a port that is taken
    token: str
    answer: Callable[[Request], Answer]
    max_bytes: int

    def server_bind(self) -> None:
        """Bind without looking up the name of this machine, which may use the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not report that a browser went away."""
        logger.debug("a request ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # one request a connection: nothing unread is taken for another
    server_version, sys_version = "deskull", ""
    timeout = IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer("POST")

    def _answer(self, method: str) -> None:
        try:
            request = self._read(method)
            answer = self._redirect() or self.server.answer(request)
        except RefusedError as error:
            answer = answer_json({"error": str(error)}, error.status)
        except DeskullError as error:
            answer = answer_json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except MemoryError:
            message = "not enough memory. Close other programs, or use a machine with more."
            answer = answer_json({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            logger.exception("a request failed")
            message = f"an internal error of deskull ({type(error).__name__}). Please report it."
            answer = answer_json({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer)

    def _read(self, method: str) -> Request:
        """Check who asks, and read the request."""
        self._check_name()
        try:
            parts = urlsplit(self.path)
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "not a valid address.") from error
        _, token, *rest = [*parts.path.split("/", 2), ""]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "not the address that deskull printed: its token is wrong."
            )
        body = self._read_body() if method == "POST" else b""
        return Request(method, rest[0], dict(parse_qsl(parts.query)), body)

    def _redirect(self) -> Answer | None:
        """Redirect an address without the last slash, so that relative links work."""
        home = f"/{self.server.token}"
        if urlsplit(self.path).path != home:
            return None
        return Answer(b"", status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": f"{home}/"})

    def _check_name(self) -> None:
        """Refuse requests under another host name, or from another site's page."""
        port = self.server.server_port
        names = {f"{LOOPBACK}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in names:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"host name other than {LOOPBACK}:{port}. Through a tunnel use the same "
                f"port on both sides: ssh -L {port}:{LOOPBACK}:{port}",
            )
        if origin is not None and origin.removeprefix("http://") not in names:
            raise RefusedError(HTTPStatus.FORBIDDEN, "requested by the page of another site.")

    def _read_body(self) -> bytes:
        length, limit = self.headers.get("Content-Length", ""), self.server.max_bytes
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a body of known length.")
        if len(length) > 12 or int(length) > limit:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes; expected at most {limit}."
            )
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ended early.")
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = HEADERS | {"Content-Security-Policy": POLICY} | dict(answer.headers)
        headers |= {"Content-Type": answer.kind, "Content-Length": str(len(answer.content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Refuse what is not a valid request, with the headers of every answer."""
        self._send(answer_json({"error": message or "invalid request."}, code))

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the addresses, which contain the token, out of the log."""
