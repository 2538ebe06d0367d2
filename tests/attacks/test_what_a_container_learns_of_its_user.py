"""A session's container, taken over, collects what its user's browser sends to the router.

Goal: the user's cookies and credentials for other sites of the router's domain; cookies of the
container's own in that domain. Reach: the headers of each request that the router passes on.
"""

import http.client
import ssl
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.certificates import Authority
from tests.needs import needs_nginx
from tests.router import Router


class Both(BaseHTTPRequestHandler):
    """The dispatcher, which names this server as the container, and that container."""

    seen: list[dict[str, str]]

    def do_GET(self):
        self.send_response(200)
        if self.path == "/route":
            self.send_header("X-Usher-Address", f"127.0.0.1:{self.server.server_port}")
        else:
            self.seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_header("Set-Cookie", "sid=stolen; Domain=example.org")
            self.send_header("Clear-Site-Data", '"cookies"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def container():
    handler = type("Container", (Both,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.seen
    server.shutdown()
    server.server_close()


@needs_nginx
def test_neither_cookies_nor_credentials_reach_it_and_it_sets_none(tmp_path, container):
    url, seen = container
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=authority.file)
    secret = {
        "Cookie": "login=of-another-site",
        "Authorization": "Basic dXNlcjpwYXNz",
        "Proxy-Authorization": "Basic dXNlcjpwYXNz",
    }
    with Router(tmp_path, url, authority.issue(tmp_path)) as router:
        line = http.client.HTTPSConnection("localhost", router.port, context=context, timeout=20)
        line.request("GET", f"/{uuid.uuid4()}/{uuid.uuid4()}/client.js", headers=secret)
        answer = line.getresponse()
        assert answer.status == 200
        assert {"set-cookie", "clear-site-data"} & {
            n.lower() for n, _ in answer.getheaders()
        } == set()
        line.close()
    (headers,) = seen
    assert not {name.lower() for name in secret} & set(headers)
