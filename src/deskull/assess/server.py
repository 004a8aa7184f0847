"""A local page: a web server that only this machine, and only who knows its address, can use.

It listens on the loopback interface; the address holds a random token; the name by which it
is called must be its own, so that no other site can reach it through a browser. What is
answered is one function's matter: nothing here maps an address to a file.
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
"""A connection that says nothing for so long is closed."""

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
    """What a page asks.

    Parameters
    ----------
    method
        ``"GET"`` or ``"POST"``.
    path
        Below the token, as it was sent: nothing is decoded.
    query
        Values by name.
    body
        Of a POST.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What it gets.

    Parameters
    ----------
    content
        Of the answer.
    kind
        Its media type.
    status
        HTTP status.
    headers
        Beside those of every answer.
    """

    content: bytes
    kind: str = BYTES
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """A request that is not answered: HTTP status, and words for the page."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def answer_json(value: Any, status: int = 200) -> Answer:
    """Make an answer of JSON."""
    return Answer(json.dumps(value).encode(), JSON, status)


class LocalServer:
    """The server. ``with LocalServer(...) as server: server.serve()``.

    Parameters
    ----------
    answer
        What answers a request, or raises `RefusedError` or a `DeskullError`; called from
        several threads.
    most_bytes
        Of a POST; more is refused unread.
    port
        0 takes any that is free.

    Raises
    ------
    InputError
        If the port is taken or not allowed.
    """

    def __init__(
        self, answer: Callable[[Request], Answer], most_bytes: int, port: int = 0
    ) -> None:
        if not 0 <= port <= 65535:
            raise OptionError(f"port {port}; expected 1 to 65535, or 0 for any that is free.")
        self.token = secrets.token_urlsafe(24)
        try:
            self._server = _Server((LOOPBACK, port), _Handler)
        except OSError as error:
            raise InputError(
                f"port {port}: {error.strerror or error}. Choose another --port, or none to take "
                "any that is free."
            ) from error
        self._server.token, self._server.answer = self.token, answer
        self._server.most_bytes = most_bytes

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Of the page, with the token."""
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer until `stop` is called from another thread, or an interrupt."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """End `serve`."""
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
    most_bytes: int

    def server_bind(self) -> None:
        """Bind without asking for a name of this machine, which may ask the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
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
            answer = self._move() or self.server.answer(request)
        except RefusedError as error:
            answer = answer_json({"error": str(error)}, error.status)
        except DeskullError as error:
            answer = answer_json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except MemoryError:
            words = "not enough memory. Close other programs, or use another machine."
            answer = answer_json({"error": words}, HTTPStatus.INTERNAL_SERVER_ERROR)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            logger.exception("a request failed")
            words = f"a fault of deskull's own ({type(error).__name__}). Please report it."
            answer = answer_json({"error": words}, HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer)

    def _read(self, method: str) -> Request:
        """Let in who may come in."""
        self._check_name()
        try:
            parts = urlsplit(self.path)
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "no address that we know.") from error
        _, token, *rest = [*parts.path.split("/", 2), ""]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "not the address that deskull printed: its token is wrong."
            )
        body = self._read_body() if method == "POST" else b""
        return Request(method, rest[0], dict(parse_qsl(parts.query)), body)

    def _move(self) -> Answer | None:
        """Send who left out the last slash to where a page finds what it names."""
        home = f"/{self.server.token}"
        if urlsplit(self.path).path != home:
            return None
        return Answer(b"", status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": f"{home}/"})

    def _check_name(self) -> None:
        """Refuse who calls this server by another name, or from another site's page."""
        port = self.server.server_port
        names = {f"{LOOPBACK}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in names:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"called by another name than {LOOPBACK}:{port}. Through a tunnel use the same "
                f"port on both sides: ssh -L {port}:{LOOPBACK}:{port}",
            )
        if origin is not None and origin.removeprefix("http://") not in names:
            raise RefusedError(HTTPStatus.FORBIDDEN, "asked by the page of another site.")

    def _read_body(self) -> bytes:
        length, most = self.headers.get("Content-Length", ""), self.server.most_bytes
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a body of known length.")
        if len(length) > 12 or int(length) > most:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes; expected at most {most}."
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
        """Refuse what is no request that we know, with the headers of every answer."""
        self._send(answer_json({"error": message or "not understood."}, code))

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the addresses, which hold the token, out of the log."""
