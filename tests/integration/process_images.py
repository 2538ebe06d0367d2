"""Images for process hosts: a folder with a Dockerfile and small programs."""

from pathlib import Path
from typing import Any

from local.hosts.base import ContainerSpec
from local.hosts.images import ImageSource

IMAGE = "programs"

PROGRAMS = {
    "exits.py": "import sys; sys.exit(int(sys.argv[1]))",
    "crashes.py": "import ctypes; ctypes.string_at(0)",
    "ends_on_sigterm.py": """
import os, signal, sys, time
def end(*_):
    os.write(1, b"told to stop\\n")  # print may be under way where the signal comes
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    time.sleep(0.05)  # a signal just before a sleep is handled after it
""",
    "slow_to_start.py": """
import signal, sys, time
time.sleep(60)  # and handles nothing yet
""",
    "ignores_sigterm.py": """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(60)
""",
    "forks.py": """
import os, time
for _ in range(3):
    if os.fork() == 0:
        break
print("ready", flush=True)
while True:
    time.sleep(60)
""",
    "prints.py": """
import sys
for _ in range(int(sys.argv[1])):
    print("x" * 999)
""",
    "hog.py": """
import time
kept = []
while True:
    kept.append(b"x" * 4_000_000)
    time.sleep(0.002)
""",
    "grows_at_once.py": """
kept = []
while True:
    kept.append(b"x" * 100_000_000)
""",
    "shares.py": """
import os, sys, time
shared = bytearray(b"x" * 40_000_000)
children = [os.fork() for _ in range(3)]
if 0 in children and sys.argv[1:]:
    for place in range(0, len(shared), 4096):
        shared[place] = 0
time.sleep(60 if sys.argv[1:] else 1.5)
""",
    "shows.py": """
import json, os, resource, sys
def can_write(path):
    new = not os.path.exists(path)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    except OSError:
        return False
    if new:
        os.unlink(path)
    return True
print(json.dumps({
    "environment": dict(os.environ),
    "cwd": os.getcwd(),
    "uid": os.getuid(),
    "pid": os.getpid(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "arguments": sys.argv[1:],
    "descriptors": sorted(int(fd) for fd in os.listdir("/dev/fd"))[:-1],
    "tmp": can_write("/tmp/usher-test"),
    "source": can_write("shows.py"),
    "etc": can_write("/etc/usher-test"),
    "sysctl": can_write("/proc/sys/kernel/hostname"),
    "run": os.listdir("/run"),
    "sees_tmp": os.path.exists(sys.argv[-1]),
}), flush=True)
""",
    "serves.py": """
import os, socket
server = socket.create_server(("0.0.0.0", int(os.environ["SESSION_PORT"])))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
""",
    "not_executable": "#!/bin/sh\n",
}


def make_image(folder: Path) -> ImageSource:
    """The image `programs`: `command` is what it runs with Python."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PROGRAMS.items():
        (folder / name).write_text(text)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(
        'FROM scratch\nWORKDIR /app\nENV FROM_IMAGE=yes\nCOPY . .\nENTRYPOINT ["python"]\n'
        'CMD ["exits.py", "0"]\n'
    )
    return ImageSource(IMAGE, dockerfile, folder)


def spec_of(*command: str, **changes: Any) -> ContainerSpec:
    fields: dict[str, Any] = {
        "task_id": "task",
        "name": "main",
        "image": IMAGE,
        "entry_point": None,
        "command": command,
        "environment": {},
        "ports": (),
        "cpu_units": 0,
        "memory_mib": None,
        "user": None,
        "read_only_root": False,
    }
    return ContainerSpec(**(fields | changes))
