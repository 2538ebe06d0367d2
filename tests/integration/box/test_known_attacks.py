"""Known ways in, as programs of our own: each gets its verdict, and the next run is unaffected.

What other files of this folder try is not repeated here.
"""

import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from usher.box.model import BoxSettings, File, Limit

SETTINGS = BoxSettings(cpu_seconds=5, wall_seconds=15, memory_mib=128)


@dataclass(frozen=True)
class Attack:
    """A program that prints `IN` where it got what it wanted, and the limit that it should meet."""

    name: str
    program: str
    limit: Limit | None = None
    settings: BoxSettings = SETTINGS


TRY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, act):
    try:
        print("IN" if act() is not False else "out", name)
    except OSError as error:
        print("out", name, error)
def call(number, *words):
    return lambda: libc.syscall(number, *words) >= 0
"""
READS = (
    "/etc/shadow",
    "/root/.bashrc",
    "/proc/1/environ",
    "/proc/1/mem",
    "/proc/kcore",
    "/proc/keys",
    "/dev/mem",
    "/dev/sda",
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/usher/run/box.sock",
    "/sys/fs/cgroup/memory.max",
    "/proc/1/root/etc/shadow",
    "/proc/1/fd/0",
)
WRITES = (
    "/usr/bin/python3",
    "/etc/passwd",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sysrq-trigger",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/kernel/uevent_helper",
    "/dev/null/x",
    "/box/../written",
)
CALLS = {
    "ptrace": (101, 16, 1, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount": (166, "b'/box'", 2),
    "pivot_root": (155, "b'/'", "b'/'"),
    "chroot": (161, "b'/tmp'"),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "reboot": (169, 0xFEE1DEAD, 672274793, 0),
    "bpf": (321, 0, 0, 0),
    "userfaultfd": (323, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "add_key": (248, "b'user'", "b'a'", "b'b'", 1, -2),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "init_module": (175, 0, 0, "b''"),
    "kexec_load": (246, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
    "swapon": (167, "b'/tmp/x'", 0),
    "settimeofday": (164, 0, 0),
    "setuid to root": (105, 0),
    "mknod of a disk": (133, "b'/tmp/disk'", 0o60666, 0x800),
    "vsock": (41, 40, 1, 0),
    "netlink": (41, 16, 3, 0),
    "raw": (41, 2, 3, 1),
    "packet": (41, 17, 3, 3),
    "crypto of the kernel": (41, 38, 5, 0),
    "io_uring_setup": (425, 8, "bytes(200)"),
    "keyctl": (250, 0, -3),
    "pidfd_getfd": (438, 3, 0, 0),
    "open_tree": (428, -100, "b'/'", 1),
    "fsopen": (430, "b'tmpfs'", 0),
    "move_mount": (429, -1, "b''", -100, "b'/tmp'", 4),
    "mount_setattr": (442, -100, "b'/'", 0, "bytes(32)", 32),
    "fanotify_init": (300, 0, 0),
    "clone of a user namespace": (56, 0x10000011, 0, 0, 0, 0),
    "modify_ldt": (154, 0, "bytes(16)", 16),
    "iopl": (172, 3),
    "a lower niceness": (141, 0, 0, -5),
    "scheduling in real time": (144, 0, 1, "b'\\x01\\0\\0\\0'"),
}

ATTACKS = [
    Attack(
        "reads",
        TRY + f"for path in {READS!r}: attempt(path, lambda: open(path, 'rb').read(1) != b'')",
    ),
    Attack(
        "writes",
        TRY + f"for path in {WRITES!r}: attempt(path, lambda: open(path, 'w').write('1'))",
    ),
    Attack(
        "calls",
        TRY
        + "\n".join(
            f"attempt({name!r}, call({', '.join(map(str, words))}))"
            for name, words in CALLS.items()
        ),
    ),
    Attack(
        "metadata and neighbours",
        TRY
        + """
import socket
for place in (("169.254.169.254", 80), ("169.254.170.2", 80), ("172.17.0.1", 22), ("8.8.8.8", 53)):
    attempt(place, lambda: socket.create_connection(place, 2))
""",
    ),
    Attack(
        "a setuid program",
        TRY
        + """
import shutil, subprocess
shutil.copy("/bin/sh", "/tmp/sh")
with __import__("contextlib").suppress(OSError):
    os.chmod("/tmp/sh", 0o6755)
attempt("setuid", lambda: subprocess.run(["/tmp/sh", "-c", "test $(id -u) = 0"]).returncode == 0)
su = ["su", "-c", "true"]
attempt("su", lambda: subprocess.run(su, stdin=-3, capture_output=True).returncode == 0)
""",
    ),
    Attack(
        "double fork with setsid that spins",
        """
import os
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
while True:
    pass
""",
    ),
    Attack("allocation in children", """
import os, time
for _ in range(10):
    if os.fork() == 0:
        held = bytearray(b"x" * (30 << 20))
        time.sleep(30)
        os._exit(0)
while True:
    if os.wait()[1]:
        os.abort()
""", Limit.MEMORY),
    Attack("stderr without end", """
import os
while True:
    os.write(2, b"x" * 65536)
""", Limit.OUTPUT),
    Attack("pause", "import signal; signal.pause()", Limit.WALL, replace(SETTINGS, wall_seconds=1)),
    Attack("select", "import select; select.select([], [], [])", Limit.WALL,
           replace(SETTINGS, wall_seconds=1)),
    Attack("ignores all signals and spins", """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
while True:
    pass
""", Limit.CPU, replace(SETTINGS, cpu_seconds=0.5)),
    Attack("stops everything it can see", """
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        os.kill(int(pid), signal.SIGSTOP)
    except OSError as error:
        print(error)
""", Limit.WALL, replace(SETTINGS, wall_seconds=1)),
    Attack("fills shared memory with files of no size", """
import os
made = 0
try:
    for number in range(100_000):
        os.close(os.open(f"/dev/shm/{number}", os.O_CREAT))
        made += 1
except OSError as error:
    print(error)
print("IN" if made > 5000 else "out")
"""),
    Attack("a sparse file of a terabyte", """
import os
try:
    os.truncate(os.open("/tmp/large", os.O_CREAT | os.O_RDWR), 1 << 40)
    print("IN")
except OSError as error:
    print(error)
"""),
    Attack("memory files", """
import os
held = [os.memfd_create("x") for _ in range(20)]
for fd in held:
    os.write(fd, bytes(10 << 20))
print("IN")
""", Limit.MEMORY),
    Attack("folders without end", """
import os
try:
    for number in range(3000):
        os.mkdir("d" * (1 + 200 * (number % 2)))
        os.chdir("d" * (1 + 200 * (number % 2)))
    open("deep", "w").write("x")
except OSError as error:
    print(error)
"""),
    Attack("names that mislead", """
import os
for name in ("a\\nb", "\\u202eexe", "x" * 255, "..a", "-rf", "\\udcff"):
    open(name, "w").write("x")
"""),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_nothing_and_ends(place, attack):
    before = left_by_boxes()
    outcome = place.run(attack.program, attack.settings, collect=True)
    assert b"IN" not in outcome.stdout, outcome
    assert outcome.limit is attack.limit, outcome
    if attack.limit is None:
        assert outcome.exit_code == 0, outcome
    assert not {name for name in outcome.files if "/" in name}, outcome.files
    after = place.run(CLEAN, SETTINGS)
    assert after.stdout == b"[] [] ['hostile.py'] 2\n", after
    assert left_by_boxes() <= before


CLEAN = """
import os
count = len(list(filter(str.isdigit, os.listdir("/proc"))))
print(os.listdir("/tmp"), os.listdir("/dev/shm"), os.listdir("/box"), count)
"""


def left_by_boxes() -> set[str]:
    """Returns the folders and control groups of boxes on this machine, after those that end have
    ended.
    """
    places = (Path("/tmp"), Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
    deadline, found = time.monotonic() + 5, set[str]()
    while time.monotonic() < deadline:
        found = set()
        for folder in places:
            with contextlib.suppress(OSError):
                found |= {str(path) for path in folder.glob("usher-box-*") if is_ours(path)}
        if not found:
            break
        os.sched_yield()
    return found


def is_ours(path: Path) -> bool:
    """Other tests run at the same time: only resources that no process uses are leftovers."""
    processes = path / "cgroup.procs"
    with contextlib.suppress(OSError):
        return processes.exists() and not processes.read_text()
    return False


def test_the_memory_limit_is_the_programs_to_use(place):
    program = """
held = bytearray(40 << 20)
for place in range(0, len(held), 4096):
    held[place] = 1
"""
    fits = place.run(program, replace(SETTINGS, memory_mib=64))
    assert fits.is_success, fits
    assert place.run(program, replace(SETTINGS, memory_mib=32)).limit is Limit.MEMORY


def test_as_many_files_and_bytes_as_a_submission_may_have(place):
    files = {f"part{number:02}.txt": File(b"x" * 16_384) for number in range(63)}
    program = "import os; print(sum(os.stat(n).st_size for n in os.listdir('.') if n[0] == 'p'))"
    outcome = place.run(program, SETTINGS, files=files)
    assert outcome.stdout == b"%d\n" % (63 * 16_384), outcome


def test_it_has_the_three_standard_streams_and_no_other_descriptor(place):
    program = """
import os
print(sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")))
"""
    assert place.run(program, SETTINGS).stdout == b"[0, 1, 2]\n"
