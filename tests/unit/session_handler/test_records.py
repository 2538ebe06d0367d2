"""Records reach the client as JSON where they are JSON, byte for byte elsewhere."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.fanout import Entry
from chalicelib.feed.records import Arrival, entries_of
from session_handler.cursor import After, Horizon
from session_handler.feeds.records import Record, decode_data, decode_record, decode_records


def raw(data, sequence=1, key="key"):
    return {
        "Data": base64.b64encode(data).decode(),
        "PartitionKey": key,
        "SequenceNumber": str(sequence),
        "ApproximateArrivalTimestamp": 1_700_000_000.123,
    }


def only(data, **fields):
    (record,) = decode_records([raw(data, **fields)], Horizon())
    return record


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from([None, 2]), st.booleans(), st.text(min_size=1, max_size=256))
def test_json_arrives_as_that_json(value, indent, ascii_only, key):
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        data = data.encode()
    except UnicodeEncodeError:
        return
    sent = json.loads(only(data, key=key).to_json())
    assert sent == {
        "data": value,
        "partitionKey": key,
        "sequenceNumber": "1",
        "arrivedAt": 1_700_000_000_123,
    }


@given(st.binary(max_size=200))
def test_any_bytes_can_be_had_back(data):
    sent = json.loads(only(data).to_json())["data"]
    if isinstance(sent, dict) and set(sent) == {"base64"}:
        assert base64.b64decode(sent["base64"]) == data
    else:
        assert json.loads(data) == sent


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\xff",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"{",
        b"1 2",
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_base64(data):
    value, text = decode_data(data)
    assert set(value) == {"base64"}
    assert json.loads(text) == value


@given(st.binary(max_size=50) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_both_feeds_say_the_same_of_the_same_bytes(data):
    direct = only(data)
    [entry] = entries_of(Arrival("s", 1, "key", 1_700_000_000_123, data))
    fan_out = decode_record(Entry.decode(entry.encode()))
    assert fan_out.to_json() == direct.to_json()
    assert fan_out.data == direct.data
    changed = [record.with_data([record.data]).to_json() for record in (fan_out, direct)]
    assert changed[0] == changed[1]


@pytest.mark.parametrize("data", [b" 1", b"1\n", b'\t{"a": 1}\r\n'])
def test_space_around_json_is_json(data):
    assert json.loads(only(data).to_json())["data"] == json.loads(data)


def test_sequence_numbers_keep_all_their_digits():
    number = "49590338271490256608559692538361571095921575989136588898"
    record = only(b"1", sequence=number)
    assert json.loads(record.to_json())["sequenceNumber"] == number
    assert record.position == After(int(number))


def test_records_up_to_the_position_are_left_out():
    records = [raw(b"1", sequence=n) for n in (8, 9, 10, 11)]
    assert [r.sequence_number for r in decode_records(records, After(9))] == ["10", "11"]


def test_an_app_may_change_the_data_and_nothing_else():
    record = only(b'{"a":1}').with_data({"b": [2]})
    assert isinstance(record, Record)
    assert json.loads(record.to_json())["data"] == {"b": [2]}
    assert json.loads(record.to_json())["partitionKey"] == "key"
    with pytest.raises((TypeError, ValueError)):
        record.with_data(float("nan")).to_json()
