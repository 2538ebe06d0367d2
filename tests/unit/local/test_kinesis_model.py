"""Streams of the embedded Kinesis: after any changes of shards, each record is stored once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from local.aws.kinesis.model import HASH_KEYS, Stream

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "split", "merge", "wait"]), st.integers(0, 2**31)),
    max_size=60,
)


def run(shard_count, steps):
    """A stream that went through the steps, and what was put: (key, record)."""
    stream, now, put = Stream("s", shard_count, 1.7e9), 1.7e9, []
    for step, choice in steps:
        shards = stream.open_shards
        if step == "put":
            key = f"key-{choice % 7}"
            put.append((key, stream.put(stream.shard_for(key, None), key, "", 1, now)))
        elif step == "split":
            shard = shards[choice % len(shards)]
            if shard.last_hash > shard.first_hash:
                width = shard.last_hash - shard.first_hash
                start = shard.first_hash + 1 + choice * width // 2**32
                stream.split(shard.shard_id, str(start), now)
        elif step == "merge" and len(shards) > 1:
            at = choice % (len(shards) - 1)
            stream.merge(shards[at + 1].shard_id, shards[at].shard_id, now)
        elif step == "wait":
            now += choice / 2**20
    return stream, now, put


@given(st.integers(1, 4), STEPS)
def test_numbers_grow_whatever_happens(shard_count, steps):
    stream, _, put = run(shard_count, steps)
    numbers = [record.sequence for _, record in put]
    assert all(low < high for low, high in pairwise(numbers))
    for shard in stream.shards(0.0):
        inside = [record.sequence for record in shard.records]
        bounds = [shard.starting_sequence, *inside, shard.ending_sequence or float("inf")]
        assert all(low < high for low, high in pairwise(bounds))
        for parent in shard.parents:
            assert stream.shard(parent).ending_sequence < shard.starting_sequence
            assert shard.shard_id in stream.shard(parent).children


@given(st.integers(1, 4), STEPS)
def test_open_shards_cover_all_hash_keys_once(shard_count, steps):
    stream, _, _ = run(shard_count, steps)
    shards = stream.open_shards
    assert shards[0].first_hash == 0
    assert shards[-1].last_hash == HASH_KEYS - 1
    assert all(low.last_hash + 1 == high.first_hash for low, high in pairwise(shards))


@given(st.integers(1, 4), STEPS)
def test_reading_parents_before_children_keeps_the_order_of_keys(shard_count, steps):
    stream, _, put = run(shard_count, steps)
    found, pending, read = [], stream.shards(0.0), set()
    while pending:
        ready = [s for s in pending if all(parent in read for parent in s.parents)]
        for shard in ready:
            found += shard.read(0, 10**6, 10**9)
            read.add(shard.shard_id)
        pending = [shard for shard in pending if shard.shard_id not in read]
    for key in {key for key, _ in put}:
        assert [r for r in found if r.partition_key == key] == [r for k, r in put if k == key]
    assert len(found) == len(put)


@given(st.integers(1, 2), STEPS, st.integers(0, 40), st.integers(1, 5))
def test_an_index_means_the_same_record_also_after_trimming(shard_count, steps, gone, limit):
    stream, _, _ = run(shard_count, steps)
    for shard in stream.shards(0.0):
        whole = shard.read(0, 10**6, 10**9)
        if len(whole) > gone:
            shard.trim(whole[gone].arrived_at)
        kept = [r for r in whole if r in shard.records]
        assert shard.trimmed + len(kept) == shard.end == len(whole)
        read, index = [], 0
        while records := shard.read(index, limit, 10**9):
            read += records
            index = max(index, shard.trimmed) + len(records)
        assert read == kept
