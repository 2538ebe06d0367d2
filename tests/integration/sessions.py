"""Sessions of a real client: requested over HTTP, opened with a websocket."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import RunningCloud, wait_until


def dispatch(cloud: RunningCloud, query: str = "", **headers: str) -> dict[str, Any]:
    """GET /session, and expect an address."""
    status, body = cloud.http("GET", f"/session{query}", headers=headers)
    assert status == 200, f"{body}\n{cloud.why_containers_failed()}"
    return body


@contextmanager
def client_of(
    session: dict[str, Any], cursor: str = ""
) -> Iterator[tuple[ClientConnection, dict[str, Any]]]:
    """A client at the session's address: the open websocket and the hello it got."""
    url = session["url"] + (f"?cursor={cursor}" if cursor else "")
    with connect(url, max_size=None) as websocket:
        hello = json.loads(websocket.recv(timeout=20))
        assert hello["type"] == "hello"
        yield websocket, hello


def look(cloud: RunningCloud, session_id: str) -> dict[str, Any]:
    """GET /sessions/{id}."""
    status, body = cloud.http("GET", f"/sessions/{session_id}")
    assert status in {200, 202}, body
    return body


def wait_for(
    cloud: RunningCloud, session_id: str, state: str, seconds: float = 30
) -> dict[str, Any]:
    """Wait until the session is in `state`, and return its body."""

    def reached() -> dict[str, Any] | None:
        body = look(cloud, session_id)
        return body if body["state"] == state else None

    return wait_until(reached, seconds, f"{session_id} being {state}")


def task_of(cloud: RunningCloud, session_id: str) -> dict[str, Any] | None:
    """The engine's task of a session, running or not."""
    marked = f"session/{session_id}"
    tasks = (t for t in cloud.tasks(stopped=True) if t.get("startedBy") == marked)
    return next(tasks, None)


def kill_container(session_id: str) -> None:
    """SIGKILL for every process of a session's container (process runtime)."""
    marked = f"SESSION_ID={session_id}".encode()
    pids = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and marked in _environment(folder)
    ]
    assert pids, "the container runs"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def no_tasks(cloud: RunningCloud, seconds: float = 20) -> None:
    """Wait until nothing runs any more."""
    wait_until(lambda: not cloud.tasks(), seconds, "the end of all tasks")


def look_as(cloud: RunningCloud, path: str, headers: dict[str, str]) -> int:
    """The status that a caller with these headers gets for a path."""
    status, _ = cloud.http("GET", path, headers=headers)
    return status
