"""Redis's protocol: a server's replies are decoded completely, from pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_handler.resp import ErrorReply, Parser, RespError, TooLargeError, encode

LINE_ENDS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"$1", b"x"]), max_size=8).map(
    b"".join
)
REPLIES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=60), LINE_ENDS),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


def wire(reply):
    """A reply as a server writes it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case ErrorReply(text):
            return b"-%b\r\n" % text.encode()
        case _:
            return b"*%d\r\n" % len(reply) + b"".join(map(wire, reply))


@given(st.lists(REPLIES, max_size=4), st.data())
def test_replies_come_out_whole_however_they_are_cut(replies, data):
    stream = b"".join(map(wire, replies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = Parser(1_000_000)
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[begin:end])
    assert found == replies


def test_simple_strings_errors_and_empty_arrays():
    parser = Parser(1_000)
    found = parser.feed(b"+OK\r\n-WRONGPASS no such user\r\n*-1\r\n*0\r\n*1\r\n-ERR x\r\n")
    assert found == [b"OK", ErrorReply("WRONGPASS no such user"), None, [], [ErrorReply("ERR x")]]
    assert found[1].code == "WRONGPASS"


@given(st.binary(max_size=200))
def test_anything_is_replies_or_an_error(junk):
    try:
        Parser(1_000_000).feed(junk)
    except RespError:
        return


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 \r\n", b"$x\r\n", b"*1.5\r\n", b"a" * 70_000])
def test_what_is_not_resp_is_refused(junk):
    with pytest.raises(RespError):
        Parser(1_000_000).feed(junk)


def test_a_reply_is_bounded_many_small_ones_are_not():
    parser = Parser(100)
    for _ in range(50):
        assert parser.feed(wire(b"x" * 60)) == [b"x" * 60]
    with pytest.raises(TooLargeError):
        parser.feed(b"*2\r\n" + wire(b"x" * 60) + wire(b"y" * 60))


def test_a_large_reply_in_many_pieces_is_bounded_as_well():
    parser = Parser(1_000)
    parser.feed(b"*100\r\n")
    for _ in range(30):
        assert parser.feed(wire(b"x" * 20)) == []
    with pytest.raises(TooLargeError):
        parser.feed(wire(b"x" * 500))


def test_commands_are_arrays_of_strings():
    assert encode("XREAD", 5, b"\xff") == b"*3\r\n$5\r\nXREAD\r\n$1\r\n5\r\n$1\r\n\xff\r\n"
    assert encode("ü") == b"*1\r\n$2\r\n\xc3\xbc\r\n"
