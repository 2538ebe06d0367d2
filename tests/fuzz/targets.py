"""Parsers of untrusted input, each as a function of bytes.

A target raises for a fault only: a parser either understands its input or refuses it with the
error that its docstring names.
"""

import hashlib
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from chalicelib.api.http import json_body
from chalicelib.apps import parse_apps
from chalicelib.callers import AuthMode, identify
from chalicelib.contract import kpl
from chalicelib.contract.assignments import ASSIGNMENT, GRADER, parse_assignment
from chalicelib.contract.filters import FilterError, parse_filter
from chalicelib.contract.graders import GraderError
from chalicelib.errors import ConfigurationError, UsherError
from chalicelib.jobs import listings
from chalicelib.jobs import requests as jobs
from chalicelib.jobs.description import parse_description
from chalicelib.jobs.schemas import check_parameters, check_schema, matches
from chalicelib.schedules import requests as schedules
from chalicelib.schedules.cron import ExpressionError, next_runs, parse_expression
from chalicelib.sessions import requests as sessions
from chalicelib.tasks.requests import parse_record_id
from session_handler import gate, http_client, messages, resp
from session_handler.cursor import Cursor, CursorError
from session_handler.server import refuse_head

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UUID = "6d6cf8ce-0000-4000-8000-000000000000"
APPS = parse_apps({"default": "a", "apps": {"a": {"image": "a"}}})


def text_of(data: bytes) -> str:
    """Headers and queries come as Latin-1 or UTF-8; what is neither as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def http_head(data: bytes) -> None:
    """The beginning of a request to a session's port."""
    whole = refuse_head(data)
    for end in range(1, min(len(data), 64)):
        refusal = refuse_head(data[:end])
        assert refusal is None or whole is not None, "refused early, taken later"
    target = data.partition(b" ")[2].partition(b" ")[0].decode("latin-1")
    rules = gate.Gate(UUID, frozenset({"https://a.example"}))
    request = gate.Request(target, [text_of(data[:40])], wants_websocket=True)
    decision = rules.decide(request, is_occupied=False, is_over=False)
    admits = isinstance(decision, gate.Admit | gate.Script)
    assert not admits or UUID in target, "let in without the path"


def resume_cursor(data: bytes) -> None:
    """`?cursor=` of a client that resumes."""
    text = text_of(data)
    with suppress(CursorError):
        gate.cursor_of(text)
    try:
        cursor = Cursor.parse(text)
    except CursorError:
        return
    assert Cursor.parse(str(cursor)) == cursor


def client_message(data: bytes) -> None:
    """A frame from a session's client, and the filter that it may wish for."""
    for frame in (data, text_of(data)):
        try:
            message = messages.decode_client_message(frame)
        except messages.BadMessageError:
            continue
        messages.app(message)
        with suppress(FilterError):
            wants = parse_filter(message.get("filter", message))
            if wants is not None:
                wants(message)


def kpl_record(data: bytes) -> None:
    """An aggregated record of Kinesis, and what only looks like one."""
    kpl.take_apart(data)
    whole = kpl.MAGIC + data + hashlib.md5(data, usedforsecurity=False).digest()
    for record in kpl.take_apart(whole) or ():
        assert isinstance(record.partition_key, str)
        assert record.data in data


def cron_expression(data: bytes) -> None:
    """An expression and a zone of a schedule."""
    expression, _, zone = text_of(data).partition("|")
    try:
        parsed = parse_expression(expression)
        runs = next_runs(parsed, zone or "UTC", NOW, 3)
    except ExpressionError:
        return
    assert runs == sorted(runs)
    assert all(run > NOW for run in runs)
    assert parse_expression(parsed.text) == parsed


def job_description(data: bytes) -> None:
    """PUT /jobs/{name}."""
    with suppress(UsherError):
        description = parse_description(json_body(data))
        if description.parameters is not None:
            check_schema(description.parameters)


def job_schema(data: bytes) -> None:
    """A job's schema, and parameters against it."""
    schema, _, parameters = data.partition(b"\n")
    with suppress(UsherError):
        document = json_body(schema)
        if isinstance(document, dict):
            check_schema(document)
            check_parameters(document, json_body(parameters))


def schema_pattern(data: bytes) -> None:
    """A pattern of a schema, against a text."""
    pattern, _, text = text_of(data).partition("\n")
    assert matches(pattern, text) in {True, False, None}


def app_file(data: bytes) -> None:
    """The apps file."""
    with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError, ConfigurationError):
        parse_apps(tomllib.loads(data.decode()))


def grader_files(data: bytes) -> None:
    """An assignment, a zero byte, and the grader of its part `a`."""
    assignment, _, grader = data.partition(b"\0")
    files = {ASSIGNMENT: assignment, f"a/{GRADER}": grader, "a/1.in": b"", "a/1.ans": b""}
    with suppress(GraderError):
        parse_assignment(files, "a")
    with suppress(GraderError):
        parse_assignment({GRADER: grader, "1.in": b"", "1.ans": b""}, "a")


def callback_body(data: bytes) -> None:
    """Parses a body as containers of sessions and jobs, and callers, send it."""
    try:
        body = json_body(data)
    except UsherError:
        return
    for parse in (
        sessions.parse_callback,
        jobs.parse_start,
        jobs.parse_progress,
        jobs.parse_finish,
    ):
        with suppress(UsherError):
            parse(body)
    with suppress(UsherError):
        wanted = jobs.parse_invoke(body, {})
        jobs.check_instants(wanted, NOW.timestamp())
        assert wanted.digest
    with suppress(UsherError):
        schedule = schedules.parse_schedule(
            "a", body, owner="o", callback_base_url="http://a", now=NOW.timestamp()
        )
        schedules.show_schedule(schedule, NOW.timestamp())


def query_and_headers(data: bytes) -> None:
    """Query, `next` cursors, Idempotency-Key and keys of callers: one line each."""
    lines = [*text_of(data).split("\n"), "", "", "", ""]
    headers = {"idempotency-key": lines[0], "x-api-key": lines[1], "authorization": lines[1]}
    query = {"next": lines[2], "limit": lines[3], "wait": lines[3], "status": lines[1]}
    query |= {"from": lines[3], "to": lines[2], "app": "a"}
    identity = {"identity": {"sourceIp": lines[2], "userArn": lines[3]}}
    for mode in AuthMode:
        with suppress(UsherError):
            keys = [("k", "0" * 64)]
            identify(mode, headers, identity, api_keys=keys, operators=frozenset())
    with suppress(UsherError):
        caller = identify(AuthMode.NONE, {}, identity, api_keys=[], operators=frozenset())
        sessions.parse_dispatch(
            query,
            headers,
            apps=APPS,
            caller=caller,
            callback_base_url="",
            default_wait_seconds=1,
        )
    for chosen in (query, {"next": lines[2]}):
        with suppress(UsherError):
            listing = listings.parse_listing(chosen, NOW.timestamp())
            shown = listings.show_place(listing.after)
            if shown is not None:
                again = listings.parse_listing({"next": shown}, NOW.timestamp())
                assert again.after == listing.after
        with suppress(UsherError):
            schedules.parse_page(chosen)
    for parse in (partial(parse_record_id, kind="session"), schedules.parse_schedule_id):
        with suppress(UsherError):
            parse(lines[2])


def http_answer(data: bytes) -> None:
    """The head of an answer to a container's own request."""
    with suppress(http_client.HttpError):
        http_client.parse_head(data)


def redis_reply(data: bytes) -> None:
    """Parses an answer of the fan-out feed's server, whole and byte by byte."""

    def read(parts: list[bytes]) -> list | None:
        parser = resp.Parser(1 << 20)
        try:
            return [reply for part in parts for reply in parser.feed(part)]
        except resp.RespError:
            return None

    whole = read([data])
    single = read([data[at : at + 1] for at in range(len(data))])
    assert repr(whole) == repr(single) or whole is None or single is None


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        http_head,
        resume_cursor,
        client_message,
        kpl_record,
        cron_expression,
        job_description,
        job_schema,
        schema_pattern,
        app_file,
        grader_files,
        callback_body,
        query_and_headers,
        http_answer,
        redis_reply,
    )
}
