"""One container with its guard, and the judge's end of the stream to the guard."""

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from usher.box import frames
from usher.box.docker_requests import reported_usage
from usher.box.engine import Demultiplexer, Engine, EngineError
from usher.box.model import (
    BoxError,
    BoxSettings,
    File,
    Outcome,
    Task,
    decide_limit,
    split_status,
)
from usher.box.pump import CHUNK, TICK_SECONDS, Ends, Kept

SILENT_SECONDS = 30.0
"""A guard that is silent for this long after a run's time is over has failed."""


class GuardConnection:
    """A started container, for one run at a time."""

    def __init__(
        self, engine: Engine, request: dict[str, Any], *, is_for_all: bool = False
    ) -> None:
        """`is_for_all`: may serve several submissions.

        Raises EngineError if the container cannot be made or started.
        """
        self._engine = engine
        self.is_for_all = is_for_all
        self.runs = 0
        self.is_clean = True
        """Whether the guard found nothing left of the last run."""
        self._keeps = not request["StdinOnce"]
        container = engine.call("POST", "/containers/create", body=request)["Id"]
        self._path = f"/containers/{container}"
        every = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}
        self._sock: socket.socket | None = None
        try:
            self._sock = engine.stream(f"{self._path}/attach", every)
            engine.call("POST", f"{self._path}/start")
        except EngineError:
            self.close()
            raise
        self._sock.settimeout(SILENT_SECONDS)
        self._demultiplexer = Demultiplexer()
        self._reader = frames.FrameReader()
        self._output = bytearray()

    def close(self) -> None:
        """Remove the container with all its processes. Raises EngineError."""
        if self._sock is not None:
            self._sock.close()
        if self._keeps:
            return
        try:
            self._engine.call("DELETE", self._path, {"force": "true", "v": "true"})
        except EngineError as error:
            if error.status not in (404, 409):  # gone, or being removed
                raise

    def make_box(self, payload: bytes) -> None:
        """Have the box of a request made. Raises BoxError: then the guard cannot be used again."""
        self.runs += 1
        self._send(frames.RUN, payload)
        kind, output = self._receive_one()
        if kind != frames.READY:
            raise BoxError(f"no box: {output.decode(errors='replace')}")

    def run(self, task: Task, settings: BoxSettings, ends: Ends) -> Outcome:
        """Run the request's command. Raises BoxError: then the guard cannot be used again."""
        task.on_ready()
        run = _Run(task, settings)
        self._send(frames.GO)
        if task.stdin_fd is None:
            self._send(frames.STDIN_END)
        self._exchange(run)
        ends.close()  # the peer of the command is notified of its end
        if run.trouble is not None:
            raise BoxError(f"no box: {run.trouble}")
        self.is_clean = run.is_clean
        return run.outcome()

    def _exchange(self, run: "_Run") -> None:
        """Exchange frames until the guard reports the end."""
        sock = self._socket()
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ, lambda: self._take(run))
            if run.task.stdin_fd is not None:
                source = run.task.stdin_fd

                def forward() -> None:
                    data = os.read(source, CHUNK)
                    self._send(*((frames.STDIN, data) if data else (frames.STDIN_END, b"")))
                    if not data:
                        selector.unregister(source)

                selector.register(source, selectors.EVENT_READ, forward)
            while not run.is_over:
                seconds = run.seconds_to_wait()
                if not run.stdout.flush():
                    seconds = min(TICK_SECONDS, seconds)
                for key, _ in selector.select(seconds):
                    key.data()
                if run.seconds_to_wait() <= 0:
                    raise BoxError("the guard of the box does not answer")
        run.stdout.finish()

    def _take(self, run: "_Run") -> None:
        for kind, payload in self._receive():
            run.take(kind, payload)

    def _receive_one(self) -> tuple[bytes, bytes]:
        while not (found := self._receive()):
            pass
        return found[0]

    def _receive(self) -> list[tuple[bytes, bytes]]:
        """Frames that can be read without waiting. Raises BoxError."""
        try:
            data = self._socket().recv(CHUNK)
        except OSError as error:
            raise BoxError(f"the guard of the box does not answer: {error}") from error
        found: list[tuple[bytes, bytes]] = []
        for stream, part in self._demultiplexer.feed(data):
            if stream == 1:
                found += self._reader.feed(part)
            else:
                self._output += part[:CHUNK]
        if not data:
            output = self._output[-1000:].decode(errors="replace").strip()
            raise BoxError(f"the guard of the box is gone: {output or 'it output nothing'}")
        return found

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        try:
            self._socket().sendall(frames.encode(kind, payload))
        except OSError as error:
            raise BoxError(f"the guard of the box is gone: {error}") from error

    def _socket(self) -> socket.socket:
        if self._sock is None:
            raise BoxError("the box was never started")
        return self._sock


class _Run:
    """The guard's reports on one run."""

    def __init__(self, task: Task, settings: BoxSettings) -> None:
        self.task, self._settings = task, settings
        self.stdout = Kept(settings.output_bytes, task.stdout_fd)
        self._stderr = Kept(settings.output_bytes)
        self._report: dict[str, Any] = {}
        self._files: dict[str, File] = {}
        self.trouble: str | None = None
        self.is_over = False
        wall = settings.wall_seconds
        self._until = None if wall is None else time.monotonic() + wall + SILENT_SECONDS

    def seconds_to_wait(self) -> float:
        return SILENT_SECONDS if self._until is None else self._until - time.monotonic()

    def take(self, kind: bytes, payload: bytes) -> None:
        takers: dict[bytes, Callable[[bytes], None]] = {
            frames.STDOUT: self.stdout.take,
            frames.STDERR: self._stderr.take,
            frames.DONE: self._end,
            frames.TROUBLE: self._fail,
        }
        takers[kind](payload)

    def _fail(self, payload: bytes) -> None:
        self.trouble, self.is_over = payload.decode(errors="replace"), True

    def _end(self, payload: bytes) -> None:
        self._report, rest = frames.unpack_message(payload)
        listed = self._report["files"]
        contents = frames.take_contents(rest, [size for _, _, size in listed])
        for (name, mode, _), data in zip(listed, contents, strict=True):
            self._files[name] = File(data, mode)
        self.is_over = True

    @property
    def is_clean(self) -> bool:
        return bool(self._report["is_clean"])

    def outcome(self) -> Outcome:
        report = self._report
        usage = reported_usage(report)
        code, number = split_status(report["status"])
        return Outcome(
            code,
            number,
            usage,
            report["wall_seconds"],
            bytes(self.stdout.data),
            bytes(self._stderr.data),
            decide_limit(
                usage,
                self._settings,
                out_of_wall=report["out_of_wall"],
                too_much_output=report["too_much_output"],
            ),
            self._files,
            report["ended_at"],
            tuple(report["left_out"]),
        )


@contextlib.contextmanager
def closing_on_error(connection: GuardConnection) -> Any:
    """Close a connection whose run failed: it cannot be used again."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
