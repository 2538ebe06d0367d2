"""Supervises the child that runs the job, until it and all of its descendants have ended."""

import os
import resource
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from usher.child_messages import End, LineDecoder, Progress
from usher.ending import Memory, Seen, Stop
from usher.log import say
from usher.memory import MIB, ControlGroup, largest_child_bytes, tree_bytes
from usher.processes import kill_all, reap, signal_job
from usher.protocol import Usage
from usher.signals import Signals

POLL_SECONDS = 0.1
CLOSE_POLL_SECONDS = 0.01
"""Interval between two samples of memory; the second value if more than half of it is in use."""
PIPE_BYTES = 65_536


@dataclass(frozen=True)
class RunLimits:
    """Limits of the run. `memory_mib` is set if nothing else enforces a limit."""

    timeout_seconds: float
    grace_seconds: float
    memory_mib: int | None = None


class Supervisor:
    """The child `pid` leads a process group; `pipe` is the reading end of its messages."""

    def __init__(
        self,
        pid: int,
        pipe: int,
        signals: Signals,
        run_limits: RunLimits,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._pid = pid
        self._pipe: int | None = pipe
        self._signals = signals
        self._run_limits = run_limits
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._decoder = LineDecoder()
        self._end: End | None = None
        self._status: int | None = None
        self._stop: Stop | None = None
        self._end_came_first = False
        self._kill_at: float | None = None
        self._next_check = self._started
        self._peak_bytes = 0
        self._group = ControlGroup()
        os.set_blocking(pipe, False)

    def watch(self) -> tuple[Seen, Usage]:
        """Returns when no process of the job is left."""
        poll = select.poll()
        poll.register(self._signals.wakeup, select.POLLIN)
        if self._pipe is not None:
            poll.register(self._pipe, select.POLLIN)
        while self._status is None:
            for descriptor, _ in poll.poll(self._patience_ms()):
                if descriptor == self._signals.wakeup:
                    self._signals.drain()
                elif not self._listen():
                    poll.unregister(descriptor)
            self._status = reap().get(self._pid)
            if self._status is None:
                self._keep_to_limits(time.monotonic())
        self._listen()
        wall_seconds = time.monotonic() - self._started
        if not kill_all(self._pid):
            say("usher: something that the job started cannot be ended")
        return self._seen(self._status), self._usage(wall_seconds)

    def _patience_ms(self) -> int:
        waits = [self._deadline]
        if self._run_limits.memory_mib is not None:
            waits.append(self._next_check)
        return max(0, round((min(waits) - time.monotonic()) * 1000) + 1)

    @property
    def _deadline(self) -> float:
        if self._kill_at is not None:
            return self._kill_at
        return self._started + self._run_limits.timeout_seconds

    def _listen(self) -> bool:
        """Read the child's messages; False at their end."""
        while self._pipe is not None:
            try:
                data = os.read(self._pipe, PIPE_BYTES)
            except BlockingIOError:
                return True
            if not data:
                os.close(self._pipe)
                self._pipe = None
            for message in self._decoder.receive(data):
                if isinstance(message, Progress):
                    self._on_progress(message)
                elif self._end is None:
                    self._end = message
        return False

    def _keep_to_limits(self, now: float) -> None:
        if self._run_limits.memory_mib is not None and now >= self._next_check:
            self._check_memory(self._run_limits.memory_mib * MIB, now)
        if self._signals.times_asked > 0 and self._kill_at is None:
            self._begin_to_stop(Stop.ASKED, now)
        if self._signals.times_asked > 1 and self._stop is Stop.ASKED:
            signal_job(self._pid, signal.SIGKILL)  # requested again: at once
        if now >= self._deadline:
            if self._kill_at is None:
                self._begin_to_stop(Stop.TIME_UP, now)
            else:
                signal_job(self._pid, signal.SIGKILL)
                self._kill_at = now + 1.0

    def _begin_to_stop(self, why: Stop, now: float) -> None:
        self._note_stop(why)
        signal_job(self._pid, signal.SIGTERM)
        signal_job(self._pid, signal.SIGCONT)  # a stopped process would not receive it
        self._kill_at = now + self._run_limits.grace_seconds

    def _note_stop(self, why: Stop) -> None:
        if self._stop is None:
            self._listen()
            self._stop, self._end_came_first = why, self._end is not None

    def _check_memory(self, limit: int, now: float) -> None:
        used = tree_bytes(more_than=limit)
        self._peak_bytes = max(self._peak_bytes, used)
        if used > limit:
            self._note_stop(Stop.MEMORY)
            signal_job(self._pid, signal.SIGKILL)
        near = used > limit / 2
        self._next_check = now + (CLOSE_POLL_SECONDS if near else POLL_SECONDS)

    def _seen(self, status: int) -> Seen:
        memory = self._group.facts()
        if self._run_limits.memory_mib is not None:
            memory = Memory(limit_mib=self._run_limits.memory_mib)
        return Seen(
            status=status,
            end=self._end,
            stop=self._stop,
            end_came_first=self._end_came_first,
            timeout_seconds=self._run_limits.timeout_seconds,
            memory=memory,
        )

    def _usage(self, wall_seconds: float) -> Usage:
        taken = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = self._group.peak_bytes() or max(self._peak_bytes, largest_child_bytes())
        return Usage(taken.ru_utime + taken.ru_stime, peak / MIB, wall_seconds)
