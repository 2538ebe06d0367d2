"""Sessions can read the relay's format: URLs, entries, and an entry's fields of its shard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.fanout import (
    Entry,
    FanoutError,
    FanoutUrl,
    Position,
    is_fanout,
    keys_of,
)

BIG = 10**56
POSITIONS = st.builds(Position, st.integers(0, BIG), st.integers(0, 5000))
ENTRIES = st.builds(
    Entry,
    st.from_regex(r"shardId-[0-9]{12}", fullmatch=True),
    st.integers(0, BIG),
    st.integers(0, 5000),
    st.none() | POSITIONS,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.integers(0, 10**13),
    st.binary(max_size=100),
    st.booleans(),
)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_was_written(entry):
    assert Entry.decode(entry.encode()) == entry
    assert Entry.decode([b"new", b"field", *entry.encode()]) == entry


@given(POSITIONS)
def test_a_position_is_ordered_as_its_record_and_comes_back(position):
    assert Position.parse(str(position).encode()) == position
    assert Position(position.sequence, position.subsequence + 1) > position
    assert Position(position.sequence + 1, 0) > position


@given(st.lists(st.binary(max_size=8), max_size=16))
def test_anything_else_is_no_entry(fields):
    with pytest.raises(FanoutError):
        Entry.decode(fields)


@pytest.mark.parametrize("text", [b"", b"1", b"-1-0", b"01-0", b"1-00", b"1-0 ", b"x-0", b"1-1-1"])
def test_a_position_has_one_spelling(text):
    with pytest.raises(FanoutError):
        Position.parse(text)


@pytest.mark.parametrize(
    ("previous", "delivered", "is_gap"),
    [
        (Position(4, 0), Position(4, 0), False),
        (Position(4, 0), Position(3, 9), True),
        (Position(4, 0), Position(4, 1), False),  # delivered more than there is: a repetition
        (None, Position(4, 0), True),
        (None, None, False),
        (Position(4, 0), None, False),
        (None, Position(5, 0), False),
    ],
)
def test_an_entry_tells_whether_records_are_missing(previous, delivered, is_gap):
    entry = Entry("shardId-0", 5, 0, previous, "key", 0, b"")
    assert entry.is_gap(delivered) is is_gap


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://h:1/s", FanoutUrl("h", 1, "s", tls=False)),
        ("rediss://h/s", FanoutUrl("h", 6379, "s", tls=True)),
        ("redis://u:p%40%2F@[::1]:1/s", FanoutUrl("::1", 1, "s", False, "u", "p@/")),
        ("redis://:p@h:1/s", FanoutUrl("h", 1, "s", False, None, "p")),
    ],
)
def test_a_url_names_a_stream_on_a_server(text, url):
    assert FanoutUrl.parse(text) == url
    assert is_fanout(text)


@pytest.mark.parametrize(
    "text",
    [
        "kinesis://s",
        "redis://h:1",
        "redis://h:1/",
        "redis:///s",
        "redis://:secret@h:1/a/b",
        "redis://:secret@h:0/s",
        "redis://:secret@h:99999/s",
        "redis://:secret@h:x/s",
        "redis://:secret@h/s?db=1",
        "redis://:secret@[h/s",
    ],
)
def test_anything_else_is_refused_without_telling_the_password(text):
    with pytest.raises(FanoutError) as refusal:
        FanoutUrl.parse(text)
    assert "secret" not in repr(refusal.value)


def test_the_password_is_not_in_what_is_logged():
    assert "secret" not in repr(FanoutUrl.parse("redis://u:secret@h:1/s"))


def test_all_keys_share_one_hash_tag():
    keys = keys_of("updates")
    assert keys.records == "usher:{updates}:records"
    assert {key.partition("}")[0] for key in keys} == {"usher:{updates"}
