"""Output of programs that a job starts, and of code that bypasses Python's streams: lines of its
log.
"""

import subprocess

import pytest

from tests.integration.conftest import wait_until
from tests.integration.usher_fake import Container, FakeDispatcher, serve


@pytest.fixture
def fake():
    fake = FakeDispatcher()
    with serve(fake):
        yield fake


def run(fake, job, parameters, **limits):
    fake.job, fake.parameters = job, parameters
    done = Container(fake, **limits).end()
    return done, fake.requests_of("finish")[-1]


@pytest.mark.parametrize("how", ["subprocess", "system", "fork"])
def test_lines_of_a_program_stand_between_those_of_the_job(fake, how):
    command = {"command": r"printf 'one\n\n\ntwo'", "how": how, "before": "a\n\n", "after": "\nb"}
    done, reported = run(fake, "commands", command)
    assert reported["outcome"] == "succeeded"
    assert done.out == "a\n \none\n \n \ntwo\nb\n"


@pytest.mark.parametrize("how", ["subprocess", "system", "fork"])
def test_a_programs_last_line_without_its_end_is_a_line(fake, how):
    done, _ = run(fake, "commands", {"command": "printf last; printf error >&2", "how": how})
    assert done.out == "last\n"
    assert "error" in done.log
    assert done.log[-1].startswith("usher: finished ")


@pytest.mark.parametrize(
    ("how", "out"),
    [
        ("descriptor", "before\n \n \nraw\n"),
        ("puts", "before\nraw\n"),
        ("printf", "before\nraw\n"),
    ],
)
def test_what_is_written_past_python_is_in_order_and_complete(fake, how, out):
    done, reported = run(fake, "writes", {"how": how})
    assert (done.out, reported["result"]) == (out, "done")


@pytest.mark.parametrize(
    "leaves",
    [
        "sleep 60 &",
        "setsid sleep 60 &",
        "(setsid sh -c 'sleep 60 & sleep 60' &)",
        "nohup yes >&2 &",
        "trap '' TERM HUP INT; sleep 60 &",
    ],
)
def test_a_program_that_keeps_the_streams_open_keeps_no_run(fake, leaves):
    done, reported = run(fake, "commands", {"command": leaves, "after": "last words"})
    assert reported["outcome"] == "succeeded"
    assert done.out.endswith("last words\n")
    assert done.log[-1].startswith("usher: finished ")


def test_a_line_without_an_end_passes_through(fake):
    done, _ = run(fake, "commands", {"command": r"head -c 30000000 /dev/zero | tr '\0' x"})
    assert done.out == "x" * 30_000_000 + "\n"


def test_bytes_that_are_no_text_are_not_changed(fake):
    fake.job, fake.parameters = "commands", {"command": r"printf '\377\376\000\200\r\n'"}
    container = Container(fake)
    assert container.process.stdout.buffer.read() == b"\xff\xfe\x00\x80\r\n"
    assert container.end().code == 0


def test_a_flood_ends_at_the_time_limit(fake):
    fake.timeout_seconds = 1.5
    container = start_and_discard(fake, "yes")
    assert container.end().code == 124
    assert fake.requests_of("finish")[-1]["outcome"] == "timed_out"


def start_and_discard(fake, command):
    """A container whose output is read and discarded."""
    fake.job, fake.parameters = "commands", {"command": command}
    container = Container(fake, grace_seconds=0.2)
    reader = subprocess.Popen(["cat"], stdin=container.process.stdout, stdout=subprocess.DEVNULL)
    container.process.stdout.close()
    container.process.stdout = None
    container.reader = reader
    return container


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_output_that_nobody_reads_delays_neither_time_limit_nor_end(fake, stream):
    """The pipes of the container are full from the start to the end."""
    fake.timeout_seconds = 1.5
    fake.job, fake.parameters = "commands", {"command": f"yes{stream}"}
    container = Container(fake, grace_seconds=0.2, output_seconds=0.2)
    wait_until(lambda: fake.requests_of("finish"), what="the end")
    assert fake.requests_of("finish")[-1]["outcome"] == "timed_out"
    assert container.process.wait(timeout=30) == 124
    container.process.communicate()
