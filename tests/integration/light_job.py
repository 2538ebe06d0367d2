"""A job's container so light that many run on a laptop, and a listener that counts the runs.

It asks for a start permit as `usher.entry` does, notifies the test's listener, and reports.
"""

import socket
import threading
from collections import Counter
from pathlib import Path

_PROGRAM = r"""
import json, os, signal, socket, sys, time

def call(url, body, seconds):
    host, _, path = url.removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    sent = json.dumps(body).encode() if body is not None else b""
    request = (
        f"{'GET' if body is None else 'POST'} /{path} HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
    ).encode() + sent
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, int(port)), 20) as connection:
                connection.sendall(request)
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            head, _, content = answer.partition(b"\r\n\r\n")
            status = int(head.split()[1])
            if status < 500 and status not in (408, 425, 429):
                return status, json.loads(content or b"null")
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.2)
    sys.exit(75)

key, base = os.environ["INVOCATION_KEY"], os.environ["INVOCATION_URL"]
process = os.urandom(16).hex()
arn = None
if os.getpid() % 2:
    arn = call(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task", None, 20)[1]["TaskARN"]
question = {"attempt": int(os.environ["INVOCATION_ATTEMPT"]), "taskArn": arn, "process": process}
status, leave = call(base + "/start", question, 120)
if status != 200:
    sys.exit(75)

def report(outcome, code):
    told = {"process": process, "outcome": outcome, "exitCode": code, "detail": "", "result": None}
    call(base + "/finish", told | {"usage": None}, 60)
    os._exit(code)

signal.signal(signal.SIGTERM, lambda *_: report("killed", 143))
wanted = leave["parameters"]
with socket.create_connection(("127.0.0.1", wanted["port"])) as counter:
    counter.sendall(os.environ["INVOCATION_ID"].encode())
time.sleep(wanted["seconds"])
report("succeeded", 0)
"""
DESCRIPTION = {
    "name": "light",
    "cpu": 16,
    "memory": 32,
    "timeoutSeconds": 600,
    "parameters": {"type": "object", "required": ["port", "seconds"]},
}


def make_light_job(folder: Path) -> str:
    """Write the image's folder; returns the `image` of PUT /jobs/light."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    (folder / "job.py").write_text(_PROGRAM, encoding="utf-8")
    (folder / "Dockerfile").write_text(
        'FROM scratch\nWORKDIR /app\nCOPY . .\nENTRYPOINT ["python", "-S", "-E", "job.py"]\n',
        encoding="utf-8",
    )
    return f"dir:{folder}"


class Runs:
    """Hears from each job that it runs: how often each did."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.of: Counter[str] = Counter()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                self.of[connection.recv(64).decode()] += 1
