"""As small as a session container in Python gets: one websocket client over bare sockets.

Run bare it is a floor; dispatched it keeps the session contract as far as the dispatcher needs
(callbacks, exit when the client leaves); under JupyterHub it is a single-user server. It imports
what is compiled into Python and nothing else, as each further import is a millisecond or ten.
"""

import _sha1  # type: ignore[import-not-found]
import _signal  # type: ignore[import-not-found]
import _socket
import binascii
import os
import select

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
CLOSE = 8


def environment(name: str) -> str:
    return os.environ.get(name, "")


def place() -> tuple[int, bytes]:
    """The port to listen on, and the path of the websocket."""
    hub = environment("JUPYTERHUB_SERVICE_URL")  # http://HOST:PORT/user/NAME/
    if hub:
        port = hub.split("/")[2].rpartition(":")[2]
        return int(port), environment("JUPYTERHUB_SERVICE_PREFIX").encode() + b"ws"
    return int(environment("SESSION_PORT") or 8080), b"/" + environment("SESSION_UUID").encode()


def report(kind: str) -> None:
    """One callback; waits for the answer."""
    url = environment("CALLBACK_URL")
    if not url:
        return
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    body = f'{{"type": "{kind}"}}'
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer "
        f"{environment('SESSION_KEY')}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection = _socket.socket()
    connection.connect((name, int(port)))
    connection.sendall((head + body).encode())
    connection.recv(4096)
    connection.close()


def read_head(connection: _socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            return b""
        head += data
    return head


def answer(connection: _socket.socket, path: bytes) -> bool:
    """Answer a request; True when it opened the websocket."""
    head = read_head(connection)
    key = b""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    if not key or head.split(b" ")[1:2] != [path]:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()
        return False
    accept = binascii.b2a_base64(_sha1.sha1(key + GUID).digest(), newline=False)
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return True


def main() -> None:
    _signal.signal(_signal.SIGTERM, lambda *_: os._exit(0))
    port, path = place()
    listener = _socket.socket()
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(16)
    report("ready")
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    client: _socket.socket | None = None
    patience = int(environment("CONNECT_DEADLINE_SECONDS") or 0) * 1000 or None
    while True:
        events = poll.poll(None if client else patience)
        if not events:
            return
        for descriptor, _ in events:
            if descriptor == listener.fileno():
                connection = _socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]
                if answer(connection, path):
                    client = connection
                    poll.register(client, select.POLLIN)
                    report("connected")
            elif client is not None:
                data = client.recv(4096)
                if data and data[0] & 15 != CLOSE:
                    continue
                poll.unregister(client)
                client.close()
                client = None
                if not environment("JUPYTERHUB_SERVICE_URL"):
                    report("disconnected")
                    return


main()
