"""A dispatcher for the tests of `usher`: a real HTTP server that gives each run one start permit; a
test can set other answers. Also the container's main process, started as ECS starts it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chalicelib.contract.jobs import MAX_RESULT_BYTES, JobEnv

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "usher_project"
KEY = "the-key-of-this-invocation"
LOSE = "lose"
"""In place of a status: do it, and close the connection without an answer."""


@dataclass
class Call:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FakeDispatcher:
    """`answers` by path: statuses (or LOSE) for the next requests; then all is well."""

    job: str = "echo"
    parameters: Any = None
    timeout_seconds: float = 30
    answers: dict[str, deque[Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    fence: str | None = None
    url: str = ""

    def script(self, path: str, *answers: Any) -> None:
        """The next answers for a path: a status, LOSE, or a status and a body."""
        self.answers.setdefault(path, deque()).extend(answers)

    def requests_of(self, name: str) -> list[Any]:
        """Bodies of the requests to `…/name`, in order."""
        return [call.body for call in self.calls if call.path.endswith(f"/{name}")]

    def respond(self, call: Call) -> tuple[int, Any] | None:
        """Status and body; None closes the connection without."""
        self.calls.append(call)
        planned = self.answers.get(call.path)
        if planned:
            answer = planned.popleft()
            if answer == LOSE:
                self.act(call)
                return None
            return answer if isinstance(answer, tuple) else (answer, {})
        return self.act(call)

    def act(self, call: Call) -> tuple[int, Any]:
        if call.path == "/task":
            return 200, {"TaskARN": "arn:aws:ecs:eu-west-1:000000000000:task/usher/abc"}
        if int(call.headers.get("content-length") or 0) > MAX_RESULT_BYTES + 4096:
            return 400, _error("bad_request", "too large")
        if call.headers.get("authorization") != f"Bearer {KEY}":
            return 401, _error("unauthorized", "a wrong key")
        if call.path.endswith("/start"):
            if self.fence not in (None, call.body["process"]):
                return 409, _error("conflict", "another process was given the start permit")
            self.fence = call.body["process"]
            return 200, {
                "job": self.job,
                "parameters": self.parameters,
                "timeoutSeconds": self.timeout_seconds,
            }
        if call.body["process"] != self.fence:
            return 409, _error("conflict", "not the process that was given the start permit")
        return 200, {}


def _error(code: str, message: str) -> Any:
    return {"error": {"code": code, "message": message}}


@contextmanager
def serve(fake: Any) -> Iterator[None]:
    """Answer requests by `fake.respond(call)` and set `fake.url`, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            parsed = json.loads(body) if body else None
            answer = fake.respond(Call(self.command, self.path, headers, parsed))
            if answer is None:
                self.close_connection = True
                return
            status, document, *extra = answer
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (extra[0] if extra else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Log nothing; the test reads the recorded requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Done:
    """A container that has ended."""

    code: int
    out: str
    log: list[str]


def environment(**changes: str) -> dict[str, str]:
    """Returns this process's environment with the checkout on Python's path, without a container's
    variables.
    """
    names = {str(name) for name in JobEnv}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


class Container:
    """`python -m usher.entry` with an environment as on ECS. `limits` change its patience."""

    def __init__(self, fake: FakeDispatcher, attempt: int = 1, **limits: float) -> None:
        words = ", ".join(f"{name}={value}" for name, value in limits.items())
        program = (
            "import sys; from usher.entry import main; from usher.protocol import Limits; "
            f"sys.exit(main([], Limits({words})))"
        )
        command = ["-c", program] if limits else ["-m", "usher.entry"]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env=environment(
                INVOCATION_ID="5e1f",
                INVOCATION_ATTEMPT=str(attempt),
                INVOCATION_KEY=KEY,
                INVOCATION_URL=f"{fake.url}/invocations/5e1f",
                JOB_NAME=fake.job,
                JOB_REVISION="7",
                ECS_CONTAINER_METADATA_URI_V4=fake.url,
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 30) -> Done:
        """Wait for the end."""
        try:
            out, log = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return Done(self.process.returncode, out, log.splitlines())


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
