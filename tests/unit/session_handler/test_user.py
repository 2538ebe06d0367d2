"""The session's user is read from any answer of the dispatcher."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_handler.user import NOBODY, User, read_user

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def test_the_user_is_read():
    told = {"owner": "jwt:ann", "claims": {"email": "a@b"}, "query": {"room": "1"}}
    user = User("jwt:ann", {"email": "a@b"}, {"room": "1"})
    assert read_user(json.dumps({"user": told}).encode()) == user


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"{", b"[]", b'{"user":null}', b'{"user":3}', b"\xff"]
)
def test_an_answer_without_a_user_is_nobody(body):
    assert read_user(body) == NOBODY


@given(st.binary(max_size=64) | JSON.map(lambda user: json.dumps({"user": user}).encode()))
def test_whatever_comes_texts_come_out(body):
    user = read_user(body)
    assert user.owner is None or isinstance(user.owner, str)
    for texts in (user.claims, user.query):
        assert all(isinstance(part, str) for pair in texts.items() for part in pair)
