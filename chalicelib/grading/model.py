"""Assignments, submissions and gradings: their records, and what becomes of a grading. Pure.

A grading is one marking of one part. `NEXT` is the one table of its transitions. The only way back
is from a judge that ended without a mark to QUEUED as the next attempt, at most MAX_ATTEMPTS times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

MAX_ATTEMPTS = 3
"""So often a grading is given to a judge; marking has no side effects, so it may be repeated."""
KEPT_SECONDS = 400 * 86_400
"""How long submissions and their gradings are kept."""
MAX_FEEDBACK_CHARACTERS = 4_000


class State(StrEnum):
    """Where a grading is in its life."""

    QUEUED = "QUEUED"
    """Waits in the fair order of learners."""
    HANDED = "HANDED"
    """An invocation of the judge was asked for."""
    STARTED = "STARTED"
    """That invocation holds its start permit, and marks; QUEUED before where it marked another."""
    FINISHED = "FINISHED"
    """It has a verdict."""


NEXT: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.HANDED, State.STARTED}),
    State.HANDED: frozenset({State.STARTED, State.QUEUED, State.FINISHED}),
    State.STARTED: frozenset({State.QUEUED, State.FINISHED}),
    State.FINISHED: frozenset(),
}

VERDICTS = frozenset({"AC", "WA", "PE", "TLE", "MLE", "OLE", "RTE", "CE", "IE", "SK"})
INTERNAL_ERROR = "IE"
IE_FOR_LEARNERS = (
    "The grader failed. This is not your fault and costs you nothing; its author can see why."
)


@dataclass(frozen=True)
class PartInfo:
    """What an assignment says of one part."""

    name: str
    title: str
    max_score: float
    kind: str
    files: tuple[str, ...]
    """Names or patterns of what is handed in."""
    cases: int
    time_limit_seconds: float
    memory_limit_mib: int
    output_limit_kib: int


@dataclass(frozen=True)
class Assignment:
    """An assignment, at its newest revision. Instants are seconds since 1970."""

    id: str
    author: str
    title: str
    pass_points: float
    parts: tuple[PartInfo, ...]
    archive: str
    """Key of its grader's files in the bucket."""
    digest: str
    """SHA-256 of that archive: the same files again are no new revision."""
    created_at: float
    changed_at: float
    revision: int = 1
    deleted_at: float | None = None
    """From then on it takes no submissions; what was handed in is marked and stays visible."""
    version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def log_fields(self) -> dict[str, Any]:
        """What each log line about it says, in fields of their own."""
        return {"assignment": self.id, "owner": self.author}

    @property
    def max_score(self) -> float:
        """The points of all parts."""
        return round(sum(part.max_score for part in self.parts), 6)

    def part(self, name: str) -> PartInfo | None:
        """One of its parts."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True)
class HandedIn:
    """One file that was handed in."""

    name: str
    size: int


@dataclass(frozen=True)
class SubmittedPart:
    """One part of a submission, with the mark of its current grading once there is one."""

    part: str
    archive: str
    """Key of the files in the bucket."""
    files: tuple[HandedIn, ...]
    grading: str
    """Id of the current grading."""
    older: tuple[str, ...] = ()
    """Ids of the gradings before, the oldest first."""
    verdict: str | None = None
    score: float | None = None
    max_score: float = 0.0
    finished_at: float | None = None


@dataclass(frozen=True)
class Submission:
    """A learner's files for some parts of an assignment."""

    id: str
    assignment: str
    author: str
    """Of the assignment."""
    learner: str
    created_at: float
    revision: int
    """Of the assignment, when it was handed in."""
    parts: tuple[SubmittedPart, ...]
    request_digest: str | None = None
    version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def log_fields(self) -> dict[str, Any]:
        """What each log line about it says, in fields of their own."""
        return {"assignment": self.assignment, "submission": self.id, "owner": self.learner}

    @property
    def is_finished(self) -> bool:
        """Whether each part has a verdict."""
        return all(part.verdict is not None for part in self.parts)


@dataclass(frozen=True)
class Mark:
    """What a judge says of a grading. `score` is None with the verdict IE alone."""

    verdict: str
    score: float | None
    feedback: str
    is_detailed: bool
    """Whether it stored its documents."""


@dataclass(frozen=True)
class Grading:
    """The record of a grading. Instants are seconds since 1970."""

    id: str
    submission: str
    assignment: str
    author: str
    part: str
    learner: str
    revision: int
    """Of the assignment; its grader's files are `grader`, whatever is put later."""
    grader: str
    """Key of the grader's files."""
    files: str
    """Key of the learner's files."""
    max_score: float
    flow: str
    """What fairness is between: a learner's submissions, or the regrades of an assignment."""
    turn: int
    """See `chalicelib.capacity.fairness`."""
    created_at: float
    callback_base_url: str = ""
    """Where its judge reaches the dispatcher."""
    state: State = State.QUEUED
    version: int = 1
    attempt: int = 0
    """How often it was given to a judge."""
    invocation: str | None = None
    """The only invocation whose mark counts."""
    handed_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    verdict: str | None = None
    score: float | None = None
    feedback: str = ""
    reason: str | None = None
    """Why there is no mark of a judge, for the author."""
    results: str | None = None
    """Prefix of the keys of its documents."""
    attempt_counters: tuple[str, ...] = ()
    """Counters raised for it: lowered in the write in which it stops to hold them."""
    place: int = 1
    """Which one of its invocation: a judge marks several gradings, one after the other."""
    next_grading: str | None = None
    """What its judge was given after it."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_waiting(self) -> bool:
        """Whether it may be handed to a judge."""
        return self.state is State.QUEUED

    @property
    def has_ended(self) -> bool:
        """Whether it has a verdict."""
        return self.state is State.FINISHED

    @property
    def order(self) -> tuple[int, float, str]:
        """What those that wait are ordered by."""
        return self.turn, self.created_at, self.id

    @property
    def log_fields(self) -> dict[str, Any]:
        """What each log line about it says, in fields of their own."""
        return {
            "assignment": self.assignment,
            "submission": self.submission,
            "grading": self.id,
            "invocation": self.invocation,
            "attempt": self.attempt,
            "owner": self.learner,
        }

    def moved(self, state: State, **facts: Any) -> "Grading":
        """The same grading one state on. Raises ValueError where `NEXT` has no such step."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        return replace(self, state=state, **facts)
