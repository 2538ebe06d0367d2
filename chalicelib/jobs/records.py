"""Changing the record of an invocation, and learning from the change."""

import logging
import math
from collections.abc import Callable

from chalicelib.errors import StartFailedError, UnavailableError
from chalicelib.jobs.model import Invocation, Priority, State
from chalicelib.jobs.queues import JobQueues, WakeUp
from chalicelib.jobs.table import InvocationsTable, WritesWith
from chalicelib.metrics import Metrics
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.tasks.revisions import fold_failure, fold_success

_log = logging.getLogger("usher.jobs")


class JobRecords:
    """The table, and what is learnt from what is written to it: all changes pass here."""

    def __init__(
        self,
        *,
        table: InvocationsTable,
        queues: JobQueues,
        hosts_wanted: HostsWanted,
        revisions: Revisions,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._queues = queues
        self._hosts_wanted = hosts_wanted
        self._revisions = revisions
        self._metrics = metrics
        self._now = now

    def change(
        self,
        invocation_id: str,
        decide: Callable[[Invocation], Invocation],
        seen: Invocation | None = None,
        writes_with: WritesWith | None = None,
    ) -> Invocation | None:
        """Load, decide, write on condition; None without a record.

        `writes_with`: see `InvocationsTable.change`.
        """
        changed = self._table.change(invocation_id, decide, seen, writes_with)
        if changed is None:
            return None
        before, after = changed
        if before.waits_for_instance and not after.waits_for_instance:
            self._hosts_wanted.lowered(JOBS)
        if before.state is not after.state:
            self._learn(before, after)
        return after

    def _learn(self, before: Invocation, after: Invocation) -> None:
        """Take in one move. It was written, so a crash here loses a count and nothing else."""
        told = after.log_fields | {"state": after.state, "reason": after.reason}
        _log.info("%s to %s", before.state, after.state, extra=told)
        if after.state is State.STARTED:
            self._came_up(after)
        elif after.start_failures > before.start_failures:
            self._did_not_come_up(after)
        self._measure(before, after)
        made_room = before.task_arn is not None if after.is_waiting else after.has_ended
        if made_room and before.claimed_at is not None:
            self._queues.send(Priority.CRITICAL, WakeUp(room_was_made=True))
        if after.start_failures > before.start_failures and after.next_try_at is not None:
            rest = max(1, math.ceil(after.next_try_at - self._now()))
            self._queues.send(after.priority, WakeUp(after.id), rest)

    def _came_up(self, invocation: Invocation) -> None:
        revision = invocation.task_definition
        if revision is None:
            return
        try:
            newest = self._revisions.newest(revision.rpartition("/")[2].rpartition(":")[0])
        except (StartFailedError, UnavailableError) as error:
            _log.warning(
                "nobody knows whether revision %s is the newest: %s",
                revision,
                error,
                extra=invocation.log_fields,
            )
            return
        self._table.change_revisions(
            invocation.job, lambda state: fold_success(state, revision, newest)
        )

    def _did_not_come_up(self, invocation: Invocation) -> None:
        revision, words, now = invocation.task_definition, invocation.detail or "", self._now()
        if revision is None:
            return
        state = self._table.change_revisions(
            invocation.job, lambda state: fold_failure(state, revision, words, now)
        )
        in_a_row = state.failing[revision].count
        self._metrics.gauge("job_breaker_failures", in_a_row, job=invocation.job)
        _log.warning(
            "%s failed to start, %s in a row: %s",
            revision,
            in_a_row,
            words,
            extra=invocation.log_fields,
        )

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
