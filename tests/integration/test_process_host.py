"""Containers as real processes, with each kind of isolation that works here."""

import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.aws.logs.streams import Stream, new_stream
from local.hosts import isolation
from local.hosts.base import (
    CannotPullImageError,
    CannotStartError,
    ContainerSpec,
    Exit,
    HostDownError,
    PortMapping,
)
from local.hosts.isolation import Kind
from local.hosts.process import ProcessHost, remove_leftovers
from tests.integration.process_images import make_image, spec_of
from tests.unit.local.fakes import until

ROOT = Path(__file__).parents[2]
WORKS = [kind for kind in Kind if isolation.works(kind)]


class Started:
    """One container and its end."""

    def __init__(self, host: ProcessHost, spec: ContainerSpec, logs: Path) -> None:
        self.exits: queue.Queue[Exit] = queue.Queue()
        self.log = logs / f"{spec.task_id}-{spec.name}.log"
        self.host = host
        self.id = host.start(spec, self.exits.put)

    def exit(self) -> Exit:
        return self.exits.get(timeout=20)

    def printed(self, text: str) -> "Started":
        until(lambda: text in self.log.read_text())
        return self

    def output(self) -> dict[str, Any]:
        assert self.exit() == Exit(0), self.log.read_text()
        return json.loads(self.log.read_text())


class Place:
    """A host and what it leaves in the process table."""

    def __init__(self, folder: Path, kind: Kind | None) -> None:
        self.run_id = uuid4().hex
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.source = make_image(folder / "image")
        self.streams = folder / "streams"
        self.host = ProcessHost(
            "host",
            run_id=self.run_id,
            images=[self.source],
            logs=self.logs,
            streams=self.streams,
            kind=kind,
        )

    def start(self, *command: str, **changes: Any) -> Started:
        changes.setdefault("task_id", uuid4().hex)
        return Started(self.host, spec_of(*command, **changes), self.logs)

    def processes(self) -> list[int]:
        return processes_of(self.run_id)


def processes_of(run_id: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"USHER_LOCAL_RUN={run_id}".encode() in environment:
            found.append(int(entry.name))
    return found


@pytest.fixture(params=WORKS, ids=lambda kind: kind.value)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, request.param)
    yield place
    place.host.close()
    assert place.processes() == []


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_codes_are_exact(place: Place, code: int) -> None:
    assert place.start("exits.py", str(code)).exit() == Exit(code)


def test_what_goes_to_a_log_stream_is_kept_when_its_end_is_told(place: Place) -> None:
    assert place.start("prints.py", "300", log_stream=("/g", "s/1")).exit() == Exit(0)
    found = Stream(place.streams, "/g", "s/1").forward(0)
    assert [event.message for event in found.events] == ["x" * 999] * 300


def test_a_full_disk_costs_output_and_nothing_else(place: Place) -> None:
    new_stream(place.streams, "/g", "s/1").with_name("s%2F1.0").symlink_to("/dev/full")
    assert place.start("prints.py", "300", log_stream=("/g", "s/1")).exit() == Exit(0)
    assert place.host.alive
    assert place.start("exits.py", "7").exit() == Exit(7)


def test_a_disk_too_full_for_a_log_stream_ends_no_host(place: Place) -> None:
    path = new_stream(place.streams, "/g", "s/1")
    path.with_name("s%2F1.0").mkdir()
    assert place.start("exits.py", "3", log_stream=("/g", "s/1")).exit() == Exit(3)
    assert place.start("prints.py", "300", log_stream=("/g", "s/1")).exit() == Exit(0)
    assert place.host.alive


def test_output_is_kept_whatever_bytes_it_has(place: Place) -> None:
    code = (
        "import os\n"
        "os.write(1, b'\\xff\\xfe not \\xc3( UTF-8\\n')\n"
        "for _ in range(1600): os.write(1, b'x' * 65536)\n"
        "os.write(1, b'\\nthe end')\n"
    )
    changes = {"entry_point": ["python3", "-c", code], "log_stream": ("/g", "s/1")}
    assert place.start(**changes).exit() == Exit(0)
    stream, at, lines = Stream(place.streams, "/g", "s/1"), 0, []
    while (page := stream.forward(at)).events:
        lines += [event.message for event in page.events]
        at = page.end
    assert (lines[0], lines[-1]) == ("\ufffd\ufffd not \ufffd( UTF-8", "the end")
    assert sum(map(len, lines)) < 16 * 1024 * 1024


def test_a_crash_is_128_and_its_signal(place: Place) -> None:
    assert place.start("crashes.py").exit() == Exit(128 + signal.SIGSEGV)


def test_sigterm_reaches_the_program(place: Place) -> None:
    started = place.start("ends_on_sigterm.py").printed("ready")
    place.host.signal(started.id, "SIGTERM")
    assert started.exit() == Exit(0)
    started.printed("told to stop")


def test_sigterm_reaches_the_program_behind_an_init_process(place: Place) -> None:
    started = place.start("ends_on_sigterm.py", init_process=True).printed("ready")
    place.host.signal(started.id, "SIGTERM")
    assert started.exit() == Exit(0)


@pytest.mark.parametrize("moments", [0, 1, 20, 100])
def test_behind_an_init_process_sigterm_ends_what_does_not_handle_it_yet(
    place: Place, moments: int
) -> None:
    """From the moment of its start on, also while the helpers make its namespaces."""
    started = place.start("slow_to_start.py", init_process=True)
    for _ in range(moments):
        started.host.healthy(started.id, ["CMD", "true"], 5)  # some time passes
    place.host.signal(started.id, "SIGTERM")
    assert started.exit() == Exit(143)


def test_behind_an_init_process_sigterm_can_be_ignored(place: Place) -> None:
    started = place.start("ignores_sigterm.py", init_process=True).printed("ready")
    place.host.signal(started.id, "SIGTERM")
    assert started.host.healthy(started.id, ["CMD", "true"], 5)
    place.host.signal(started.id, "SIGKILL")
    assert started.exit() == Exit(137)


def test_sigkill_ends_what_ignores_sigterm(place: Place) -> None:
    started = place.start("ignores_sigterm.py").printed("ready")
    place.host.signal(started.id, "SIGTERM")
    place.host.signal(started.id, "SIGKILL")
    assert started.exit() == Exit(137)
    place.host.signal(started.id, "SIGKILL")  # harmless


def test_a_container_takes_its_children_along(place: Place) -> None:
    idle = len(place.processes())
    started = place.start("forks.py").printed("ready")
    until(lambda: len(place.processes()) >= idle + 4)
    place.host.signal(started.id, "SIGKILL")
    assert started.exit() == Exit(137)
    until(lambda: len(place.processes()) == idle)


def test_no_zombies_are_left(place: Place) -> None:
    for _ in range(10):
        place.start("exits.py", "0").exit()
    children = Path(f"/proc/{place.host.agent_pid}/task/{place.host.agent_pid}/children")
    until(lambda: children.read_text() == "")


def test_an_image_nobody_has(place: Place) -> None:
    with pytest.raises(CannotPullImageError, match=r"CannotPullContainerError: .*not found"):
        place.start(image="nobody/has:this")


@pytest.mark.parametrize(
    ("entry_point", "words"),
    [
        (["no-such-program"], "executable file not found"),
        (["/no/such/program"], "no such file or directory"),
        (["./not_executable"], "permission denied"),
    ],
)
def test_a_program_that_cannot_be_started(place: Place, entry_point: list[str], words: str) -> None:
    with pytest.raises(CannotStartError, match=rf"CannotStartContainerError: .*{words}"):
        place.start(entry_point=entry_point)


def test_the_environment_is_clean(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    ports = (PortMapping(8080, 23456),)
    shown = place.start(
        "shows.py", "an argument", environment={"A": "1", "SESSION_PORT": "8080"}, ports=ports
    ).output()
    for name in ("PATH", "PWD", "LC_CTYPE"):  # the last two are made by helpers and by Python
        shown["environment"].pop(name, None)
    assert shown["environment"] == {
        "A": "1",
        "FROM_IMAGE": "yes",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "SESSION_HOST": "127.0.0.1",
        "SESSION_PORT": "23456",
        "USHER_LOCAL_RUN": place.run_id,
        "USHER_LOCAL_HOST": f"{place.run_id}/host",
    }
    assert shown["arguments"] == ["an argument"]
    assert shown["cwd"] == str(place.source.context)
    assert shown["descriptors"] == [0, 1, 2]
    assert shown["core"] == [0, 0]


def test_limits_are_those_of_the_task_definition(place: Place) -> None:
    assert place.start("shows.py", ulimits={"nofile": (50, 60)}).output()["nofile"] == [50, 60]
    with pytest.raises(CannotStartError, match="no limit named colour"):
        place.start("shows.py", ulimits={"colour": (1, 1)})


def test_the_program_is_kept_away_from_the_machine(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    shown = place.start("shows.py", str(elsewhere)).output()
    assert shown["tmp"]
    if place.host.kind is not Kind.NONE:
        assert (shown["pid"], shown["uid"]) == (1, 1000)
    if place.host.kind is Kind.BUBBLEWRAP:
        assert shown["run"] == [], "no sockets of the machine's services"
        assert not any(shown[path] for path in ("source", "etc", "sysctl", "sees_tmp"))


def test_a_read_only_root_and_its_tmpfs(place: Place) -> None:
    shown = place.start("shows.py", read_only_root=True, user="4321").output()
    if place.host.kind is Kind.BUBBLEWRAP:
        assert (shown["tmp"], shown["uid"]) == (False, 4321)
    assert place.start("shows.py", read_only_root=True, tmpfs={"/tmp": 1}).output()["tmp"]


def test_a_memory_hog_is_killed_and_the_reason_is_told(place: Place) -> None:
    started = place.start("hog.py", memory_mib=64)
    assert started.exit() == Exit(137, "OutOfMemoryError: Container killed due to memory usage")


def test_who_grows_too_quickly_to_be_watched_is_out_of_memory_too(place: Place) -> None:
    started = place.start("grows_at_once.py", memory_mib=64)
    assert started.exit() == Exit(137, "OutOfMemoryError: Container killed due to memory usage")


def test_children_count_and_what_they_share_counts_once(place: Place) -> None:
    assert place.start("shares.py", memory_mib=96).exit() == Exit(0)
    started = place.start("shares.py", "write", memory_mib=96)
    assert started.exit() == Exit(137, "OutOfMemoryError: Container killed due to memory usage")


def test_health_checks_run_beside_the_container(place: Place) -> None:
    started = place.start("ends_on_sigterm.py", environment={"A": "1"}).printed("ready")

    def healthy(*command: str, timeout: float = 10) -> bool:
        return place.host.healthy(started.id, command, timeout)

    assert healthy("CMD-SHELL", 'test "$A" = 1')
    assert healthy("CMD", "test", "1", "=", "1")
    assert not healthy("CMD-SHELL", "exit 1")
    assert not healthy("CMD", "no-such-program")
    assert not healthy("CMD-SHELL", "sleep 60", timeout=0.1)
    place.host.signal(started.id, "SIGKILL")
    started.exit()
    assert not healthy("CMD-SHELL", "true")


def test_a_killed_agent_is_a_dead_host_and_takes_everything_along(place: Place) -> None:
    started = [place.start("forks.py").printed("ready") for _ in range(3)]
    assert place.host.alive
    os.kill(place.host.agent_pid, signal.SIGKILL)
    until(lambda: not place.host.alive)
    assert place.processes() == []
    assert all(each.exits.empty() for each in started), "nobody was there to report an exit"
    with pytest.raises(HostDownError):
        place.start("exits.py", "0")
    with pytest.raises(HostDownError):
        place.host.signal(started[0].id, "SIGTERM")


def test_killing_the_host_is_a_power_cut(place: Place) -> None:
    started = place.start("forks.py").printed("ready")
    place.host.kill()
    assert not place.host.alive
    assert place.processes() == []
    assert started.exits.empty()


def test_closing_ends_all_and_may_be_repeated(place: Place) -> None:
    started = [place.start("ignores_sigterm.py") for _ in range(5)]
    place.host.close()
    assert place.processes() == []
    assert [each.exit() for each in started] == [Exit(137)] * 5
    place.host.close()


OWNER = """
    import sys, time
    from pathlib import Path
    from local.hosts.isolation import Kind
    from local.hosts.process import ProcessHost
    from tests.integration.process_images import make_image, spec_of
    folder, run_id = Path(sys.argv[1]), sys.argv[2]
    (folder / "logs").mkdir()
    host = ProcessHost(
        "host",
        run_id=run_id,
        images=[make_image(folder / "image")],
        logs=folder / "logs",
        kind=Kind(sys.argv[3]),
    )
    host.start(spec_of("ignores_sigterm.py"), print)
    log = folder / "logs" / "task-main.log"
    while "ready" not in log.read_text():
        time.sleep(0.01)
    print("started", flush=True)
    time.sleep(60)
"""


def start_owner(folder: Path, run_id: str, kind: Kind) -> subprocess.Popen[str]:
    """A process that owns a host with a container, as `local up` does."""
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(folder), run_id, kind.value],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "started\n"
    return owner


def end_owner(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    if owner.stdout is not None:
        owner.stdout.close()


@pytest.mark.parametrize("kind", WORKS)
def test_what_a_killed_owner_started_ends_by_itself(tmp_path: Path, kind: Kind) -> None:
    run_id = uuid4().hex
    owner = start_owner(tmp_path, run_id, kind)
    assert len(processes_of(run_id)) > 1
    end_owner(owner)
    until(lambda: processes_of(run_id) == [])


@pytest.mark.parametrize("kind", WORKS)
def test_a_dead_agent_needs_nobody_to_take_its_containers_along(tmp_path: Path, kind: Kind) -> None:
    run_id = uuid4().hex
    owner = start_owner(tmp_path, run_id, kind)
    os.kill(owner.pid, signal.SIGSTOP)  # it cannot help
    (agent,) = (
        pid
        for pid in processes_of(run_id)
        if b"local.hosts.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(agent, signal.SIGKILL)
    until(lambda: set(processes_of(run_id)) <= {agent})
    end_owner(owner)


def test_leftovers_of_dead_runs_are_removed_and_live_runs_left_alone(
    place: Place, tmp_path: Path
) -> None:
    dead = uuid4().hex
    environment = os.environ | {"USHER_LOCAL_RUN": dead}
    left = subprocess.Popen(["sleep", "60"], env=environment)
    live = place.start("ends_on_sigterm.py").printed("ready")
    until(lambda: processes_of(dead) == [left.pid])
    before = place.processes()
    assert remove_leftovers([dead, "another"]) == 1
    assert left.wait(10) == -signal.SIGKILL
    assert place.processes() == before
    assert live.exits.empty()
    assert remove_leftovers([dead]) == 0
