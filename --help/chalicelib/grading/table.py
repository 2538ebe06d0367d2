"""The table of grading. Every write is conditional; a failed condition is a result, not an
exception.

It has gradings and submissions by id, `assignment#…`, `learner#…` (turns, and the number of a
learner's gradings that wait or run), `handed-in#…` and `capacity#judges` counters, `clock#gradings`
and `pace#gradings`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.capacity.fairness import next_turns
from chalicelib.capacity.turns import Turns
from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.records import Unreadable, only_readable, read_record, readable
from chalicelib.dynamodb.table import FAILED
from chalicelib.dynamodb.writes import Write, lowered, put, raised
from chalicelib.grading.fairness import in_fair_order
from chalicelib.grading.items import (
    ALL,
    GRADINGS,
    assignment_id_of,
    assignment_item,
    assignment_key,
    awaiting,
    grading_item,
    learner_of,
    read_assignment,
    read_submission,
    submission_item,
    waiting_order,
)
from chalicelib.grading.lifecycle import PLACE, fold_mark, fold_preparation
from chalicelib.grading.model import KEPT_SECONDS, Assignment, Grading, Submission
from chalicelib.tasks.store import RecordTable, next_version

QUEUE = "gradings"
"""The name of the only queue of turns."""
PACE = "pace#gradings"
OLD_PACE = 0.8
"""Weight of the previous value in the moving average of a grading's duration."""
WRITE_TRIES = 12
PAGE = 10
"""Number of waiting gradings that are read from the index."""
RELEASED_AT_ONCE = 50
"""Maximum number of gradings that the end of a preparation releases; the sweep does the rest."""


@dataclass(frozen=True)
class Full:
    """Nothing was written because a limit is reached; `label` describes it."""

    label: str


@dataclass(frozen=True)
class Bounds:
    """Limits for one learner; 0 = no limit."""

    waiting: int
    """Gradings that wait or run."""
    handed_in: int
    """Submissions to one assignment."""


class GradingTable(RecordTable[Grading]):
    """Through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        super().__init__(dynamodb, name, GRADINGS)
        self._turns = Turns(self.items)

    # Assignments

    def assignment(self, assignment_id: str) -> Assignment | None:
        """The present record, also of a deleted assignment. Raises UnreadableRecordError."""
        item = self.items.get(assignment_key(assignment_id))
        return readable(read_record(item, read_assignment)) if item else None

    def put_assignment(
        self,
        before: Assignment | None,
        after: Assignment,
        *more: Write,
        preparation: Grading | None = None,
    ) -> list[Grading] | None:
        """Write the assignment, together with `more` and a new preparation, if the record is still
        `before`.

        Returns the preparation with its turn, if there is one; None if nothing was written.
        """
        version = None if before is None else before.version
        item = assignment_item(replace(after, version=1 if version is None else version + 1))
        if preparation is None:
            return [] if self.items.put(item, version, *more) else None
        first = {"Put": put(self.items.name, item, version)}
        written = self._queue([preparation], 0, [first, *more])
        return written if isinstance(written, list) else None

    def assignments(self, limit: int, after: str | None) -> tuple[list[Assignment], str | None]:
        """A page of those that are not deleted, by id."""
        rows, following = self.items.page_after(
            "assignments", "assignments", ALL, after=after, limit=limit
        )
        ids = [row["id"]["S"] for row in rows]
        items = self.items.get_all(ids)
        found = [read_record(items[each], read_assignment) for each in ids if each in items]
        kept = [each for each in only_readable(found) if each.deleted_at is None]
        return sorted(kept, key=lambda each: assignment_id_of(each.id)), following

    # Submissions

    def submission(self, submission_id: str) -> Submission | None:
        """The present record. Raises UnreadableRecordError."""
        item = self.items.get(submission_id)
        if item is None or "by_learner" not in item:
            return None
        return readable(read_record(item, read_submission))

    def submissions(
        self, assignment: str, learner: str | None, limit: int, after: str | None
    ) -> tuple[list[Submission], str | None]:
        """A page of an assignment's submissions, or of one learner's, newest first."""
        if learner is None:
            index, attribute, value = "by_assignment", "assignment", assignment
        else:
            index, attribute = "by_learner", "by_learner"
            value = learner_of(assignment, learner)
        rows, following = self.items.page_after(
            index, attribute, value, after=after, limit=limit, is_reversed=True
        )
        ids = [row["id"]["S"] for row in rows]
        items = self.items.get_all(ids)
        found = [read_record(items[each], read_submission) for each in ids if each in items]
        return only_readable(found), following

    def add(
        self, submission: Submission, gradings: Sequence[Grading], bounds: Bounds, *more: Write
    ) -> tuple[Submission, list[Grading]] | Full | None:
        """Write a new submission with its gradings, count it, and write `more`, in one transaction.

        Assigns the gradings' turns. None if the id exists already, or other transactions hold the
        counters.
        """
        handed_in = raised(
            self.items.name,
            f"handed-in#{_digest(learner_of(submission.assignment, submission.learner))}",
            bounds.handed_in or None,
            int(submission.created_at) + KEPT_SECONDS,
        )
        count = {"Update": handed_in}
        item = submission_item(submission)
        first = {"Put": put(self.items.name, item, None)}
        written = self._queue(gradings, bounds.waiting, [first, count, *more])
        if isinstance(written, list):
            return submission, written
        if written.reasons[0] == FAILED:
            return None
        if written.reasons[1] == FAILED:
            return Full(f"{bounds.handed_in} submissions to this assignment")
        if written.full:
            return Full(f"{bounds.waiting} of your gradings that wait or run")
        return None

    def regrade(
        self, before: Submission, after: Submission, gradings: Sequence[Grading], *more: Write
    ) -> list[Grading] | None:
        """Write a submission's new gradings if the record is still `before`; None if it is not."""
        item = submission_item(replace(after, version=before.version + 1))
        first = {"Put": put(self.items.name, item, before.version)}
        written = self._queue(gradings, 0, [first, *more])
        return written if isinstance(written, list) else None

    def _queue(
        self, gradings: Sequence[Grading], most: int, writes: Sequence[Write]
    ) -> "list[Grading] | _Refused":
        """Write new gradings of one flow, with turns after the flow's newest one."""
        flow, now = gradings[0].flow, gradings[0].created_at
        key = f"learner#{_digest(flow)}"
        name = self.items.name
        refused = _Refused(["TransactionConflict"], full=False)
        for _ in range(WRITE_TRIES):
            seen = self.items.get(key) or {}
            last = int(seen["last_turn"]["N"]) if "last_turn" in seen else None
            turns = next_turns(self._turns.clock(QUEUE), last, len(gradings))
            queued = [
                replace(grading, turn=turn, attempt_counters=(key,))
                for grading, turn in zip(gradings, turns, strict=True)
            ]
            condition = Attr("last_turn").eq(last) if last is not None else _NO_TURN
            if most:
                condition &= Attr("n").not_exists() | Attr("n").lte(most - len(gradings))
            counted = {"TableName": name, "Key": {"id": {"S": key}}} | expressions(
                condition=condition,
                add_values={"n": len(gradings)},
                set_values={"last_turn": turns[-1], "expire_at": int(now) + KEPT_SECONDS},
            )
            puts = [{"Put": put(name, grading_item(each), None)} for each in queued]
            refusal = self.items.transact([*writes, {"Update": counted}, *puts])
            if refusal is None or self.items.is_written(grading_item(queued[0]), refusal):
                return queued
            refused = _Refused(refusal.reasons, full=False)
            if FAILED in refusal.reasons[: len(writes)]:
                return refused
            waiting = int(seen["n"]["N"]) if "n" in seen else 0
            if refusal.reasons[len(writes)] == FAILED and most and waiting + len(queued) > most:
                return replace(refused, full=True)
        return refused

    # Gradings

    def with_judges(self) -> int:
        """The number of gradings that judges have."""
        return self.items.counted(PLACE)

    def pace(self) -> float | None:
        """The moving average of a grading's duration in seconds; None before the first."""
        item = self.items.get(PACE)
        return float(item["seconds"]["N"]) if item else None

    def note_pace(self, seconds: float) -> None:
        """Record the duration of a grading. Of two concurrent calls one counts."""
        before = self.pace()
        after = seconds if before is None else OLD_PACE * before + (1 - OLD_PACE) * seconds
        unknown = Attr("seconds").not_exists()
        as_read = unknown if before is None else Attr("seconds").eq(before)
        self.items.update(PACE, {"seconds": round(after, 3)}, as_read)

    def waiting(self) -> list[Grading]:
        """The next waiting gradings, from the index, with their present records."""
        rows, _ = self.items.page_after("waiting", "waiting", ALL, after=None, limit=PAGE)
        return in_fair_order(only_readable(self.get_all([row["id"]["S"] for row in rows])))

    def awaiting(self, preparation_id: str) -> list[Grading]:
        """Gradings that wait for a preparation, from the index, in their current state.

        At most RELEASED_AT_ONCE; the sweep finds the others.
        """
        rows, _ = self.items.page_after(
            "waiting", "waiting", awaiting(preparation_id), after=None, limit=RELEASED_AT_ONCE
        )
        return in_fair_order(only_readable(self.get_all([row["id"]["S"] for row in rows])))

    def position(self, grading: Grading) -> int:
        """The approximate number of gradings before it."""
        page = self.items.page(
            "waiting",
            "waiting",
            ALL,
            order="waiting_order",
            between=("0", waiting_order(grading)),  # DynamoDB refuses an empty string in a key
            Select="COUNT",
        )
        return max(0, int(page["Count"]) - 1)

    def hand_over(self, before: Grading, after: Grading, most: int, now: float) -> Grading | bool:
        """Write that a judge has it, unless judges have `most`, and advance the clock.

        Returns the record as written; True if the limit is reached; False if the record has
        changed, or other transactions hold the counter.
        """
        written = next_version(before, after)
        name, item = self.items.name, grading_item(written)
        place = raised(name, PLACE, most, int(now) + KEPT_SECONDS)
        for _ in range(WRITE_TRIES):
            refusal = self.items.transact(
                [{"Put": put(name, item, before.version)}, {"Update": place}]
            )
            if refusal is None or self.items.is_written(item, refusal):
                self._turns.started(QUEUE, written.turn)
                return written
            if FAILED in refusal.reasons:
                return refusal.reasons[0] != FAILED
        return False

    def finish(self, before: Grading, after: Grading) -> Grading | None:
        """Write a verdict, and the mark into its submission, in one transaction.

        The result of a preparation is written into its assignment. None if one of the two records
        has changed.
        """
        return self.replace(before, after, *self._folded(after))

    def _folded(self, ended: Grading) -> list[Write]:
        """The write of a verdict into its submission or assignment; none if that record has another
        current grading or has expired.
        """
        name = self.items.name
        if ended.is_preparation:
            assignment = self.assignment(ended.assignment)
            prepared = assignment and fold_preparation(assignment, ended)
            if assignment is None or prepared is None or prepared is assignment:
                return []
            item = assignment_item(replace(prepared, version=assignment.version + 1))
            return [{"Put": put(name, item, assignment.version)}]
        submission = self.submission(ended.submission)
        marked = submission and fold_mark(submission, ended)
        if submission is None or marked is None or marked is submission:
            return []
        item = submission_item(replace(marked, version=submission.version + 1))
        return [{"Put": put(name, item, submission.version)}]

    def finish_and_give(
        self, before: Grading, after: Grading, waiting: Grading, given: Grading
    ) -> tuple[Grading, Grading] | Grading | None:
        """Write a verdict and assign the waiting grading to its judge, in one transaction.

        The second grading takes the first one's place in the count of judges' gradings. Returns
        both as written; `waiting` if that one has changed; None if another record has.
        """
        name = self.items.name
        ended = next_version(before, replace(after, next_grading=given.id))
        begun = next_version(waiting, given)
        writes: list[Write] = [
            {"Put": put(name, grading_item(ended), before.version)},
            {"Put": put(name, grading_item(begun), waiting.version)},
            *({"Update": lowered(name, key)} for key in before.attempt_counters if key != PLACE),
            *self._folded(after),
        ]
        refusal = self.items.transact(writes, waits_for_others=True)
        if refusal is None or self.items.is_written(grading_item(ended), refusal):
            self._turns.started(QUEUE, begun.turn)
            return ended, begun
        others = [*refusal.reasons[:1], *refusal.reasons[2:]]
        return waiting if FAILED not in others else None

    def live(
        self, bucket: int, after: str | None, limit: int
    ) -> tuple[list[Grading | Unreadable], str | None]:
        """A page of a bucket's gradings without a verdict."""
        rows, following = self.items.page_after(
            "live", "live_bucket", bucket, after=after, limit=limit
        )
        records = self.get_all([row["id"]["S"] for row in rows])
        return [r for r in records if isinstance(r, Unreadable) or not r.has_ended], following


_NO_TURN = Attr("last_turn").not_exists()


@dataclass(frozen=True)
class _Refused:
    """Nothing was written. `full`: the learner has reached the limit of waiting gradings."""

    reasons: list[str]
    full: bool


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
