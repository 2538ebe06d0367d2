"""The ways to an open websocket that are compared: dispatched, a bare process, a bare container."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.cloud import Cloud
from benchmarks.processes import MARK
from benchmarks.race import Trip
from benchmarks.run import LABEL, MINIMAL, ROOT, Run
from benchmarks.websocket import (
    Address,
    WebSocket,
    connect,
    connect_when_there,
    free_ports,
)

PORT = 8080


@dataclass(frozen=True)
class Program:
    """A container's program as a bare process."""

    argv: tuple[str, ...]
    folder: Path


SESSION = Program((sys.executable, "-m", "session_handler"), ROOT)
MINIMAL_SERVER = Program((sys.executable, "-I", "-S", "server.py"), MINIMAL)


def session_environment(ready: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the session container; with the feed if the READY line of a cloud is
    given.
    """
    environment = {
        "SESSION_ID": "benchmark",
        "SESSION_UUID": str(uuid.uuid4()),
        "SESSION_APP_NAME": "session",
        "SESSION_REVISION": "1",
        "CONNECT_DEADLINE_SECONDS": "60",
    }
    if ready:
        environment |= {
            "FEED_URL": f"kinesis://{ready['stream']}",
            "AWS_ENDPOINT_URL": ready["aws"],
            "AWS_REGION": ready["region"],
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
    return environment


def start_bare(
    run: Run, program: Program, port: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start it as a plain process that listens on `port`."""
    return subprocess.Popen(
        program.argv,
        cwd=program.folder,
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            MARK: run.mark,
            "SESSION_PORT": str(port),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end_bare(process: subprocess.Popen[bytes]) -> None:
    """Kill it and wait for its end."""
    process.kill()
    process.wait()


@dataclass
class Feed:
    """What a client of the session container receives after the websocket is open."""

    cloud: Cloud

    def follow(self, trip: Trip, websocket: WebSocket) -> None:
        """Until `hello`, then until a record that is put at this very moment."""
        websocket.receive()
        trip.reached("hello")
        self.cloud.put_record()
        while json.loads(websocket.receive())["type"] != "records":
            pass
        trip.reached("first record")


class Following:
    """The part of a contestant after the open websocket."""

    feed: Feed | None
    _websocket: WebSocket

    def go_on(self, trip: Trip) -> None:
        """See `Contestant`."""
        if self.feed:
            self.feed.follow(trip, self._websocket)

    def opened(self, trip: Trip, websocket: WebSocket) -> None:
        """The websocket is there."""
        trip.reached("open")
        trip.undo.append(websocket.close)
        self._websocket = websocket


class BareProcess(Following):
    """The program of a container as a plain process, until its websocket is open."""

    floor: ClassVar[str | None] = None

    def __init__(self, name: str, run: Run, program: Program, feed: Feed | None = None) -> None:
        self.name = name
        self.feed = feed
        self._run = run
        self._program = program

    def go(self, trip: Trip) -> None:
        """See `Contestant`."""
        environment = session_environment(self.feed.cloud.ready if self.feed else None)
        [port] = free_ports(1)
        process = start_bare(self._run, self._program, port, environment)
        trip.undo.append(lambda: end_bare(process))
        address = Address("127.0.0.1", port, f"/{environment['SESSION_UUID']}")
        self.opened(trip, connect_when_there(address, trip.over))

    def settle(self) -> None:
        """Nothing is left when its trips have ended."""


class BareContainer(Following):
    """`docker run` of the very same image, until its websocket is open."""

    floor: ClassVar[str | None] = None
    feed = None

    def __init__(self, name: str, run: Run, image: str) -> None:
        self.name = name
        self._run = run
        self._image = image

    def go(self, trip: Trip) -> None:
        """See `Contestant`. Connecting before the start returned would hold the start up."""
        environment = session_environment()
        [port] = free_ports(1)
        name = f"usher-benchmark-{uuid.uuid4().hex[:12]}"
        command = ["docker", "run", "--detach", "--rm", "--name", name]
        command += ["--label", f"{LABEL}={self._run.mark}"]
        command += ["--publish", f"127.0.0.1:{port}:{PORT}"]
        for variable, value in environment.items():
            command += ["--env", f"{variable}={value}"]
        trip.undo.append(lambda: _remove(name))
        subprocess.run(
            [*command, self._image], check=True, stdout=subprocess.DEVNULL, start_new_session=True
        )
        address = Address("127.0.0.1", port, f"/{environment['SESSION_UUID']}")
        self.opened(trip, connect_when_there(address, trip.over))

    def settle(self) -> None:
        """Nothing is left when its trips have ended."""


def _remove(container: str) -> None:
    subprocess.run(
        ["docker", "rm", "--force", "--volumes", container],
        check=False,
        capture_output=True,
        start_new_session=True,
    )


class Dispatched(Following):
    """GET /session, then the websocket that the answer names."""

    def __init__(
        self, name: str, cloud: Cloud, app: str, floor: str, feed: Feed | None = None
    ) -> None:
        self.name = name
        self.floor: str | None = floor
        self.feed = feed
        self._cloud = cloud
        self._app = app

    def go(self, trip: Trip) -> None:
        """See `Contestant`."""
        address = self._cloud.get_session(self._app)
        trip.reached("address")
        self.opened(trip, connect(address))

    def settle(self) -> None:
        """Return when the containers are gone."""
        self._cloud.wait_idle()
