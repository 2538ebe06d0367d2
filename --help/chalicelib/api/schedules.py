"""Schedules over HTTP and from their queue: parse, call, render."""

from typing import TYPE_CHECKING

from chalice.app import Blueprint, Response, SQSEvent

from chalicelib.answer_size import fitting
from chalicelib.api.http import (
    Takes,
    answer,
    answering,
    authorizer_for,
    document_of,
    known_caller_of,
    own_path,
    takes,
    takes_lazily,
)
from chalicelib.api.jobs import audit_entry, base_url, refuse_judge
from chalicelib.audit.model import Action
from chalicelib.callers import Caller
from chalicelib.config import authorization, schedules_queue, stage
from chalicelib.errors import NotFoundError
from chalicelib.tasks.requests import IDEMPOTENCY_KEY, parse_idempotency_key
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.audit.table import AuditEntry
    from chalicelib.schedules.model import Schedule
    from chalicelib.schedules.service import Schedules

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())


def _page() -> Takes:
    from chalicelib.schedules.requests import PAGE

    return Takes(query=PAGE)


def _schedule() -> Takes:
    from chalicelib.schedules.requests import SCHEDULE

    return Takes(body=SCHEDULE)


@routes.route("/schedules", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_page)
def list_schedules() -> Response:
    """The caller's schedules by id; all schedules for operators and viewers.

    A page may be empty and still have a next page; it ends before the answer exceeds Lambda's
    limit.
    """
    from chalicelib.schedules.requests import parse_page, show_schedule

    caller = _caller()
    page = _schedules().page(*parse_page(routes.current_request.query_params or {}))
    now = services().environment.now()
    seen = [schedule for schedule in page.schedules if caller.may_see(schedule.owner)]
    shown = [show_schedule(schedule, now) for schedule in seen]
    number = fitting(shown)
    after = page.after if number == len(seen) else seen[number - 1].id
    return answer({"schedules": shown[:number], "next": after})


@routes.route("/schedules/{schedule_id}", methods=["GET"], authorizer=AUTHORIZER)
@answering
def get_schedule(schedule_id: str) -> Response:
    """A schedule as it is now."""
    from chalicelib.schedules.requests import parse_schedule_id

    caller, schedule = _caller(), _schedules().get(parse_schedule_id(schedule_id))
    if not caller.may_see(schedule.owner):
        raise NotFoundError("no such schedule")
    return _render(schedule)


@routes.route("/schedules/{schedule_id}", methods=["PUT"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_schedule)
def put_schedule(schedule_id: str) -> Response:
    """Create or replace a schedule."""
    from chalicelib.schedules.requests import SCHEDULE, parse_schedule

    request, caller = routes.current_request, _operator()
    wanted = parse_schedule(
        schedule_id,
        document_of(request, SCHEDULE),
        owner=caller.owner,
        callback_base_url=base_url(request),
        now=services().environment.now(),
    )
    refuse_judge(wanted.job)
    written, is_new = _schedules().put(wanted, _audit(Action.SCHEDULE_PUT, wanted.id))
    return _render(written, 201 if is_new else 200)


@routes.route("/schedules/{schedule_id}", methods=["DELETE"], authorizer=AUTHORIZER)
@answering
def delete_schedule(schedule_id: str) -> Response:
    """Delete a schedule; invocations that it created continue."""
    from chalicelib.schedules.requests import parse_schedule_id

    _operator()
    known = parse_schedule_id(schedule_id)
    _schedules().delete(known, _audit(Action.SCHEDULE_DELETE, known))
    return answer({})


@routes.route("/schedules/{schedule_id}/pause", methods=["POST"], authorizer=AUTHORIZER)
@answering
def pause_schedule(schedule_id: str) -> Response:
    """Create no invocations until the schedule is resumed."""
    from chalicelib.schedules.requests import parse_schedule_id

    _operator()
    known = parse_schedule_id(schedule_id)
    return _render(_schedules().pause(known, _audit(Action.SCHEDULE_PAUSE, known)))


@routes.route("/schedules/{schedule_id}/resume", methods=["POST"], authorizer=AUTHORIZER)
@answering
def resume_schedule(schedule_id: str) -> Response:
    """Resume a schedule from now on."""
    from chalicelib.schedules.requests import parse_schedule_id

    _operator()
    known = parse_schedule_id(schedule_id)
    return _render(_schedules().resume(known, _audit(Action.SCHEDULE_RESUME, known)))


@routes.route("/schedules/{schedule_id}/run", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes(headers=(IDEMPOTENCY_KEY,))
def run_schedule(schedule_id: str) -> Response:
    """Run the schedule's job once now, besides its planned times."""
    from chalicelib.jobs.answers import show_invocation
    from chalicelib.schedules.requests import parse_schedule_id

    caller, key = _operator(), parse_idempotency_key(routes.current_request.headers)
    run, is_new = _schedules().run_now(
        parse_schedule_id(schedule_id),
        caller,
        key,
        lambda run_id: audit_entry(Action.SCHEDULE_RUN, f"invocations/{run_id}"),
    )
    waiting = services().jobs.invocations.why_it_waits(run)
    location = own_path(routes.current_request, f"/invocations/{run.id}")
    headers = {"Location": location} if is_new else {}
    return answer(show_invocation(run, waiting), 201 if is_new else 200, headers)


@routes.on_sqs_message(queue=schedules_queue(stage()), batch_size=1, name="fire_schedules")
def fire_schedules(event: SQSEvent) -> None:
    """Handle schedules that are due."""
    from chalicelib.schedules.requests import read_message

    for record in event:
        _schedules().fire(read_message(record.body))


def _render(schedule: "Schedule", status: int = 200) -> Response:
    from chalicelib.schedules.requests import show_schedule

    return answer(show_schedule(schedule, services().environment.now()), status)


def _schedules() -> "Schedules":
    return services().schedules


def _audit(action: Action, schedule_id: str) -> "AuditEntry":
    return audit_entry(action, f"schedules/{schedule_id}")


def _operator() -> Caller:
    caller = _caller()
    caller.require_operator()
    return caller


def _caller() -> Caller:
    return known_caller_of(routes.current_request, services().config)
