"""A dispatcher and a session container whose behaviour a test sets; the page is the real one."""

import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from chalicelib.api.demo import common_headers, read_parts, render_page

CLIENT_LIBRARY = Path(__file__).parents[2] / "session_handler" / "client.js"


@dataclass(frozen=True)
class Answer:
    """The dispatcher's response to one request for a session."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a browser asks for all parts of the page at once


class FakeDispatcher:
    """Serves the page below `prefix` and answers with what the test put into `answers`.

    The last answer stays for all requests that follow. `asked` has (path, query, headers) of each
    request, `deleted` the paths of DELETE requests.
    """

    def __init__(self, prefix: str = "/") -> None:
        self.prefix = prefix
        self.answers: list[Answer | Callable[[], Answer]] = []
        self.asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []
        self.deleted: list[str] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def page(self) -> str:
        return self.origin + self.prefix

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_answer(self) -> Answer:
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return answer if isinstance(answer, Answer) else answer()

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (self is the handler's)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                path = parts.path.removeprefix(fake.prefix.rstrip("/")) or "/"
                if path == "/":
                    html, policy = render_page()
                    headers = {"Content-Type": "text/html", "Content-Security-Policy": policy}
                    self._send(200, html.encode(), common_headers() | headers)
                elif path.startswith("/demo/"):
                    script = read_parts()[path.removeprefix("/demo/")]
                    self._send(200, script.encode(), {"Content-Type": "text/javascript"})
                else:
                    fake.asked.append((path, parse_qs(parts.query), dict(self.headers)))
                    answer = fake.next_answer()
                    headers = {"Content-Type": "application/json", **answer.headers}
                    self._send(answer.status, json.dumps(answer.body).encode(), headers)

            def do_DELETE(self) -> None:
                fake.deleted.append(self.path)
                self._send(200, b"{}", {"Content-Type": "application/json"})

            def _send(self, status: int, body: bytes, headers: dict[str, Any]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Log nothing: tests read `asked`."""

        return Handler


class FakeContainer:
    """A session container on a port of its own, with the real client library.

    When its client has disconnected it accepts no other client, unless `grace` is set.
    """

    def __init__(self) -> None:
        self.grace = False
        self.feed: str | None = "kinesis"
        self.uuid = str(uuid.uuid4())
        self.id = str(uuid.uuid4())
        self.connected = threading.Event()
        self.ended = threading.Event()
        self.cursors: list[str | None] = []
        self._say: queue.Queue[Callable[[ServerConnection], None]] = queue.Queue()
        self._sequence = 0
        self._refusals = 0
        self._latest: ServerConnection
        self._server = serve(
            self._talk, "127.0.0.1", 0, process_request=self._answer, close_timeout=1
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.socket.getsockname()[1]

    def session(self, **changes: Any) -> dict[str, Any]:
        """Returns the dispatcher's answer that assigns this container."""
        return {
            "id": self.id,
            "state": "RESERVED",
            "ip": "127.0.0.1",
            "port": self.port,
            "path": f"/{self.uuid}",
            "url": f"ws://127.0.0.1:{self.port}/{self.uuid}",
            "app": "listings",
            "revision": 7,
            "warm": False,
            "connectBy": "2030-01-01T00:00:00Z",
        } | changes

    def refuse_connections(self, times: int) -> None:
        """Answer that many websocket handshakes with 409, as to a second client."""
        self._refusals = times

    def say(self, message: dict[str, Any]) -> None:
        text = json.dumps(message)
        self._say.put(lambda connection: connection.send(text))

    def send_records(self, updates: Iterable[dict[str, Any]], age_ms: int = 12) -> None:
        records = []
        for update in updates:
            self._sequence += 1
            records.append(
                {
                    "data": update,
                    "partitionKey": str(update.get("id", "")),
                    "sequenceNumber": str(self._sequence),
                    "arrivedAt": int(time.time() * 1000) - age_ms,
                }
            )
        cursor = f"at-{self._sequence}"
        self.say({"type": "records", "records": records, "cursor": cursor})

    def bye(self, reason: str, code: int = 1000) -> None:
        self.say({"type": "bye", "reason": reason})
        self._end_by(lambda connection: connection.close(code))

    def vanish(self) -> None:
        """Cut the connection as a killed container does: without a close frame."""
        self._end_by(lambda connection: connection.socket.shutdown(2))

    def _end_by(self, way: Callable[[ServerConnection], None]) -> None:
        def end(connection: ServerConnection) -> None:
            if not self.grace:
                self.ended.set()  # before the page can notice and reconnect
            way(connection)

        self._say.put(end)

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == f"/{self.uuid}":
            if self._refusals == 0 and not self.ended.is_set():
                return None
            self._refusals = max(0, self._refusals - 1)
            return Response(409, "Conflict", Headers({"Content-Length": "0"}), b"")
        if path != f"/{self.uuid}/client.js":
            return Response(404, "Not Found", Headers(), b"")
        headers = Headers(
            {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"},
        )
        script = CLIENT_LIBRARY.read_bytes()
        headers["Content-Length"] = str(len(script))
        return Response(200, "OK", headers, script)

    def _talk(self, connection: ServerConnection) -> None:
        query = parse_qs(urlsplit(connection.request.path).query)
        self.cursors.append(query.get("cursor", [None])[0])
        hello: dict[str, Any] = {
            "session": self.id,
            "app": "listings",
            "revision": 7,
            "feed": self.feed,
        }
        hello["graceSeconds"] = 30 if self.grace else 0
        gone = threading.Event()
        self._latest = connection
        try:
            connection.send(json.dumps({"type": "hello", **hello, "cursor": "at-0"}))
            self.connected.set()
            threading.Thread(target=self._wait_for_end, args=(connection, gone)).start()
            while not gone.is_set():
                try:
                    say = self._say.get(timeout=0.05)
                except queue.Empty:
                    continue
                say(self._latest)  # this one may be given up already
        except (ConnectionClosed, OSError):
            gone.set()
        if not self.grace:
            self.ended.set()

    def _wait_for_end(self, connection: ServerConnection, gone: threading.Event) -> None:
        with suppress(ConnectionClosed):
            for _ in connection:
                pass
        gone.set()
