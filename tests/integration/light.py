"""A container so light that hundreds run on a laptop.

It reports ready, waits for a client on a plain socket, and ticks until the client disconnects.
"""

from pathlib import Path

IMAGE = "light"
MEMORY_MIB = 32

_PROGRAM = """
import os, select, signal, socket, time

def leave(*_):
    os._exit(0)

signal.signal(signal.SIGTERM, leave)
host, _, path = os.environ["CALLBACK_URL"].removeprefix("http://").partition("/")
address, _, port = host.partition(":")

def tell(callback):
    body = b'{"type": "%s"}' % callback
    request = (
        f"POST /{path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n"
        f"Authorization: Bearer {os.environ['SESSION_KEY']}\\r\\n"
        f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    ).encode() + body
    while True:
        try:
            with socket.create_connection((address, int(port)), 20) as connection:
                connection.sendall(request)
                if int(connection.recv(64).split()[1]) < 500:
                    return
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.2)

server = socket.create_server(("0.0.0.0", int(os.environ["SESSION_PORT"])))
tell(b"ready")
HEALTH = b'{"status": "waiting", "ready": true, "connected": false}'
while True:
    client, _ = server.accept()
    # Who asks for the health says so at once; a client waits for its ticks.
    if not select.select([client], [], [], 0.3)[0]:
        break
    if not client.recv(64, socket.MSG_PEEK).startswith(b"GET /healthz"):
        break
    client.recv(4096)
    size = f"Content-Length: {len(HEALTH)}"
    head = f"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n{size}\\r\\n\\r\\n"
    client.sendall(head.encode() + HEALTH)
    client.close()
tell(b"connected")
while not select.select([client], [], [], 0.25)[0]:
    client.sendall(b"tick ")
tell(b"disconnected")
"""


def make_light_image(folder: Path) -> str:
    """Write the image's folder; the value of `local up --image`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "light.py").write_text(_PROGRAM, encoding="utf-8")
    (folder / "Dockerfile").write_text(
        'FROM scratch\nWORKDIR /app\nCOPY . .\nENTRYPOINT ["python", "-S", "-E", "light.py"]\n',
        encoding="utf-8",
    )
    return f"{IMAGE}={folder}"
