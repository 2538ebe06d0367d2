"""Jobs that do not end, or use more than their resources."""

import asyncio
import atexit
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import BaseModel

from usher import Job


class Endless(Job):
    """Runs until it is stopped, and writes the signal it received to a file."""

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
        try:
            note.write_text(f"started {child.pid}")
            if parameters.how == "says so":
                print("it runs", file=sys.stderr, flush=True)
            while True:
                time.sleep(60)
        finally:
            if parameters.how == "returns":
                return "in time"  # noqa: B012
            note.write_text("tidied up")


class Bomb(Job):
    """Forks as quickly as it can, up to a bound; each child in its own session if the parameter
    says so.
    """

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
    """Measures its CPU limit."""

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


class Lingers(Job):
    """Leaves something running that would never end, then ends in some way."""

    timeout_seconds = 20

    class Parameters(BaseModel):
        leaves: str = "thread"
        then: str = "returns"

    def run(self, parameters):
        getattr(self, f"_{parameters.leaves}")()
        print("last words", end="")
        match parameters.then:
            case "raises":
                raise LookupError("nobody")
            case "exits":
                sys.exit(3)
        return "returned"

    def _thread(self):
        threading.Thread(target=threading.Event().wait).start()

    def _atexit(self):
        atexit.register(threading.Event().wait)

    def _pool(self):
        pool = concurrent.futures.ThreadPoolExecutor()
        pool.submit(threading.Event().wait)

    def _processes(self):
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()

    def _loop(self):
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever).start()

    def _fork(self):
        if os.fork() == 0:
            return  # and is raised by `run`, too
        os.wait()

    def _double_fork(self):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        os.wait()

    def _queued_work(self):
        pool = concurrent.futures.ThreadPoolExecutor(1)
        for _ in range(100):
            pool.submit(time.sleep, 60)

    def _asyncio_task(self):
        async def forever():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.Event().wait()  # and it ignores a cancellation

        async def leave():
            self.task = asyncio.get_running_loop().create_task(forever())
            await asyncio.sleep(0)

        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(leave())

    def _process_pool(self):
        self.pool = multiprocessing.get_context("spawn").Pool(2)
        self.pool.apply_async(time.sleep, (60,))

    def _manager(self):
        self.manager = multiprocessing.get_context("fork").Manager()
        self.shared = self.manager.dict()

    def _deaf(self):
        command = "trap '' TERM INT HUP; sleep 60 & sleep 60"
        subprocess.Popen(["sh", "-c", command], start_new_session=True)

    def _finalizer(self):
        class Holds:
            def __del__(self):
                threading.Event().wait()

        self.holds = Holds()

    def _handler(self):
        signal.signal(signal.SIGTERM, lambda *_: threading.Event().wait())

    def _excepthook(self):
        sys.excepthook = lambda *_: threading.Event().wait()

    def _printer(self):
        def shout():
            while True:
                print("x")

        threading.Thread(target=shout, daemon=True).start()


class Closes(Job):
    """Closes descriptors that are not its own, and may open a file in their place."""

    class Parameters(BaseModel):
        most: int
        file: str = ""

    def run(self, parameters):
        os.closerange(3, parameters.most)
        if parameters.file:
            for _ in range(600):
                os.open(parameters.file, os.O_WRONLY | os.O_CREAT)
        return "a result"
