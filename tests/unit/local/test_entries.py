import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.feed.entries import (
    MOST_BATCH_BYTES,
    MOST_ENTRIES,
    MOST_ENTRY_BYTES,
    Backlog,
    BadLine,
    Entry,
    read_entry,
)


def test_the_id_is_the_partition_key_and_the_line_is_untouched():
    entry = read_entry(b'  {"id":"mel-1",  "x": 1}\r\n', 7, "id")
    assert entry == Entry(7, "mel-1", b'{"id":"mel-1",  "x": 1}')


def test_another_field_and_a_number_can_be_the_key():
    assert read_entry(b'{"id": "a", "postcode": 3127}', 1, "postcode").key == "3127"


@pytest.mark.parametrize(
    "line",
    ['{"id": null}', '{"id": true}', '{"id": ""}', '{"id": [1]}', '{"no": 1}', "[1, 2]", '"text"',
     '{"id": "' + "x" * 257 + '"}', '{"id": "\\ud800"}'],
)  # fmt: skip
def test_a_line_without_a_usable_key_is_spread_by_its_hash(line):
    first, again = (read_entry(line.encode(), number, "id") for number in (1, 2))
    other = read_entry(line.replace("{", "{ ").replace("[", "[ ").encode() + b" ", 3, "id")
    assert first.key == again.key
    assert len(first.key) == 32
    assert other.key


@pytest.mark.parametrize("line", [b"", b"\n", b"  \r\n"])
def test_a_blank_line_is_nothing(line):
    assert read_entry(line, 1, "id") is None


@pytest.mark.parametrize("line", [b"{", b"{'id': 1}", b"\xff\xfe", b"[" * 100_000, b"1 2"])
def test_what_is_no_json_is_a_bad_line_with_its_number(line):
    bad = read_entry(line, 12, "id")
    assert isinstance(bad, BadLine)
    assert bad.number == 12
    assert bad.why.startswith("no JSON")


def test_a_record_is_at_most_one_mebibyte_with_its_key():
    def line(size: int) -> bytes:
        return b'{"id":"k","x":"' + b"a" * (size - 18) + b'"}'

    assert len(line(100)) == 99
    fits = read_entry(line(MOST_ENTRY_BYTES), 1, "id")
    assert fits.size == MOST_ENTRY_BYTES
    assert isinstance(read_entry(line(MOST_ENTRY_BYTES + 1), 1, "id"), BadLine)


def backlog_of(entries) -> Backlog:
    backlog = Backlog()
    for entry in entries:
        backlog.append(entry)
    return backlog


def test_a_batch_keeps_within_the_limits_of_put_records():
    small = backlog_of(Entry(n, str(n), b"{}") for n in range(MOST_ENTRIES + 1))
    assert len(small.take()) == MOST_ENTRIES
    assert len(small.take()) == 1
    large = backlog_of(Entry(n, str(n), b"x" * (MOST_ENTRY_BYTES - 1)) for n in range(6))
    sizes = [sum(entry.size for entry in large.take()) for _ in range(2)]
    assert sizes == [MOST_BATCH_BYTES, MOST_ENTRY_BYTES]


entries = st.lists(st.sampled_from("abcd"), max_size=60).map(
    lambda keys: [Entry(number, key, b"{}") for number, key in enumerate(keys)]
)


@given(entries, st.integers(1, 7))
def test_batches_hold_each_key_once_and_keep_its_order(given_entries, most):
    backlog = backlog_of(given_entries)
    taken = []
    while backlog:
        batch = backlog.take(most)
        assert 0 < len(batch) <= most
        assert len({entry.key for entry in batch}) == len(batch)
        taken += batch
    assert sorted(taken, key=lambda entry: entry.number) == given_entries
    for key in "abcd":
        numbers = [entry.number for entry in taken if entry.key == key]
        assert numbers == sorted(numbers)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_any_object_becomes_an_entry(value):
    entry = read_entry(json.dumps(value).encode(), 1, "id")
    assert isinstance(entry, Entry)
    assert json.loads(entry.data) == value
