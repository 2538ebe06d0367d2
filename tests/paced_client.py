"""A websocket client that reads at most a given number of bytes a second from its socket."""

import contextlib
import json
import socket
import ssl
import threading
import time

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

RECEIVE_BUFFER_BYTES = 4096
TICK_SECONDS = 0.1


class PacedClient:
    """Connects at once; `read_until` does the rest.

    `pauses` is a list of (after so many bytes, for so many seconds) in which nothing is read.
    """

    def __init__(self, url, rate, *, pauses=(), tls=None, compress=False):
        self.rate = rate
        self.pauses = list(pauses)
        self.messages = []
        self.close_code = None
        self.dropped = False
        self.received_bytes = 0
        uri = parse_uri(url)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        raw.connect((uri.host, uri.port))
        self.socket = tls.wrap_socket(raw, server_hostname=uri.host) if tls else raw
        self.socket.settimeout(10)
        extensions = [ClientPerMessageDeflateFactory()] if compress else None
        self.protocol = ClientProtocol(uri, extensions=extensions, max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self._flush()
        self._parts = []

    def read_until(self, done, seconds):
        """Read until `done(self)`, the end of the connection, or the deadline; returns self."""
        ends = time.monotonic() + seconds
        started, read = time.monotonic(), 0
        while not (done(self) or self.dropped):
            assert time.monotonic() < ends, f"not within {seconds} s: {self.state()}"
            allowed = int((time.monotonic() - started) * self.rate) - read
            if allowed <= 0:
                threading.Event().wait(TICK_SECONDS)
                continue
            if self.pauses and self.received_bytes >= self.pauses[0][0]:
                threading.Event().wait(self.pauses.pop(0)[1])
                started, read = time.monotonic(), 0
                continue
            self.socket.settimeout(TICK_SECONDS)
            try:
                data = self.socket.recv(min(allowed, 65_536))
            except (TimeoutError, ssl.SSLWantReadError):
                started, read = time.monotonic(), 0  # an idle line saves nothing up
                continue
            except OSError:
                data = b""
            read += len(data)
            self.received_bytes += len(data)
            self._take(data)
        return self

    def state(self):
        return f"{self.received_bytes} bytes, {len(self.messages)} messages, {self.close_code}"

    @property
    def cursor(self):
        return next((m["cursor"] for m in reversed(self.messages) if m.get("cursor")), None)

    @property
    def records(self):
        return [r for m in self.messages if m["type"] == "records" for r in m["records"]]

    @property
    def bye(self):
        return next((m for m in self.messages if m["type"] == "bye"), None)

    def close(self):
        self.socket.close()

    def _take(self, data):
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
            self.dropped = True
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                assert event.status_code == 101, event
            elif isinstance(event, Frame):
                self._frame(event)
        self._flush()

    def _frame(self, frame):
        if frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self.messages.append(json.loads(b"".join(self._parts)))
                self._parts = []
        elif frame.opcode is Opcode.CLOSE:
            self.close_code = self.protocol.close_rcvd.code

    def _flush(self):
        for data in self.protocol.data_to_send():
            if data:
                with contextlib.suppress(OSError):
                    self.socket.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
