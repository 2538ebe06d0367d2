"""A dispatcher that assigns real session containers, behind a connection that can be cut at any
byte.
"""

import json
import random
import secrets
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.redis_feed import FeedWriter
from tests.session_process import SessionProcess


class Link:
    """A TCP proxy before a container, which can cut connections without a close frame.

    `budget()` returns after how many bytes to the client a connection is cut; None: never.
    """

    def __init__(self, port, budget=lambda: None):
        self.target = port
        self.budget = budget
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                self.sockets += [near, far]
                for one, other, left in ((near, far, None), (far, near, self.budget())):
                    words = (one, other, left)
                    threading.Thread(target=self._copy, args=words, daemon=True).start()

    def _copy(self, one, other, left):
        with suppress(OSError):
            while (left is None or left > 0) and (data := one.recv(65_536)):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets.clear()

    def close(self):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


class Dispatcher:
    """Assigns each key a container of its own; `answers` are used first, each once."""

    budget = staticmethod(lambda: None)

    def __init__(self, kinesis=None, **environment):
        self.kinesis, self.environment = kinesis, environment
        self.answers, self.keys, self.sessions, self.links = [], [], [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = outer.answer(self.path, self.headers)
                payload = json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                self.wfile.write(payload)

            def do_OPTIONS(self):
                self.send_response(204)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Access-Control-Allow-Headers", "idempotency-key")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/session?app=listings"

    def answer(self, path, headers):
        if path.startswith("/session?"):
            assert path == "/session?app=listings"
            self.keys.append(headers["Idempotency-Key"])
            if self.answers:
                return self.answers.pop(0)
        session = SessionProcess(self.kinesis, **self.environment).until_ready()
        link = Link(session.port, self.budget)
        self.sessions.append(session)
        self.links.append(link)
        url = f"ws://127.0.0.1:{link.port}/{session.uuid}"
        return 200, {}, {"id": "the-id", "state": "RESERVED", "url": url}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        for link in self.links:
            link.close()
        for session in self.sessions:
            session.__exit__()


KILLS = 4
"""How often a run also kills the container, so that the next one has to continue."""


class Drops:
    """Cuts so many connections, each after a random number of bytes, then no more.

    Records are put at each connection, and so many that it always reaches the cut.
    """

    def __init__(self, dispatcher, writer, count, each, seed=1):
        self.dispatcher, self.writer, self.count, self.each = dispatcher, writer, count, each
        self.records = count * each
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.done = 0
        dispatcher.budget = self._budget
        self.has_begun = False

    def begin(self):
        """Call it once a connection is open: a client without a cursor gets only new records."""
        self.has_begun = True
        self.dispatcher.links[-1].cut()

    def _budget(self):
        with self.lock:
            if not self.has_begun or self.done >= self.count:
                return None
            first = self.done * self.each
            self.done += 1
            for number in range(first, first + self.each):
                self.writer.put({"n": number, "odd": number % 2}, "key")
            if self.done % (self.count // (KILLS + 1)) == 0:
                self.dispatcher.sessions[-1].process.kill()
            # From the middle of the handshake's answer to the third record of the connection.
            return self.random.randrange(60, 800)


@contextmanager
def dropping(server, count, each=3):
    """A dispatcher of containers on a fan-out feed of its own, dropped so often."""
    name = f"updates-{secrets.token_hex(4)}"
    writer = FeedWriter(server, name, shards=1)
    environment = {"FEED_URL": server.url(name), "RECONNECT_GRACE_SECONDS": 30}
    environment["ALLOWED_ORIGINS"] = "*"
    with Dispatcher(**environment) as dispatcher:
        yield Drops(dispatcher, writer, count, each)
