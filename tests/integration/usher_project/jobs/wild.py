"""Jobs that do not end, or take what is not theirs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from usher import Job


class Endless(Job):
    """Runs until it is ended, and says in a file how it took it."""

    class Parameters(BaseModel):
        file: str
        how: str = "ends"

    def run(self, parameters):
        if parameters.how == "ignores":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if parameters.how == "leaves its group":
            os.setsid() if os.getpgid(0) != os.getpid() else os.setpgid(0, os.getpgid(os.getppid()))
        child = subprocess.Popen(["sleep", "61.5"])
        note = Path(parameters.file)
        note.write_text(f"started {child.pid}")
        try:
            while True:
                time.sleep(60)
        finally:
            if parameters.how == "returns":
                return "in time"  # noqa: B012
            note.write_text("tidied up")


class Bomb(Job):
    """Forks as quickly as it can, up to a bound, each in a session of its own if told."""

    timeout_seconds = 2

    class Parameters(BaseModel):
        most: int = 150
        apart: bool = False

    def run(self, parameters):
        started = 0
        while started < parameters.most:
            started += 1
            if os.fork() == 0:
                if parameters.apart:
                    os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(60.75)
                os._exit(0)
        print("exploded")
        sys.stdout.flush()
        time.sleep(60.75)


class Hog(Job):
    """Takes memory without end, by itself or in children."""

    memory = 96
    cpu = 1024
    timeout_seconds = 20

    class Parameters(BaseModel):
        children: int = 0
        most: int = 600

    def run(self, parameters):
        for _ in range(parameters.children):
            if os.fork() == 0:
                break
        kept = []
        while len(kept) < parameters.most:
            kept.append(bytearray(os.urandom(1024) * 1024))
            time.sleep(0.005)
        return "not stopped"


class Confined(Job):
    """Looks at what holds its CPU."""

    cpu = 256

    def run(self, parameters):
        quotas = []
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "usher-run-" in path:
                group = Path("/sys/fs/cgroup") / controllers.split(",")[0] / path.lstrip("/")
                for name in ("cpu.max", "cpu.cfs_quota_us"):
                    if (group / name).exists():
                        quotas.append((group / name).read_text().split()[0])
        return {"quotas": quotas, "cores": len(os.sched_getaffinity(0)), "nice": os.nice(0)}
