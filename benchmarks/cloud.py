"""A real `python -m local up` to measure, on free ports."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.run import MINIMAL, MINIMAL_IMAGE, ROOT, Run
from benchmarks.websocket import SECONDS, Address

STOP_SECONDS = 60
APPS = f"""
default = "session"

[apps.session]
image = "usher-session"
cpu = 16
memory = 96

[apps.minimal]
image = "{MINIMAL_IMAGE}"
cpu = 16
memory = 64
needs_aws = false
"""


class NotServedError(Exception):
    """The dispatcher gave no address."""


@dataclass
class Cloud:
    """A running one."""

    ready: dict[str, Any]
    run: Run
    pid: int
    """Process id of the command, which serves AWS."""
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def dispatcher_pid(self) -> int:
        """Process id of the dispatcher."""
        return int(self.state()["dispatcher"]["pid"])

    def get_session(self, app: str = "session", wait: int = 25) -> Address:
        """GET /session. Raises NotServedError for any answer without an address."""
        status, body = self.request("GET", f"/session?app={app}&wait={wait}")
        if status != 200:
            raise NotServedError(f"{status} {body}")
        return Address(body["ip"], body["port"], body["path"])

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A request to the dispatcher on a new connection, like a new user's."""
        return request(self.ready["dispatcher"], method, path, body, headers)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request to /_local/…; RuntimeError unless it is answered with 200."""
        status, answer = request(self.ready["aws"], method, f"/_local/{path}", body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer}")
        return answer

    def state(self) -> dict[str, Any]:
        """See `local.aws.control`."""
        found: dict[str, Any] = self.control("GET", "state")
        return found

    def calls(self) -> Counter[str]:
        """How often each AWS call was made until now."""
        return Counter(self.state()["calls"])

    def sweep(self) -> None:
        """Run the dispatcher's sweep, which also looks after the pool."""
        self.control("POST", "fire", {"function": "sweep"})

    def client(self, service: str) -> Any:
        """A boto3 client whose calls are not counted."""
        import boto3
        from botocore.config import Config

        from local.aws.endpoint import OBSERVER

        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,
                endpoint_url=self.ready["aws"],
                region_name=self.ready["region"],
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(user_agent_extra=OBSERVER, max_pool_connections=64),
            )
        return self._clients[service]

    def put_record(self) -> None:
        """One small record into the stream."""
        data = json.dumps({"id": "1", "at": time.time()}).encode()
        self.client("kinesis").put_record(
            StreamName=self.ready["stream"], Data=data, PartitionKey="1"
        )

    def wait_idle(self, tasks: int = 0) -> None:
        """Return when at most `tasks` tasks live, and none is starting or stopping."""
        deadline = time.monotonic() + SECONDS
        while True:
            state = self.state()
            living = sum(1 for task in state["tasks"] if task["lastStatus"] != "STOPPED")
            if living <= tasks and not state["pending"]:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{living} tasks live, {state['pending']} events pending")
            time.sleep(0.05)


@contextmanager
def running_cloud(
    run: Run,
    runtime: str = "process",
    **options: Any,
) -> Iterator[Cloud]:
    """Start one, and end it: `pool=100` is `--pool 100`; `environment` is the dispatcher's.

    It gets a session of its own, because Ctrl-C reaches a whole terminal, and a second signal
    would make it leave things behind.
    """
    run.say(f"starting a cloud, runtime {runtime} {options or ''}")
    with tempfile.TemporaryDirectory(prefix="usher-benchmark-") as folder:
        apps = Path(folder) / "apps.toml"
        apps.write_text(APPS, encoding="utf-8")
        given: dict[str, Any] = {
            "port": 0,
            "aws_port": 0,
            "feed": "none",
            "runtime": runtime,
            "apps": apps,
        }
        given |= {"image": f"{MINIMAL_IMAGE}={MINIMAL}", **options}
        command = [sys.executable, "-m", "local", "up"]
        environment = given.pop("environment", {})
        for name, value in given.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        log = (Path(folder) / "log").open("w+", encoding="utf-8")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
            | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        with log, process:
            try:
                yield Cloud(_ready(process, log), run, process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _ready(process: subprocess.Popen[str], log: Any) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout else ""
    if not line.startswith("READY "):
        process.wait(STOP_SECONDS)
        log.seek(0)
        raise RuntimeError(f"the local cloud did not start:\n{log.read()}")
    ready: dict[str, Any] = json.loads(line.removeprefix("READY "))
    return ready


def request(
    base: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """One HTTP request with JSON in and out, on a new connection."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=SECONDS)
    try:
        data = None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json"} | dict(headers or {})
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()
