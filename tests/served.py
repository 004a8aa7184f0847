"""The local page, served to a client that can also misbehave."""

import http.client
import json
import threading
from contextlib import contextmanager


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
