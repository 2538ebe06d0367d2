"""A Redis or Valkey server of this run: loopback only, with a password, nothing on disk.

It reads its settings from standard input, so that neither a file nor the list of processes has the
password. The kernel kills it when the process that started it ends.
"""

import ctypes
import logging
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

PROGRAMS = ("valkey-server", "redis-server")
START_SECONDS = 10.0
STOP_SECONDS = 3.0
PORT_TRIES = 5
RESTART_SECONDS = 0.2

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

log = logging.getLogger(__name__)


class NoRedisError(Exception):
    """There is no server, or it did not start; the message has the reason."""


def find_program() -> str | None:
    """The path of the server that is installed here."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class RedisServer:
    """One server, replaced at the same port when it ends. `start` and `stop` once each."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        settings: str = "",
    ) -> None:
        """`folder` receives its log; `settings` are further lines for the server.

        `users` maps names to access strings; each user gets a separate password. `password` is the
        default user's, who may do everything.
        """
        self._folder = folder
        self._environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment}
        self._settings = settings
        self.password = password or secrets.token_urlsafe(24)
        self._users = dict(users or {})
        self._passwords = {name: secrets.token_urlsafe(24) for name in self._users}
        self.port = 0
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="redis", daemon=True)

    @property
    def pid(self) -> int | None:
        """Process id of the server that runs now."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> None:
        """Start it at a free port, and return when it answers. Raises NoRedisError."""
        self._thread.start()
        self._started.wait()
        if self._failed:
            raise self._failed

    def url(self, address: str, stream: str, user: str = "default") -> str:
        """The FEED_URL of a stream for `user`, who sees the server at `address` (host:port)."""
        password = self.password if user == "default" else self._passwords[user]
        return f"redis://{user}:{password}@{address}/{stream}"

    def kill(self) -> None:
        """Kill it as a crash would: all its data is gone. Another one takes its place."""
        process = self._process
        if process:
            process.kill()

    def stop(self) -> None:
        """End it. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        # The thread that starts the server has to live as long as the server is to live: the
        # kernel regards the thread as the parent.
        try:
            self._start_somewhere()
        except (NoRedisError, OSError) as error:
            self._failed = error if isinstance(error, NoRedisError) else NoRedisError(str(error))
            return
        finally:
            self._started.set()
        while not self._stopping.wait(0.05):
            if self._process and self._process.poll() is not None:
                log.warning("Redis ended (%s); another one takes its place", self._process.poll())
                self._stopping.wait(RESTART_SECONDS)
                self._restart()
        self._end()

    def _start_somewhere(self) -> None:
        program = find_program()
        if program is None:
            raise NoRedisError("neither valkey-server nor redis-server is installed")
        for _ in range(PORT_TRIES):  # another program may take a port that was free just now
            self.port = self.port or _free_port()
            if self._start_at(program):
                return
            self.port = 0
        raise NoRedisError(f"{program} did not start:\n{self._last_lines()}")

    def _restart(self) -> None:
        program = find_program()
        if program and not self._stopping.is_set() and self._start_at(program):
            self.restarts += 1

    def _start_at(self, program: str) -> bool:
        with (self._folder / "redis.log").open("ab") as log_file:
            process = subprocess.Popen(
                [program, "-"],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                # Ctrl-C is handled by the process that ends components in order
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into libc, loaded before
            )
        self._process = process
        assert process.stdin is not None
        with process.stdin as settings:
            settings.write(self._configuration().encode())
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if _answers(self.port, self.password):
                return True
            time.sleep(0.01)
        process.kill()
        process.wait()
        return False

    def _configuration(self) -> str:
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self.password}",
                'save ""',
                "appendonly no",
                f'dir "{self._folder}"',
                "set-proc-title no",  # its environment identifies its run and must stay readable
                "maxclients 4064",
                *(
                    f"user {name} {rules} >{self._passwords[name]}"
                    for name, rules in self._users.items()
                ),
                self._settings,
                "",
            )
        )

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _last_lines(self) -> str:
        lines = (self._folder / "redis.log").read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-5:])


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def _answers(port: int, password: str) -> bool:
    """Whether the server at `port` knows the password: a stranger there does not."""
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                received = connection.recv(1024)
                if not received:
                    return False
                answer += received
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


def _prctl() -> Callable[[], None] | None:
    if _LIBC is None:
        return None

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return die_with_parent


_die_with_parent = _prctl()
