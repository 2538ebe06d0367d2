"""Frames, however the stream is cut, and messages that do not keep the format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.box import frames

KINDS = st.sampled_from([frames.RUN, frames.STDIN, frames.STDOUT, frames.DONE])


@given(st.lists(st.tuples(KINDS, st.binary(max_size=80)), max_size=8), st.data())
def test_a_stream_in_any_pieces_is_the_same(sent, data):
    whole = b"".join(frames.encode(kind, payload) for kind, payload in sent)
    reader, found = frames.FrameReader(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += reader.feed(whole[:size])
        whole = whole[size:]
    assert found == sent


@given(st.dictionaries(st.text(), st.integers()), st.lists(st.binary(max_size=50), max_size=5))
def test_a_message_comes_back(fields, contents):
    found, rest = frames.unpack_message(frames.pack_message(fields, contents))
    assert found == fields
    assert frames.take_contents(rest, map(len, contents)) == contents


@given(st.binary(max_size=60))
def test_garbage_is_refused_in_one_way(payload):
    try:
        fields, rest = frames.unpack_message(payload)
    except frames.FrameError:
        return
    assert isinstance(fields, dict)
    with pytest.raises(frames.FrameError):
        frames.take_contents(rest, [len(rest) + 1])
