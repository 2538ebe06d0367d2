"""Jobs that end by themselves, well or not."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

from pydantic import BaseModel, Field

from usher import Job


class Echo(Job):
    """Gives back what it got."""

    class Parameters(BaseModel, extra="forbid"):
        text: str
        times: int = Field(default=1, ge=1, le=10)

    def run(self, parameters):
        for count in range(parameters.times):
            self.progress((count + 1) / parameters.times, f"{count + 1}")
        print("echoing", parameters.text)
        return {"text": parameters.text * parameters.times}


class Recites(Job):
    """Prints what it got, and no newline after it."""

    class Parameters(BaseModel):
        text: str

    def run(self, parameters):
        sys.stdout.write(parameters.text)


class Marks(Job):
    """Leaves a line for every run in a file: what at most once is measured by."""

    class Parameters(BaseModel):
        file: str

    def run(self, parameters):
        with Path(parameters.file).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")


class Looks(Job):
    """Looks around."""

    def run(self, parameters):
        known = Path("/proc/self/environ").read_bytes()
        try:
            parents = Path(f"/proc/{os.getppid()}/environ").read_bytes()
        except PermissionError:  # the parent cannot be traced, so only root may read it
            parents = b""
        return {
            "parameters": parameters,
            "environment": dict(os.environ),
            "seesKey": b"the-key" in known + parents,
            "stdin": sys.stdin.read(),
            "leadsGroup": os.getpgid(0) == os.getpid(),
            "threads": len(os.listdir("/proc/self/task")),
        }


class Ends(Job):
    """Ends in one of many ways."""

    class Parameters(BaseModel):
        how: str
        code: int = 0

    def run(self, parameters):
        return getattr(self, f"_{parameters.how}")(parameters.code)

    def _exits(self, code):
        sys.exit(code)

    def _exits_with_words(self, code):
        sys.exit("no more")

    def _exits_as_a_float(self, code):
        raise SystemExit(0.5)

    def _exits_as_a_subclass(self, code):
        class Leave(SystemExit):
            pass

        raise Leave(code)

    def _exits_unshowable(self, code):
        class Odd:
            def __str__(self):
                raise ValueError("no words")

        raise SystemExit(Odd())

    def _exits_with_none(self, code):
        sys.exit(None)

    def _exits_hard(self, code):
        os._exit(code)

    def _exits_with_empty_words(self, code):
        sys.exit("")

    def _exits_with_true(self, code):
        sys.exit(True)

    def _exits_with_false(self, code):
        sys.exit(False)

    def _exits_in_a_thread(self, code):
        thread = threading.Thread(target=sys.exit, args=(code,))
        thread.start()
        thread.join()
        return "returned"

    def _raises_unshowable(self, code):
        class OddError(Exception):
            def __str__(self):
                raise ValueError("no words")

        raise OddError

    def _raises_with_str_that_exits(self, code):
        class OddError(Exception):
            def __str__(self):
                return sys.exit(0)

        raise OddError

    def _raises_much(self, code):
        raise ValueError("x" * 10_000_000)

    def _raises_half_a_pair(self, code):
        raise ValueError("\ud800")

    def _raises_keyboard_interrupt(self, code):
        raise KeyboardInterrupt

    def _raises_generator_exit(self, code):
        raise GeneratorExit

    def _raises_a_base_exception(self, code):
        class Own(BaseException):
            pass

        raise Own("mine")

    def _raises_a_group(self, code):
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    def _raises_itself_as_its_cause(self, code):
        error = ValueError("round")
        error.__cause__ = error
        raise error

    def _recurses(self, code):
        return self._recurses(code)

    def _raises(self, code):
        raise LookupError("nobody\nhome")

    def _is_killed(self, code):
        os.kill(os.getpid(), code)
        time.sleep(60)

    def _crashes(self, code):
        ctypes.string_at(0)

    def _returns_too_much(self, code):
        return "x" * 200_000

    def _returns_no_json(self, code):
        return {"day": date(2026, 1, 31)}

    def _returns_much(self, code):
        return "é" * 65_000  # 130,000 bytes of UTF-8

    def _leaves_a_thread(self, code):
        threading.Thread(target=time.sleep, args=(0.3,)).start()
        return "returned"


class Leaves(Job):
    """Leaves processes behind: zombies, one in the background, one in a session of its own."""

    def run(self, parameters):
        for _ in range(20):
            if os.fork() == 0:
                os._exit(0)
        near = subprocess.Popen(["sleep", "61.25"])
        far = subprocess.Popen(["sleep", "61.25"], start_new_session=True)
        orphan = subprocess.run(
            ["sh", "-c", "setsid sleep 61.25 >/dev/null 2>&1 & echo $!"],
            capture_output=True,
            text=True,
            check=True,
        )
        return [near.pid, far.pid, int(orphan.stdout)]


class Prints(Job):
    """Prints as many megabytes as its parameter asks for."""

    timeout_seconds = 60

    class Parameters(BaseModel):
        megabytes: int

    def run(self, parameters):
        line = "x" * 1023 + "\n"
        for _ in range(parameters.megabytes * 1024):
            sys.stdout.write(line)
        return parameters.megabytes


class Chatters(Job):
    """Reports progress much more often than the dispatcher accepts it."""

    def run(self, parameters):
        for count in range(20_000):
            self.progress(count / 20_000, f"step {count}")
        self.progress(2.0, "all" * 1_000)
        self.progress("nonsense", "the end")
