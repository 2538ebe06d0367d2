"""Explanations of placement over HTTP, for operators and viewers: parse, call, render."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, takes
from chalicelib.config import authorization
from chalicelib.errors import BadRequestError, UnknownAppError
from chalicelib.fields import Field
from chalicelib.tasks.requests import parse_record_id
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.apps import App
    from chalicelib.capacity.placement import Rules, TaskToPlace
    from chalicelib.jobs.description import JobDescription

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
MOST_MORE = 10_000
_NAME = {"type": "string", "minLength": 1, "maxLength": 64}
APP = Field("app", _NAME, "the name of an app", "An app: where more of its containers would go.")
JOB = Field("job", _NAME, "the name of a job", "A job: where more of its containers would go.")
MORE = Field(
    "more",
    {"type": "integer", "minimum": 1, "maximum": MOST_MORE, "default": 1},
    f"a whole number from 1 to {MOST_MORE}",
    "How many more.",
)


@dataclass(frozen=True)
class Subject:
    """The task to place; without `task` it runs on Fargate."""

    name: str
    cpu: int
    memory: int
    placed: "tuple[TaskToPlace, Rules] | None"


@routes.route("/sessions/{session_id}/placement", methods=["GET"], authorizer=AUTHORIZER)
@answering
def explain_session(session_id: str) -> Response:
    """The present hosts, and for each whether it can take the session's container and why not. For
    operators and viewers.
    """
    caller = known_caller_of(routes.current_request, services().config)
    caller.require_sight()
    session = services().sessions.service.get(parse_record_id(session_id, "session"), caller)
    subject = _app(session.app)
    return answer(_explained(subject, session.state.value, session.container_instance))


@routes.route("/invocations/{invocation_id}/placement", methods=["GET"], authorizer=AUTHORIZER)
@answering
def explain_invocation(invocation_id: str) -> Response:
    """The present hosts, and for each whether it can take the invocation's container and why not.
    For operators and viewers.
    """
    caller = known_caller_of(routes.current_request, services().config)
    caller.require_sight()
    known = parse_record_id(invocation_id, "invocation")
    invocation = services().jobs.invocations.get(known, caller)
    arn = invocation.task_arn
    task = services().launcher.describe([arn]).get(arn) if arn else None
    host = task.container_instance_arn if task and not task.is_stopped else None
    return answer(_explained(_job(invocation.job), invocation.state.value, host))


@routes.route("/placement", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=(APP, JOB, MORE))
def simulate_placement() -> Response:
    """Where more containers of an app or a job would be placed, and which resources are missing.
    Nothing is started. For operators and viewers.
    """
    from chalicelib.capacity import answers, placement

    request = routes.current_request
    known_caller_of(request, services().config).require_sight()
    query = request.query_params or {}
    app, job, more = APP.read(query), JOB.read(query), MORE.read(query)
    if (app is None) == (job is None):
        raise BadRequestError("either app or job")
    subject = _app(app) if job is None else _job(job)
    if subject.placed is None:
        shown = answers.on_fargate(subject.name, subject.cpu, subject.memory)
        return answer(shown | {"more": more, "placed": [], "missing": 0})
    task, rules = subject.placed
    dry = placement.simulate(task, rules, services().cluster_view.hosts(), more)
    return answer(answers.show_simulation(task, rules, more, dry))


def _explained(subject: Subject, state: str, host_arn: str | None) -> dict[str, Any]:
    from chalicelib.capacity import answers, placement
    from chalicelib.ecs.hosts import host_id_of

    if subject.placed is None:
        shown = answers.on_fargate(subject.name, subject.cpu, subject.memory)
        return shown | {"state": state, "placedOn": None, "best": []}
    task, rules = subject.placed
    explanation = placement.explain(task, rules, services().cluster_view.hosts())
    placed_on = host_id_of(host_arn) if host_arn else None
    shown = answers.show_explanation(task, rules, explanation, placed_on=placed_on)
    return shown | {"state": state}


def _app(name: str | None) -> Subject:
    from chalicelib.ecs.task_definitions import family_of

    config, app = services().config, services().sessions.apps.get(name)
    if app is None:
        raise UnknownAppError(f"no app is called {name!r}")
    family = family_of(app.family_name, config.stage)
    return _subject(app, app.launch_type, family, config.capacity_provider)


def _job(name: str) -> Subject:
    from chalicelib.jobs.task_definitions import family_of
    from chalicelib.jobs.task_requests import launch_type_of, provider_of

    config, job = services().config, services().jobs.catalog.get(name)
    family = family_of(job.description.name, config.stage)
    return _subject(job.description, launch_type_of(job, config), family, provider_of(name, config))


def _subject(
    described: "App | JobDescription", launch_type: str, family: str, provider: str | None
) -> Subject:
    from chalicelib.capacity.answers import task_and_rules

    name, cpu, memory = described.name, described.cpu, described.memory
    if launch_type != "EC2":
        return Subject(name, cpu, memory, None)
    placed = task_and_rules(
        name=name,
        family=family,
        cpu=cpu,
        memory=memory,
        placement=described.placement,
        stage=services().config.stage,
        provider=provider,
        plugins=services().sessions.plugins,
    )
    return Subject(name, cpu, memory, placed)
