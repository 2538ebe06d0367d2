"""Standard streams of a job: lines that its log can be made of, whatever becomes of the log."""

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from usher.log_file import LogFile, finish_log, log_stream


def written(*parts: bytes) -> bytes:
    read, write = os.pipe()
    file = LogFile(write)
    for part in parts:
        assert file.write(part) == len(part)
    file.end_line()
    os.close(write)
    with open(read, "rb") as pipe:
        return pipe.read()


@given(st.text(alphabet="ab\n", max_size=40), st.lists(st.integers(0, 40), max_size=4).map(sorted))
def test_no_line_is_empty_and_the_last_one_ends(text, cuts):
    """However the output is cut into writes; apart from the spaces nothing is changed."""
    data = text.encode()
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    found = written(*parts)
    lines = text.removesuffix("\n").split("\n") if text else []
    assert found.decode() == "".join(f"{line or ' '}\n" for line in lines)


def test_what_cannot_be_written_is_dropped_and_known():
    full = os.open("/dev/full", os.O_WRONLY)
    with open(full, "w", encoding="utf-8") as sink:
        stream = log_stream(sink)
        print("a line", file=stream)
        assert isinstance(finish_log(stream), OSError)


def test_a_reader_that_is_gone_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as sink:
        stream = log_stream(sink)
        print("a line", file=stream)
        assert isinstance(finish_log(stream), BrokenPipeError)


def test_streams_that_the_job_closed_or_replaced_are_left_alone():
    assert log_stream(None) is None
    assert finish_log(None) is None
    assert finish_log(io.StringIO()) is None
    read, write = os.pipe()
    with open(read, "rb"), open(write, "w", encoding="utf-8") as sink:
        stream = log_stream(sink)
        stream.close()
        assert finish_log(stream) is None
