"""Messages, byes and answers to raw requests that tests receive from a session container."""

import json
import socket
import struct
import urllib.error
import urllib.request

from websockets.exceptions import ConnectionClosed

from tests.session_process import until


def hello_of(websocket):
    message = json.loads(websocket.recv(10))
    assert message["type"] == "hello", message
    return message


def take(websocket, count):
    """Receive until `count` records have arrived; returns them and the last message's cursor."""
    records, cursor = [], None
    while len(records) < count:
        message = json.loads(websocket.recv(60))
        assert message["type"] == "records", message
        records += message["records"]
        cursor = message["cursor"]
    assert len(records) == count
    return records, cursor


def take_bye(websocket):
    """Receive to the end; returns the bye and the close code."""
    bye = None
    try:
        while True:
            message = json.loads(websocket.recv(40))
            if message["type"] == "bye":
                bye = message
    except ConnectionClosed as closed:
        return bye, closed.rcvd.code if closed.rcvd else None


def answer_to(port, data, half_close=False):
    """Send raw bytes; returns all received bytes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        try:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(65_536):
                answer += piece
        except ConnectionError:
            return b""
        return answer


def get(session, path, **headers):
    request = urllib.request.Request(
        f"http://127.0.0.1:{session.port}{path}", headers={"Connection": "close", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def handshake(session, extra=""):
    return (
        f"GET /{session.uuid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def reconnect(session):
    """Connect and end without a close frame; like a client, wait until the old connection is
    closed.
    """

    def opened():
        with socket.create_connection(("127.0.0.1", session.port), timeout=10) as sock:
            sock.sendall(handshake(session))
            answer = sock.recv(1_000)
            # A reset instead of a close: what a vanished client looks like.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b" 101 " in answer

    until(opened, "a connection")
