"""Aggregated records come apart; what only looks like one stays whole."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.kpl import MAGIC, UserRecord, take_apart
from session_handler.cursor import After, Horizon
from session_handler.feeds.records import decode_records
from tests.kpl import aggregate, field, varint

PAIRS = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.binary()),
    max_size=20,
)


@given(PAIRS)
def test_what_was_packed_comes_out_in_order(pairs):
    assert take_apart(aggregate(pairs)) == [UserRecord(*pair) for pair in pairs]


def test_unknown_fields_are_passed_over():
    fixed = varint(9 << 3 | 1) + b"12345678" + varint(10 << 3 | 5) + b"1234"
    packed = aggregate([("k", b"d")], extra=fixed + field(11, 7) + field(12, b"x"))
    assert take_apart(packed) == [UserRecord("k", b"d")]


@given(PAIRS, st.data())
def test_a_damaged_one_is_an_ordinary_record(pairs, data):
    packed = bytearray(aggregate(pairs))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1
    assert take_apart(bytes(packed)) is None


@given(st.binary(max_size=100))
def test_any_message_with_a_good_digest_is_taken_apart_or_left_whole(message):
    take_apart(MAGIC + message + hashlib.md5(message).digest())


@pytest.mark.parametrize("raw", [b"", MAGIC, MAGIC + b"x" * 15, b'{"json": 1}'])
def test_short_and_other_records_are_left_whole(raw):
    assert take_apart(raw) is None


@given(PAIRS, st.integers(0, 20))
def test_a_cursor_inside_goes_on_with_the_rest(pairs, delivered):
    packed = base64.b64encode(aggregate(pairs)).decode()
    raw = {"SequenceNumber": "7", "PartitionKey": "a", "Data": packed}
    everything = list(decode_records([raw], Horizon()))
    assert [(r.partition_key, r.position) for r in everything] == [
        (key, After(7, number)) for number, (key, _) in enumerate(pairs, 1)
    ]
    delivered = min(delivered, len(pairs))
    if delivered:
        rest = list(decode_records([raw], everything[delivered - 1].position))
        assert [r.position for r in rest] == [r.position for r in everything[delivered:]]
