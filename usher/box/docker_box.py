"""Boxes with a Docker Engine beside the judge: files and results pass through its socket."""

import json
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from usher.box.docker_requests import create_request, run_payload
from usher.box.engine import Engine, EngineError, socket_path
from usher.box.guard_connection import GuardConnection, closing_on_error
from usher.box.guard_runtime import DEFAULT_BASE, start_with_runtime, volume_name
from usher.box.model import BoxError, BoxSettings, Outcome, Task
from usher.box.pump import Ends
from usher.box.seccomp import AUDIT_ARCH, bpf_program, docker_profile


def docker_missing() -> str:
    """Why no Docker Engine makes boxes here; empty if one does."""
    path = socket_path()
    if path is None:
        return "DOCKER_HOST is no socket of this machine"
    try:
        info = Engine(path).call("GET", "/info", seconds=10)
    except EngineError as error:
        return str(error)
    if info.get("OSType") != "linux" or info.get("Architecture") not in AUDIT_ARCH:
        return f"the Docker Engine runs {info.get('OSType')} on {info.get('Architecture')}"
    options = " ".join(info.get("SecurityOptions") or ())
    return "" if "seccomp" in options else "the Docker Engine has no seccomp"


MOST_IDLE = 4
"""Containers that are kept for further submissions; the oldest of more is removed."""
MOST_RUNS = 500
"""Runs of a container before it is replaced."""

_log = logging.getLogger("usher.box")


class DockerBoxes:
    """Each run has a box, made by the guard of a container that makes one at a time.

    Containers are kept for the next run until `close`.
    """

    name = "docker"

    def __init__(self, base: str | None = None, path: str | None = None) -> None:
        """`base` is the image with the guard's Python."""
        self._engine = Engine(path or socket_path() or "")
        self._base = base or os.environ.get("USHER_BASE_IMAGE") or DEFAULT_BASE
        self._lock = threading.Lock()
        self._idle: list[tuple[str, GuardConnection]] = []
        self._known: tuple[str, str, bool] | None = None
        self._parent: DockerBoxes | None = None

    def session(self) -> "DockerBoxes":
        """Boxes for one submission. Its containers serve the next session too, each for one
        session at a time; but not those of an author's image, which may run code of its own.
        """
        other = DockerBoxes(self._base)
        other._engine, other._known = self._engine, self._machine()
        other._parent = self
        return other

    def run(self, task: Task, settings: BoxSettings) -> Outcome:
        """Raises BoxError if the box could not be made or watched."""
        ends = Ends(task.stdin_fd, task.stdout_fd)
        try:
            return self._run(task, settings, ends)
        finally:
            ends.close()

    def _run(self, task: Task, settings: BoxSettings, ends: Ends) -> Outcome:
        if not task.image:
            raise BoxError("a box in Docker needs an image")
        volume, machine, has_apparmor = self._machine()
        profile = docker_profile(machine, is_guard=True)
        request = create_request(
            task, settings, volume=volume, profile=profile, has_apparmor=has_apparmor
        )
        payload = run_payload(
            task, settings, filter_program=bpf_program(machine), has_apparmor=has_apparmor
        )
        key = json.dumps(request)
        connection = self._with_box(key, payload, lambda: self._start(request, volume, task))
        with closing_on_error(connection):
            outcome = connection.run(task, settings, ends)
        if connection.is_clean and connection.runs < MOST_RUNS:
            self._give_back(key, connection)
        else:
            connection.close()
        return outcome

    def close(self) -> None:
        """Remove all containers that wait for another run, or leave them to the next session."""
        with self._lock:
            idle, self._idle = self._idle, []
        for key, connection in idle:
            if self._parent is not None and connection.is_for_all:
                self._parent._give_back(key, connection)
            else:
                connection.close()

    def _machine(self) -> tuple[str, str, bool]:
        """The guard's volume, the engine's architecture, whether it has AppArmor."""
        if self._known is None:
            info = self._engine.call("GET", "/info")
            options = " ".join(info.get("SecurityOptions") or ())
            volume = volume_name(self._engine, self._base)
            self._known = volume, info["Architecture"], "apparmor" in options
        return self._known

    def _with_box(
        self, key: str, payload: bytes, start: Callable[[], GuardConnection]
    ) -> GuardConnection:
        """A container in which the box of this request is made: a waiting one, unless its engine
        was restarted or its guard ended, else a new one.
        """
        while (waiting := self._take(key)) is not None:
            try:
                waiting.make_box(payload)
            except BoxError as error:
                _log.warning("a waiting container is replaced: %s", error)
                waiting.close()
            else:
                return waiting
        fresh = start()
        with closing_on_error(fresh):
            fresh.make_box(payload)
        return fresh

    def _take(self, key: str) -> GuardConnection | None:
        with self._lock:
            for number, (other, connection) in enumerate(self._idle):
                if other == key:
                    del self._idle[number]
                    return connection
        return self._parent._take(key) if self._parent is not None else None

    def _give_back(self, key: str, connection: GuardConnection) -> None:
        with self._lock:
            self._idle.append((key, connection))
            surplus = self._idle[:-MOST_IDLE]
            del self._idle[:-MOST_IDLE]
        for _, old in surplus:
            old.close()

    def _start(self, request: dict[str, Any], volume: str, task: Task) -> GuardConnection:
        is_for_all = not task.folders and task.inner is None
        return start_with_runtime(
            self._engine,
            self._base,
            volume,
            lambda: GuardConnection(self._engine, request, is_for_all=is_for_all),
        )
