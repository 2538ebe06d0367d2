"""Cursors survive the way to the client and back, and nothing else passes for one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_handler.cursor import (
    MAX_LENGTH,
    After,
    Cursor,
    CursorError,
    Ended,
    Horizon,
    Since,
)

SHARDS = st.from_regex(r"[A-Za-z0-9_.-]{1,30}", fullmatch=True)
POSITIONS = st.one_of(
    st.builds(After, st.integers(0, 2**256 - 1), st.integers(0, 10**9)),
    st.builds(Since, st.integers(0, 10**14)),
    st.just(Horizon()),
    st.just(Ended()),
)
CURSORS = st.dictionaries(SHARDS, POSITIONS, max_size=40).map(Cursor)


@given(CURSORS)
def test_a_cursor_is_read_as_it_was_written(cursor):
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    assert re.fullmatch(r"[A-Za-z0-9._~-]*", text), "must need no escaping in a URL"


@given(st.text(max_size=300))
def test_any_text_is_a_cursor_or_a_cursor_error(text):
    try:
        cursor = Cursor.parse(text)
    except CursorError:
        return
    assert str(cursor) == text, "there is one way to write a cursor"


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_refused_or_is_another_cursor(cursor, data):
    text = str(cursor)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    try:
        assert str(Cursor.parse(damaged)) == damaged
    except CursorError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "2~h.shard",
        "1~",
        "1~h",
        "1~h.",
        "1~.shard",
        "1~h.sh/ard",
        "1~h.a~e.a",
        "1~01-0.a",
        "1~1-00.a",
        "1~A-0.a",
        "1~1.a",
        "1~t-1.a",
        "1~t1e3.a",
        "1~" + "f" * 65 + "-0.a",
        "1~h.a\n",
        "1~" + "x" * MAX_LENGTH,
    ],
)
def test_garbage_is_refused(text):
    with pytest.raises(CursorError):
        Cursor.parse(text)


def test_positions_compare_as_numbers_not_as_text():
    assert After(9) < After(10)
    assert After(10, 2) < After(10, 10)


def test_more_shards_than_a_url_takes_are_refused():
    with pytest.raises(CursorError):
        str(Cursor({f"shardId-{n:012d}": After(2**186) for n in range(200)}))


def test_a_stream_of_sixty_shards_fits():
    cursor = Cursor({f"shardId-{n:012d}": After(2**186) for n in range(60)})
    assert len(str(cursor)) <= MAX_LENGTH
