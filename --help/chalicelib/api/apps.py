"""Session apps over HTTP, for their developers: parse, call, render."""

from typing import TYPE_CHECKING

from chalice.app import Blueprint, Response

from chalicelib.api.audit import record_of
from chalicelib.api.http import (
    Takes,
    answer,
    answering,
    authorizer_for,
    document_of,
    known_caller_of,
    takes,
    takes_lazily,
)
from chalicelib.audit.model import Action, AuditRecord
from chalicelib.callers import Caller
from chalicelib.config import authorization
from chalicelib.sessions.requests import REGISTER, ROLLBACK
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.sessions.registered import RegisteredApp

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())


def _counting() -> Takes:
    from chalicelib.sessions.containers import COUNTING

    return Takes(query=COUNTING)


@routes.route("/apps", methods=["GET"], authorizer=AUTHORIZER)
@answering
def list_apps() -> Response:
    """All session apps: those of the apps file, then the registered ones."""
    from chalicelib.sessions.app_answers import show_app

    values = _caller().is_operator
    return answer(
        {"apps": [show_app(s, values=values) for s in services().sessions.registry.all()]}
    )


@routes.route("/apps/{app}", methods=["GET"], authorizer=AUTHORIZER)
@answering
def get_app(app: str) -> Response:
    """One session app: its newest revision, and whether a container of it became ready."""
    from chalicelib.sessions.app_answers import show_app

    values = _caller().is_operator
    return answer(show_app(services().sessions.registry.get(app), values=values))


@routes.route("/apps/{app}", methods=["PUT"], authorizer=AUTHORIZER)
@answering
@takes(body=REGISTER)
def put_app(app: str) -> Response:
    """Register a revision of a session app; running sessions keep theirs."""
    from chalicelib.sessions.app_answers import app_facts

    _caller().require_operator()
    body = REGISTER.check(document_of(routes.current_request, REGISTER))
    image, description = body["image"], body["description"]
    registry = services().sessions.registry
    registered = services().audit.around(
        _audit_record(Action.APP_REGISTER, app),
        app_facts(registry.find(app)),
        lambda: registry.register(app, image, description),
        app_facts,
    )
    return _render(registered)


@routes.route("/apps/{app}/rollback", methods=["POST"], authorizer=AUTHORIZER)
@answering
@takes(body=ROLLBACK)
def roll_back_app(app: str) -> Response:
    """Take back the newest revision, which must be the `revision` of the body."""
    from chalicelib.sessions.app_answers import app_facts

    _caller().require_operator()
    revision = ROLLBACK.check(document_of(routes.current_request, ROLLBACK))["revision"]
    registry = services().sessions.registry
    before = services().audit.around(
        _audit_record(Action.APP_ROLLBACK, app),
        app_facts(registry.find(app)),
        lambda: registry.roll_back(app, revision),
        app_facts,
    )
    return _render(before)


@routes.route("/apps/{app}/drain", methods=["POST"], authorizer=AUTHORIZER)
@answering
def drain_app(app: str) -> Response:
    """Stop the warm containers of an app, so that its pool is refilled; sessions with clients
    continue.
    """
    _caller().require_operator()
    registry = services().sessions.registry
    drained = services().audit.around(
        _audit_record(Action.APP_DRAIN, app),
        None,
        lambda: registry.drain(app),
        lambda count: {"drained": count},
    )
    return answer({"drained": drained})


@routes.route("/apps/{app}/containers", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_counting)
def get_containers(app: str) -> Response:
    """The number of an app's containers by revision, state, zone and host.

    With `next`, the counts are those of a part: clients add the parts.
    """
    from chalicelib.sessions.app_answers import show_containers
    from chalicelib.sessions.containers import parse_counting, queries_of, show_cursor
    from chalicelib.tasks.store import LIVE_BUCKETS

    _caller().require_sight()
    limit, positions = parse_counting(routes.current_request.query_params or {}, LIVE_BUCKETS)
    name = services().sessions.registry.get(app).name
    part = services().sessions.table.count_containers(name, queries_of(limit, positions))
    hosts = sorted({host for _, _, host in part.groups if host})
    zones = {host.arn: host.zone for host in services().cluster.describe(hosts)}
    following = show_cursor(part.positions, LIVE_BUCKETS)
    shown = show_containers(part.groups, zones)
    return answer({"groups": shown, "whole": following is None, "next": following})


@routes.route("/apps/{app}", methods=["DELETE"], authorizer=AUTHORIZER)
@answering
def delete_app(app: str) -> Response:
    """Remove a registered app; running sessions continue."""
    from chalicelib.sessions.app_answers import app_facts

    _caller().require_operator()
    registry = services().sessions.registry
    services().audit.around(
        _audit_record(Action.APP_DEREGISTER, app),
        app_facts(registry.find(app)),
        lambda: registry.remove(app),
        lambda _: None,
    )
    return answer({})


def _render(registered: "RegisteredApp") -> Response:
    from chalicelib.sessions.app_answers import show_registered

    return answer(show_registered(registered))


def _audit_record(action: Action, app: str) -> AuditRecord:
    return record_of(routes.current_request, _caller(), action, f"apps/{app}")


def _caller() -> Caller:
    return known_caller_of(routes.current_request, services().config)
