"""Requests of clients and containers are parsed strictly."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import App, Apps
from chalicelib.callers import Caller
from chalicelib.contract import Callback
from chalicelib.errors import BadRequestError, NotFoundError, UnknownAppError
from chalicelib.sessions.answers import answer_to_callback, body_of, status_of
from chalicelib.sessions.items import from_item, to_item
from chalicelib.sessions.lifecycle import end
from chalicelib.sessions.model import Reason
from chalicelib.sessions.requests import parse_callback, parse_dispatch
from chalicelib.tasks.requests import parse_record_id
from tests.unit.chalicelib.test_lifecycle import (
    START,
    asked_to_stop,
    connected,
    launched,
    queued,
    until,
)

APPS = Apps(default="chat", by_name={"chat": App(name="chat", image="chat")})
TEMPLATE = "ws://{ip}:{port}{path}"


def parse(query=None, headers=None):
    return parse_dispatch(
        query or {},
        headers or {},
        apps=APPS,
        caller=Caller("somebody", key_scope="somebody"),
        callback_base_url="http://dispatcher",
        default_wait_seconds=20,
    )


def test_a_bare_get_means_the_default_app_and_wait():
    request = parse()
    assert (request.app.name, request.wait_seconds, request.idempotency_key) == ("chat", 20, None)


def test_query_and_header_are_taken():
    request = parse({"app": "chat", "wait": "2.5"}, {"idempotency-key": "k"})
    assert (request.wait_seconds, request.idempotency_key) == (2.5, "k")


def test_an_unknown_app_is_told_which_there_are():
    with pytest.raises(UnknownAppError, match="chat"):
        parse({"app": "nope"})


@pytest.mark.parametrize("wait", ["-1", "26", "soon", "", "nan", "inf", "1e3"])
def test_a_bad_wait_is_refused(wait):
    with pytest.raises(BadRequestError, match="wait"):
        parse({"wait": wait})


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 129, "a\n"])
def test_a_bad_idempotency_key_is_refused(key):
    with pytest.raises(BadRequestError, match="Idempotency-Key"):
        parse({}, {"idempotency-key": key})


@given(st.text(max_size=60))
def test_what_can_be_no_session_id_is_not_found(text):
    with pytest.raises(NotFoundError):
        parse_record_id(text, "session")


def test_a_session_id_is_taken_in_its_one_spelling():
    assert parse_record_id(queued().id, "session") == queued().id
    for other in (queued().id.upper(), "{" + queued().id + "}", queued().id.replace("-", "")):
        with pytest.raises(NotFoundError):
            parse_record_id(other, "session")


def test_callbacks_are_read():
    assert parse_callback({"type": "ready"}) == (Callback.READY, "")
    assert parse_callback({"type": "stopping", "reason": "expired"}) == (
        Callback.STOPPING,
        "expired",
    )
    assert len(parse_callback({"type": "failed", "detail": "x" * 9999})[1]) == 500
    body = {"type": "stopping", "reason": "feed_failed", "detail": "the stream is gone"}
    assert parse_callback(body)[1] == "feed_failed: the stream is gone"


@pytest.mark.parametrize("body", [None, [], "ready", {}, {"type": 1}, {"type": "explode"}])
def test_what_is_no_callback_is_refused(body):
    with pytest.raises(BadRequestError):
        parse_callback(body)


def test_words_must_be_strings():
    with pytest.raises(BadRequestError):
        parse_callback({"type": "failed", "detail": 1})


def test_an_answer_has_the_address_and_never_the_key():
    session = until(*START)
    body = body_of(session, TEMPLATE)
    assert body["url"] == f"ws://192.0.2.7:49153/{session.uuid}"
    assert (body["path"], body["port"], body["ip"]) == (f"/{session.uuid}", 49153, "192.0.2.7")
    assert (body["warm"], body["revision"], body["state"]) == (False, 7, "RESERVED")
    assert body["connectBy"].startswith("1970-01-01T00:17:")
    assert status_of(session) == 200
    assert session.key not in str(body)


def test_the_url_can_be_a_certified_name_or_a_router():
    session = until(*START, connected)
    assert body_of(session, "wss://{dashed_ip}.example.org:{port}{path}")["url"] == (
        f"wss://192-0-2-7.example.org:49153/{session.uuid}"
    )
    assert body_of(session, "wss://example.org{path}")["url"] == f"wss://example.org/{session.uuid}"


def test_before_and_after_there_is_no_address():
    coming, ended = until(launched), asked_to_stop(queued(), 1001.0)
    assert status_of(coming) == 202
    assert body_of(coming, TEMPLATE)["retryAfter"] == 1
    assert status_of(ended) == 200
    assert body_of(ended, TEMPLATE)["reason"] == "stopped"
    for session in (coming, ended):
        assert session.uuid not in str(body_of(session, TEMPLATE))


PICKY = App(name="chat", image="chat", pass_claims=("email", "groups"), pass_query=("room", "tone"))


def parse_picky(query, claims):
    return parse_dispatch(
        query,
        {},
        apps=Apps(default="chat", by_name={"chat": PICKY}),
        caller=Caller("jwt:ann", key_scope="jwt:ann", claims=claims),
        callback_base_url="http://dispatcher",
        default_wait_seconds=20,
    )


def test_only_what_the_app_lets_through_reaches_its_container():
    request = parse_picky(
        {"room": "blue", "owner": "root", "email": "forged@b"},
        {"email": "a@b", "sub": "ann", "groups": ["a", "b"], "custom": "x"},
    )
    assert request.query == {"room": "blue"}
    assert request.claims == {"email": "a@b", "groups": '["a", "b"]'}
    bare = parse({"room": "blue"})
    assert (bare.query, bare.claims) == (None, None)


@pytest.mark.parametrize("long", ["x" * 2049, "é" * 1025, "\ud800" * 2049])
def test_what_reaches_a_container_is_bounded(long):
    with pytest.raises(BadRequestError, match="parameters for the app: at most 2048 bytes"):
        parse_picky({"room": long}, {})
    with pytest.raises(BadRequestError, match="claims for the app: at most 2048 bytes"):
        parse_picky({}, {"email": long})
    with pytest.raises(BadRequestError, match="parameters"):
        parse_picky({"room": "x" * 1500, "tone": "y" * 1500}, {})


def test_a_container_is_told_its_user_in_the_answer_to_connected_alone():
    session = replace(until(*START), owner="jwt:ann", claims={"email": "a@b"}, query=None)
    user = {"owner": "jwt:ann", "claims": {"email": "a@b"}, "query": {}}
    assert answer_to_callback(session, Callback.CONNECTED) == {"user": user}
    others = [callback for callback in Callback if callback is not Callback.CONNECTED]
    assert [answer_to_callback(session, callback) for callback in others] == [{}] * len(others)
    assert "a@b" not in str(body_of(session, TEMPLATE)), "and nobody else is"


def test_what_is_known_of_a_user_goes_with_the_session():
    session = replace(until(*START), claims={"email": "a@b"}, query={"room": "blue"})
    assert from_item(to_item(session)) == session
    ended = end(session, Reason.DISCONNECTED, None, now=2_000.0)
    assert (ended.claims, ended.query) == (None, None)
    assert "a@b" not in str(to_item(ended))
