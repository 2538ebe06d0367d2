"""Operations on assignments: load, decide, write conditionally, act."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace

from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.config import Config
from chalicelib.contract.assignments import AssignmentFiles
from chalicelib.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from chalicelib.grading import archives
from chalicelib.grading.answers import facts_of_assignment
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.images import image_problems, needs_preparation
from chalicelib.grading.judging import Judging
from chalicelib.grading.model import Assignment, Grading, Preparation, Readiness
from chalicelib.grading.requests import Files, part_infos
from chalicelib.grading.table import WRITE_TRIES, GradingTable
from chalicelib.jobs.model import derived_id

_log = logging.getLogger("usher.grading")


class Assignments:
    """The assignments of one deployment."""

    def __init__(
        self,
        *,
        table: GradingTable,
        files: GradingFiles,
        judging: Judging,
        config: Config,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._files = files
        self._judging = judging
        self._config = config
        self._now = now

    def get(self, assignment_id: str) -> Assignment:
        """The assignment. Raises NotFoundError, also for a deleted one."""
        found = self._table.assignment(assignment_id)
        if found is None or found.deleted_at is not None:
            raise NotFoundError("no such assignment")
        return found

    def get_known(self, assignment_id: str) -> Assignment:
        """The assignment, also a deleted one, for learners who submitted. Raises NotFoundError."""
        found = self._table.assignment(assignment_id)
        if found is None:
            raise NotFoundError("no such assignment")
        return found

    def put(
        self,
        assignment_id: str,
        found: AssignmentFiles,
        files: Files,
        caller: Caller,
        audit: AuditEntry,
        *,
        callback_base_url: str,
    ) -> tuple[Assignment, bool]:
        """Create an assignment or its next revision; returns whether it is new. Equal files change
        nothing.

        The images that its graders name are prepared from now on. Raises BadRequestError,
        ForbiddenError, UnavailableError.
        """
        repository = self._config.grader_images
        if repository and (problems := image_problems(found, repository)):
            raise BadRequestError("\n".join(problems))
        archive = archives.pack(files)
        digest = hashlib.sha256(archive).hexdigest()
        for _ in range(WRITE_TRIES):
            before, now = self._table.assignment(assignment_id), self._now()
            self._check_author(caller, before)
            is_there = before is not None and before.deleted_at is None
            if before is not None and is_there and before.digest == digest:
                return before, False
            revision = 1 if before is None else before.revision + 1
            key = f"graders/{assignment_id}/{revision}-{digest[:16]}.zip"
            self._files.put(key, archive)
            after = Assignment(
                id=assignment_id,
                author=caller.owner if before is None else before.author,
                title=found.title,
                pass_points=found.pass_points,
                parts=part_infos(found),
                archive=key,
                digest=digest,
                created_at=now if before is None else before.created_at,
                changed_at=now,
                revision=revision,
                extra={} if before is None else before.extra,
            )
            preparation = None
            if needs_preparation(found):
                after, preparation = self._prepared_anew(after, 1, callback_base_url)
            record = audit.write(facts_of_assignment(before), facts_of_assignment(after))
            written = self._table.put_assignment(before, after, record, preparation=preparation)
            if written is not None:
                _log.info("revision %s", revision, extra=after.log_fields)
                if written:
                    self._judging.hand_over_soon(written)
                return after, not is_there
        raise UnavailableError("the assignment is changing too fast", retry_after_seconds=1)

    def prepare(
        self, assignment_id: str, caller: Caller, audit: AuditEntry, callback_base_url: str
    ) -> Assignment:
        """Pin and clean the images of its newest revision again; nothing while that is under way.

        Raises NotFoundError, ForbiddenError, ConflictError where its graders name no image.
        """
        for _ in range(WRITE_TRIES):
            before = self.get(assignment_id)
            self._check_author(caller, before)
            current = before.preparation
            if current is None:
                raise ConflictError("its graders name no image: there is nothing to prepare")
            if current.state is Readiness.PREPARING:
                return before
            after, preparation = self._prepared_anew(before, current.number + 1, callback_base_url)
            record = audit.write(facts_of_assignment(before), facts_of_assignment(after))
            written = self._table.put_assignment(before, after, record, preparation=preparation)
            if written is not None:
                self._judging.hand_over_soon(written)
                return after
        raise UnavailableError("the assignment is changing too fast", retry_after_seconds=1)

    def _prepared_anew(
        self, assignment: Assignment, number: int, callback_base_url: str
    ) -> tuple[Assignment, Grading]:
        """The assignment with a preparation, and the record of that for a judge."""
        now = self._now()
        preparation = Grading(
            id=derived_id("prepare", assignment.id, str(assignment.revision), str(number)),
            submission="",
            assignment=assignment.id,
            author=assignment.author,
            part="",
            learner=assignment.author,
            revision=assignment.revision,
            grader=assignment.archive,
            files="",
            max_score=0.0,
            flow=f"prepare#{assignment.id}",
            turn=0,
            created_at=now,
            callback_base_url=callback_base_url,
        )
        current = Preparation(preparation.id, Readiness.PREPARING, now, number)
        return replace(assignment, preparation=current), preparation

    def _check_author(self, caller: Caller, before: Assignment | None) -> None:
        caller.require_change()
        if caller.is_operator:
            return
        if before is None and caller.owner in self._config.authors:
            return
        if before is None or not caller.may_see(before.author):
            raise ForbiddenError("for operators, its author, and to make one the owners in AUTHORS")

    def delete(self, assignment_id: str, caller: Caller, audit: AuditEntry) -> None:
        """Remove it from the listing and accept no more submissions. Existing ones are marked with
        their revision and stay visible to their learners. Raises NotFoundError, ForbiddenError.
        """
        for _ in range(WRITE_TRIES):
            before = self.get(assignment_id)
            self._check_author(caller, before)
            after = replace(before, deleted_at=self._now())
            record = audit.write(facts_of_assignment(before), None)
            if self._table.put_assignment(before, after, record) is not None:
                return
        raise UnavailableError("the assignment is changing too fast", retry_after_seconds=1)

    def page(self, limit: int, after: str | None) -> tuple[list[Assignment], str | None]:
        """A page of those that are not deleted."""
        return self._table.assignments(limit, after)
