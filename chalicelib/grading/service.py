"""Operations on submissions: load, decide, write conditionally, act."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.config import Config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.environment import Ids
from chalicelib.errors import (
    ConflictError,
    LimitError,
    NotFoundError,
    UnavailableError,
    UnknownJobError,
)
from chalicelib.grading import archives
from chalicelib.grading.answers import facts_of_submission
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.judging import Judging
from chalicelib.grading.model import (
    Assignment,
    Grading,
    HandedIn,
    Readiness,
    Submission,
    SubmittedPart,
)
from chalicelib.grading.requests import Files
from chalicelib.grading.scores import Standing, standing
from chalicelib.grading.table import WRITE_TRIES, Bounds, Full, GradingTable
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.judge import FARGATE_CANNOT
from chalicelib.jobs.model import derived_id

MAX_REGRADES = 20
"""Maximum for one submission."""
PAGE = 50

_log = logging.getLogger("usher.grading")


@dataclass(frozen=True)
class Handed:
    """A submission that was written by this request or an earlier, equal one."""

    submission: Submission
    is_new: bool


class Grades:
    """The submissions of one deployment."""

    def __init__(
        self,
        *,
        table: GradingTable,
        files: GradingFiles,
        judging: Judging,
        catalog: Catalog,
        ids: Ids,
        config: Config,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._files = files
        self._judging = judging
        self._catalog = catalog
        self._ids = ids
        self._config = config
        self._now = now

    def check_accepts_submissions(self) -> None:
        """Raise UnavailableError, with the reason, if this deployment cannot mark submissions."""
        why = self._config.grading_unavailable
        if why is None:
            try:
                launch_type = self._catalog.get(JUDGE_JOB).description.launch_type
            except UnknownJobError:
                why = "no judge is deployed here"
            else:
                if (launch_type or self._config.jobs_launch_type) == "FARGATE":
                    why = FARGATE_CANNOT
        if why is not None:
            raise UnavailableError(f"submissions are not marked here: {why}")

    def check_prepared(self, assignment: Assignment) -> None:
        """Raise UnavailableError where its images cannot be used: nothing could be marked."""
        current = assignment.preparation
        if current is not None and current.state is Readiness.FAILED:
            raise UnavailableError(
                "submissions to this assignment are not marked now: the image of its grader"
                " cannot be used; its author can see why and prepare it again"
            )

    def submit(
        self,
        assignment: Assignment,
        accepted: Mapping[str, Files],
        *,
        submission_id: str | None,
        digest: str | None,
        learner: str,
        callback_base_url: str,
        audit: Callable[[str], AuditEntry],
    ) -> Handed:
        """Store and queue the submission. Raises LimitError, UnavailableError."""
        now, chosen = self._now(), submission_id or self._ids.uuid()
        parts, gradings = [], []
        for number, (name, files) in enumerate(sorted(accepted.items())):
            archive = archives.pack(files)
            # The key contains a digest: a concurrent request with the same key and other files
            # replaces nothing.
            key = f"submissions/{chosen}/{number}-{hashlib.sha256(archive).hexdigest()[:16]}.zip"
            self._files.put(key, archive)
            grading = self._grading(
                assignment,
                chosen,
                name,
                learner=learner,
                flow=learner,
                files=key,
                callback_base_url=callback_base_url,
            )
            gradings.append(grading)
            handed_in = tuple(HandedIn(each, len(files[each])) for each in sorted(files))
            parts.append(
                SubmittedPart(name, key, handed_in, grading.id, max_score=grading.max_score)
            )
        draft = Submission(
            id=chosen,
            assignment=assignment.id,
            author=assignment.author,
            learner=learner,
            created_at=now,
            revision=assignment.revision,
            parts=tuple(parts),
            request_digest=digest,
        )
        bounds = Bounds(self._config.gradings_per_learner, self._config.submissions_per_learner)
        record = audit(draft.id).write(None, facts_of_submission(draft))
        written = self._table.add(draft, gradings, bounds, record)
        if isinstance(written, Full):
            raise LimitError(f"the limit of {written.label} is reached", retry_after_seconds=30)
        if written is None:
            found = self._table.submission(draft.id)
            if found is None:
                raise UnavailableError("it was not recorded", retry_after_seconds=1)
            return Handed(found, is_new=False)
        _log.info("handed in", extra=draft.log_fields)
        self._judging.hand_over_soon(written[1])
        return Handed(draft, is_new=True)

    def _grading(
        self,
        assignment: Assignment,
        submission: str,
        part: str,
        *,
        learner: str,
        flow: str,
        files: str,
        callback_base_url: str,
        grading_id: str | None = None,
    ) -> Grading:
        info = assignment.part(part)
        if info is None:
            raise ConflictError(f"the assignment has no part {part!r} any more")
        current = assignment.preparation
        waits = current is not None and current.state is Readiness.PREPARING
        return Grading(
            id=grading_id or self._ids.uuid(),
            submission=submission,
            assignment=assignment.id,
            author=assignment.author,
            part=part,
            learner=learner,
            revision=assignment.revision,
            grader=assignment.archive,
            files=files,
            max_score=info.max_score,
            flow=flow,
            turn=0,
            created_at=self._now(),
            callback_base_url=callback_base_url,
            awaits=current.grading if current is not None and waits else None,
            image=current.images.get(part) if current is not None else None,
        )

    def find_submission(self, submission_id: str) -> Submission | None:
        """The present record."""
        return self._table.submission(submission_id)

    def submission(self, submission_id: str, caller: Caller) -> Submission:
        """The submission. Raises NotFoundError, also for those of other learners."""
        found = self._table.submission(submission_id)
        if found is None or not (caller.may_see(found.learner) or caller.may_see(found.author)):
            raise NotFoundError("no such submission")
        return found

    def submissions(
        self, assignment_id: str, learner: str | None, limit: int, after: str | None
    ) -> tuple[list[Submission], str | None]:
        """A page, newest first; `learner` None = all learners."""
        return self._table.submissions(assignment_id, learner, limit, after)

    def standing(self, assignment: Assignment, learner: str) -> Standing:
        """The points that a learner has earned over all submissions, whose number is limited."""
        found: list[Submission] = []
        after: str | None = None
        most = self._config.submissions_per_learner
        while True:
            page, after = self._table.submissions(assignment.id, learner, 100, after)
            found += page
            if after is None or (most and len(found) >= most):
                return standing(assignment, found)

    def regrade(
        self,
        assignment: Assignment,
        submission: Submission,
        request: str,
        callback_base_url: str,
        audit: AuditEntry | None,
        *,
        is_whole: bool,
    ) -> tuple[Submission, list[Grading]]:
        """Mark all its parts again with the newest revision; earlier gradings are kept.

        `request` identifies the request: a repetition marks nothing again. `is_whole`: part of a
        regrade of the assignment, whose gradings share the turns of one owner.
        """
        flow = f"regrade#{assignment.id}" if is_whole else f"regrade#{submission.id}"
        for _ in range(WRITE_TRIES):
            wanted = [part for part in submission.parts if assignment.part(part.part) is not None]
            ids = {p.part: derived_id("regrade", submission.id, p.part, request) for p in wanted}
            known = {each for p in submission.parts for each in (p.grading, *p.older)}
            if not wanted or known & set(ids.values()):
                return submission, []
            if any(len(part.older) >= MAX_REGRADES for part in wanted):
                raise ConflictError(f"it was regraded {MAX_REGRADES} times already")
            gradings = [
                self._grading(
                    assignment,
                    submission.id,
                    part.part,
                    learner=submission.learner,
                    flow=flow,
                    files=part.archive,
                    callback_base_url=callback_base_url,
                    grading_id=ids[part.part],
                )
                for part in wanted
            ]
            after = _regraded(submission, gradings)
            more = () if audit is None else (
                audit.write(facts_of_submission(submission), facts_of_submission(after)),
            )  # fmt: skip
            written = self._table.regrade(submission, after, gradings, *more)
            if written is not None:
                self._judging.hand_over_soon(written)
                return after, written
            seen = self._table.submission(submission.id)
            if seen is None:
                raise NotFoundError("no such submission")
            submission = seen
        raise UnavailableError("the submission is changing too fast", retry_after_seconds=1)


def _regraded(submission: Submission, gradings: list[Grading]) -> Submission:
    new = {grading.part: grading for grading in gradings}
    parts = tuple(
        part if part.part not in new else replace(
            part,
            grading=new[part.part].id,
            older=(*part.older, part.grading),
            verdict=None,
            score=None,
            max_score=new[part.part].max_score,
            finished_at=None,
        )
        for part in submission.parts
    )  # fmt: skip
    return replace(submission, parts=parts)
