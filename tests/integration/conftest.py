"""The embedded cloud for integration tests: a real `python -m local up` on free ports.

`cloud` is shared by the tests of a module, `start_cloud(**options)` starts one of its own for a
test that kills or bends it. Both are checked at the end: exit code 0, no process, no folder left.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from local.aws.endpoint import OBSERVER
from tests.api_document import check_answer
from tests.kinesis_server import FakeKinesis
from tests.session_process import CallbackServer, SessionProcess

if TYPE_CHECKING:
    from tests.integration.group_lab import GroupLab
    from tests.integration.job_lab import JobLab
    from tests.integration.lab import Lab

ROOT = Path(__file__).parent.parent.parent
FIXTURES_APP = Path(__file__).parent / "fixtures_app"
START_SECONDS = 90
STOP_SECONDS = 30
LAG_SECONDS = float(os.environ.get("LAG", "1"))
"""By how much, at most, DynamoDB's indexes and ECS's lists lag in every cloud of the tests;
`LAG=10 make test` makes it ten seconds, `LAG=0` none.
"""


def wait_until(
    condition: Callable[[], Any],
    seconds: float = 15.0,
    what: str = "the condition",
    *,
    every: float = 0.02,
) -> Any:
    """Ask every so many seconds until the answer is true, and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        threading.Event().wait(every)


def processes_of(run_id: str) -> list[int]:
    """Processes that carry this run's id in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"USHER_LOCAL_RUN={run_id}".encode() in environment.split(b"\0"):
            found.append(int(folder.name))
    return found


@dataclass
class RunningCloud:
    """A running `local up`. `ready` is its READY line."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    errors: list[str]
    folder: Path
    is_checked: bool = True
    """Whether each answer of its dispatcher must be one of the API's document: not for the apps
    of tests, which have routes of their own."""
    _clients: dict[tuple[str, bool], Any] = field(default_factory=dict)

    @property
    def dispatcher(self) -> str:
        return self.ready["dispatcher"]

    @property
    def aws(self) -> str:
        return self.ready["aws"]

    @property
    def stream(self) -> str:
        return self.ready["stream"]

    @property
    def run_id(self) -> str:
        return self.ready["run"]

    def client(self, service: str, *, counted: bool = False) -> Any:
        """A boto3 client. Unless `counted`, neither counted nor hit by fault switches."""
        key = (service, counted)
        if key not in self._clients:
            self._clients[key] = boto3.session.Session().client(
                service,
                endpoint_url=self.aws,
                region_name=self.ready["region"],
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(
                    user_agent_extra="" if counted else OBSERVER,
                    max_pool_connections=64,
                    retries={"total_max_attempts": 1},
                ),
            )
        return self._clients[key]

    def http(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> tuple[int, Any]:
        """A request to the dispatcher; status and parsed JSON (or text)."""
        url = self.dispatcher + path
        status, received, content = exchange(method, url, body, headers, timeout)
        if self.is_checked:
            check_answer(method, url, status, received, content)
        return status, _parsed(content)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request to /_local/…; fails unless it is answered with 200."""
        status, answer = request(method, f"{self.aws}/_local/{path}", body)
        assert status == 200, answer
        return answer

    def faults(self, **switches: Any) -> None:
        """Replace all fault switches by these; see local/aws/faults.py."""
        self.control("PUT", "faults", switches)

    def state(self) -> dict[str, Any]:
        """See GET /_local/state."""
        return self.control("GET", "state")

    def tasks(self, *, stopped: bool = False) -> list[dict[str, Any]]:
        """Returns the engine's tasks; stopped ones only with `stopped`."""
        tasks = self.state()["tasks"]
        return [task for task in tasks if stopped or task["lastStatus"] != "STOPPED"]

    def fire(self, function: str, event: Any = None) -> dict[str, Any]:
        """Run a function now and wait for its end: {"function", "error", "payload"}."""
        document = {"function": function} | ({} if event is None else {"event": event})
        return self.control("POST", "fire", document)

    def logs(self) -> str:
        """Returns the dispatcher's log so far."""
        log = self.folder / self.run_id / "logs" / "dispatcher.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def why_containers_failed(self) -> str:
        """The last lines of what each container printed that ended with another code than 0."""
        logs = self.folder / self.run_id / "logs"
        failed = [
            task["taskArn"].rpartition("/")[2]
            for task in self.tasks(stopped=True)
            if any(container.get("exitCode") for container in task["containers"])
        ]
        ends = [
            f"{path.name}:\n{path.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            for path in sorted(logs.rglob("*"))
            if path.is_file() and any(task in str(path.relative_to(logs)) for task in failed)
        ]
        return "\n".join(ends) or f"{len(failed)} containers failed; no log of them"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask for the end and wait for it."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def assert_nothing_left(self) -> None:
        """No process of this run, no folder of it."""
        assert processes_of(self.run_id) == []
        assert not (self.folder / self.run_id).exists()


def request(
    method: str,
    url: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    timeout: float = 60,
) -> tuple[int, Any]:
    """One HTTP request with a JSON body, or bytes as they are; status and parsed answer."""
    status, _, content = exchange(method, url, body, headers, timeout)
    return status, _parsed(content)


def exchange(
    method: str, url: str, body: Any, headers: dict[str, str] | None, timeout: float
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP request as `request` sends it; status, headers and body of the answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} | (headers or {})
    outgoing = urllib.request.Request(url, data, given, method=method)
    try:
        with urllib.request.urlopen(outgoing, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


class UpFailedError(Exception):
    """`local up` ended before it was ready."""


def up_command(**options: Any) -> list[str]:
    """The command line of `local up`, on free ports; `host_cpu=64` is `--host-cpu 64`."""
    given = {"port": 0, "aws_port": 0, "runtime": "process", "feed": "none"}
    given |= {"functions": os.environ.get("FUNCTIONS", "shared")}
    given |= {"index_lag": LAG_SECONDS, "task_lag": LAG_SECONDS} | options
    command = [sys.executable, "-m", "local", "up"]
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            command.append(flag)
        elif value is not None and value is not False:
            for one in value if isinstance(value, list) else [value]:
                command += [flag, str(one)]
    return command


def launch(folder: Path, **options: Any) -> RunningCloud:
    """Start `local up`, with the folders of its runs below `folder`, and wait for READY."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder)}
    environment |= options.pop("environment", {})
    is_checked = "project_dir" not in options
    process = subprocess.Popen(
        up_command(**options),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors: list[str] = []
    threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True).start()
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    line = process.stdout.readline()
    watchdog.cancel()
    if not line.startswith("READY "):
        code = process.wait(STOP_SECONDS)
        raise UpFailedError(f"exit {code}\n" + "".join(errors))
    ready = json.loads(line.removeprefix("READY "))
    return RunningCloud(process, ready, errors, folder / "usher", is_checked)


def finish(running: RunningCloud) -> None:
    """End it unless the test did, and check that it ended well."""
    ended_by_test = running.process.poll() is not None
    try:
        if not ended_by_test:
            assert running.stop() == 0, "".join(running.errors)
            running.assert_nothing_left()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        running.process.stdout.close()


@pytest.fixture
def kinesis() -> Iterator[FakeKinesis]:
    """A fake Kinesis with one shard."""
    with FakeKinesis() as made:
        yield made


@pytest.fixture
def callbacks() -> Iterator[CallbackServer]:
    """A dispatcher for the callbacks of session containers."""
    with CallbackServer() as made:
        yield made


@pytest.fixture
def session(kinesis: FakeKinesis, callbacks: CallbackServer) -> Iterator[SessionProcess]:
    """A session container that is ready."""
    with SessionProcess(kinesis, callbacks) as made:
        yield made.until_ready()


@pytest.fixture(scope="module")
def few_partitions() -> Iterator[None]:
    """Live records have two partitions instead of eight, which each sweep reads one by one."""
    from tests.integration import crash_points

    with crash_points.few_partitions():
        yield


@pytest.fixture(scope="module")
def session_lab(few_partitions: None) -> "Iterator[Lab]":
    """A laboratory of sessions; `fresh` empties it for a test."""
    from tests.integration.lab import Lab

    with closing(Lab()) as made:
        yield made


@pytest.fixture(scope="module")
def job_lab(few_partitions: None) -> "Iterator[JobLab]":
    """A laboratory of jobs; `begin` empties it for a test."""
    from tests.integration.job_lab import JobLab

    with closing(JobLab()) as made:
        yield made


@pytest.fixture(scope="module")
def group_lab(few_partitions: None) -> "Iterator[GroupLab]":
    """A laboratory of capacity groups; `begin_groups` empties it for a test."""
    from tests.integration.group_lab import GroupLab

    with closing(GroupLab()) as made:
        yield made


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """A cloud with this project's own dispatcher, for all tests of a module."""
    running = launch(tmp_path_factory.mktemp("runs"))
    yield running
    finish(running)


@pytest.fixture
def start_cloud(tmp_path: Path) -> Iterator[Callable[..., RunningCloud]]:
    """Start clouds of one's own: `start_cloud(hosts=1, host_cpu=256, apps=FILE)`."""
    started: list[RunningCloud] = []

    def start(**options: Any) -> RunningCloud:
        started.append(launch(tmp_path, **options))
        return started[-1]

    yield start
    for running in started:
        finish(running)


@pytest.fixture(scope="module")
def start_shared_cloud(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningCloud]]:
    """As `start_cloud`, for a cloud that all tests of a module share, which is a launch for each
    less: for tests that leave one another's users, jobs and settings alone.
    """
    started: list[RunningCloud] = []

    def start(**options: Any) -> RunningCloud:
        started.append(launch(tmp_path_factory.mktemp("runs"), **options))
        return started[-1]

    yield start
    for running in started:
        finish(running)


@pytest.fixture(scope="module")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """A cloud that runs tests/integration/fixtures_app: one function for each event source."""
    running = launch(tmp_path_factory.mktemp("runs"), project_dir=FIXTURES_APP)
    yield running
    finish(running)


@pytest.fixture
def start_fixture_cloud(
    start_cloud: Callable[..., RunningCloud],
) -> Callable[..., RunningCloud]:
    """As `start_cloud`, with the app of `fixture_cloud`."""
    return lambda **options: start_cloud(project_dir=FIXTURES_APP, **options)
