"""A program in a task makes `--aws-service` send its request to another server.

Attacker: any process that can call the AWS endpoint of `local up`. Goal: reach a server that only
the developer's machine can reach (SSRF). Reach: request target, Host and other headers.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local.aws.forwarding import Forwarder, OtherService
from local.aws.wire import Call, Protocol, Request

CALL = Call("sqs", "SendMessage", Protocol.JSON)


@pytest.fixture
def servers():
    """Two servers, the emulator and one that is not configured, each with its received requests."""
    started = []
    for _ in range(2):
        seen = []

        class Handler(BaseHTTPRequestHandler):
            asked = seen

            def do_POST(self):
                self.asked.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()})
                )
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append((server, seen))
    yield started
    for server, _ in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "target",
    ["//{other}/x", "/\\{other}/x", "/@{other}/x", "/%2f%2f{other}/x", "/x?u=http://{other}/",
     "/x#@{other}", "/..//{other}", "*", "/;http://{other}/", "/x\t{other}"],
)  # fmt: skip
def test_no_target_or_header_leads_elsewhere(servers, target):
    (emulator, seen), (other, seen_by_other) = servers
    address = f"127.0.0.1:{other.server_port}"
    url = f"http://127.0.0.1:{emulator.server_port}"
    forwarder = Forwarder(OtherService("sqs", url), "us-east-1")
    headers = {
        "host": address,
        "x-forwarded-host": address,
        "forwarded": f"host={address}",
        "location": f"http://{address}/",
        "authorization": "AWS4-HMAC-SHA256 Credential=mine/20270101/eu-west-1/sqs/aws4_request",
    }
    request = Request("POST", target.format(other=address), headers, b"{}")
    answer = forwarder.answer(CALL, request)
    assert seen_by_other == []
    assert (answer.status, len(seen)) == ((503, 0) if target == "*" else (200, 1))
    for _, sent in seen:
        assert sent["host"] == url.removeprefix("http://")
        assert "mine" not in sent["authorization"]
