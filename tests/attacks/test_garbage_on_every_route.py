"""Any client sends garbage to every route.

Goal: a 5xx, which is an unhandled error and may leave a partly written record. Reach: any method,
path, headers, query and body: without credentials, as a caller with a key, as an operator, each
with a session and a run that are real, and as the container of both. Routes are those of app.py, so
that a new one is attacked, too; the dispatcher is a real one.
"""

import hashlib
import http.client
import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from app import app
from chalicelib.api.http import taken_by
from chalicelib.apps import _APP
from chalicelib.jobs.model import Priority
from chalicelib.jobs.model import State as JobState
from tests.api_document import check_answer, served_document
from tests.integration.conftest import RunningCloud, finish, launch
from tests.integration.grading.test_judging import FILES

TAKEN = [
    taken_by(route.view_function) for methods in app.routes.values() for route in methods.values()
]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
ROUTES = sorted((path, method) for path, methods in app.routes.items() for method in methods)
KNOWN = (
    "archive",
    "at",
    "attempt",
    "connected",
    "cpu",
    "cpuSeconds",
    "description",
    "detail",
    "environment",
    "error",
    "exitCode",
    "expression",
    "files",
    "fraction",
    "gap",
    "grading",
    "image",
    "job",
    "launchType",
    "learner",
    "memory",
    "message",
    "misfireSeconds",
    "name",
    "notAfter",
    "outcome",
    "overlap",
    "parameters",
    "parts",
    "paused",
    "priority",
    "process",
    "queueSeconds",
    "reason",
    "result",
    "revision",
    "secrets",
    "summary",
    "taskArn",
    "timeoutSeconds",
    "timezone",
    "type",
    "usage",
    "version",
)
QUERIES = (
    "action",
    "app",
    "count",
    "from",
    "host",
    "job",
    "learner",
    "limit",
    "more",
    "next",
    "owner",
    "resource",
    "revision",
    "state",
    "status",
    "to",
    "view",
    "wait",
    "who",
    "x",
)
HEADERS = (
    "Idempotency-Key",
    "Authorization",
    "Content-Type",
    "X-Session-Id",
    "X-Session-Path",
    "X-Api-Key",
    "X-Forwarded-For",
    "Accept",
    "Origin-Agent-Cluster",
    "Cookie",
)
WORDS = st.sampled_from(
    [
        "ready",
        "connected",
        "disconnected",
        "stopping",
        "failed",
        "succeeded",
        "rate(1 day)",
        "critical",
        "cron(0 0 * * ? *)",
        "cron(0 0 31 2 ? *)",
        "tally",
        "UTC",
        "Europe/Paris",
        "../../etc/passwd",
        "0",
        "1",
        "-1",
        "25",
        "1e308",
        "1e999",
        "nan",
        "inf",
        "9" * 5_000,
        "2027-01-31T09:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "12345678",
        "application/json",
        "\ud800",
        "a\0b",
        "true",
        "",
        "Bearer x",
        "1_2",
        *Priority,
        *JobState,
    ]
)
TEXTS = WORDS | st.text(max_size=40) | st.text(st.characters(), max_size=8)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**30, 10**400, -(10**30), 2**53 + 1])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KNOWN) | TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)
DESCRIPTIONS = st.fixed_dictionaries(
    {"image": st.just("any") | VALUES},
    optional={
        "description": st.dictionaries(st.sampled_from([*_APP, "pool", "placement"]), VALUES)
    },
)
DOCUMENTS = st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=8) | VALUES
CALLBACKS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ready", "connected", "failed"]) | TEXTS,
        "detail": VALUES,
        "reason": VALUES,
        "attempt": st.just(1) | VALUES,
        "process": st.just("12345678") | VALUES,
        "taskArn": st.none() | VALUES,
        "fraction": st.just(0.5) | VALUES,
        "message": VALUES,
        "outcome": st.sampled_from(["failed", "succeeded"]) | VALUES,
        "exitCode": st.just(1) | VALUES,
        "result": VALUES,
        "usage": st.none() | VALUES,
    },
)
BODIES = (
    st.binary(max_size=60)
    | (DOCUMENTS | DESCRIPTIONS | CALLBACKS).map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [
            b"",
            b"[" * 10_000,
            b"{" * 2_000,
            b"1" * 5_000,
            b"\xff\xfe",
            b'{"a":1e999}',
            b"x" * 200_000,
        ]
    )
)


ENDS = ("/kill", "/events", "/finish")
"""Routes that end a session or a run are not sent with the real ids: later requests need them."""


@dataclass(frozen=True)
class Known:
    """A real session and a real run, with the keys of their containers. `ids` by path parameter."""

    ids: Mapping[str, str]
    keys: tuple[str, ...]


CALLERS = {"ann": "ann's key", "opal": "opal's key"}
OPERATOR = {"X-Api-Key": CALLERS["opal"]}


@pytest.fixture(scope="module")
def dispatcher() -> Iterator[RunningCloud]:
    with tempfile.TemporaryDirectory() as folder:
        hashed = [f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in CALLERS.items()]
        access = {"AUTH_MODE": "api_key", "API_KEYS": ",".join(hashed), "OPERATORS": "opal"}
        running = launch(Path(folder), environment=access)
        yield running
        finish(running)


@pytest.fixture(scope="module")
def known(dispatcher) -> Known:
    status, session = dispatcher.http("GET", "/session?wait=20", headers=OPERATOR)
    assert status == 200
    job = {"image": "any", "description": {"name": "tally", "parameters": None}}
    assert dispatcher.http("PUT", "/jobs/tally", job, headers=OPERATOR)[0] == 200
    later = {"at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    status, run = dispatcher.http("POST", "/jobs/tally/invocations", later, headers=OPERATOR)
    assert status == 201
    app = {"image": "any", "description": {}}
    assert dispatcher.http("PUT", "/apps/chat", app, headers=OPERATOR)[0] == 200
    weekly = {"job": "tally", "expression": "rate(7 days)"}
    assert dispatcher.http("PUT", "/schedules/weekly", weekly, headers=OPERATOR)[0] == 201
    keys = (key_of(dispatcher, "sessions", session["id"]), key_of(dispatcher, "jobs", run["id"]))
    status, hosts = dispatcher.http("GET", "/hosts", headers=OPERATOR)
    assert status == 200
    task = next(task for task in dispatcher.tasks() if session["id"] in task["startedBy"])
    ids = {
        "{session_id}": session["id"],
        "{invocation_id}": run["id"],
        "{job}": "tally",
        "{schedule_id}": "weekly",
        "{name}": "page.js",
        "{task}": task["taskArn"].rpartition("/")[2],
        "{host}": hosts["hosts"][0]["id"],
        "{app}": "chat",
        "{page}": "invocations",
        "{record}": "tally",
        "{assignment_id}": "double",
        "{submission_id}": handed_in(dispatcher),
    }
    return Known(ids, keys)


def handed_in(dispatcher: RunningCloud) -> str:
    """The id of a submission; where nothing can be marked here, of one that does not exist."""
    path = "/assignments/double"
    assert dispatcher.http("PUT", path, {"files": FILES}, headers=OPERATOR)[0] == 201
    body = {"parts": {"double": {"files": {"main.py": "print(2)"}}}}
    status, made = dispatcher.http("POST", f"{path}/submissions", body, headers=OPERATOR)
    assert status in {202, 503}, made
    return str(made["id"]) if status == 202 else str(uuid.uuid4())


def key_of(dispatcher: RunningCloud, table: str, item_id: str) -> str:
    answer = dispatcher.client("dynamodb").get_item(
        TableName=f"usher-local-{table}", Key={"id": {"S": item_id}}
    )
    return str(answer["Item"]["key"]["S"])


def quoted(value: str | bytes) -> str:
    return quote(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"), "")


@st.composite
def requests(
    draw: Any, known: Known, route: tuple[str, str]
) -> tuple[str, str, dict[str, bytes], bytes]:
    path, method = route
    ends = method == "DELETE" or path.endswith(ENDS)
    parts = []
    for part in path.split("/"):
        if "{" not in part:
            parts.append(part)
        elif not ends and draw(st.integers(0, 4)):
            parts.append(known.ids[part])
        else:
            parts.append(quoted(draw(TEXTS | st.binary(max_size=8))))
    values = WORDS | TEXTS | st.binary(max_size=6)
    query = draw(st.dictionaries(st.sampled_from(QUERIES), values, max_size=4))
    pairs = [f"{name}={quoted(value)}" for name, value in query.items()]
    if path == "/session":  # otherwise each would start a container
        pairs.append("app=" + quoted(draw(TEXTS) + "?"))
    headers = {
        name: value.encode("utf-8", "surrogatepass").translate(None, b"\r\n\0")
        for name, value in draw(
            st.dictionaries(st.sampled_from(HEADERS), TEXTS, max_size=4)
        ).items()
    }
    if draw(st.booleans()):
        headers["Authorization"] = b"Bearer " + draw(st.sampled_from(known.keys)).encode()
    if draw(st.integers(0, 3)):
        headers["X-Api-Key"] = draw(st.sampled_from(list(CALLERS.values()))).encode()
    if draw(st.booleans()):
        headers["Content-Type"] = b"application/json"
    if draw(st.integers(0, 9)) == 0 and not ends:
        method = draw(st.sampled_from(METHODS))
        method = "GET" if method == "DELETE" else method
    return method, "/".join(parts) + ("?" + "&".join(pairs) if pairs else ""), headers, draw(BODIES)


def status_of(url: str, request: tuple[str, str, dict[str, bytes], bytes]) -> tuple[int, bytes]:
    method, target, headers, body = request
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        status, content = answer.status, answer.read()
    finally:
        connection.close()
    check_answer(method, target, status, dict(answer.getheaders()), content)
    return status, content


def test_the_container_of_a_session_may_send_any_text(dispatcher):
    """Lone surrogates and control characters are replaced, not refused: the callback counts."""
    status, session = dispatcher.http("GET", "/session?wait=20", headers=OPERATOR)
    assert status == 200
    key = key_of(dispatcher, "sessions", session["id"])
    headers = {"Authorization": f"Bearer {key}".encode(), "Content-Type": b"application/json"}
    path = f"/sessions/{session['id']}/events"
    for text in ("\ud800", "a\0b", "\udfff\ud800", "\x1b[2J"):
        body = json.dumps({"type": "failed", "detail": text}).encode()
        assert status_of(dispatcher.dispatcher, ("POST", path, headers, body))[0] == 200
    dispatcher.http("DELETE", f"/sessions/{session['id']}", headers=OPERATOR)


RAW = {
    "overlong": b"\xc0\xaf\xe0\x80\xaf",
    "half a pair": b"\xed\xa0\x80",
    "cut off": "\U0001f600".encode()[:3],
    "latin-1": "Zo\xeb".encode("latin-1"),
    "beyond Unicode": b"\xf5\x80\x80\x80",
    "right to left": "\u202ecod.exe".encode(),
    "many marks": ("e" + "\u0301" * 300).encode(),
}
BAD_ESCAPES = ("%", "%f", "%zz", "%ff", "%00", "%c0%af", "%ed%a0%80", "%u1234", "+%+", "%25%")


def raw_requests(path: str, method: str) -> Iterator[tuple[str, str, dict[str, bytes], bytes]]:
    """The same text in each place that a request has for one, in bytes that are no UTF-8 or odd."""
    key = {"X-Api-Key": CALLERS["opal"].encode(), "Content-Type": b"application/json"}
    app = "app=x?&" if path == "/session" else ""  # otherwise each would start a container
    for raw in RAW.values():
        yield method, path, key, b'{"detail": "' + raw + b'", "job": "' + raw + b'"}'
        yield method, f"{path}?{app}", key | {"Idempotency-Key": raw}, b"{}"
        yield method, f"{path}?{app}", {"X-Api-Key": raw, "Authorization": b"Bearer " + raw}, b"{}"
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be", "utf-32"):
        yield method, f"{path}?{app}", key, '{"detail": "a"}'.encode(encoding)
    for escape in BAD_ESCAPES:
        yield method, f"{path}?{app}limit={escape}&{escape}={escape}", key, b"{}"
        yield method, f"{path}/{escape}", key, b"{}"


def test_texts_in_no_encoding_are_errors_of_the_caller(dispatcher, known):
    """Each route is tried with a sixteenth of the texts; some route is tried with each text."""
    for number, (route, method) in enumerate(ROUTES):
        if method == "DELETE" or route.endswith(ENDS):
            continue
        path = "/".join(known.ids[part] if "{" in part else part for part in route.split("/"))
        for request in [*raw_requests(path, method)][number % 16 :: 16]:
            status, body = status_of(dispatcher.dispatcher, request)
            assert status < 500, (request, body[:300])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[1]} {route[0]}")
def test_no_garbage_is_an_error_nobody_foresaw(dispatcher, known, route):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(request=requests(known, route))
    def attack(request):
        status, body = status_of(dispatcher.dispatcher, request)
        assert status < 500, (request, body[:300])

    attack()


OPERATIONS = [
    found.ok() for found in schemathesis.openapi.from_dict(served_document()).get_all_operations()
]
CONFORMS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_what_fits_the_document_is_answered_as_the_document_says(dispatcher, known, operation):
    """Requests made from the schemas, of known records and of others, most of them valid."""
    ends = operation.method == "delete" or operation.path.endswith(ENDS)

    @settings(
        max_examples=6,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def ask(case, is_known):
        if is_known and not ends:
            case.path_parameters |= {
                name: known.ids[f"{{{name}}}"] for name in case.path_parameters
            }
        if operation.path == "/session":  # otherwise each would start a container
            case.query |= {"app": "another"}
        case.call_and_validate(
            base_url=dispatcher.dispatcher, headers=OPERATOR, checks=CONFORMS, timeout=30
        )

    ask()


@pytest.mark.parametrize("caller", [None, *CALLERS])
def test_every_route_is_reached(dispatcher, known, caller):
    """Sent with real ids by every caller: an unknown path would have another answer."""
    headers = {"X-Api-Key": CALLERS[caller].encode()} if caller else {}
    for path, method in ROUTES:
        if path.endswith(ENDS) or method == "DELETE" or path == "/session":
            continue
        parts = [known.ids[part] if "{" in part else part for part in path.split("/")]
        request = (method, "/".join(parts), headers, b"[]")
        status, body = status_of(dispatcher.dispatcher, request)
        assert status < 500
        assert b"MissingAuthenticationToken" not in body, request


def test_every_field_of_a_body_that_a_route_takes_is_sent():
    declared = {field.name for body in (t.body for t in TAKEN) if body for field in body.fields}
    assert len(declared) > 15
    assert declared <= set(KNOWN)


def test_every_parameter_of_a_query_that_a_route_takes_is_sent():
    declared = {field.name for taken in TAKEN for field in taken.query}
    assert len(declared) >= 5
    assert declared <= set(QUERIES)
