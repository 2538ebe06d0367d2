"""Records of assignments, submissions and gradings. Pure.

A grading is one marking of one part. `NEXT` has all its transitions. The only transition back leads
from a judge that ended without a mark to QUEUED as the next attempt, at most MAX_ATTEMPTS times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

MAX_ATTEMPTS = 3
"""Maximum number of attempts of a grading. Marking has no side effects, so it may be repeated."""
KEPT_SECONDS = 400 * 86_400
"""Submissions and their gradings are kept for this long."""
MAX_FEEDBACK_CHARACTERS = 4_000


class State(StrEnum):
    """The state of a grading."""

    QUEUED = "QUEUED"
    """Waits in the fair order of learners."""
    HANDED = "HANDED"
    """An invocation of the judge was requested."""
    STARTED = "STARTED"
    """That invocation has its start permit and marks; the grading was QUEUED before if the
    invocation marked another one first."""
    FINISHED = "FINISHED"
    """It has a verdict."""


NEXT: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.HANDED, State.STARTED, State.FINISHED}),
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
    """The description of one part of an assignment."""

    name: str
    title: str
    max_score: float
    kind: str
    files: tuple[str, ...]
    """Names or patterns of the files to submit."""
    cases: int
    time_limit_seconds: float
    memory_limit_mib: int
    output_limit_kib: int


class Readiness(StrEnum):
    """Whether judges may use the images of an assignment's revision."""

    PREPARING = "PREPARING"
    """A judge pins and cleans them; submissions wait until it has finished."""
    READY = "READY"
    FAILED = "FAILED"
    """They cannot be used; submissions are refused until they are prepared again."""


@dataclass(frozen=True)
class Preparation:
    """The preparation of the images of an assignment's newest revision."""

    grading: str
    """Id of its `Grading` record."""
    state: Readiness
    changed_at: float
    number: int = 1
    """Its number within the revision."""
    images: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The pinned image of each part: a name with its digest, or an id of the engine."""
    reason: str = ""
    """Why it failed, for the author."""


@dataclass(frozen=True)
class Assignment:
    """An assignment in its newest revision. Times are seconds since 1970."""

    id: str
    author: str
    title: str
    pass_points: float
    parts: tuple[PartInfo, ...]
    archive: str
    """S3 key of its grader's files."""
    digest: str
    """SHA-256 of the archive: equal files make no new revision."""
    created_at: float
    changed_at: float
    revision: int = 1
    preparation: Preparation | None = None
    """None if no grader has an image of its own."""
    deleted_at: float | None = None
    """From then on it accepts no submissions; existing ones are marked and stay visible."""
    version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""
        return {"assignment": self.id, "owner": self.author}

    @property
    def max_score(self) -> float:
        """Sum of the points of all parts."""
        return round(sum(part.max_score for part in self.parts), 6)

    def part(self, name: str) -> PartInfo | None:
        """The part with this name."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True)
class HandedIn:
    """One submitted file."""

    name: str
    size: int


@dataclass(frozen=True)
class SubmittedPart:
    """One part of a submission, with the mark of its current grading once there is one."""

    part: str
    archive: str
    """S3 key of the files."""
    files: tuple[HandedIn, ...]
    grading: str
    """Id of the current grading."""
    older: tuple[str, ...] = ()
    """Ids of earlier gradings, the oldest first."""
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
    """Author of the assignment."""
    learner: str
    created_at: float
    revision: int
    """Revision of the assignment at the time of submission."""
    parts: tuple[SubmittedPart, ...]
    request_digest: str | None = None
    version: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""
        return {"assignment": self.assignment, "submission": self.id, "owner": self.learner}

    @property
    def is_finished(self) -> bool:
        """Whether each part has a verdict."""
        return all(part.verdict is not None for part in self.parts)


@dataclass(frozen=True)
class Mark:
    """A judge's mark. `score` is None only with the verdict IE."""

    verdict: str
    score: float | None
    feedback: str
    is_detailed: bool
    """Whether the judge stored its documents."""
    images: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Result of a preparation: see `Preparation.images`."""


@dataclass(frozen=True)
class Grading:
    """The record of a grading. Times are seconds since 1970.

    The preparation of an assignment's images is a grading without a submission, with the same
    order, attempts and judges.
    """

    id: str
    submission: str
    """Empty for a preparation."""
    assignment: str
    author: str
    part: str
    learner: str
    revision: int
    """Revision of the assignment. `grader` has its grader's files, independent of later
    revisions."""
    grader: str
    """S3 key of the grader's files."""
    files: str
    """S3 key of the learner's files."""
    max_score: float
    flow: str
    """The owner for fair queueing: a learner's submissions, or the regrades of an assignment."""
    turn: int
    """See `chalicelib.capacity.fairness`."""
    created_at: float
    callback_base_url: str = ""
    """Base URL of the dispatcher for its judge."""
    state: State = State.QUEUED
    version: int = 1
    attempt: int = 0
    """Number of times that it was given to a judge."""
    invocation: str | None = None
    """The invocation whose mark counts."""
    handed_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    verdict: str | None = None
    score: float | None = None
    feedback: str = ""
    reason: str | None = None
    """Why there is no mark, for the author."""
    results: str | None = None
    """Prefix of the S3 keys of its documents."""
    attempt_counters: tuple[str, ...] = ()
    """Counters that were incremented for it; decremented in the write that releases them."""
    place: int = 1
    """Its number within its invocation, because a judge marks several gradings in succession."""
    next_grading: str | None = None
    """The grading that its judge received after it."""
    awaits: str | None = None
    """Id of the preparation that must end before it is handed to a judge."""
    image: str | None = None
    """The pinned image of its part, if the images were prepared."""
    images: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Result of a successful preparation: see `Preparation.images`."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_waiting(self) -> bool:
        """Whether it may be handed to a judge."""
        return self.state is State.QUEUED and self.awaits is None

    @property
    def is_preparation(self) -> bool:
        """Whether it prepares images, and marks nothing."""
        return not self.submission

    @property
    def has_ended(self) -> bool:
        """Whether it has a verdict."""
        return self.state is State.FINISHED

    @property
    def order(self) -> tuple[int, float, str]:
        """The sort key of waiting gradings."""
        return self.turn, self.created_at, self.id

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""
        return {
            "assignment": self.assignment,
            "submission": self.submission,
            "grading": self.id,
            "invocation": self.invocation,
            "attempt": self.attempt,
            "owner": self.learner,
        }

    def moved(self, state: State, **facts: Any) -> "Grading":
        """The grading in its next state. Raises ValueError if `NEXT` lacks the transition."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        return replace(self, state=state, **facts)
