"""The answers in docs/contracts.md, with requests that cause them."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.target import Session, require

NOBODY = "6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3"


@dataclass(frozen=True)
class Documented:
    """One request and its documented answer."""

    status: int
    code: str
    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


REFUSALS = (
    Documented(400, "bad_request", "GET", "/session?wait=26"),
    Documented(400, "bad_request", "GET", "/session?wait=soon"),
    Documented(400, "bad_request", "GET", "/session", headers={"Idempotency-Key": "x" * 129}),
    Documented(400, "bad_request", "POST", "/jobs/probe/invocations", []),
    Documented(400, "bad_request", "PUT", "/schedules/never", {"job": "probe", "expression": "?"}),
    Documented(400, "unknown_app", "GET", "/session?app=nope"),
    Documented(400, "unknown_job", "POST", "/jobs/nope/invocations", {}),
    Documented(
        400, "invalid_parameters", "POST", "/jobs/probe/invocations", {"parameters": {"x": 1}}
    ),
    Documented(401, "unauthorized", "POST", f"/sessions/{NOBODY}/events", {"type": "ready"}),
    Documented(403, "no_route", "GET", "/route", headers={"Authorization": "Bearer none"}),
    Documented(404, "not_found", "GET", f"/sessions/{NOBODY}"),
    Documented(404, "not_found", "DELETE", f"/sessions/{NOBODY}"),
    Documented(404, "not_found", "GET", f"/invocations/{NOBODY}"),
    Documented(404, "not_found", "GET", "/schedules/nope"),
    Documented(405, "method_not_allowed", "PUT", "/health", {}),
    Documented(
        415, "unsupported_media_type", "PUT", "/jobs/probe", {}, {"Content-Type": "text/plain"}
    ),
)
"""Answers that depend on the request only."""

ELSEWHERE = {
    (409, "conflict"): "`one_key`: the same key for another app",
    (429, "limit_reached"): "`limits`",
    (503, "failed_to_start"): "`broken_image`",
    (503, "app_failing"): "`broken_image`",
}
"""Answers that other checks of this suite cause."""

UNSEEN = {
    (400, "impossible_task"): "a size that Fargate lacks is refused when the apps file is loaded",
    (403, "forbidden"): "callers are known only where AUTH_MODE says so; the stage has `none`",
    (429, "busy"): "needs more requests at once than the suite may pay for",
    (503, "unavailable"): "needs an AWS that does not answer",
    (503, "unreadable_record"): "needs a record that another version wrote",
    (500, "internal"): "a fault of ours that is not known",
}
"""Documented answers that no request of this suite causes, with the reasons."""


def documented_answers(session: Session) -> str:
    """Each refusal has its documented status and code, a message, and is not cached."""
    for each in REFUSALS:
        found = session.http(each.method, each.path, each.body, each.headers)
        what = f"{each.method} {each.path} is answered {found.status} {found.body}"
        require(found.status == each.status, what)
        require(isinstance(found.body, dict) and isinstance(found.body.get("error"), dict), what)
        require(found.body["error"].get("code") == each.code, what)
        require(found.body["error"].get("message"), f"{what}, without a message")
    health = session.http("GET", "/health")
    require(health.status == 200, f"GET /health is answered {health.status} {health.body}")
    require(health.headers.get("Cache-Control") == "no-store", "GET /health may be cached")
    missing = session.http("GET", f"/{uuid.uuid4().hex}")
    require(missing.status == 403, f"an unknown path is answered {missing.status}")
    return f"{len(REFUSALS) + 2} answers"
