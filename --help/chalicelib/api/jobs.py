"""Jobs over HTTP and from their queues: parse, call, render."""

from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response, SQSEvent

from chalicelib.api.audit import record_of
from chalicelib.api.batches import BatchFailures, batch_failures, carry_out_each
from chalicelib.api.changes import IF_NONE_MATCH, WAIT_FOR_CHANGE, when_changed
from chalicelib.api.http import (
    Takes,
    answer,
    answering,
    authorizer_for,
    bearer,
    document_of,
    known_caller_of,
    own_path,
    own_url,
    takes,
    takes_lazily,
)
from chalicelib.audit.model import Action, AuditRecord
from chalicelib.callers import Caller
from chalicelib.config import authorization, jobs_queue, stage
from chalicelib.contract.jobs import DEFAULT_TIMEOUT_SECONDS, JUDGE_JOB
from chalicelib.errors import ConflictError, ForbiddenError, UnknownJobError
from chalicelib.tasks.requests import (
    IDEMPOTENCY_KEY,
    TRACEPARENT,
    parse_idempotency_key,
    parse_record_id,
)
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.audit.table import AuditEntry
    from chalicelib.jobs.description import DeployedJob
    from chalicelib.jobs.model import Invocation, Priority
    from chalicelib.jobs.queues import WakeUp
    from chalicelib.jobs.requests import Invoke
    from chalicelib.jobs.wiring import Jobs

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
CONCURRENCY = 2
"""Rounds of one queue at once: one would do, two is the least that Lambda can be told."""
BATCH = 10
"""Messages that one round answers: what comes while both are busy. As many as one poll gives."""


def _page() -> Takes:
    from chalicelib.jobs.requests import PAGE

    return Takes(query=PAGE)


def _register() -> Takes:
    from chalicelib.jobs.requests import REGISTER

    return Takes(body=REGISTER)


def _invoke() -> Takes:
    from chalicelib.jobs.requests import INVOKE

    return Takes(body=INVOKE, headers=(IDEMPOTENCY_KEY, TRACEPARENT))


def _listing() -> Takes:
    from chalicelib.jobs.listings import LISTING

    return Takes(query=LISTING)


def _start() -> Takes:
    from chalicelib.jobs.requests import START

    return Takes(body=START)


def _progress() -> Takes:
    from chalicelib.jobs.requests import PROGRESS

    return Takes(body=PROGRESS)


def _finish() -> Takes:
    from chalicelib.jobs.requests import FINISH

    return Takes(body=FINISH)


@routes.route("/jobs", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_page)
def list_jobs() -> Response:
    """One page of the deployed jobs, by name.

    A page ends before the answer exceeds Lambda's limit.
    """
    from chalicelib.jobs.answers import show_jobs
    from chalicelib.jobs.requests import parse_page

    values = _caller().is_operator
    found, after = _jobs().catalog.page(*parse_page(routes.current_request.query_params or {}))
    return answer(show_jobs(found, after, values=values))


@routes.route("/jobs/{job}", methods=["GET"], authorizer=AUTHORIZER)
@answering
def get_job(job: str) -> Response:
    """The newest revision of a job."""
    from chalicelib.jobs.answers import show_job

    values = _caller().is_operator
    return answer(show_job(_jobs().catalog.get(job), values=values))


@routes.route("/jobs/{job}", methods=["PUT"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_register)
def put_job(job: str) -> Response:
    """Register a revision of a job; invocations on older revisions finish on them."""
    from chalicelib.jobs.answers import job_facts, show_job
    from chalicelib.jobs.requests import REGISTER

    _caller().require_operator()
    refuse_judge(job)
    body = REGISTER.check(document_of(routes.current_request, REGISTER))
    image, description = body["image"], body["description"]
    deployed = services().audit.around(
        _audit_record(Action.JOB_REGISTER, f"jobs/{job}"),
        job_facts(_deployed(job)),
        lambda: _jobs().catalog.register(job, image, description),
        job_facts,
    )
    return answer(show_job(deployed, values=True) | {"taskDefinition": deployed.task_definition})


@routes.route("/jobs/{job}", methods=["DELETE"], authorizer=AUTHORIZER)
@answering
def delete_job(job: str) -> Response:
    """Remove a job."""
    from chalicelib.jobs.answers import job_facts

    _caller().require_operator()
    refuse_judge(job)
    services().audit.around(
        _audit_record(Action.JOB_DEREGISTER, f"jobs/{job}"),
        job_facts(_jobs().catalog.get(job, fresh=True)),
        lambda: _jobs().catalog.remove(job),
        lambda _: None,
    )
    return answer({})


@routes.route("/jobs/{job}/invocations", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_invoke)
def invoke(job: str) -> Response:
    """Run a job, at once or at a given time."""
    header = routes.current_request.headers.get(TRACEPARENT.name)
    if header is None and services().config.traces_endpoint is None:
        return _invoke_job(job, None)
    return _traced(job, header)


def _traced(job: str, header: str | None) -> Response:
    """Invoke a job within a trace whose `traceparent` its container receives."""
    traces, now = services().traces, services().environment.now
    above, place = traces.contexts(header)
    began, response = now(), None
    try:
        response = _invoke_job(job, None if place is None else place.header)
    finally:
        made = {} if response is None else response.body
        attributes = {"usher.job": job, "usher.invocation": made["id"]} if made else {}
        name = "POST /jobs/{job}/invocations"
        traces.requested(name, above, place, began, attributes, failed=response is None)
    return response


def _invoke_job(job: str, traceparent: str | None) -> Response:
    from chalicelib.jobs.model import repeated_id
    from chalicelib.jobs.requests import INVOKE, check_instants, parse_invoke

    request, caller = routes.current_request, _caller()
    refuse_judge(job)
    now = services().environment.now()
    wanted = parse_invoke(document_of(request, INVOKE), request.headers)
    key = wanted.idempotency_key
    repeated = key and repeated_id(caller.key_scope, job, key)
    found = _jobs().invocations.get_record(repeated) if repeated else None
    if found is not None:  # even if the job or its schema has changed since
        return _again(found, wanted)
    check_instants(wanted, now)
    _check_priority(caller, wanted.priority)
    draft = _jobs().invocations.draft(
        job=job,
        owner=caller.owner,
        parameters=wanted.parameters,
        callback_base_url=base_url(request),
        invocation_id=repeated,
        priority=wanted.priority,
        at=wanted.at,
        not_after=wanted.not_after,
        request_digest=wanted.digest if key else None,
        traceparent=traceparent,
    )
    audit = audit_entry(Action.INVOKE, f"invocations/{draft.id}")
    written = _jobs().invocations.accept(draft, by=caller, audit=audit)
    return _created(written) if written.key == draft.key else _again(written, wanted)


@routes.route("/invocations", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_listing)
def list_invocations() -> Response:
    """One page of invocations, newest first."""
    from chalicelib.jobs.answers import show_row
    from chalicelib.jobs.listings import parse_listing, show_place

    now = services().environment.now()
    listing = parse_listing(routes.current_request.query_params or {}, now)
    page = _jobs().invocations.search(listing, _caller())
    rows = [show_row(invocation) for invocation in page.invocations]
    return answer({"invocations": rows, "next": show_place(page.after, listing.digest)})


@routes.route("/invocations/{invocation_id}", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=(WAIT_FOR_CHANGE,), headers=(IF_NONE_MATCH,))
def get_invocation(invocation_id: str) -> Response:
    """An invocation as it is now, and why it waits if it does; with `wait` and `If-None-Match` as
    it becomes.
    """
    known, caller = parse_record_id(invocation_id, "invocation"), _caller()
    return when_changed(
        routes.current_request,
        services(),
        owner=caller.owner,
        load=lambda: _jobs().invocations.get(known, caller),
        render=_render,
    )


@routes.route("/invocations/{invocation_id}/kill", methods=["POST"], authorizer=AUTHORIZER)
@answering
def kill_invocation(invocation_id: str) -> Response:
    """End an invocation in any state."""
    seen, caller = _found(invocation_id), _caller()
    audit = audit_entry(Action.KILL, f"invocations/{seen.id}")
    after = _jobs().invocations.kill(seen.id, f"{caller.owner} asked", audit=audit)
    return _render(after, 200 if after.has_ended else 202)


@routes.route("/invocations/{invocation_id}/rerun", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes(headers=(IDEMPOTENCY_KEY,))
def rerun_invocation(invocation_id: str) -> Response:
    """Run the same job with the same parameters as a new invocation."""
    from chalicelib.jobs.model import repeated_id

    seen, caller, request = _found(invocation_id), _caller(), routes.current_request
    refuse_judge(seen.job)
    key = parse_idempotency_key(request.headers)
    repeated = key and repeated_id(caller.key_scope, f"rerun/{seen.id}", key)
    found = _jobs().invocations.get_record(repeated) if repeated else None
    if found is not None:
        return _render(found)
    draft = _jobs().invocations.draft(
        job=seen.job,
        owner=caller.owner,
        parameters=seen.parameters,
        callback_base_url=base_url(request),
        invocation_id=repeated,
        priority=seen.priority,
        rerun_of=seen.id,
    )
    audit = audit_entry(Action.RERUN, f"invocations/{draft.id}")
    found = _jobs().invocations.accept(draft, by=caller, audit=audit)
    return _created(found) if found.key == draft.key else _render(found)


@routes.route("/invocations/{invocation_id}/start", methods=["POST"])
@answering
@takes_lazily(_start)
def start_invocation(invocation_id: str) -> Response:
    """A container requests its start permit."""
    from chalicelib.jobs.requests import START, parse_start

    request = routes.current_request
    attempt, task_arn, process = parse_start(document_of(request, START))
    known = parse_record_id(invocation_id, "invocation")
    permit = dict(_jobs().invocations.start(known, bearer(request), attempt, task_arn, process))
    if permit["job"] == JUDGE_JOB:
        seconds = permit["timeoutSeconds"] or DEFAULT_TIMEOUT_SECONDS
        key = bearer(request)
        order = services().grading.judging.start(permit["parameters"], known, key, seconds)
        permit["parameters"] = dict(order)
    return answer(permit)


@routes.route("/invocations/{invocation_id}/progress", methods=["POST"])
@answering
@takes_lazily(_progress)
def handle_progress(invocation_id: str) -> Response:
    """A job reports its progress."""
    from chalicelib.jobs.requests import PROGRESS, parse_progress

    request = routes.current_request
    process, fraction, message = parse_progress(document_of(request, PROGRESS))
    known = parse_record_id(invocation_id, "invocation")
    _jobs().invocations.progress(known, bearer(request), process, fraction, message)
    return answer({})


@routes.route("/invocations/{invocation_id}/finish", methods=["POST"])
@answering
@takes_lazily(_finish)
def finish_invocation(invocation_id: str) -> Response:
    """A container reports the end of its run."""
    from chalicelib.jobs.requests import FINISH, parse_finish

    request = routes.current_request
    finish = parse_finish(document_of(request, FINISH))
    _jobs().invocations.finish(
        parse_record_id(invocation_id, "invocation"),
        bearer(request),
        finish.process,
        finish.outcome,
        exit_code=finish.exit_code,
        detail=finish.detail,
        result=finish.result,
        usage=finish.usage,
    )
    return answer({})


@routes.on_sqs_message(
    queue=jobs_queue(stage(), "critical"),
    batch_size=BATCH,
    name="run_critical_jobs",
    maximum_concurrency=CONCURRENCY,
)
def run_critical_jobs(event: SQSEvent) -> BatchFailures:
    """Wake-up messages for critical invocations."""
    return _launch_waiting(event, "critical")


@routes.on_sqs_message(
    queue=jobs_queue(stage(), "normal"),
    batch_size=BATCH,
    name="run_normal_jobs",
    maximum_concurrency=CONCURRENCY,
)
def run_normal_jobs(event: SQSEvent) -> BatchFailures:
    """Wake-up messages for normal invocations."""
    return _launch_waiting(event, "normal")


@routes.on_sqs_message(
    queue=jobs_queue(stage(), "low"),
    batch_size=BATCH,
    name="run_low_jobs",
    maximum_concurrency=CONCURRENCY,
)
def run_low_jobs(event: SQSEvent) -> BatchFailures:
    """Wake-up messages for low invocations."""
    return _launch_waiting(event, "low")


def refuse_judge(job: str) -> None:
    """Raise ForbiddenError for the job that marks submissions: only gradings may invoke it."""
    if job == JUDGE_JOB:
        raise ForbiddenError(f"{JUDGE_JOB} is the dispatcher's own job: hand in a submission")


def base_url(request: Any) -> str:
    """The API's base URL for containers."""
    return services().config.callback_base_url or own_url(request)


def _launch_waiting(event: SQSEvent, queue: str) -> BatchFailures:
    """Carry out the messages of a batch. Those that failed by themselves are returned and come
    back; where launching fails, the whole batch does, as each message asked for it.
    """
    from chalicelib.jobs.model import Priority

    wake_ups, failed = carry_out_each(event, _take_wake_up)
    if failed and not wake_ups:
        return batch_failures(failed)
    ends = [wake_up.capacity_freed for wake_up in wake_ups]
    _jobs().launcher.run(
        [found for wake_up in wake_ups if (found := wake_up.invocation_id) is not None],
        capacity_freed=any(ends),
        priority=Priority(queue),
        ends=len(ends) if all(ends) else 0,
    )
    return batch_failures(failed)


def _take_wake_up(body: str) -> "WakeUp":
    from chalicelib.jobs.queues import read_wake_up

    wake_up = read_wake_up(body)
    if wake_up.invocation_id is not None and wake_up.comes_due:
        _jobs().invocations.came_due(wake_up.invocation_id)
    return wake_up


def _check_priority(caller: Caller, priority: "Priority | None") -> None:
    """Raise ForbiddenError unless the caller may request this priority. A job's own default needs
    no right.
    """
    if priority != "critical" or caller.is_operator:
        return
    if caller.owner not in services().config.critical_owners:
        raise ForbiddenError("critical: for operators, and for the owners in CRITICAL_OWNERS")


def _again(found: "Invocation", wanted: "Invoke") -> Response:
    """The answer to a repeated request. Raises ConflictError if it differs from the first one."""
    if found.request_digest not in {None, wanted.digest}:
        raise ConflictError("this Idempotency-Key was sent with another request")
    return _render(found)


def _found(invocation_id: str) -> "Invocation":
    return _jobs().invocations.get(parse_record_id(invocation_id, "invocation"), _caller())


def _created(invocation: "Invocation") -> Response:
    """The answer with a new invocation, without the reason why it waits."""
    from chalicelib.jobs.answers import show_invocation

    headers = {"Location": own_path(routes.current_request, f"/invocations/{invocation.id}")}
    return answer(show_invocation(invocation, None), 201, headers)


def _render(invocation: "Invocation", status: int = 200) -> Response:
    from chalicelib.jobs.answers import show_invocation

    waiting = _jobs().invocations.why_it_waits(invocation)
    return answer(show_invocation(invocation, waiting), status)


def audit_entry(action: Action, resource: str) -> "AuditEntry":
    """The audit record of the current request, to be written with its change."""
    return services().audit.entry(_audit_record(action, resource))


def _audit_record(action: Action, resource: str) -> AuditRecord:
    return record_of(routes.current_request, _caller(), action, resource)


def _deployed(job: str) -> "DeployedJob | None":
    try:
        return _jobs().catalog.get(job, fresh=True)
    except UnknownJobError:
        return None


def _jobs() -> "Jobs":
    return services().jobs


def _caller() -> Caller:
    return known_caller_of(routes.current_request, services().config)
