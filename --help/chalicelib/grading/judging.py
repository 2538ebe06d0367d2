"""Hands gradings over to judges in fair order, writes their marks, repeats lost ones."""

import hmac
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chalicelib.config import Config
from chalicelib.contract.jobs import DEFAULT_TIMEOUT_SECONDS, JUDGE_JOB
from chalicelib.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnauthorizedError,
    UnknownJobError,
    UsherError,
)
from chalicelib.grading import lifecycle
from chalicelib.grading.fairness import in_fair_order
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.model import INTERNAL_ERROR, Grading, State
from chalicelib.grading.table import WRITE_TRIES, GradingTable
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.service import Invocations
from chalicelib.metrics import Metrics

HANDED_AT_ONCE = 8
"""Maximum number of gradings that one request hands over; the next request or the sweep hands over
the rest."""
OWNER = "usher:judge"
"""Owner of the judge's invocations; no caller has this name."""
REPORT_SECONDS = 300
"""The judge's URLs are valid for this long after its timeout, so that it can store its
documents."""

PACE_EVERY = 5
"""The duration of every fifth grading of a judge is recorded, beginning with the first."""

_log = logging.getLogger("usher.grading")


class Judging:
    """The gradings of one deployment."""

    def __init__(
        self,
        *,
        table: GradingTable,
        files: GradingFiles,
        invocations: Invocations,
        catalog: Catalog,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._files = files
        self._invocations = invocations
        self._catalog = catalog
        self._config = config
        self._metrics = metrics
        self._now = now

    def hand_over(self, newcomers: Iterable[Grading] = ()) -> int:
        """Hand waiting gradings over to judges in fair order, within the limit; returns their
        number.

        `newcomers` have just been written: the index may not show them yet.
        """
        if self._table.with_judges() >= self._config.grading_capacity:
            return 0  # the end of one of them hands over again
        ready = [grading for grading in newcomers if grading.is_waiting]
        waiting = in_fair_order([*self._table.waiting(), *ready])
        handed = 0
        for grading in waiting[:HANDED_AT_ONCE]:
            now = self._now()
            after = lifecycle.decide_hand_over(grading, now)
            written = self._table.hand_over(grading, after, self._config.grading_capacity, now)
            if written is True:
                break
            if isinstance(written, Grading):
                handed += 1
                self.ask_for_judge(written)
        return handed

    def hand_over_soon(self, newcomers: Sequence[Grading]) -> None:
        """As `hand_over`, for gradings that are recorded; errors are left to the sweep.

        The learner's request succeeded, because the submission is recorded.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.hand_over([self._released_if_prepared(grading) for grading in newcomers])
        except (BotoCoreError, ClientError, UsherError):
            _log.exception("left to the sweep")

    def _released_if_prepared(self, grading: Grading) -> Grading:
        """Release a recorded grading if its preparation ended while it was written."""
        return self._release(grading) or grading if grading.awaits is not None else grading

    def _release(self, grading: Grading, preparation: Grading | None = None) -> Grading | None:
        """Apply the end of the grading's preparation; None if there is nothing to write."""
        if preparation is None:
            preparation = self._table.get(grading.awaits or "")
        after = lifecycle.decide_release(grading, preparation, self._now())
        if after is grading:
            return None
        write = self._table.finish if after.has_ended else self._table.replace
        written = write(grading, after)
        if written is not None and written.has_ended:
            self._on_transition(grading, written)
        return written

    def _release_all(self, preparation: Grading) -> None:
        """Release the gradings that wait for a preparation; errors are left to the sweep."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            waiting = self._table.awaiting(preparation.id)
            released = [self._release(grading, preparation) for grading in waiting]
            self.hand_over([grading for grading in released if grading is not None])
        except (BotoCoreError, ClientError, UsherError):
            _log.exception("left to the sweep", extra=preparation.log_fields)

    def ask_for_judge(self, grading: Grading) -> None:
        """Request the invocation of a grading that was handed over. Idempotent."""
        try:
            draft = self._invocations.draft(
                job=JUDGE_JOB,
                owner=OWNER,
                parameters={"grading": grading.id}
                | ({"prepare": True} if grading.is_preparation else {}),
                callback_base_url=grading.callback_base_url,
                invocation_id=grading.invocation,
            )
        except UnknownJobError:  # once it is deployed again, the sweep repeats the request
            _log.exception("there is no judge", extra=grading.log_fields)
            return
        self._invocations.accept_at_once(draft)
        _log.info("given to a judge", extra=grading.log_fields)

    def start(
        self, parameters: Any, invocation_id: str, key: str, seconds: int
    ) -> Mapping[str, Any]:
        """The judge's input; invocation `invocation_id` with the key `key` has its start permit.

        Raises ConflictError if the grading is not assigned to it.
        """
        grading_id = parameters.get("grading") if isinstance(parameters, dict) else None
        for _ in range(WRITE_TRIES):
            seen = self._table.get(str(grading_id))
            after = seen and lifecycle.decide_start(seen, invocation_id, self._now())
            if seen is None or after is None:
                raise ConflictError("this grading is not, or no more, for this judge")
            written = seen if after is seen else self._table.replace(seen, after)
            if written is not None:
                return self._order(written, seconds) | {
                    "marks": {
                        "url": f"{written.callback_base_url}/invocations/{invocation_id}/marks",
                        "key": lifecycle.marks_key(key),
                    }
                }
        raise ConflictError("the grading is changing too fast")

    def mark(
        self, invocation_id: str, key: str, grading_id: str, result: Any
    ) -> Mapping[str, Any] | None:
        """Write a judge's mark; returns the next grading's input, None = no more.

        Idempotent: the answer is the same while the judge has that next grading. Raises
        NotFoundError, UnauthorizedError, BadRequestError for an invalid mark, and ConflictError if
        the grading is not this judge's.
        """
        invocation = self._judge(invocation_id, key)
        for _ in range(WRITE_TRIES):
            seen = self._table.get(grading_id)
            if seen is None or seen.invocation != invocation_id:
                raise ConflictError("this grading is not, or no more, for this judge")
            if seen.has_ended:
                return self._given_before(seen, invocation)
            mark = lifecycle.read_mark(result, seen.max_score)
            if mark is None:
                raise BadRequestError("result: no mark")
            after = lifecycle.decide_mark(seen, mark, self._now())
            written = self._finish(seen, after, invocation)
            if written is not None:
                ended, given = written
                self._on_transition(seen, ended)
                if ended.is_preparation:
                    self._release_all(ended)
                elif seen.place % PACE_EVERY == 1 and seen.started_at is not None:
                    self._table.note_pace(self._now() - seen.started_at)
                return None if given is None else self._next_order(given, invocation)
        raise ConflictError("the grading is changing too fast")

    def _judge(self, invocation_id: str, key: str) -> Invocation:
        """Raises NotFoundError, UnauthorizedError."""
        found = self._invocations.get_record(invocation_id)
        if found is None or found.job != JUDGE_JOB:
            raise NotFoundError("no such invocation of a judge")
        if not hmac.compare_digest(lifecycle.marks_key(found.key).encode(), key.encode()):
            raise UnauthorizedError("this key is not the judge's")
        return found

    def _given_before(self, seen: Grading, invocation: Invocation) -> Mapping[str, Any] | None:
        """The earlier answer, which the judge did not receive."""
        given = self._table.get(seen.next_grading) if seen.next_grading else None
        is_its_own = given is not None and given.invocation == invocation.id
        if given is None or not is_its_own or given.state is not State.STARTED:
            return None
        return self._next_order(given, invocation)

    def _finish(
        self, seen: Grading, after: Grading, invocation: Invocation
    ) -> tuple[Grading, Grading | None] | None:
        """Write the verdict and the judge's next grading; None if the grading has changed."""
        now = self._now()
        if lifecycle.may_go_on(seen, invocation, self._newest_judge(), now):
            for waiting in self._table.waiting():
                given = lifecycle.decide_next(waiting, seen, now)
                both = self._table.finish_and_give(seen, after, waiting, given)
                if not isinstance(both, Grading):
                    return both
        written = self._table.finish(seen, after)
        return None if written is None else (written, None)

    def _newest_judge(self) -> str | None:
        try:
            return self._catalog.get(JUDGE_JOB).task_definition
        except UnknownJobError:
            return None

    def _next_order(self, grading: Grading, invocation: Invocation) -> dict[str, Any]:
        _log.info("given to the same judge", extra=grading.log_fields)
        return self._order(grading, invocation.timeout_seconds or DEFAULT_TIMEOUT_SECONDS)

    def _order(self, grading: Grading, seconds: int) -> dict[str, Any]:
        seconds += REPORT_SECONDS
        return {
            "grading": grading.id,
            "submission": grading.submission,
            "assignment": grading.assignment,
            "part": grading.part,
            "learner": grading.learner,
            "revision": grading.revision,
            "grader": self._files.readable_for(grading.grader, seconds),
        } | self._task(grading, seconds)

    def _task(self, grading: Grading, seconds: int) -> dict[str, Any]:
        """The fields of a preparation's or of a marking's order."""
        if grading.is_preparation:
            return {"prepare": True, "files": "", "results": {}}
        return {
            "files": self._files.readable_for(grading.files, seconds),
            "results": self._files.writable_for(grading.results or "", seconds),
            "image": grading.image,
        }

    def on_ended(self, invocation: Invocation) -> None:
        """Handle the end of a judge's invocation: write the mark, or queue the grading again.

        Its place becomes free, also for gradings that the index did not show when it marked its
        last one.
        """
        found = invocation.parameters
        grading_id = found.get("grading") if isinstance(found, dict) else None
        if not isinstance(grading_id, str):
            return
        seen = self._table.get(grading_id)
        while seen is not None and seen.next_grading is not None:
            seen = self._table.get(seen.next_grading)
        written = None if seen is None else self.settle(seen.id, invocation)
        self.hand_over([written] if written is not None else [])

    def settle(self, grading_id: str, invocation: Invocation) -> Grading | None:
        """Update a grading after the end of its judge's invocation; None if nothing is to be
        done.
        """
        for _ in range(WRITE_TRIES):
            seen = self._table.get(grading_id)
            if seen is None:
                return None
            after = lifecycle.decide_end(seen, invocation, self._now())
            if after is seen:
                return None
            written = (
                self._table.finish(seen, after) if after.has_ended
                else self._table.replace(seen, after)
            )  # fmt: skip
            if written is not None:
                self._on_transition(seen, written)
                if written.has_ended and written.is_preparation:
                    self._release_all(written)
                return written
        _log.error("not settled: it is changing too fast", extra={"grading": grading_id})
        return None

    def _on_transition(self, before: Grading, after: Grading) -> None:
        fields = after.log_fields | {"invocation": before.invocation, "state": after.state}
        _log.info("%s to %s", before.state, after.state, extra=fields)
        if after.state is State.QUEUED:
            self._metrics.count("gradings_repeated")
            return
        if not after.is_preparation:
            self._metrics.count("gradings_finished", verdict=str(after.verdict))
            if after.finished_at is not None:
                took = after.finished_at - after.created_at
                self._metrics.observe("grading_seconds", took)
        if after.verdict == INTERNAL_ERROR:
            self._metrics.count("grading_internal_errors")
            _log.error("the grader or the judge failed: %s", after.reason, extra=fields)

    def repair(self, grading: Grading) -> None:
        """Repair a grading that a judge has, or that waits for its images, after a crash."""
        if grading.awaits is not None:
            written = self._release(grading)
            self.hand_over([written] if written is not None else [])
            return
        if grading.invocation is None:
            return
        invocation = self._invocations.get_record(grading.invocation)
        if invocation is None:
            self.ask_for_judge(grading)
        elif invocation.has_ended:
            written = self.settle(grading.id, invocation)
            self.hand_over([written] if written is not None else [])
