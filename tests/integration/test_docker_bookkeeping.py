"""The Docker host has the right state of a container after anything it does or is done to it."""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.aws.logs.streams import Stream
from local.hosts.base import (
    CannotPullImageError,
    CannotStartError,
    ContainerSpec,
    Exit,
    HostDownError,
)
from local.hosts.docker import DockerHost, DockerRuntime
from local.hosts.docker_engine import connect
from local.hosts.images import ImageSource
from tests.integration.test_docker_host import DOCKERFILE, SERVER, Exits, eventually, free_port, get
from tests.integration.test_docker_host import spec as plain_spec
from tests.needs import needs_docker

SOCKET = "/var/run/docker.sock"


def spec(*code: str, **changes: Any) -> ContainerSpec:
    """A task definition as in the other tests, with a log stream, as every job has one."""
    wanted = plain_spec(*code, **changes)
    return replace(wanted, log_stream=("group", wanted.task_id))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> ImageSource:
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "server.py").write_text(SERVER)
    return ImageSource("usher-test", folder / "Dockerfile", folder)


@pytest.fixture(scope="module")
def streams(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("streams")


def new_runtime(source: ImageSource, streams: Path) -> DockerRuntime:
    return DockerRuntime(f"test-{secrets.token_hex(6)}", [source], streams=streams)


@pytest.fixture(scope="module")
def runtime(source: ImageSource, streams: Path) -> Iterator[DockerRuntime]:
    with new_runtime(source, streams) as runtime:
        yield runtime


@pytest.fixture
def host(runtime: DockerRuntime) -> Iterator[DockerHost]:
    host = DockerHost(runtime, f"host-{secrets.token_hex(4)}")
    yield host
    host.close()


def lines_of(streams: Path, task: ContainerSpec) -> list[str]:
    return [event.message for event in Stream(streams, "group", task.task_id).forward(0).events]


@needs_docker
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entry_point": ["no-such-program"]}, "no-such-program"),
        ({"entry_point": ["/app/server.py"]}, "permission denied"),
        ({"entry_point": ["/etc/passwd"]}, "permission denied"),
        ({"entry_point": ["/etc"]}, "permission denied|is a directory"),
        ({"working_directory": "/app/server.py"}, "not a directory"),
        ({"user": "nobody-knows"}, "unable to find user nobody-knows"),
    ],
)
def test_a_container_that_cannot_start_is_refused_with_the_engines_words(
    runtime, host, changes, words
):
    exits = Exits()
    with pytest.raises(
        CannotStartError, match=rf"^Cannot(Start|Create)ContainerError: .*({words})"
    ):
        host.start(spec(init_process=False, **changes), exits)
    assert exits.none()
    assert host.alive


@needs_docker
@pytest.mark.parametrize("times", range(3))
def test_a_failed_start_holds_up_neither_its_host_nor_the_next_start(source, streams, times):
    del times  # the engine hangs up before or after us
    runtime = new_runtime(source, streams)
    host = DockerHost(runtime, "host")
    broken = spec(entry_point=["no-such-program"], init_process=False)
    with pytest.raises(CannotStartError):
        host.start(broken, Exits())
    exits, task = Exits(), spec("print('well')")
    host.start(task, exits)
    assert exits.next() == Exit(0)
    assert lines_of(streams, task) == ["well"]
    closing = threading.Thread(target=runtime.close)
    closing.start()
    closing.join(15)
    assert not closing.is_alive()


@needs_docker
def test_a_container_that_somebody_else_removes_has_ended(host):
    exits, port = Exits(), free_port()
    container = host.start(spec(port=port), exits)
    eventually(lambda: get(port))
    with contextlib.closing(connect()) as other:
        other.remove_container(container, force=True)
    assert exits.next() == Exit(137)
    host.signal(container, "SIGTERM")
    assert host.alive


@needs_docker
def test_what_it_prints_is_kept_byte_for_byte_as_far_as_lines_go(host, streams):
    code = (
        "import sys\n"
        "out = sys.stdout.buffer\n"
        "out.write(b'\\xff\\xfe not \\xc3( UTF-8\\n\\x00zero\\n')\n"
        "for _ in range(1600): out.write(b'x' * 65536)\n"
        "out.write(b'\\n')\n"
        "out.write(b'the end')\n"
    )
    exits, task = Exits(), spec(code)
    host.start(task, exits)
    assert exits.next() == Exit(0)
    stream, place, lines = Stream(streams, "group", task.task_id), 0, []
    while (page := stream.forward(place)).events:
        lines += [event.message for event in page.events]
        place = page.end
    assert lines[0] == "\ufffd\ufffd not \ufffd( UTF-8"
    assert lines[1] == "\x00zero"
    assert lines[-1] == "the end"
    assert sum(map(len, lines)) < 16 * 1024 * 1024


@needs_docker
def test_a_last_line_without_newline_is_no_part_of_what_stderr_says_next(host, streams):
    code = (
        "import os, time\n"
        "os.write(1, b'first\\nunfinished')\n"
        "time.sleep(0.2)\n"
        "os.write(2, b'usher: finished\\n')\n"
    )
    exits, task = Exits(), spec(code)
    host.start(task, exits)
    assert exits.next() == Exit(0)
    assert sorted(lines_of(streams, task)) == ["first", "unfinished", "usher: finished"]


class EngineProxy:
    """The Engine's socket at another path, which can be removed for a while as in a restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: set[socket.socket] = set()
        self._server: socket.socket | None = None
        self.up()

    def up(self) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(64)
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def down(self) -> None:
        os.unlink(self.path)
        assert self._server is not None
        for each in (self._server, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                ours, _ = server.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(SOCKET)
            self._open |= {ours, engine}
            for source, target in ((ours, engine), (engine, ours)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@needs_docker
def test_a_restart_of_the_engine_is_no_end_of_the_host(source, streams, tmp_path, monkeypatch):
    proxy = EngineProxy(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
    with new_runtime(source, streams) as runtime:
        host = DockerHost(runtime, "host")
        exits, port = Exits(), free_port()
        container = host.start(spec(port=port), exits)
        eventually(lambda: get(port))
        proxy.down()
        back = threading.Timer(1.5, proxy.up)
        back.start()
        host.signal(container, "SIGKILL")
        assert exits.next() == Exit(137)
        later = Exits()
        host.start(spec("print('again')"), later)
        assert later.next() == Exit(0)
        assert host.alive
        back.join()


@needs_docker
def test_a_start_waits_for_an_engine_that_is_being_restarted(
    source, streams, tmp_path, monkeypatch
):
    proxy = EngineProxy(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
    with new_runtime(source, streams) as runtime:
        host = DockerHost(runtime, "host")
        runtime.images.image("usher-test")
        proxy.down()
        back = threading.Timer(1.5, proxy.up)
        back.start()
        exits = Exits()
        host.start(spec("print('late')"), exits)
        assert exits.next() == Exit(0)
        back.join()


@needs_docker
def test_an_engine_that_stays_away_is_a_host_that_is_down(source, streams, tmp_path, monkeypatch):
    proxy = EngineProxy(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
    runtime = DockerRuntime(
        f"test-{secrets.token_hex(6)}", [source], streams=streams, restart_seconds=0.5
    )
    try:
        proxy.down()
        with pytest.raises(HostDownError):
            DockerHost(runtime, "host").start(spec("pass"), Exits())
    finally:
        proxy.up()
        runtime.close()


@needs_docker
def test_an_image_that_somebody_removed_is_made_again(tmp_path, streams):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE + f"ENV OWN={secrets.token_hex(4)}\n")
    (tmp_path / "server.py").write_text(SERVER)
    name = f"usher-test-{secrets.token_hex(4)}"
    source = ImageSource(name, tmp_path / "Dockerfile", tmp_path)
    with new_runtime(source, streams) as runtime:
        host = DockerHost(runtime, "host")
        for _ in range(2):
            exits = Exits()
            host.start(spec("pass", image=name), exits)
            assert exits.next() == Exit(0)
            eventually(lambda: not runtime.client.containers(filters={"ancestor": name}))
            tag = runtime.images.image(name)
            eventually(lambda tag=tag: _remove_image(runtime, tag))
        assert host.alive


def _remove_image(runtime: DockerRuntime, tag: str) -> bool:
    runtime.client.remove_image(tag, force=True)
    return True


@needs_docker
def test_a_refusal_of_the_engine_is_the_images_fault_and_no_end_of_the_host(host):
    with pytest.raises((CannotPullImageError, CannotStartError)):
        host.start(spec(image="NOT/A:valid:name"), Exits())
    assert host.alive


@needs_docker
def test_a_removal_that_nobody_told_us_of_is_noticed(source, streams, tmp_path, monkeypatch):
    """State after a restart of the Engine and a prune of its containers."""
    proxy = EngineProxy(tmp_path / "docker.sock")
    with contextlib.closing(connect()) as other:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
        with new_runtime(source, streams) as runtime:
            exits, port = Exits(), free_port()
            container = DockerHost(runtime, "host").start(spec(port=port), exits)
            eventually(lambda: get(port))
            proxy.down()
            other.remove_container(container, force=True)
            proxy.up()
            assert exits.next() == Exit(None)
