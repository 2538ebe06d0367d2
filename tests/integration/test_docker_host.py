"""Containers of a real Docker Engine, from images built here."""

import http.client
import http.server
import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.hosts.base import (
    CannotPullImageError,
    CannotStartError,
    ContainerSpec,
    Exit,
    HostDownError,
    PortMapping,
)
from local.hosts.docker import DockerHost, DockerRuntime, docker_available, remove_leftovers
from local.hosts.docker_engine import connect
from local.hosts.docker_requests import LOG_BYTES, OUT_OF_MEMORY, Label
from local.hosts.image_builder import KEPT_VERSIONS, ImageBuilder
from local.hosts.images import ImageSource
from tests.needs import needs_docker

PATIENCE_SECONDS = 60.0

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /app
COPY server.py .
USER 65534:65534
ENTRYPOINT ["python", "server.py"]
"""

SERVER = """\
import http.server, json, os, signal

def status():
    lines = open("/proc/self/status").read().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

def root():
    try:
        open("/app/written", "w")
    except OSError as error:
        return error.strerror
    return "writable"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = {"uid": os.getuid(), "root": root(), "pid": os.getpid(),
                "greeting": os.environ["GREETING"], "no_new_privileges": status()["NoNewPrivs"],
                "capabilities": [int(status()[kind], 16) for kind in ("CapEff", "CapBnd")]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(seen).encode())

signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
print("listening", flush=True)
http.server.HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def eventually(attempt: Callable[[], Any]) -> Any:
    """Returns the first true result of `attempt`, which is called again after a false one or
    OSError.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while True:
        try:
            if result := attempt():
                return result
        except OSError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def get(port: int, address: str = "127.0.0.1") -> Any:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        return json.loads(connection.getresponse().read())
    except http.client.HTTPException as error:
        raise OSError(error) from error
    finally:
        connection.close()


def spec(*code: str, port: int | None = None, **changes: Any) -> ContainerSpec:
    """The server, or with `code` a Python program of that text."""
    plain = ContainerSpec(
        task_id=secrets.token_hex(16),
        name="session",
        image="usher-test",
        entry_point=["python", "-c", *code] if code else None,
        command=None,
        environment={"GREETING": "hello"},
        ports=[PortMapping(8080, port)] if port else [],
        cpu_units=128,
        memory_mib=64,
        user=None,
        read_only_root=True,
        drop_capabilities=("ALL",),
        init_process=True,
        tmpfs={"/tmp": 8},
        ulimits={"nofile": (256, 512)},
    )
    return replace(plain, **changes)


class Exits:
    """Collects the exits passed to `on_exit`; `next()` waits for one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Exit] = queue.SimpleQueue()

    def __call__(self, end: Exit) -> None:
        self._queue.put(end)

    def next(self) -> Exit:
        return self._queue.get(timeout=PATIENCE_SECONDS)

    def none(self) -> bool:
        return self._queue.empty()


def runs_in_engine() -> set[str]:
    client = connect()
    try:
        filters = {"label": [str(Label.RUN)]}
        things = client.containers(all=True, filters=filters) + client.networks(filters=filters)
        return {thing["Labels"][Label.RUN] for thing in things}
    finally:
        client.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> ImageSource:
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "server.py").write_text(SERVER)
    return ImageSource("usher-test", folder / "Dockerfile", folder)


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


def new_runtime(source: ImageSource, logs: Path | None = None) -> DockerRuntime:
    return DockerRuntime(f"test-{secrets.token_hex(6)}", [source], logs=logs)


@pytest.fixture(scope="module")
def runtime(source: ImageSource, logs: Path) -> Iterator[DockerRuntime]:
    with new_runtime(source, logs) as runtime:
        yield runtime
    assert runtime.run_id not in runs_in_engine()


@pytest.fixture
def host(runtime: DockerRuntime) -> Iterator[DockerHost]:
    host = DockerHost(runtime, f"host-{secrets.token_hex(4)}")
    yield host
    host.close()


@needs_docker
def test_docker_is_available():
    assert docker_available() is None


def test_why_docker_is_not_available(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert docker_available().startswith("no Docker Engine answers")


@needs_docker
def test_a_container_serves_on_loopback_and_nowhere_else(runtime, host):
    port = free_port()
    host.start(spec(port=port), Exits())
    assert eventually(lambda: get(port))["greeting"] == "hello"
    with pytest.raises(ConnectionRefusedError):
        get(port, runtime.gateway)


@needs_docker
def test_a_container_has_no_rights_to_spare(host):
    port = free_port()
    host.start(spec(port=port), Exits())
    seen = eventually(lambda: get(port))
    assert seen["uid"] == 65534
    assert seen["root"] == "Read-only file system"
    assert seen["capabilities"] == [0, 0], "neither now nor after any exec"
    assert seen["no_new_privileges"] == "1"
    assert seen["pid"] != 1, "an init process was asked for"


@needs_docker
def test_limits_are_set_inside(host, runtime, logs):
    exits = Exits()
    task = spec(
        "import os, resource\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), os.statvfs('/tmp').f_blocks * 4096)"
    )
    host.start(task, exits)
    assert exits.next() == Exit(0)
    kept = logs / f"{task.task_id}.log"
    eventually(lambda: kept.exists() and kept.read_text())
    assert kept.read_text() == f"(256, 512) {8 * 1024 * 1024}\n"


@needs_docker
def test_output_is_kept_up_to_a_limit(host, logs):
    exits = Exits()
    task = spec(
        f"print('x' * 999 + '\\n' * 1, end='')\nfor n in range({2 * LOG_BYTES // 100}):"
        " print('y' * 99)\nprint('last words')"
    )
    host.start(task, exits)
    assert exits.next() == Exit(0)
    kept = logs / f"{task.task_id}.log"
    eventually(lambda: kept.exists() and kept.read_text().endswith("last words\n"))
    assert kept.stat().st_size <= LOG_BYTES


@needs_docker
def test_a_container_that_takes_too_much_memory_is_killed_for_it(host):
    exits = Exits()
    host.start(spec("x = []\nwhile True: x.append(bytearray(1 << 20))", memory_mib=32), exits)
    assert exits.next() == Exit(137, OUT_OF_MEMORY)


@needs_docker
@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", 7), ("SIGKILL", 137)])
def test_signals_end_a_container_with_their_code(host, signal, code):
    exits = Exits()
    port = free_port()
    container = host.start(spec(port=port), exits)
    eventually(lambda: get(port))
    host.signal(container, signal)
    assert exits.next() == Exit(code)
    host.signal(container, signal)
    eventually(lambda: _is_gone(container))
    host.signal(container, signal)
    assert exits.none(), "an end is reported once"


def _is_gone(container: str) -> bool:
    client = connect()
    try:
        return not client.containers(all=True, filters={"id": container})
    finally:
        client.close()


@needs_docker
@pytest.mark.parametrize("code", [0, 3, 137])
def test_exit_codes_are_those_of_the_program(host, code):
    exits = Exits()
    host.start(spec(f"raise SystemExit({code})"), exits)
    assert exits.next() == Exit(code)


@needs_docker
def test_an_image_that_is_nowhere_cannot_be_pulled(host):
    exits = Exits()
    with pytest.raises(CannotPullImageError, match=r"^CannotPullContainerError: .*/nowhere:latest"):
        host.start(spec(image="localhost:1/nowhere"), exits)
    assert exits.none()


@needs_docker
def test_an_image_that_does_not_build_cannot_be_pulled(tmp_path, source):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE + "RUN echo going wrong && exit 3\n")
    (tmp_path / "server.py").write_text("")
    broken = ImageSource("usher-broken", tmp_path / "Dockerfile", tmp_path)
    with new_runtime(broken) as runtime:
        host = DockerHost(runtime, "host")
        with pytest.raises(CannotPullImageError, match=r"cannot be built: .*going wrong"):
            host.start(spec(image="usher-broken"), Exits())


@needs_docker
def test_a_program_that_is_not_there_cannot_start(runtime, host):
    exits = Exits()
    with pytest.raises(CannotStartError, match=r"^CannotStartContainerError: .*no-such-program"):
        host.start(spec(entry_point=["no-such-program"], init_process=False), exits)
    eventually(lambda: not _containers_of(runtime, host))
    assert exits.none()


def _containers_of(runtime: DockerRuntime, host: DockerHost) -> list[Any]:
    filters = {"label": [f"{Label.HOST}={host.name}"]}
    return runtime.client.containers(all=True, filters=filters)


@needs_docker
def test_a_taken_port_is_a_failed_start(host):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotStartError):
        host.start(spec(port=taken.getsockname()[1]), Exits())


@needs_docker
def test_health_checks_run_inside(host):
    port = free_port()
    container = host.start(spec(port=port), Exits())
    fetch = "import urllib.request as u; u.urlopen('http://127.0.0.1:8080')"
    eventually(lambda: host.healthy(container, ["CMD", "python", "-c", fetch], 10.0))
    assert not host.healthy(container, ["CMD-SHELL", "exit 1"], 10.0)
    assert not host.healthy(container, ["CMD", "no-such-program"], 10.0)
    assert not host.healthy(container, ["CMD", "sleep", "60"], 0.2)
    assert not host.healthy("0" * 64, ["CMD", "true"], 10.0)


class Hello(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def loopback_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


ASK = """
import sys, urllib.request
body = b"0123456789" * 300_000
with urllib.request.urlopen("http://{address}:{port}", body, timeout=30) as answer:
    sys.exit(0 if answer.read() == body[::-1] else "other bytes came back")
"""


@needs_docker
def test_a_container_reaches_an_exposed_loopback_server(runtime, host, loopback_port):
    address = runtime.expose(loopback_port)
    assert runtime.expose(loopback_port) == address
    exits = Exits()
    for _ in range(3):
        host.start(spec(ASK.format(address=address, port=loopback_port)), exits)
    assert [exits.next() for _ in range(3)] == [Exit(0)] * 3


@needs_docker
def test_only_the_networks_own_addresses_reach_what_is_exposed(runtime, loopback_port):
    address = runtime.expose(loopback_port)
    with socket.create_connection(
        (address, loopback_port), timeout=5, source_address=("127.0.0.1", 0)
    ) as stranger:
        stranger.settimeout(5)
        assert stranger.recv(1) == b"", "the connection is closed before a word is passed on"


@needs_docker
def test_nothing_that_is_not_exposed_can_be_reached(runtime, host, loopback_port):
    exits = Exits()
    host.start(spec(ASK.format(address=runtime.gateway, port=loopback_port)), exits)
    assert exits.next().code == 1


@needs_docker
def test_containers_cannot_reach_each_other(runtime, host):
    port = free_port()
    first = host.start(spec(port=port), Exits())
    eventually(lambda: get(port))
    networks = runtime.client.inspect_container(first)["NetworkSettings"]["Networks"]
    (address,) = [network["IPAddress"] for network in networks.values()]
    exits = Exits()
    connect_to = f"import socket; socket.create_connection(('{address}', 8080), timeout=2)"
    host.start(spec(connect_to), exits)
    assert exits.next().code == 1


@needs_docker
def test_an_end_is_learned_after_the_event_stream_broke(runtime, host):
    exits = Exits()
    port = free_port()
    container = host.start(spec(port=port), exits)
    eventually(lambda: get(port))
    runtime.exits.interrupt()
    host.signal(container, "SIGKILL")
    assert exits.next() == Exit(137)


@needs_docker
def test_a_killed_host_takes_its_containers_along_without_a_word(runtime, host):
    doomed = DockerHost(runtime, f"host-{secrets.token_hex(4)}")
    silent, received = Exits(), Exits()
    for _ in range(2):
        doomed.start(spec(), silent)
    survivor = host.start(spec(), received)
    doomed.kill()
    assert not doomed.alive
    assert host.alive
    with pytest.raises(HostDownError):
        doomed.start(spec(), silent)
    eventually(lambda: not _containers_of(runtime, doomed))
    assert silent.none()
    host.signal(survivor, "SIGKILL")
    assert received.next() == Exit(137)


@needs_docker
def test_closing_leaves_nothing_and_reports_the_ends(source):
    exits = Exits()
    runtime = new_runtime(source)
    hosts = [DockerHost(runtime, name) for name in ("one", "two")]
    for host in hosts:
        host.start(spec(), exits)
    assert runtime.run_id in runs_in_engine()
    hosts[0].close()
    assert exits.next() == Exit(137)
    assert not _containers_of(runtime, hosts[0])
    runtime.close()
    runtime.close()
    assert exits.next() == Exit(137)
    assert runtime.run_id not in runs_in_engine()
    with pytest.raises(HostDownError):
        hosts[1].start(spec(), exits)


@needs_docker
def test_starts_that_are_under_way_do_not_outlive_the_close(source):
    runtime = new_runtime(source)
    host = DockerHost(runtime, "host")
    host.start(spec(), Exits())
    results: queue.SimpleQueue[object] = queue.SimpleQueue()

    def start() -> None:
        try:
            results.put(host.start(spec(), Exits()))
        except HostDownError as error:
            results.put(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    runtime.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert results.qsize() == 4
    assert runtime.run_id not in runs_in_engine()


@needs_docker
def test_closing_waits_for_a_start_that_waits_for_its_image(source):
    pulling, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        pulling.set()
        go_on.wait(PATIENCE_SECONDS)

    runtime = DockerRuntime(f"test-{secrets.token_hex(6)}", [source], on_progress=hold)
    happened: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start() -> None:
        with pytest.raises(CannotPullImageError):
            DockerHost(runtime, "host").start(spec(image="localhost:1/nowhere"), Exits())
        happened.put("the start ended")

    def close() -> None:
        runtime.close()
        happened.put("the close ended")

    starting, closing = threading.Thread(target=start), threading.Thread(target=close)
    starting.start()
    assert pulling.wait(PATIENCE_SECONDS)
    closing.start()
    eventually(lambda: not DockerHost(runtime, "host").alive)
    closing.join(0.5)
    go_on.set()
    starting.join(PATIENCE_SECONDS)
    closing.join(PATIENCE_SECONDS)
    assert [happened.get_nowait() for _ in range(2)] == ["the start ended", "the close ended"]


@needs_docker
def test_only_the_newest_versions_of_an_image_stay(tmp_path):
    client = connect()
    name = f"usher-test-{secrets.token_hex(4)}"
    for version in range(KEPT_VERSIONS + 1):
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\nENV VERSION={version}\n")
        image = ImageSource(name, tmp_path / "Dockerfile", tmp_path)
        built = ImageBuilder(client, [image], lambda _: None).image(name)
    kept = [tag for image in client.images(name) for tag in image["RepoTags"]]
    for tag in kept:
        client.remove_image(tag)
    client.close()
    assert len(kept) == KEPT_VERSIONS
    assert built in kept


@needs_docker
def test_an_image_to_build_on_that_was_removed_since_is_built_again(tmp_path):
    client = connect()
    base, above = (f"usher-test-{secrets.token_hex(4)}" for _ in "12")
    sources = []
    for name, below in ((base, "scratch"), (above, base)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"FROM {below}\nENV A=1\n")
        sources.append(ImageSource(name, tmp_path / name / "Dockerfile", tmp_path / name))
    builder = ImageBuilder(client, sources, lambda _: None)
    try:
        client.remove_image(builder.image(base))
        assert builder.image(above) in client.images(above)[0]["RepoTags"]
    finally:
        for name in (above, base):
            for image in client.images(name):
                client.remove_image(image["RepoTags"][0])
        client.close()


@needs_docker
def test_what_a_dead_run_left_is_removed_and_a_live_runs_stays(source):
    with new_runtime(source) as live, new_runtime(source) as dead:
        for runtime in (live, dead):
            DockerHost(runtime, "host").start(spec(), Exits())
        assert remove_leftovers(lambda run_id: run_id == dead.run_id) == [dead.run_id]
        found = runs_in_engine()
        assert live.run_id in found
        assert dead.run_id not in found


@needs_docker
def test_an_unchanged_image_is_not_built_again(source, tmp_path):
    said: list[str] = []
    for _ in range(2):
        with DockerRuntime(f"test-{secrets.token_hex(6)}", [source], on_progress=said.append) as it:
            first = it.images.image("usher-test")
    said.clear()
    with DockerRuntime(f"test-{secrets.token_hex(6)}", [source], on_progress=said.append) as again:
        assert again.images.image("usher-test:latest") == first
    assert said == []
