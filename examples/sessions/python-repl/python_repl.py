"""A Python of one's own: what one user types runs in a process beside the app, in the container.

The container is the sandbox: its user has no rights, its root is read-only, /tmp is its only
writable folder, and memory and processor time are those of apps.toml. The interpreter is another
process, so that what it does to itself leaves the session alone; it is started anew when it ends.

    client  {"run": "print(1)\n"}          lines for the interpreter's stdin
            {"interrupt": true}            what Ctrl-C does
            {"restart": true}              a new interpreter, without the old one's variables
    server  {"output": "1\n"}              what it printed, as it came
            {"exited": -9}                 the interpreter ended; the next one starts at once
            {"files": ["notes.txt"]}       after each output: what is in its folder
"""

import asyncio
import codecs
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from session_handler.app import AppSession, SessionApp

MAX_INPUT_CHARACTERS = 64 * 1024
MAX_OUTPUT_BYTES = 16 * 1024
"""So much is sent in one message; the interpreter waits while the client is behind."""
MAX_FILES = 100
STARTS_PER_MINUTE = 20


class Interpreter:
    """One Python process after the other, for one session, with a folder of its own."""

    def __init__(self, session: AppSession) -> None:
        self._session = session
        self._folder = Path(tempfile.mkdtemp(prefix="repl-"))
        self._process: asyncio.subprocess.Process | None = None
        self._starts: list[float] = []

    async def run(self) -> None:
        """After `start`: keep one running until cancelled."""
        while True:
            code = await self._follow()
            await self._session.send({"exited": code})
            await self._limit_starts()
            await self.start()

    async def write(self, text: str) -> bool:
        """Give it lines to run. Waits while it does not read; False when none is running."""
        stdin = self._process.stdin if self._process else None
        if stdin is None or stdin.is_closing():
            return False
        stdin.write(text.encode("utf-8", "replace"))
        try:
            await stdin.drain()
        except ConnectionError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """To the interpreter and all that it started in its process group."""
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return  # it has ended in this very moment

    async def close(self) -> None:
        """End it, and remove its folder. `run` was cancelled before."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _limit_starts(self) -> None:
        now = asyncio.get_running_loop().time()
        self._starts = [at for at in self._starts if at > now - 60]
        if len(self._starts) >= STARTS_PER_MINUTE:
            await asyncio.sleep(self._starts[0] + 60 - now)
        self._starts.append(now)

    async def start(self) -> None:
        """Start an interpreter; the one before has ended."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-i", "-q", "-u", "-X", "utf8"),
            cwd=self._folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "TERM": "dumb"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def _follow(self) -> int:
        """Send what it prints until it ends; returns its exit code."""
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("not started")
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while data := await process.stdout.read(MAX_OUTPUT_BYTES):
            await self._session.send({"output": decode(data), "files": self._files()})
        return await process.wait()

    def _files(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self._folder))[:MAX_FILES]


class PythonRepl(SessionApp):
    """One interpreter for one user."""

    def __init__(self) -> None:
        self._session: AppSession | None = None
        self._interpreter: Interpreter | None = None
        self._running: asyncio.Task[None] | None = None

    async def on_start(self, session: AppSession) -> None:
        self._session = session
        self._interpreter = Interpreter(session)
        await self._interpreter.start()
        self._running = session.after(0, self._interpreter.run)

    async def on_message(self, message: dict[str, Any]) -> None:
        if self._interpreter is None or self._session is None:
            return
        run = message.get("run")
        if isinstance(run, str) and len(run) <= MAX_INPUT_CHARACTERS:
            if not await self._interpreter.write(run):
                await self._session.send({"error": "no interpreter is running: send it again"})
        elif message.get("interrupt") is True:
            self._interpreter.signal(signal.SIGINT)
        elif message.get("restart") is True:
            self._interpreter.signal(signal.SIGKILL)
        else:
            await self._session.send({"error": "run: text of at most 64 KiB, interrupt or restart"})

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - of no interest here
        if self._running is not None and self._interpreter is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            await self._interpreter.close()
