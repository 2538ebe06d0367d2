"""The exact messages of the websocket."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract import Bye
from session_handler import messages
from session_handler.messages import BadMessageError, decode_client_message


def test_hello():
    text = messages.hello(
        session="id",
        app="listings",
        revision="listings:7",
        feed="redis",
        grace_seconds=2.5,
        cursor="1",
    )
    assert json.loads(text) == {
        "type": "hello",
        "session": "id",
        "app": "listings",
        "revision": "listings:7",
        "feed": "redis",
        "graceSeconds": 2.5,
        "cursor": "1",
    }


def test_records_are_joined_as_they_are():
    text = messages.records(['{"data":1}', '{"data":2}'], "1~h.a")
    assert json.loads(text) == {
        "type": "records",
        "records": [{"data": 1}, {"data": 2}],
        "cursor": "1~h.a",
    }


def test_gap():
    assert json.loads(messages.gap(["a"], "1~h.a")) == {
        "type": "gap",
        "shards": ["a"],
        "cursor": "1~h.a",
    }


def test_bye_has_a_detail_only_where_there_is_one():
    assert json.loads(messages.bye(Bye.STOPPED, cursor=None)) == {
        "type": "bye",
        "reason": "stopped",
        "cursor": None,
    }
    assert json.loads(messages.bye(Bye.FEED_FAILED, cursor="1", detail="why"))["detail"] == "why"


def test_an_app_cannot_pretend_to_be_the_container():
    assert json.loads(messages.app({"type": "bye", "x": 1})) == {"type": "app", "x": 1}


@pytest.mark.parametrize("value", [float("nan"), object(), {1}])
def test_what_json_cannot_express_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        messages.app({"x": value})


def test_client_messages_come_without_their_type():
    assert decode_client_message('{"type":"app","filter":{"city":"Oslo"}}') == {
        "filter": {"city": "Oslo"}
    }


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"{}", 1003),
        ("", 1007),
        ("{", 1007),
        ("[" * 50_000, 1007),
        ("1" * 5_000, 1007),
        ("null", 1008),
        ("[1]", 1008),
        ("{}", 1008),
        ('{"type":"hello"}', 1008),
        ('{"type":["app"]}', 1008),
    ],
)
def test_other_frames_have_their_close_code(frame, code):
    with pytest.raises(BadMessageError) as bad:
        decode_client_message(frame)
    assert bad.value.code == code


@given(st.one_of(st.text(), st.binary()))
def test_no_frame_raises_anything_else(frame):
    with suppress(BadMessageError):
        assert isinstance(decode_client_message(frame), dict)
