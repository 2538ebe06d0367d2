"""Gradings and their judges: handed over in fair order, started, marked, repeated when lost."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chalicelib.config import Config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.errors import ConflictError, UnknownJobError
from chalicelib.grading import lifecycle
from chalicelib.grading.fairness import in_fair_order
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.model import INTERNAL_ERROR, Grading, State
from chalicelib.grading.table import WRITE_TRIES, GradingTable
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.service import Invocations
from chalicelib.metrics import Metrics

HANDED_AT_ONCE = 8
"""So many gradings one request hands over at most; what is left, the next one or the sweep does."""
OWNER = "usher:judge"
"""Whom invocations of the judge belong to: to nobody who may ask for one."""
REPORT_SECONDS = 300
"""How much longer than the judge may run its URLs are good, to store what it found."""

_log = logging.getLogger("usher.grading")


class Judging:
    """The gradings of one deployment."""

    def __init__(
        self,
        *,
        table: GradingTable,
        files: GradingFiles,
        invocations: Invocations,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._files = files
        self._invocations = invocations
        self._config = config
        self._metrics = metrics
        self._now = now

    def hand_over(self, newcomers: Iterable[Grading] = ()) -> int:
        """Give judges what waits, in fair order, as long as they may have more. How many it gave.

        `newcomers` have just been written: the index may not show them yet.
        """
        waiting = in_fair_order([*self._table.waiting(), *newcomers])
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

    def ask_for_judge(self, grading: Grading) -> None:
        """Ask for the invocation of a grading that was handed over. Repeating it is harmless."""
        try:
            draft = self._invocations.draft(
                job=JUDGE_JOB,
                owner=OWNER,
                parameters={"grading": grading.id},
                callback_base_url=grading.callback_base_url,
                invocation_id=grading.invocation,
            )
        except UnknownJobError:  # deployed again, the sweep asks once more
            _log.exception("there is no judge", extra=grading.log_fields)
            return
        self._invocations.accept_at_once(draft)
        _log.info("given to a judge", extra=grading.log_fields)

    def start(self, parameters: Any, invocation_id: str, seconds: int) -> Mapping[str, Any]:
        """What the judge works with: `invocation_id` has just got its start permit.

        Raises ConflictError where the grading is none of its business.
        """
        grading_id = parameters.get("grading") if isinstance(parameters, dict) else None
        for _ in range(WRITE_TRIES):
            seen = self._table.get(str(grading_id))
            after = seen and lifecycle.decide_start(seen, invocation_id, self._now())
            if seen is None or after is None:
                raise ConflictError("this grading is not, or no more, for this judge")
            written = seen if after is seen else self._table.replace(seen, after)
            if written is not None:
                return self._order(written, seconds + REPORT_SECONDS)
        raise ConflictError("the grading is changing too fast")

    def _order(self, grading: Grading, seconds: int) -> dict[str, Any]:
        return {
            "grading": grading.id,
            "submission": grading.submission,
            "assignment": grading.assignment,
            "part": grading.part,
            "learner": grading.learner,
            "revision": grading.revision,
            "grader": self._files.readable_for(grading.grader, seconds),
            "files": self._files.readable_for(grading.files, seconds),
            "results": self._files.writable_for(grading.results or "", seconds),
        }

    def on_ended(self, invocation: Invocation) -> None:
        """An invocation of the judge is over: write the mark, or queue the grading again."""
        found = invocation.parameters
        grading_id = found.get("grading") if isinstance(found, dict) else None
        if isinstance(grading_id, str):
            self.settle(grading_id, invocation)

    def settle(self, grading_id: str, invocation: Invocation) -> None:
        """Bring a grading to what the end of its judge means; then the next ones have room."""
        for _ in range(WRITE_TRIES):
            seen = self._table.get(grading_id)
            if seen is None:
                return
            after = lifecycle.decide_end(seen, invocation, self._now())
            if after is seen:
                return
            written = (
                self._table.finish(seen, after) if after.has_ended
                else self._table.replace(seen, after)
            )  # fmt: skip
            if written is not None:
                self._on_transition(seen, written)
                self.hand_over([written] if written.is_waiting else [])
                return
        _log.error("not settled: it is changing too fast", extra={"grading": grading_id})

    def _on_transition(self, before: Grading, after: Grading) -> None:
        fields = after.log_fields | {"invocation": before.invocation, "state": after.state}
        _log.info("%s to %s", before.state, after.state, extra=fields)
        if after.state is State.QUEUED:
            self._metrics.count("gradings_repeated")
            return
        self._metrics.count("gradings_finished", verdict=str(after.verdict))
        if after.finished_at is not None:
            took = after.finished_at - after.created_at
            self._metrics.observe("grading_seconds", took)
        if after.verdict == INTERNAL_ERROR:
            self._metrics.count("grading_internal_errors")
            _log.error("the grader or the judge failed: %s", after.reason, extra=fields)

    def repair(self, grading: Grading) -> None:
        """What a crash left undone with a grading that a judge has."""
        if grading.invocation is None:
            return
        invocation = self._invocations.get_record(grading.invocation)
        if invocation is None:
            self.ask_for_judge(grading)
        elif invocation.has_ended:
            self.settle(grading.id, invocation)
