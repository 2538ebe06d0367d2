"""A JupyterHub as a peer: it starts the minimal server for a user and proxies the websocket.

The hub has a virtual environment and a node_modules directory in benchmarks/peers/jupyterhub,
created when they are first needed.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cloud import request
from benchmarks.contestants import MINIMAL_SERVER, Following
from benchmarks.processes import MARK
from benchmarks.race import Trip
from benchmarks.run import MINIMAL, Run, SkipError
from benchmarks.websocket import SECONDS, Address, connect_when_there, free_ports

PEER = Path(__file__).parent / "peers" / "jupyterhub"
PYTHON = PEER / ".venv" / "bin" / "python"
PROXY = PEER / "node_modules" / ".bin" / "configurable-http-proxy"
INSTALL_SECONDS = 600
START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True)
class Hub:
    """A running hub, with users who have no server yet."""

    port: int
    token: str
    users: "queue.Queue[str]"

    def api(self, method: str, path: str) -> tuple[int, Any]:
        """A request to the hub's API, through its proxy as its clients come."""
        base = f"http://127.0.0.1:{self.port}"
        headers = {"Authorization": f"token {self.token}"}
        return request(base, method, f"/hub/api{path}", headers=headers)


class JupyterHub(Following):
    """A contestant: ask for a user's server, then open a websocket to it through the proxy."""

    name = "jupyterhub"
    feed = None

    def __init__(self, hub: Hub, floor: str) -> None:
        self.floor: str | None = floor
        self._hub = hub

    def go(self, trip: Trip) -> None:
        """See `Contestant`. The request is answered when the server runs."""
        user = self._hub.users.get()
        trip.undo.append(lambda: self._stop(user))
        status, body = self._hub.api("POST", f"/users/{user}/server")
        if status != 201:
            raise RuntimeError(f"JupyterHub: {status} {body}")
        trip.reached("address")
        address = Address("127.0.0.1", self._hub.port, f"/user/{user}/ws")
        self.opened(trip, connect_when_there(address, trip.over))

    def settle(self) -> None:
        """Nothing is left when its trips have ended."""

    def _stop(self, user: str) -> None:
        deadline = time.monotonic() + SECONDS
        while self._hub.api("DELETE", f"/users/{user}/server")[0] == 202:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server of {user} does not stop")
            time.sleep(0.05)
        self._hub.users.put(user)


@contextmanager
def running_hub(run: Run, users: int, image: str | None) -> Iterator[Hub]:
    """A hub whose single-user server is the minimal one: a process, or a container of `image`.

    Raises SkipError where it cannot be installed.
    """
    install(run)
    run.say(f"starting a JupyterHub with {'DockerSpawner' if image else 'local processes'}")
    port, hub_port, proxy_port = free_ports(3)
    hub = Hub(port, uuid.uuid4().hex, queue.Queue())
    with tempfile.TemporaryDirectory(prefix="usher-benchmark-hub-") as folder:
        given = {
            "port": port,
            "hub_port": hub_port,
            "proxy_port": proxy_port,
            "proxy": [str(PROXY)],
            "folder": folder,
            "token": hub.token,
            "mark": run.mark,
            "image": image,
            "command": [*MINIMAL_SERVER.argv[:-1], str(MINIMAL / "server.py")],
        }
        log = (Path(folder) / "log").open("w+", encoding="utf-8")
        process = subprocess.Popen(
            [str(PYTHON), "-m", "jupyterhub", "--config", str(PEER / "jupyterhub_config.py")],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": folder,
                MARK: run.mark,
                "USHER_BENCHMARK_HUB": json.dumps(given),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        with log, process:
            try:
                _wait_ready(hub, process, Path(folder) / "log")
                _add_users(hub, users)
                yield hub
            finally:
                process.send_signal(signal.SIGTERM)  # it stops its servers and its proxy
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def install(run: Run) -> None:
    """Install it where that was not done yet. Raises SkipError where it cannot be."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        raise SkipError("JupyterHub's proxy needs Node.js and npm")
    wanted = (PEER / "requirements.txt").read_text(encoding="utf-8")
    done = PEER / ".venv" / "installed.txt"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted and PROXY.exists():
        return
    run.say("installing JupyterHub (once, about a minute)")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(PYTHON.parents[1])],
        [*pip, "--requirement", str(PEER / "requirements.txt")],
        [npm, "install", "--no-audit", "--no-fund", "--loglevel", "error"],
    ):
        try:
            subprocess.run(
                command,
                cwd=PEER,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            output = (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]
            raise SkipError(f"JupyterHub cannot be installed: {output}") from error
    done.write_text(wanted, encoding="utf-8")


def _wait_ready(hub: Hub, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if hub.api("GET", "/users")[0] == 200:
                return
        except (OSError, ValueError):
            pass  # the proxy is not there yet, or says in HTML that the hub is not
        time.sleep(0.1)
    output = log.read_text(encoding="utf-8")[-2000:]
    raise RuntimeError(f"JupyterHub did not start:\n{output}")


def _add_users(hub: Hub, count: int) -> None:
    for number in range(count):
        user = f"user{number}"
        status, body = hub.api("POST", f"/users/{user}")
        if status != 201:
            raise RuntimeError(f"JupyterHub: {status} {body}")
        hub.users.put(user)
