"""Without a barrier its hostile program succeeds; with it the program fails.

A program prints `IN` when it succeeds.
"""

import contextlib
import ctypes
import os
import re
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from usher.box.control_group import PREFIX, ROOT
from usher.box.engine import Engine, socket_path
from usher.box.model import BoxSettings, Limit, Outcome

WIDE = BoxSettings(
    cpu_seconds=20.0,
    wall_seconds=30.0,
    memory_mib=256,
    processes=200,
    scratch_mib=128,
    file_mib=120,
)
"""Wide enough that only the barrier in question decides."""


@dataclass(frozen=True)
class Row:
    """A barrier by its field, what the field is without it, and a program that breaks in then."""

    field: str
    without: Any
    program: str
    within: Any = None
    """The field's value with the barrier, if another than in WIDE."""
    limit: Limit | None = None
    """The limit that ends the program."""
    always_on: frozenset[str] = frozenset()
    """Runtimes that always have the barrier."""


STATUS = """
import sys
told = dict(line.split(":", 1) for line in open("/proc/self/status"))
"""

ROWS = [
    Row(
        "no_capabilities",
        False,
        STATUS + "print('IN' if int(told['CapBnd'], 16) & (1 << 21) else 'out')",
    ),
    Row(
        "no_new_privileges",
        False,
        STATUS + "print('IN' if told['NoNewPrivs'].strip() == '0' else 'out')",
        always_on=frozenset({"bubblewrap"}),
    ),
    Row("user", 0, "import os; print('IN' if os.getuid() == 0 else 'out')"),
    Row(
        "read_only_root",
        False,
        """
for path in ("/written", "/var/tmp/written", "/dev/written"):
    try:
        open(path, "w").write("x")
        print("IN")
    except OSError as error:
        print(error)
""",
    ),
    Row(
        "scratch_mib",
        None,
        """
with open("/tmp/full", "wb") as file:
    for _ in range(40):
        file.write(bytes(1 << 20))
print("IN")
""",
        within=20,
    ),
    Row(
        "scratch_inodes",
        None,
        """
for number in range(1500):
    open(f"/dev/shm/{number}", "w").close()
print("IN")
""",
        within=1000,
    ),
    Row(
        "open_files",
        1024,
        "files = [open('/dev/null') for _ in range(300)]; print('IN')",
        within=128,
    ),
    Row(
        "processes",
        None,
        """
import os, time
for _ in range(60):
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
print("IN")
""",
        within=20,
    ),
    Row(
        "file_mib",
        None,
        "open('/tmp/large', 'wb').write(bytes(20 << 20)); print('IN')",
        within=10,
    ),
    Row(
        "core_mib",
        100,
        "import resource; print('IN' if resource.getrlimit(resource.RLIMIT_CORE)[1] else 'out')",
    ),
    Row(
        "stack_mib",
        512,
        """
import resource
print("IN" if resource.getrlimit(resource.RLIMIT_STACK)[1] > (1 << 28) else "out")
""",
        within=16,
    ),
    Row(
        "memory_mib",
        None,
        "filled = bytearray(b'x' * (100 << 20)); print('IN')",
        within=64,
        limit=Limit.MEMORY,
    ),
    Row(
        "cpu_seconds",
        None,
        """
import time
while time.process_time() < 1.5:
    pass
print("IN")
""",
        within=0.5,
        limit=Limit.CPU,
    ),
    Row("wall_seconds", None, "import time; time.sleep(3); print('IN')", 1.0, Limit.WALL),
    Row("output_bytes", None, "print('x' * 3_000_000); print('IN')", 100_000, Limit.OUTPUT),
    Row(
        "syscall_filter",
        False,
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
ask = {"io_uring_setup": (425, 1, ctypes.byref((ctypes.c_char * 120)())), "keyctl": (250, 0, -3, 0)}
for name, words in ask.items():
    result = libc.syscall(*words)
    refused = result < 0 and ctypes.get_errno() == 1
    print(name, result, os.strerror(ctypes.get_errno()))
    if not refused:
        print("IN")
""",
    ),
    Row(
        "own_processes",
        False,
        """
import os
names = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        names.append(open(f"/proc/{pid}/cmdline").read())
    except OSError:  # it has ended meanwhile
        continue
print("IN" if any("pytest" in name for name in names) else names)
""",
    ),
]


def run_with(place, row: Row, value: Any) -> Outcome:
    return place.run(row.program, replace(WIDE, **{row.field: value}))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_without_the_barrier_the_program_gets_in(place, row):
    if place.name in row.always_on:
        assert b"IN" not in run_with(place, row, row.without).stdout, "always on, yet it got in"
        return
    outcome = run_with(place, row, row.without)
    assert b"IN" in outcome.stdout, outcome


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_with_the_barrier_it_does_not(place, row):
    within = getattr(WIDE, row.field) if row.within is None else row.within
    outcome = run_with(place, row, within)
    assert b"IN" not in outcome.stdout, outcome
    assert outcome.limit is row.limit, outcome


CONNECT = """
import socket, sys
address = "127.0.0.1"
for line in open("/proc/net/route").readlines()[1:]:
    words = line.split()
    if words[1] == "00000000" and sys.argv[1] == "docker":
        address = ".".join(str(byte) for byte in bytes.fromhex(words[2])[::-1])
try:
    socket.create_connection((address, int(sys.argv[2])), 3)
    print("IN")
except OSError as error:
    print(error)
try:
    socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[3])
    print("ABSTRACT")
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("has_barrier", [True, False])
def test_the_network(place, has_barrier):
    name = f"usher-box-test-{os.getpid()}"
    with socket.create_server(("0.0.0.0", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + name)
        local.listen()
        port = str(server.getsockname()[1])
        settings = replace(WIDE, no_network=has_barrier)
        outcome = place.run(CONNECT, settings, place.name, port, name)
    assert (b"IN" in outcome.stdout) is not has_barrier, outcome
    # A container's network is never this machine's, so an abstract socket is out of reach anyway.
    reached = place.name == "bubblewrap" and not has_barrier
    assert (b"ABSTRACT" in outcome.stdout) is reached, outcome


@pytest.mark.parametrize("has_barrier", [True, False])
def test_shared_memory_of_others(place, has_barrier):
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x75730000 + os.getpid() % 0x10000
    segment = libc.shmget(key, 4096, 0o1000 | 0o666)
    assert segment >= 0
    try:
        program = f"import ctypes; print('IN' if ctypes.CDLL(None).shmget({key}, 0, 0) >= 0 else 1)"
        outcome = place.run(program, replace(WIDE, own_ipc=has_barrier))
    finally:
        libc.shmctl(segment, 0, None)
    assert (b"IN" in outcome.stdout) is not has_barrier, outcome


@pytest.mark.parametrize("has_barrier", [True, False])
def test_the_environment(place, has_barrier, monkeypatch):
    monkeypatch.setenv("USHER_API_KEY", "a secret of the judge")
    program = "import os; print('IN' if set(os.environ) - set(os.sys.argv[1:]) else 'out')"
    known = ("PATH", "HOME", "TMPDIR", "LANG", "PWD", "LC_CTYPE", "OLDPWD")
    outcome = place.run(program, replace(WIDE, clean_environment=has_barrier), *known)
    assert (b"IN" in outcome.stdout) is not has_barrier, outcome


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        os.execvp("python3", ["python3", "-c", "import time; time.sleep(60)", sys.argv[1]])
    os._exit(0)
time.sleep(0.5)
"""


def pids_of(mark: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"-c" in words and mark.encode() in words:
            found.append(int(entry))
    return found


@pytest.mark.parametrize("has_barrier", [True, False])
def test_nothing_outlives_the_run(place, has_barrier):
    mark = f"usher-box-daemon-{place.name}-{has_barrier}-{time.monotonic_ns()}"
    own = True if place.name == "docker" else has_barrier
    settings = replace(WIDE, ends_all=has_barrier, own_processes=own)
    left: set[str] = set()
    groups: set[Path] = set()
    try:
        outcome = place.run(DAEMON, settings, mark)
        assert outcome.is_success, outcome
        deadline = time.monotonic() + 5
        while has_barrier and pids_of(mark) and time.monotonic() < deadline:
            os.sched_yield()
        assert bool(pids_of(mark)) is not has_barrier
        left = {number for pid in pids_of(mark) for number in container_of(pid)}
        groups = {folder for pid in pids_of(mark) for folder in groups_of(pid)}
    finally:
        for pid in pids_of(mark):
            os.kill(pid, 9)
        remove(left)
        if place.name == "bubblewrap" and not has_barrier:
            remove_groups(groups)


def container_of(pid: int) -> list[str]:
    """Returns the id of the container whose control group a process is in."""
    with open(f"/proc/{pid}/cgroup") as file:
        return re.findall(r"docker[/-]([0-9a-f]{64})", file.read())[:1]


def groups_of(pid: int) -> list[Path]:
    """The control groups of a box that a process is in."""
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    return [ROOT / kinds / path.lstrip("/") for _, kinds, path in lines if PREFIX in path]


def remove_groups(groups: set[Path]) -> None:
    """Wait until the killed processes have ended."""
    deadline = time.monotonic() + 10
    while any(folder.exists() for folder in groups) and time.monotonic() < deadline:
        for folder in groups:
            with contextlib.suppress(OSError):
                folder.rmdir()
    assert not any(folder.exists() for folder in groups)


def remove(ids: set[str]) -> None:
    for number in ids:
        Engine(socket_path() or "").call("DELETE", f"/containers/{number}", {"force": "true"})
