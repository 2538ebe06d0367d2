"""Audit records over HTTP: the actor of a request for the record; the listing for operators."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chalice.app import Blueprint, Response

from chalicelib.api.http import (
    answer,
    answering,
    authorizer_for,
    base_path,
    identified,
    known_caller_of,
    takes,
)
from chalicelib.audit.model import Action, Actor, AuditRecord, Kind, Outcome
from chalicelib.audit.requests import SEARCH, parse_search, show_next
from chalicelib.callers import Caller
from chalicelib.config import authorization
from chalicelib.errors import ForbiddenError, UnauthorizedError
from chalicelib.wiring import services

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
_log = logging.getLogger("usher.audit")


@routes.route("/audit", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=SEARCH)
def list_audit() -> Response:
    """One page of audit records, newest first. For operators and viewers."""
    from chalicelib.audit.items import show_record

    request, config = routes.current_request, services().config
    known_caller_of(request, config).require_sight()
    query = dict(request.query_params or {})
    page = services().audit.page(
        parse_search(query, services().environment.now(), config.audit_days)
    )
    shown = [show_record(record) for record in page.records]
    return answer({"records": shown, "next": show_next(query, page.after)})


def record_of(request: Any, caller: Caller, action: Action, resource: str) -> AuditRecord:
    """The audit record of a change that `caller` requests."""
    kind = Kind.OPERATOR if caller.is_operator else Kind.OWNER
    actor = _actor(request, caller.owner, Kind.ANONYMOUS if caller.is_anonymous else kind)
    return _record(actor, action, resource)


def record_refusals(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Middleware: record requests that were refused for lack of rights (403 `forbidden`).

    Requests that API Gateway's authorizer refuses do not reach the function, and a request without
    a valid key (401) has no known caller. The refusal is answered even if it cannot be recorded,
    because nothing was changed.
    """
    response = get_response(event)
    body = response.body
    if response.status_code != ForbiddenError.status or not isinstance(body, dict):
        return response
    if body.get("error", {}).get("code") == ForbiddenError.code:
        path = str(event.context.get("path", "")).removeprefix(base_path(event.context))
        record = _record(_refused_actor(event), Action.REFUSED, f"{event.method} {path}")
        _write_refusal(replace(record, outcome=Outcome.REFUSED, reason=ForbiddenError.code))
    return response


def _refused_actor(request: Any) -> Actor:
    try:
        caller = identified(request, services().config)
    except (UnauthorizedError, ForbiddenError):  # AUTH_MODE is not set: the caller is unknown
        return _actor(request, "unknown", Kind.UNKNOWN)
    return _actor(request, caller.owner, Kind.ANONYMOUS if caller.is_anonymous else Kind.OWNER)


def _write_refusal(record: AuditRecord) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        services().audit.refused(record)
    except (BotoCoreError, ClientError):
        fields = {"owner": record.actor.who}
        _log.exception("not recorded: %s was refused", record.resource, extra=fields)


def _actor(request: Any, who: str, kind: Kind) -> Actor:
    identity = request.context.get("identity") or {}
    principal = identity.get("userArn")
    return Actor(
        who=who,
        kind=kind,
        address=str(identity.get("sourceIp") or "unknown"),
        request_id=str(request.context.get("requestId") or services().environment.ids.uuid()),
        principal=str(principal) if principal else None,
    )


def _record(actor: Actor, action: Action, resource: str) -> AuditRecord:
    environment = services().environment
    return AuditRecord(
        environment.ids.uuid(), environment.now(), actor, action, resource, Outcome.DONE
    )
