"""Effects of transitions of invocations: breakers, wake-up messages, metrics."""

import logging
import math
from collections.abc import Callable

from chalicelib.capacity.turns import Turns
from chalicelib.jobs.model import Invocation, Priority, State
from chalicelib.jobs.policy import turns_of
from chalicelib.jobs.queues import JobQueues, WakeUp
from chalicelib.metrics import Metrics
from chalicelib.tasks.breaker import Breaker
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.tasks.revisions import RevisionState, family_in

_log = logging.getLogger("usher.jobs")


class JobObserver:
    """Updates breakers, wakes the launcher, counts metrics."""

    def __init__(
        self,
        *,
        breaker: Breaker[RevisionState],
        queues: JobQueues,
        turns: Turns,
        hosts_wanted: HostsWanted,
        metrics: Metrics,
        now: Callable[[], float],
        on_ended: Callable[[Invocation], None] = lambda _: None,
        trace: Callable[[Invocation, Invocation], None] | None = None,
    ) -> None:
        """`on_ended` is called with each invocation that has ended, after all other effects;
        `trace` before it with each transition of an invocation whose request is in a trace.
        """
        self._on_ended = on_ended
        self._trace = trace
        self._breaker = breaker
        self._queues = queues
        self._turns = turns
        self._hosts_wanted = hosts_wanted
        self._metrics = metrics
        self._now = now

    def on_transition(self, before: Invocation, after: Invocation) -> None:
        """See `chalicelib.tasks.store.Observer`. Changes within a state have no effect."""
        if before.waits_for_instance and not after.waits_for_instance:
            self._hosts_wanted.remove(JOBS, before.id, before.attempt)
        if before.state is after.state:
            return
        fields = after.log_fields | {"state": after.state, "reason": after.reason}
        _log.info("%s to %s", before.state, after.state, extra=fields)
        failures = self._failures_in_a_row(before, after)
        if failures is not None:
            self._metrics.gauge("job_breaker_failures", failures, job=after.job)
        self._measure(before, after)
        freed_capacity = before.task_arn is not None if after.is_waiting else after.has_ended
        if freed_capacity and before.claimed_at is not None:
            self._queues.send(Priority.CRITICAL, WakeUp(capacity_freed=True))
        if after.start_failures > before.start_failures and after.next_try_at is not None:
            rest = max(1, math.ceil(after.next_try_at - self._now()))
            self._queues.send(after.priority, WakeUp(after.id), rest)
        if after.has_ended and before.is_waiting and before.turn is not None:
            self._turns.give_back(turns_of(before), before.owner)
        if self._trace is not None and after.traceparent:
            self._trace(before, after)
        if after.has_ended:
            self._on_ended(after)

    def _failures_in_a_row(self, before: Invocation, after: Invocation) -> int | None:
        """Update the breaker of the invocation's revision with the result of a start; returns None
        if the transition has no result.
        """
        revision, fields = after.task_definition, after.log_fields
        if revision is None:
            return None
        if after.state is State.STARTED:
            return self._breaker.succeeded(after.job, family_in(revision), revision, fields)
        if after.start_failures > before.start_failures:
            return self._breaker.failed(after.job, revision, after.detail or "", fields)
        return None

    def _measure(self, before: Invocation, after: Invocation) -> None:
        job = after.job
        if after.state is State.STARTED and after.started_at is not None:
            waited = after.started_at - max(after.created_at, after.at or 0)
            self._metrics.observe("job_wait_seconds", waited, job=job)
        if not after.has_ended or before.has_ended:
            return
        self._metrics.count("jobs_ended", job=job, reason=str(after.reason))
        if after.started_at is not None and after.finished_at is not None:
            took = after.finished_at - after.started_at
            self._metrics.observe("job_run_seconds", took, job=job)
        if after.usage is not None:
            self._metrics.observe("job_cpu_seconds", after.usage.cpu_seconds, job=job)
            self._metrics.observe("job_memory_mib", after.usage.max_memory_mib, job=job)
