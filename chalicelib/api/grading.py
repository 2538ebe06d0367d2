"""Assignments and submissions over HTTP: parse, call, render."""

import uuid
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response

from chalicelib.api.audit import record_of
from chalicelib.api.changes import IF_NONE_MATCH
from chalicelib.api.http import (
    answer,
    answering,
    authorizer_for,
    bearer,
    document_of,
    known_caller_of,
    own_path,
    takes,
)
from chalicelib.api.jobs import base_url
from chalicelib.api.pages import ACCEPT, ASSIGNMENTS, document, wants_page
from chalicelib.audit.model import Action
from chalicelib.callers import Caller
from chalicelib.config import authorization
from chalicelib.errors import ConflictError, ForbiddenError, UnsupportedMediaTypeError
from chalicelib.grading.fields import (
    ASSIGNMENT,
    LISTING,
    MARK,
    MAX_BODY_BYTES,
    PAGE,
    SUBMISSION,
    VIEW,
)
from chalicelib.tasks.requests import IDEMPOTENCY_KEY, parse_idempotency_key, parse_record_id
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.audit.table import AuditEntry
    from chalicelib.grading.model import Assignment, Submission
    from chalicelib.grading.requests import Submit
    from chalicelib.grading.wiring import GradingServices

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
FORM = "multipart/form-data"
COUNTED_A_REQUEST = 10
"""Number of submissions whose results one request for statistics reads."""
REGRADES_A_REQUEST = 10
"""Number of submissions that one request regrades."""


@routes.route("/learn", methods=["GET"])
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def learn() -> Response:
    """The page with all assignments, where API Gateway requires credentials at `/assignments`."""
    return document(routes.current_request, ASSIGNMENTS, "/learn")


@routes.route("/learn/{assignment_id}", methods=["GET"])
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def learn_one(assignment_id: str) -> Response:  # noqa: ARG001 - the script reads it from the address
    """The page of one assignment."""
    return document(routes.current_request, ASSIGNMENTS, "/learn")


@routes.route("/assignments", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=PAGE, headers=(ACCEPT, IF_NONE_MATCH))
def list_assignments() -> Response:
    """One page of assignments, by id; for a browser's navigation the document of their pages."""
    from chalicelib.grading.answers import show_assignment
    from chalicelib.grading.requests import parse_listing, show_next

    if _wants_page():
        return document(routes.current_request, ASSIGNMENTS, "/assignments")
    caller = _caller()
    listing = parse_listing(_query())
    found, after = _grading().assignments.page(listing.limit, listing.after)
    shown = [show_assignment(each, is_author=caller.may_see(each.author)) for each in found]
    return answer({"assignments": shown, "next": show_next(after, listing.learner)})


@routes.route("/assignments/{assignment_id}", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(headers=(ACCEPT, IF_NONE_MATCH))
def get_assignment(assignment_id: str) -> Response:
    """An assignment at its newest revision; for a browser's navigation its page."""
    from chalicelib.grading.answers import show_assignment

    if _wants_page():
        return document(routes.current_request, ASSIGNMENTS, "/assignments")
    caller, found = _caller(), _assignment(assignment_id)
    return answer(show_assignment(found, is_author=caller.may_see(found.author)))


@routes.route("/assignments/{assignment_id}", methods=["PUT"], authorizer=AUTHORIZER)
@answering
@takes(body=ASSIGNMENT)
def put_assignment(assignment_id: str) -> Response:
    """Create an assignment, or its next revision."""
    from chalicelib.grading.answers import show_assignment
    from chalicelib.grading.requests import parse_put

    caller = _caller()
    body = document_of(routes.current_request, ASSIGNMENT)
    found, files = parse_put(assignment_id, body)
    audit = _audit(Action.ASSIGNMENT_PUT, f"assignments/{assignment_id}")
    own = base_url(routes.current_request)
    after, is_new = _grading().assignments.put(
        assignment_id, found, files, caller, audit, callback_base_url=own
    )
    shown = show_assignment(after, is_author=True)
    return answer(shown, 201 if is_new else 200)


@routes.route("/assignments/{assignment_id}", methods=["DELETE"], authorizer=AUTHORIZER)
@answering
def delete_assignment(assignment_id: str) -> Response:
    """Accept no more submissions; those that were submitted are marked and stay visible to their
    learners.
    """
    from chalicelib.grading.requests import parse_assignment_id

    caller = _caller()
    audit = _audit(Action.ASSIGNMENT_DELETE, f"assignments/{assignment_id}")
    _grading().assignments.delete(parse_assignment_id(assignment_id), caller, audit)
    return answer({})


@routes.route("/assignments/{assignment_id}/prepare", methods=["POST"], authorizer=AUTHORIZER)
@answering
def prepare_assignment(assignment_id: str) -> Response:
    """Pin and clean the images of its graders again; what is handed in waits for that."""
    from chalicelib.grading.answers import show_assignment
    from chalicelib.grading.requests import parse_assignment_id

    caller, grades = _caller(), _grading().grades
    grades.check_accepts_submissions()
    audit = _audit(Action.ASSIGNMENT_PREPARE, f"assignments/{assignment_id}")
    known = parse_assignment_id(assignment_id)
    after = _grading().assignments.prepare(known, caller, audit, base_url(routes.current_request))
    return answer(show_assignment(after, is_author=True), 202)


@routes.route(
    "/assignments/{assignment_id}/submissions",
    methods=["POST"],
    authorizer=AUTHORIZER,
    # Chalice deploys no route with both text and binary types; `_read_submit` checks
    content_types=[],
)
@answering
@takes(body=SUBMISSION, headers=(IDEMPOTENCY_KEY,), query=(VIEW,))
def submit(assignment_id: str) -> Response:
    """Submit files for some parts."""
    from chalicelib.grading.requests import accept, parse_assignment_id
    from chalicelib.jobs.model import repeated_id

    request, caller = routes.current_request, _caller()
    caller.require_change()
    known = parse_assignment_id(assignment_id)
    key = parse_idempotency_key(request.headers)
    wanted = _read_submit(request)
    learner = _learner(caller, wanted.learner) or caller.owner
    repeated = key and repeated_id(caller.key_scope, f"submit/{known}", key)
    found = _grading().grades.find_submission(repeated) if repeated else None
    if found is not None:  # even if the assignment has changed since
        return _again(found, wanted)
    assignment = _assignment(known)
    _grading().grades.check_accepts_submissions()
    _grading().grades.check_prepared(assignment)
    written = _grading().grades.submit(
        assignment,
        accept(assignment, wanted),
        submission_id=repeated or None,
        digest=wanted.digest if key else None,
        learner=learner,
        callback_base_url=base_url(request),
        audit=lambda new: _audit(Action.SUBMISSION_ADD, f"submissions/{new}"),
    )
    if not written.is_new:
        return _again(written.submission, wanted)
    return _render(written.submission, 202)


@routes.route("/assignments/{assignment_id}/submissions", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=LISTING)
def list_submissions(assignment_id: str) -> Response:
    """One page of the caller's own submissions, newest first, and the points earned.

    Authors and operators see those of all learners, or those of `learner`.
    """
    from chalicelib.grading.answers import show_row, show_standing
    from chalicelib.grading.requests import parse_assignment_id, parse_listing, show_next

    caller, grades = _caller(), _grading().grades
    listing = parse_listing(_query())
    assignment = _grading().assignments.get_known(parse_assignment_id(assignment_id))
    is_author = caller.may_see(assignment.author)
    if listing.learner not in {None, caller.owner} and not is_author:
        raise ForbiddenError("learner: only the author and operators may see what others handed in")
    learner = listing.learner if is_author else caller.owner
    found, after = grades.submissions(assignment.id, learner, listing.limit, listing.after)
    standing = None
    if learner is not None:
        standing = show_standing(grades.standing(assignment, learner))
    return answer(
        {
            "submissions": [show_row(each) for each in found],
            "standing": standing,
            "next": show_next(after, listing.learner),
        }
    )


@routes.route("/assignments/{assignment_id}/statistics", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=LISTING)
def get_statistics(assignment_id: str) -> Response:
    """The results of one page of its submissions, newest first; `next` is the cursor of the next
    page.
    """
    from chalicelib.grading.requests import parse_assignment_id, parse_listing, show_next

    caller, grades = _caller(), _grading().grades
    assignment = _grading().assignments.get_known(parse_assignment_id(assignment_id))
    if not caller.may_see(assignment.author):
        raise ForbiddenError("statistics: for the assignment's author and operators")
    listing = parse_listing(_query())
    limit = min(listing.limit, COUNTED_A_REQUEST)
    found, after = grades.submissions(assignment.id, listing.learner, limit, listing.after)
    shown = _grading().views.statistics(found, assignment.revision)
    return answer(shown | {"next": show_next(after, listing.learner)})


@routes.route("/submissions/{submission_id}", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=(VIEW,))
def get_submission(submission_id: str) -> Response:
    """A submission with the present state of its gradings."""
    return _render(_submission(submission_id))


@routes.route("/submissions/{submission_id}/regrade", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes(headers=(IDEMPOTENCY_KEY,), query=(VIEW,))
def regrade_submission(submission_id: str) -> Response:
    """Mark all its parts again, with the newest revision of the assignment."""
    request, caller = routes.current_request, _caller()
    seen = _submission(submission_id)
    _check_regrade(caller, seen.author)
    grades = _grading().grades
    key = parse_idempotency_key(request.headers) or uuid.uuid4().hex
    grades.check_accepts_submissions()
    assignment = _grading().assignments.get(seen.assignment)
    grades.check_prepared(assignment)
    audit = _audit(Action.SUBMISSION_REGRADE, f"submissions/{seen.id}")
    after, _ = grades.regrade(assignment, seen, key, base_url(request), audit, is_whole=False)
    return _render(after, 202)


@routes.route("/assignments/{assignment_id}/regrade", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes(headers=(IDEMPOTENCY_KEY,), query=LISTING)
def regrade_assignment(assignment_id: str) -> Response:
    """Mark one page of its submissions again; `next` is the cursor of the next page. A repeated
    request marks nothing twice.

    The request's Idempotency-Key identifies the regrade: all its pages have the same one.
    """
    from chalicelib.grading.requests import parse_listing, show_next

    request, caller = routes.current_request, _caller()
    assignment = _assignment(assignment_id)
    _check_regrade(caller, assignment.author)
    grades = _grading().grades
    key = parse_idempotency_key(request.headers)
    listing = parse_listing(_query())
    if key is None:
        if listing.after is not None:
            raise ConflictError("next: with the Idempotency-Key of the first page")
        key = uuid.uuid4().hex
    grades.check_accepts_submissions()
    grades.check_prepared(assignment)
    limit = min(listing.limit, REGRADES_A_REQUEST)
    found, after = grades.submissions(assignment.id, listing.learner, limit, listing.after)
    queued = 0
    for submission in found:
        audit = _audit(Action.ASSIGNMENT_REGRADE, f"submissions/{submission.id}")
        _, gradings = grades.regrade(
            assignment, submission, key, base_url(request), audit, is_whole=True
        )
        queued += len(gradings)
    body = {
        "submissions": len(found),
        "gradings": queued,
        "key": key,
        "next": show_next(after, listing.learner),
    }
    return answer(body, 202)


@routes.route("/invocations/{invocation_id}/marks", methods=["POST"])
@answering
@takes(body=MARK)
def take_mark(invocation_id: str) -> Response:
    """A judge reports a mark and may receive the next grading."""
    request = routes.current_request
    body = MARK.check(document_of(request, MARK))
    known = parse_record_id(invocation_id, "invocation")
    judging = _grading().judging
    order = judging.mark(known, bearer(request), body["grading"], body["result"])
    return answer({"next": order})


def _read_submit(request: Any) -> "Submit":
    from chalicelib.grading.multipart import parse_multipart
    from chalicelib.grading.requests import parse_submit, read_form

    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith(FORM):
        return read_form(parse_multipart(content_type, request.raw_body[: MAX_BODY_BYTES + 1]))
    if content_type.partition(";")[0].strip().lower() not in {"", "application/json"}:
        raise UnsupportedMediaTypeError(f"Content-Type: application/json or {FORM}")
    return parse_submit(document_of(request, SUBMISSION))


def _learner(caller: Caller, named: str | None) -> str | None:
    """The learner in an operator's request. Raises ForbiddenError for other callers."""
    if named is not None and named != caller.owner and not caller.is_operator:
        raise ForbiddenError("learner: only operators may hand in for others")
    return named


def _check_regrade(caller: Caller, author: str) -> None:
    caller.require_change()
    if not caller.may_see(author):
        raise ForbiddenError("regrade: for the assignment's author and operators")


def _again(found: "Submission", wanted: "Submit") -> Response:
    """The answer to a repeated request. Raises ConflictError if it differs from the first one."""
    if found.request_digest not in {None, wanted.digest}:
        raise ConflictError("this Idempotency-Key was sent with another request")
    return _render(found)


def _render(submission: "Submission", status: int = 200) -> Response:
    """With the author's view for the author and operators, unless they request a learner's view."""
    is_author = _caller().may_see(submission.author) and VIEW.read(_query()) is None
    shown = _grading().views.submission(submission, is_author=is_author)
    headers = {"Location": own_path(routes.current_request, f"/submissions/{submission.id}")}
    return answer(shown, status, headers if status == 202 else None)


def _assignment(assignment_id: str) -> "Assignment":
    from chalicelib.grading.requests import parse_assignment_id

    return _grading().assignments.get(parse_assignment_id(assignment_id))


def _submission(submission_id: str) -> "Submission":
    return _grading().grades.submission(parse_record_id(submission_id, "submission"), _caller())


def _audit(action: Action, resource: str) -> "AuditEntry":
    record = record_of(routes.current_request, _caller(), action, resource)
    return services().audit.entry(record)


def _grading() -> "GradingServices":
    return services().grading


def _wants_page() -> bool:
    return wants_page(routes.current_request.headers.get(ACCEPT.name.lower(), ""))


def _query() -> dict[str, str]:
    return dict(routes.current_request.query_params or {})


def _caller() -> Caller:
    return known_caller_of(routes.current_request, services().config)
