"""Standard streams of a job: complete lines for its log, even if the log cannot be written."""

import errno
import io
import os
import threading

from hypothesis import given
from hypothesis import strategies as st

from usher.log_file import LogFile, flush, line_stream


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


@given(st.binary(max_size=40))
def test_bytes_that_are_no_text_are_not_changed(data):
    assert written(data).replace(b"\n \n", b"\n\n").replace(b"\n \n", b"\n\n").strip() == (
        data.replace(b"\n \n", b"\n\n").replace(b"\n \n", b"\n\n").strip()
    )


def test_what_cannot_be_written_is_dropped_and_known():
    full = os.open("/dev/full", os.O_WRONLY)
    file = LogFile(full)
    assert file.write(b"a line\n") == 7
    assert file.lost is not None
    assert file.lost.errno == errno.ENOSPC
    os.close(full)


def test_a_reader_that_is_gone_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as sink:
        stream = line_stream(sink)
        print("a line", file=stream)
        flush(stream)
        assert isinstance(stream.buffer.raw.lost, BrokenPipeError)


def test_lines_are_passed_on_as_they_are_printed_and_the_rest_with_a_flush():
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as log, open(write, "w", encoding="utf-8") as sink:
        stream = line_stream(sink)
        print("one\ntwo", end="", file=stream)
        assert log.read(100) == b"one\ntwo"
        print("three", end="", file=stream)
        flush(stream)
        assert log.read(100) == b"three"


def test_a_stream_that_a_program_made_non_blocking_is_waited_for():
    read, write = os.pipe()
    os.set_blocking(write, False)
    found = []

    def read_all() -> None:
        with open(read, "rb") as pipe:
            found.append(pipe.read())

    reader = threading.Thread(target=read_all)
    file = LogFile(write)
    reader.start()
    assert file.write(b"x" * 500_000) == 500_000
    os.close(write)
    reader.join()
    assert (file.lost, found) == (None, [b"x" * 500_000])


def test_streams_that_the_job_closed_or_replaced_are_left_alone():
    assert line_stream(None) is None
    flush(None)
    flush(io.StringIO())
    flush("no stream")
    read, write = os.pipe()
    with open(read, "rb"), open(write, "w", encoding="utf-8") as sink:
        stream = line_stream(sink)
        stream.close()
        flush(stream)
