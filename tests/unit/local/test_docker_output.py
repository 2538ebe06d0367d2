"""How stdout and stderr of a container become lines of one log."""

from hypothesis import given
from hypothesis import strategies as st

from local.hosts.docker_output import LINE_BYTES, LineMerger

PARTS = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=8) | st.just(b"a\n")))


def merged(*parts: tuple[int, bytes]) -> bytes:
    written: list[bytes] = []
    lines = LineMerger(written.append)
    for stream, data in parts:
        lines.add(stream, data)
    lines.close()
    return b"".join(written)


def test_what_stderr_says_is_no_part_of_an_unfinished_line() -> None:
    assert merged((1, b"a\nb"), (2, b"c\n"), (1, b"d\n")) == b"a\nc\nbd\n"


def test_lines_that_never_end_are_apart() -> None:
    assert merged((1, b"out"), (2, b"err")) == b"out\nerr"


def test_a_line_too_long_to_be_held_is_passed_on_and_others_begin_anew() -> None:
    long = b"x" * (LINE_BYTES + 1)
    assert merged((1, long), (2, b"e\n"), (1, b"y\n")) == long + b"\ne\ny\n"


@given(PARTS)
def test_nothing_is_lost_or_mixed(parts) -> None:
    expected = []
    for stream in (1, 2):
        expected += lines_of(b"".join(data for each, data in parts if each == stream))
    assert sorted(lines_of(merged(*parts))) == sorted(expected)


def lines_of(text: bytes) -> list[bytes]:
    return text.removesuffix(b"\n").split(b"\n") if text else []
